//! Evaluators on the reference's encoders: figures, primary figures, settings and files.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;

use burn::tensor::Device;
use serde_json::{Value, json};
use sparse_eval::mining::{Cell, MiningConfig, MiningData, mine_hard_negatives, rescore_with};
use sparse_eval::{
    BinaryClassificationEvaluator, EmbeddingSimilarityEvaluator, EvaluationRun, Evaluator,
    EvaluatorConfig, InformationRetrievalEvaluator, Metrics, MseConfig, MseEvaluator,
    NanoBeirEvaluator, RerankingEvaluator, RetrievalRun, SequentialEvaluator, SequentialScore,
    TranslationEvaluator, TripletEvaluator, fuse,
};
use sparse_model::SparseEncoder;

/// f32 rounding through the model.
const TOLERANCE: f64 = 1e-4;

fn encoder(name: &Value) -> SparseEncoder {
    SparseEncoder::from_pretrained(model_path(name), &Device::default()).unwrap()
}

fn model_path(name: &Value) -> String {
    let models = golden::folder().join("../../../sparse-model/tests/golden");
    models
        .join(name.as_str().unwrap())
        .to_str()
        .unwrap()
        .to_owned()
}

/// The parameters of a case as settings: names of the reference are ours.
fn config<T: serde::de::DeserializeOwned>(case: &Value) -> T {
    serde_json::from_value(case["params"].clone()).unwrap()
}

/// Two calls as the reference was called, compared with what it returned and wrote.
fn check(case: &Value, evaluator: &dyn Evaluator) {
    let encoder = encoder(&case["encoder"]);
    let folder = tempfile::tempdir().unwrap();
    let run = EvaluationRun::default().with_output_path(folder.path());
    let metrics = evaluator.evaluate(&encoder, &run).unwrap();
    let names: Vec<&str> = metrics.iter().map(|(name, _)| name).collect();
    let announced = evaluator.metric_names(encoder.similarity_fn()).unwrap();
    assert_eq!(announced, names, "{}", case["name"]);
    golden::compare_metrics(case, &metrics, TOLERANCE);
    assert_eq!(
        evaluator
            .evaluate(&encoder, &run.with_position(2.0, 30))
            .unwrap(),
        metrics
    );
    assert_eq!(
        metrics.primary(),
        case["primary_metric"].as_str(),
        "{}",
        case["name"]
    );
    assert_eq!(
        evaluator.primary_metric().as_deref(),
        case["primary_metric"].as_str(),
        "{}",
        case["name"]
    );
    assert_eq!(
        evaluator.description(),
        case["description"].as_str().unwrap()
    );
    if let Some(name) = case["evaluator_name"].as_str() {
        assert_eq!(evaluator.name(), name);
    }
    compare_config(&Value::Object(evaluator.config()), &case["config_dict"]);
    golden::compare_files(case, folder.path(), TOLERANCE);
}

/// As JSON, but 0 equals 0.0.
fn compare_config(actual: &Value, expected: &Value) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            assert_eq!(
                actual.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>()
            );
            actual
                .values()
                .zip(expected.values())
                .for_each(|(a, b)| compare_config(a, b));
        }
        (Value::Number(actual), Value::Number(expected)) => {
            assert_eq!(actual.as_f64(), expected.as_f64())
        }
        _ => assert_eq!(actual, expected),
    }
}

/// The cases of a file with their inputs; those that fail in the reference are left out.
fn cases(golden: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let cases = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["error"].is_null());
    cases.map(|case| match case["data"].as_str() {
        Some(data) => (case, &golden["inputs"][data]),
        None => (case, &golden["inputs"]),
    })
}

#[test]
fn information_retrieval() {
    let golden = golden::read("information_retrieval");
    for (case, data) in cases(&golden) {
        let evaluator =
            InformationRetrievalEvaluator::new(golden::collection(data), config(case)).unwrap();
        check(case, &evaluator);
    }
}

