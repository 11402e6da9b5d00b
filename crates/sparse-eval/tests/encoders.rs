//! Evaluators on the reference's encoders: figures, primary figures, settings and files.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;

use burn::tensor::Device;
use serde_json::{Value, json};
use sparse_eval::{
    BinaryClassificationEvaluator, EmbeddingSimilarityEvaluator, EvaluationRun, Evaluator,
    InformationRetrievalEvaluator, MseConfig, MseEvaluator, NanoBeirEvaluator, RerankingEvaluator,
    SequentialEvaluator, SequentialScore, TranslationEvaluator, TripletEvaluator,
};
use sparse_model::SparseEncoder;

/// f32 rounding through the model.
const TOLERANCE: f64 = 1e-4;

fn encoder(name: &Value) -> SparseEncoder {
    let models = golden::folder().join("../../../sparse-model/tests/golden");
    let path = models.join(name.as_str().unwrap());
    SparseEncoder::from_pretrained(path.to_str().unwrap(), &Device::default()).unwrap()
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
