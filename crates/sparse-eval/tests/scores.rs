//! Figures computed from the reference's own scores.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;

use serde_json::{Value, json};
use sparse_eval::{
    BinaryClassificationEvaluator, Collection, EmbeddingSimilarityEvaluator, EvaluationRun,
    Evaluator, InformationRetrievalEvaluator, RankedSample, ReciprocalRankFusionConfig,
    ReciprocalRankFusionEvaluator, RerankingConfig, RerankingEvaluator, RetrievalRun,
    TranslationEvaluator, TripletConfig, TripletEvaluator,
};
use sparse_index::{Hit, SimilarityFunction, SparseMatrix, TopK};

const TOLERANCE: f64 = 1e-6;

#[test]
fn information_retrieval() {
    let golden = golden::read("information_retrieval");
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let data = &golden["inputs"][case["data"].as_str().unwrap()];
        let (collection, cutoffs) = (golden::collection(data), golden::cutoffs(&case["params"]));
        assert_eq!(collection.query_ids(), golden::texts(&data["score_rows"]));
        let columns = golden::texts(&data["score_columns"]);
        for name in case["scores"]
            .as_array()
            .into_iter()
            .flatten()
            .map(golden::text)
        {
            let function = name.rsplit('.').next().unwrap();
            let (shape, scores) = golden::scores(&name);
            let rankings = scores.chunks(shape[1]).map(|scores| {
                let mut best = TopK::new(cutoffs.max_k());
                for (id, &score) in columns.iter().zip(scores) {
                    let document = collection.document_ids().binary_search(id).unwrap() as u32;
                    best.offer(Hit { document, score });
                }
                best.into_hits()
            });
            let run = RetrievalRun {
                name: function.to_owned(),
                rankings: rankings.collect(),
            };
            let prefix = case["params"]["name"]
                .as_str()
                .map(|name| format!("{name}_"))
                .unwrap_or_default();
            for (figure, value) in cutoffs.figures(&collection, &run) {
                let key = format!("{prefix}{function}_{figure}");
                let expected = golden::number(&case["metrics"][&key]);
                assert!(
                    golden::close(value, expected, TOLERANCE),
                    "{}: {key} {value}, not {expected}",
                    case["name"]
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "{compared} figures");
}

/// Compares figures with those of the case; returns how many.
fn compare(case: &Value, metrics: &sparse_eval::Metrics) -> usize {
    let prefix = case["params"]["name"]
        .as_str()
        .map(|name| format!("{name}_"))
        .unwrap_or_default();
    let mut compared = 0;
    for (figure, value) in metrics.iter() {
        let key = format!("{prefix}{figure}");
        if let Some(expected) = case["metrics"].get(&key) {
            let expected = golden::number(expected);
            let close = golden::close(value, expected, TOLERANCE);
            assert!(close, "{}: {key} {value}, not {expected}", case["name"]);
            compared += 1;
        }
    }
    compared
}

/// The scores of a case by similarity function, in the order in which the case evaluates them.
fn similarities(case: &Value, functions: &str) -> Vec<(SimilarityFunction, Vec<f32>)> {
    let asked = case["params"][functions].as_array();
    let asked = asked.map_or_else(
        || vec!["dot".to_owned()],
        |names| names.iter().map(golden::text).collect(),
    );
    let stored = golden::texts(&case["scores"]);
    let stored = |function: &str| {
        stored
            .iter()
            .find(|name| name.ends_with(&format!(".{function}")))
            .unwrap()
    };
    asked
        .iter()
        .map(|name| (name.parse().unwrap(), golden::scores(stored(name)).1))
        .collect()
}

#[test]
fn binary_classification() {
    let golden = golden::read("binary_classification");
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let data = &golden["inputs"][case["data"].as_str().unwrap()];
        let labels = data["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|label| label == 1)
            .collect();
        let (first, second) = (
            golden::texts(&data["sentences1"]),
            golden::texts(&data["sentences2"]),
        );
        let evaluator =
            BinaryClassificationEvaluator::new(first, second, labels, Default::default()).unwrap();
        compared += compare(
            case,
            &evaluator.figures(&similarities(case, "similarity_fn_names")),
        );
    }
    assert_eq!(compared, 4 * 8 + 2 * 5 * 8);
}

#[test]
fn embedding_similarity() {
    let golden = golden::read("embedding_similarity");
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let data = &golden["inputs"][case["data"].as_str().unwrap()];
        let scores = data["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(golden::number)
            .collect();
        let (first, second) = (
            golden::texts(&data["sentences1"]),
            golden::texts(&data["sentences2"]),
        );
        let evaluator =
            EmbeddingSimilarityEvaluator::new(first, second, scores, Default::default()).unwrap();
        compared += compare(
            case,
            &evaluator.correlations(&similarities(case, "similarity_fn_names")),
        );
    }
    assert_eq!(compared, 2 * (3 * 2 + 10 + 6));
}

#[test]
fn triplet() {
    let golden = golden::read("triplet");
    let mut compared = 0;
    for case in golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["scores"].is_array())
    {
        let data = &golden["inputs"][case["data"].as_str().unwrap()];
        let [anchors, positives, negatives] =
            ["anchors", "positives", "negatives"].map(|name| golden::texts(&data[name]));
        let stem = case["name"].as_str().unwrap();
        let side = |side: &str| golden::scores(&format!("triplet.{stem}.dot.{side}")).1;
        let evaluator =
            TripletEvaluator::new(anchors, positives, negatives, Default::default()).unwrap();
        compared += compare(
            case,
            &evaluator.accuracies(&[(
                SimilarityFunction::Dot,
                [side("positive"), side("negative")],
            )]),
        );
    }
    assert_eq!(compared, 2);
}

#[test]
fn triplet_margins() {
    let golden = golden::read("triplet");
    // The stored scores are those of all cases without a limit of active dimensions.
    let mut compared = 0;
    for case in golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["encoder"] == "encoders/splade-max")
    {
        let params = &case["params"];
        if case["error"].is_object() || params["max_active_dims"].is_number() {
            continue;
        }
        let data = case["data"].as_str().unwrap();
        let inputs = &golden["inputs"][data];
        let [anchors, positives, negatives] =
            ["anchors", "positives", "negatives"].map(|name| golden::texts(&inputs[name]));
        let config = TripletConfig {
            margin: serde_json::from_value(params["margin"].clone()).unwrap(),
            ..TripletConfig::default()
        };
        let evaluator = TripletEvaluator::new(anchors, positives, negatives, config).unwrap();
        let functions = params["similarity_fn_names"].as_array();
        let functions = functions.map_or_else(
            || vec!["dot".to_owned()],
            |names| names.iter().map(golden::text).collect(),
        );
        let scores = functions.iter().map(|function| {
            let side = |side: &str| {
                golden::scores(&format!("triplet.{data}.defaults.{function}.{side}")).1
            };
            (
                function.parse().unwrap(),
                [side("positive"), side("negative")],
            )
        });
        compared += compare(case, &evaluator.accuracies(&scores.collect::<Vec<_>>()));
        let margin = Evaluator::config(&evaluator).remove("margin");
        match (margin, &case["config_dict"]["margin"]) {
            (None, Value::Null) => {}
            (Some(margin), expected) => {
                for (function, expected) in expected.as_object().unwrap() {
                    assert_eq!(margin[function].as_f64(), expected.as_f64());
                }
            }
            (None, expected) => panic!("{expected} is missing"),
        }
    }
    assert!(compared >= 2 * (1 + 5 + 3 + 3), "{compared}");
}