#[test]
fn binary_classification() {
    let golden = golden::read("binary_classification");
    for (case, data) in cases(&golden) {
        let labels = data["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label == 1)
            .collect();
        let [first, second] = ["sentences1", "sentences2"].map(|name| golden::texts(&data[name]));
        check(
            case,
            &BinaryClassificationEvaluator::new(first, second, labels, config(case)).unwrap(),
        );
    }
}

#[test]
fn embedding_similarity() {
    let golden = golden::read("embedding_similarity");
    for (case, data) in cases(&golden) {
        check(case, &embedding_similarity_of(data, &case["params"]));
    }
}

fn embedding_similarity_of(data: &Value, params: &Value) -> EmbeddingSimilarityEvaluator {
    let scores = data["scores"]
        .as_array()
        .unwrap()
        .iter()
        .map(golden::number)
        .collect();
    let [first, second] = ["sentences1", "sentences2"].map(|name| golden::texts(&data[name]));
    let config = serde_json::from_value(params.clone()).unwrap();
    EmbeddingSimilarityEvaluator::new(first, second, scores, config).unwrap()
}

#[test]
fn triplet() {
    let golden = golden::read("triplet");
    for (case, data) in cases(&golden) {
        check(case, &triplet_of(data, &case["params"]));
    }
}

fn triplet_of(data: &Value, params: &Value) -> TripletEvaluator {
    let [anchors, positives, negatives] =
        ["anchors", "positives", "negatives"].map(|name| golden::texts(&data[name]));
    TripletEvaluator::new(
        anchors,
        positives,
        negatives,
        serde_json::from_value(params.clone()).unwrap(),
    )
    .unwrap()
}

#[test]
fn mse() {
    let golden = golden::read("mse");
    for (case, data) in cases(&golden) {
        let [sources, targets] =
            ["source_sentences", "target_sentences"].map(|name| golden::texts(&data[name]));
        let config = MseConfig {
            name: case["params"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            max_active_dims: case["params"]["max_active_dims"]
                .as_u64()
                .map(|limit| limit as usize),
            ..MseConfig::default()
        };
        let teacher = encoder(&data["teacher"]);
        check(
            case,
            &MseEvaluator::new(&teacher, &sources, targets, config).unwrap(),
        );
    }
}

#[test]
fn a_teacher_known_by_name_gives_the_same_figures() {
    let golden = golden::read("mse");
    let (case, data) = cases(&golden).next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [sources, targets] =
        ["source_sentences", "target_sentences"].map(|name| golden::texts(&data[name]));
    let rows = sources.iter().zip(&targets);
    let rows = rows.map(|(source, target)| format!("{}\n", json!({ "s": source, "t": target })));
    let path = folder.path().join("texts.jsonl");
    std::fs::write(&path, rows.collect::<String>()).unwrap();
    let teacher = model_path(&data["teacher"]);
    let config: EvaluatorConfig = serde_json::from_value(json!({
        "type": "mse", "path": path, "columns": ["s", "t"], "teacher_model": teacher,
    }))
    .unwrap();
    check(case, config.init().unwrap().as_ref());
}

#[test]
fn reranking() {
    let golden = golden::read("reranking");
    for (case, data) in cases(&golden) {
        let samples = serde_json::from_value(data["samples"].clone()).unwrap();
        check(
            case,
            &RerankingEvaluator::new(samples, config(case)).unwrap(),
        );
    }
}

#[test]
fn translation() {
    let golden = golden::read("translation");
    for (case, data) in cases(&golden) {
        let [sources, targets] =
            ["source_sentences", "target_sentences"].map(|name| golden::texts(&data[name]));
        check(
            case,
            &TranslationEvaluator::new(sources, targets, config(case)).unwrap(),
        );
    }
}

#[test]
fn sequential() {
    let golden = golden::read("sequential");
    for (case, _) in cases(&golden) {
        let similarity = &golden::read("embedding_similarity")["inputs"]["plain"];
        let triplets = &golden::read("triplet")["inputs"]["plain"];
        let evaluators: Vec<Box<dyn Evaluator>> = vec![
            Box::new(embedding_similarity_of(
                similarity,
                &json!({ "name": "first" }),
            )),
            Box::new(triplet_of(triplets, &json!({ "name": "second" }))),
        ];
        let score = match case["params"]["main_score_function"].as_str() {
            Some("mean") => SequentialScore::Mean,
            _ => SequentialScore::Last,
        };
        check(case, &SequentialEvaluator::new(evaluators, score));
    }
}

#[test]
fn nano_beir() {
    let golden = golden::read("nano_beir");
    for (case, data) in cases(&golden) {
        // In the layout of the hub: rows of corpus, queries and judgements.
        let collection = |name: &str| {
            let rows = |part: &str| data["data"][name][part].as_array().unwrap();
            let pairs = |part: &str| {
                let pairs = rows(part)
                    .iter()
                    .map(|row| (golden::text(&row["_id"]), row["text"].clone()));
                pairs.collect::<serde_json::Map<_, _>>()
            };
            let mut relevant = serde_json::Map::new();
            for row in rows("qrels") {
                let documents = relevant
                    .entry(golden::text(&row["query-id"]))
                    .or_insert_with(|| json!([]));
                documents
                    .as_array_mut()
                    .unwrap()
                    .push(row["corpus-id"].clone());
            }
            golden::collection(&json!({
                "queries": pairs("queries"), "corpus": pairs("corpus"), "relevant_docs": relevant,
            }))
        };
        let collections = ["NanoSciFact", "NanoMSMARCO"].map(collection).to_vec();
        check(
            case,
            &NanoBeirEvaluator::new(collections, config(case)).unwrap(),
        );
    }
}

/// Figures and rankings by all four similarities.
fn evaluate(data: &Value, params: Value) -> (Metrics, Vec<RetrievalRun>) {
    let mut params = params;
    params["score_functions"] = json!(["dot", "cosine", "euclidean", "manhattan"]);
    let config = serde_json::from_value(params).unwrap();
    let evaluator = InformationRetrievalEvaluator::new(golden::collection(data), config).unwrap();
    let encoder = encoder(&json!("encoders/splade-max"));
    let report = evaluator
        .report(&encoder, &encoder, &EvaluationRun::default())
        .unwrap();
    (report.metrics, report.runs)
}

#[test]
fn rankings_do_not_depend_on_chunks_threads_or_order() {
    let golden = golden::read("information_retrieval");
    let data = &golden["inputs"]["edges"];
    let (metrics, runs) = evaluate(data, json!({}));
    // Without printing all rankings where they differ.
    let check = |what: &str, other: (Metrics, Vec<RetrievalRun>)| {
        assert_eq!(other.0, metrics, "{what}");
        assert!(other.1 == runs, "{what}");
    };
    check(
        "chunks of 5",
        evaluate(data, json!({ "corpus_chunk_size": 5 })),
    );
    let mut reversed = data.clone();
    let corpus = data["corpus"].as_object().unwrap().clone();
    reversed["corpus"] = Value::Object(corpus.into_iter().rev().collect());
    check("reversed corpus", evaluate(&reversed, json!({})));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    check("one thread", pool.install(|| evaluate(data, json!({}))));
}

#[test]
fn figures_do_not_depend_on_the_batch_size() {
    let golden = golden::read("information_retrieval");
    let data = &golden["inputs"]["plain"];
    let (metrics, _) = evaluate(data, json!({}));
    for batch_size in [1, 7, 64] {
        let (other, _) = evaluate(data, json!({ "batch_size": batch_size }));
        assert_eq!(other, metrics, "{batch_size}");
    }
}

#[test]
fn given_vectors_give_the_same_figures() {
    let golden = golden::read("information_retrieval");
    let evaluator = InformationRetrievalEvaluator::new(
        golden::collection(&golden["inputs"]["plain"]),
        Default::default(),
    );
    let evaluator = evaluator.unwrap();
    let encoder = encoder(&json!("encoders/splade-max"));
    let run = EvaluationRun::default();
    let expected = evaluator.report(&encoder, &encoder, &run).unwrap();
    let queries = evaluator.encode_queries(&encoder, &run).unwrap();
    let documents = evaluator.collection().documents();
    let corpus = encoder
        .encode_document(documents, &Default::default())
        .unwrap();
    let report = evaluator
        .report_on_vectors(&queries, &corpus, encoder.similarity_fn())
        .unwrap();
    assert_eq!(report.metrics, expected.metrics);
    assert!(report.runs == expected.runs);
    assert_eq!(report.costs[0].index, expected.costs[0].index);
    let error = evaluator
        .report_on_vectors(&corpus, &corpus, encoder.similarity_fn())
        .unwrap_err();
    assert_eq!(error.to_string(), "expected 14 query vectors, got 36");
}

#[test]
fn mined_negatives() {
    let golden = golden::read_from("mining/mining.json");
    let texts = golden::texts(&golden["texts"]);
    let rows = golden["rows"].as_array().unwrap();
    let column = |name: &str| {
        rows.iter()
            .map(|row| golden::text(&row[name]))
            .collect::<Vec<_>>()
    };
    let cases = golden["cases"].as_array().unwrap().iter();
    let cases = cases.filter(|case| case["name"].as_str().unwrap().starts_with("sparse."));
    let mut compared = 0;
    for case in cases {
        let extra = match case["uses_extra_corpus"] == true {
            true => golden::texts(&golden["extra_corpus"]),
            false => Vec::new(),
        };
        let data = MiningData::new(&column("anchor"), &column("positive"), &extra).unwrap();
        let mined =
            mine_hard_negatives(&encoder(&case["encoder"]), &data, None, &config(case)).unwrap();
        assert_eq!(mined.columns, golden::texts(&case["columns"]));
        let expected = case["output"].as_array().unwrap();
        assert_eq!(mined.rows.len(), expected.len(), "{}", case["name"]);
        for (row, expected) in mined.rows.iter().zip(expected) {
            let expected = golden::expand(expected, &texts);
            let row = serde_json::to_value(row).unwrap();
            golden::compare_json(&row, &expected, TOLERANCE, case["name"].as_str().unwrap());
        }
        compared += 1;
    }
    assert!(compared >= 8, "{compared} cases");
}

#[test]
fn a_second_encoder_rescores() {
    let encoder = encoder(&json!("encoders/splade-max"));
    let pairs = [
        ("drum and bass", "a style of music"),
        ("heart", "a diet"),
        ("drum and bass", "a diet"),
    ];
    let scores = rescore_with(&encoder, &pairs, &Default::default()).unwrap();
    let scores = scores.into_iter().map(Option::unwrap).collect::<Vec<_>>();
    for ((query, document), score) in pairs.into_iter().zip(scores) {
        let query = encoder.encode_query(&[query], &Default::default()).unwrap();
        let document = encoder
            .encode_document(&[document], &Default::default())
            .unwrap();
        let expected = query.row(0).dot(document.row(0));
        assert!(
            (score - expected).abs() <= 1e-5 * expected.abs(),
            "{score}, not {expected}"
        );
    }
    let data = MiningData::new(&["q", "r"], &["one", "two"], &["three", "four"]).unwrap();
    let config = MiningConfig {
        num_negatives: 1,
        output_scores: true,
        ..MiningConfig::default()
    };
    // The longest text is the best.
    let longest =
        |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|pair| Some(pair.1.len() as f32)).collect());
    let mined = mine_hard_negatives(&encoder, &data, Some(&longest), &config).unwrap();
    let text = |text: &str| Cell::Text(text.to_owned());
    let row = |query, positive, scores| {
        vec![
            text(query),
            text(positive),
            text("three"),
            Cell::Scores(scores),
        ]
    };
    assert_eq!(
        mined.rows,
        [
            row("q", "one", vec![3.0, 5.0]),
            row("r", "two", vec![3.0, 5.0])
        ]
    );
}

#[test]
fn hybrid_search_fuses_with_a_dense_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("qrels")).unwrap();
    let texts = [
        ("a", "the cat sat"),
        ("b", "drum and bass"),
        ("c", "a diet"),
    ];
    let lines: String = texts
        .iter()
        .map(|(id, text)| json!({ "_id": id, "text": text }).to_string() + "\n")
        .collect();
    std::fs::write(path("corpus.jsonl"), lines).unwrap();
    std::fs::write(
        path("queries.jsonl"),
        "{\"_id\": \"q\", \"text\": \"drum and bass\"}\n",
    )
    .unwrap();
    std::fs::write(path("qrels/test.tsv"), "q\tb\t1\n").unwrap();
    // The dense side has the relevant document second.
    std::fs::write(
        path("dense.trec"),
        "q Q0 a 1 0.9 d\nq Q0 b 2 0.8 d\nq Q0 c 3 0.0 d\n",
    )
    .unwrap();
    let config = |dense: &str| -> EvaluatorConfig {
        serde_json::from_value(json!({
            "type": "hybrid", "name": "h", "retrieval": folder.path(), "dense_run": path(dense),
        }))
        .unwrap()
    };
    let evaluator = config("dense.trec").init().unwrap();
    let run = EvaluationRun::default().with_output_path(path("out"));
    let encoder = encoder(&json!("encoders/splade-max"));
    let metrics = evaluator.evaluate(&encoder, &run).unwrap();
    // The sparse side by hand.
    let query = encoder
        .encode_query(&["drum and bass"], &Default::default())
        .unwrap();
    let documents = texts.map(|(_, text)| text);
    let documents = encoder
        .encode_document(&documents, &Default::default())
        .unwrap();
    let mut sparse = [0, 1, 2].map(|row| (texts[row].0, query.row(0).dot(documents.row(row))));
    sparse.sort_by(|a, b| b.1.total_cmp(&a.1));
    let sparse = sparse
        .iter()
        .filter(|hit| hit.1 != 0.0)
        .map(|hit| hit.0)
        .collect::<Vec<_>>();
    let fused = fuse(&[["a", "b", "c"].as_slice(), sparse.as_slice()], 60);
    let fused = fused.iter().map(|hit| hit.0).collect::<Vec<_>>();
    let reciprocal = |ranking: &[&str]| {
        let found = ranking.iter().position(|id| *id == "b");
        found.map(|position| 1.0 / (position + 1) as f64)
    };
    assert_eq!(metrics.get("h_dense_mrr@10"), Some(0.5));
    assert_eq!(metrics.get("h_sparse_mrr@10"), reciprocal(&sparse));
    assert_eq!(metrics.get("h_mrr@10"), reciprocal(&fused));
    assert_eq!(metrics.primary(), Some("h_ndcg@10"));
    assert_eq!(evaluator.primary_metric().as_deref(), Some("h_ndcg@10"));
    assert!(metrics.get("h_corpus_active_dims") > Some(0.0));
    assert!(path("out/ReciprocalRankFusion_evaluation_h_results.csv").exists());

    let message = |text: &str| {
        std::fs::write(path("other.trec"), text).unwrap();
        config("other.trec").init().unwrap_err().to_string()
    };
    assert!(message("r Q0 a 1 1 d\n").contains("ranks none of the 1 queries, such as `q`"));
    assert!(message("q Q0 z 1 1 d\n").ends_with("ranks `z`, which is not in the corpus"));
}