#[test]
fn reranking() {
    let golden = golden::read("reranking");
    let mut compared = 0;
    for case in golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|case| case["scores"].is_array())
    {
        let samples = serde_json::from_value(golden["inputs"]["samples"].clone()).unwrap();
        let at_k = case["params"]["at_k"].as_u64().unwrap_or(10) as usize;
        let config = RerankingConfig {
            at_k,
            ..RerankingConfig::default()
        };
        let evaluator = RerankingEvaluator::new(samples, config).unwrap();
        let scores = case["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| golden::scores(&golden::text(name)).1);
        compared += compare(case, &evaluator.figures(&scores.collect::<Vec<_>>()));
    }
    assert_eq!(compared, 6);
}

#[test]
fn translation() {
    let golden = golden::read("translation");
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let [sources, targets] = ["source_sentences", "target_sentences"]
            .map(|name| golden::texts(&golden["inputs"][name]));
        let evaluator = TranslationEvaluator::new(sources, targets, Default::default()).unwrap();
        let scores = golden::scores(case["scores"][0].as_str().unwrap()).1;
        compared += compare(case, &evaluator.accuracies(&scores));
    }
    assert_eq!(compared, 6);
}

#[test]
fn reciprocal_rank_fusion() {
    let golden = golden::read("reciprocal_rank_fusion");
    let samples = |name: &str| {
        serde_json::from_value::<Vec<RankedSample>>(golden["inputs"][name].clone()).unwrap()
    };
    let (dense, sparse) = (samples("dense_samples"), samples("sparse_samples"));
    for case in golden["cases"].as_array().unwrap() {
        let params = &case["params"];
        if case["error"].is_object() {
            let mut sparse = sparse.clone();
            sparse[0].query_id = "other".to_owned();
            let error =
                ReciprocalRankFusionEvaluator::new(dense.clone(), sparse, Default::default())
                    .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "query ids differ at index 0: `{}` and `other`",
                    dense[0].query_id
                )
            );
            continue;
        }
        let config = ReciprocalRankFusionConfig {
            name: params["name"].as_str().unwrap_or_default().to_owned(),
            at_k: params["at_k"].as_u64().unwrap_or(10) as usize,
            rrf_k: params["rrf_k"].as_u64().unwrap_or(60) as usize,
            write_predictions: params["write_predictions"] == true,
            ..ReciprocalRankFusionConfig::default()
        };
        let evaluator =
            ReciprocalRankFusionEvaluator::new(dense.clone(), sparse.clone(), config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let run = EvaluationRun::default().with_output_path(folder.path());
        let metrics = evaluator.judge(&run).unwrap();
        golden::compare_metrics(case, &metrics, TOLERANCE);
        assert_eq!(
            evaluator.judge(&run.with_position(2.0, 30)).unwrap(),
            metrics
        );
        assert_eq!(metrics.primary(), case["primary_metric"].as_str());
        assert_eq!(
            evaluator.primary_metric().as_deref(),
            case["primary_metric"].as_str()
        );
        assert_eq!(Value::Object(evaluator.config()), case["config_dict"]);
        golden::compare_files(case, folder.path(), TOLERANCE);
    }
}