#[test]
fn evaluators_of_a_configuration_stand_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let rankings = folder.path().join("rankings.jsonl");
    let sample = json!({ "query_id": "q", "query": "", "positive": "p", "documents": ["a", "p"] });
    std::fs::write(&rankings, sample.to_string()).unwrap();
    let fusion = |name: &str, at_k: usize| {
        json!({
            "type": "reciprocal_rank_fusion", "name": name, "at_k": at_k,
            "dense_samples": &rankings, "sparse_samples": &rankings,
        })
    };
    let config: EvaluatorConfig = serde_json::from_value(json!({
        "type": "sequential", "evaluators": [fusion("one", 1), fusion("ten", 10)], "main_score_function": "mean",
    }))
    .unwrap();
    let evaluator = config.init().unwrap();
    let metrics = evaluator
        .evaluate(
            &encoder(&json!("encoders/splade-max")),
            &EvaluationRun::default(),
        )
        .unwrap();
    assert_eq!(metrics.get("one_ndcg@1"), Some(0.0));
    let second = metrics.get("ten_ndcg@10").unwrap();
    assert_eq!(metrics.get("sequential_score"), Some(second / 2.0));
    std::fs::write(&rankings, "{\"query_id\": \"q\"}\n").unwrap();
    let message = config.init().unwrap_err().to_string();
    assert!(
        message.contains("line 1: expected {\"query_id\""),
        "{message}"
    );
}