#[test]
fn the_baseline_has_the_same_figures() {
    let golden = golden::read("information_retrieval");
    let config = serde_json::from_value(json!({ "name": "wiki" })).unwrap();
    let collection = golden::collection(&golden["inputs"]["plain"]);
    let evaluator = InformationRetrievalEvaluator::new(collection, config).unwrap();
    let baseline = evaluator.baseline().unwrap().unwrap();
    assert_eq!(baseline.primary(), Some("wiki_bm25_ndcg@10"));
    assert_eq!(baseline.len(), evaluator.cutoffs().names().len());
    // Questions share words with the paragraphs that answer them.
    assert!(baseline.get("wiki_bm25_mrr@10") > Some(0.8), "{baseline}");
}

/// Two queries for document `b` among `a`, `b` and `c`.
fn three_documents() -> Collection {
    let pair = |id: &str| (id.to_owned(), format!("text of {id}"));
    let relevant = ["p", "q"].map(|query| (query.to_owned(), ["b".to_owned()].into()));
    Collection::new(
        ["p", "q"].map(pair),
        ["c", "b", "a"].map(pair),
        &relevant.into(),
    )
    .unwrap()
}

#[test]
fn empty_queries_equal_scores_and_more_ranks_than_documents() {
    let evaluator =
        InformationRetrievalEvaluator::new(three_documents(), Default::default()).unwrap();
    // The first query is empty, the second gives every document the same score: by id, `b` is second for both.
    let queries = SparseMatrix::from_dense(&[0.0, 0.0, /**/ 2.0, 0.0], 2, 2).unwrap();
    let corpus = SparseMatrix::from_dense(&[0.5, 1.0, /**/ 0.5, 2.0, /**/ 0.5, 3.0], 3, 2).unwrap();
    for function in SimilarityFunction::ALL {
        let report = evaluator
            .report_on_vectors(
                &queries.select(&[0, 0]),
                &corpus.select(&[0, 0, 0]),
                function,
            )
            .unwrap();
        for ranking in &report.runs[0].rankings {
            let documents = ranking.iter().map(|hit| hit.document).collect::<Vec<_>>();
            assert_eq!(documents, [0, 1, 2], "{function}");
        }
    }
    let report = evaluator
        .report_on_vectors(&queries, &corpus, SimilarityFunction::Dot)
        .unwrap();
    for ranking in &report.runs[0].rankings {
        let documents = ranking.iter().map(|hit| hit.document).collect::<Vec<_>>();
        assert_eq!(documents, [0, 1, 2]);
    }
    assert_eq!(report.metrics.get("dot_mrr@10"), Some(0.5));
    // Precision counts ranks that no document takes.
    assert_eq!(report.metrics.get("dot_precision@10"), Some(0.1));
    assert_eq!(report.metrics.get("dot_recall@10"), Some(1.0));
    assert_eq!(report.metrics.get("query_active_dims"), Some(0.5));
}

#[test]
fn numbers_that_are_not_finite_reach_no_evaluation() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = SparseMatrix::from_dense(&[1.0, value], 1, 2).unwrap_err();
        assert!(error.to_string().contains("must be finite"), "{error}");
        let error = SparseMatrix::from_csr(2, vec![0, 1], vec![1], vec![value]).unwrap_err();
        assert!(error.to_string().contains("must be finite"), "{error}");
    }
}
