//! Reading reference values.
#![allow(dead_code, reason = "every test binary uses a part of this")]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use serde_json::Value;
use sparse_eval::{Collection, Cutoffs, Metrics};

/// `tests/golden/evaluation/<name>.json`.
pub(crate) fn read(name: &str) -> Value {
    read_from(&format!("evaluation/{name}.json"))
}

/// A JSON file of `tests/golden`.
pub(crate) fn read_from(file: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A tensor of `scores.safetensors`: shape and values.
pub(crate) fn scores(name: &str) -> (Vec<usize>, Vec<f32>) {
    tensor("evaluation/scores.safetensors", name)
}

/// A tensor of a file of `tests/golden`: shape and values.
pub(crate) fn tensor(file: &str, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(folder().join(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = tensor.data().chunks_exact(4);
    let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
    (tensor.shape().to_vec(), values.collect())
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(crate) fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// A figure; those that are not finite are written as words.
pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("NaN") => f64::NAN,
        Some(other) => panic!("{other} is no number"),
        None => value.as_f64().unwrap(),
    }
}

/// Whether two figures agree to `relative`, and to that absolutely below 1.
pub(crate) fn close(actual: f64, expected: f64, relative: f64) -> bool {
    (actual.is_nan() && expected.is_nan())
        || (actual - expected).abs() <= relative * expected.abs().max(1.0)
}

/// The test collection of a case.
pub(crate) fn collection(data: &Value) -> Collection {
    let pairs = |name: &str| {
        let pairs = data[name].as_object().unwrap().iter();
        pairs
            .map(|(id, content)| (id.clone(), text(content)))
            .collect::<Vec<_>>()
    };
    let relevant = data["relevant_docs"].as_object().unwrap().iter();
    let relevant = relevant
        .map(|(id, ids)| (id.clone(), texts(ids).into_iter().collect()))
        .collect();
    Collection::new(pairs("queries"), pairs("corpus"), &relevant).unwrap()
}

/// The ranks that a case asks for.
pub(crate) fn cutoffs(params: &Value) -> Cutoffs {
    let mut cutoffs = Cutoffs::default();
    let lists = [
        ("mrr_at_k", &mut cutoffs.mrr_at_k),
        ("ndcg_at_k", &mut cutoffs.ndcg_at_k),
        ("accuracy_at_k", &mut cutoffs.accuracy_at_k),
        ("precision_recall_at_k", &mut cutoffs.precision_recall_at_k),
        ("map_at_k", &mut cutoffs.map_at_k),
    ];
    for (name, list) in lists {
        if let Some(ranks) = params[name].as_array() {
            *list = ranks.iter().map(|k| k.as_u64().unwrap() as usize).collect();
        }
    }
    cutoffs
}

/// Figures that hang on rounding although the case doesn't list them. Two of the pairs are a text and itself: both cosines
/// are 1 but for their last bits (the reference has 0.9999998 and 0.9999996), so their order is an accident of the matrix
/// products. The figures are compared through the stored scores, in `scores.rs`.
const TIED: &[(&str, &str)] = &[
    ("edges.four_functions", "sts_spearman_cosine"),
    ("edges.main_dot_of_two", "two_spearman_cosine"),
    ("edges.main_dot_of_two", "two_spearman_max"),
];

/// Compares all figures of a case, names and order included; those that hang on rounding are skipped.
pub(crate) fn compare_metrics(case: &Value, metrics: &Metrics, relative: f64) {
    let name = &case["name"];
    let expected = case["metrics"].as_object().unwrap();
    let names = metrics.iter().map(|entry| entry.0).collect::<Vec<_>>();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "{name}");
    for ((key, value), expected) in metrics.iter().zip(expected.values().map(number)) {
        if case["depends_on_rounding"].get(key).is_none()
            && !TIED.contains(&(name.as_str().unwrap(), key))
        {
            assert!(
                close(value, expected, relative),
                "{name}: {key} {value}, not {expected}"
            );
        }
    }
}

/// Compares the files that two calls left in `folder`: CSV headers exactly, figures to `relative`, predictions as JSON.
pub(crate) fn compare_files(case: &Value, folder: &Path, relative: f64) {
    let empty = serde_json::Map::new();
    let expected = case["files"].as_object().unwrap_or(&empty);
    let mut found = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found = found.by_ref().collect::<Vec<_>>();
    found.sort();
    assert_eq!(
        found.iter().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "{}",
        case["name"]
    );
    for (file, expected) in expected {
        let actual = std::fs::read_to_string(folder.join(file)).unwrap();
        let expected = expected.as_str().unwrap();
        assert_eq!(actual.lines().count(), expected.lines().count(), "{file}");
        for (line, (actual, expected)) in actual.lines().zip(expected.lines()).enumerate() {
            match file.ends_with(".csv") {
                true if line == 0 => assert_eq!(actual, expected, "{file}"),
                true => compare_row(case, file, actual, expected, relative),
                false => {
                    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                    compare_json(&json(actual), &json(expected), relative, file);
                }
            }
        }
    }
}

fn compare_row(case: &Value, file: &str, actual: &str, expected: &str, relative: f64) {
    let cells = |row: &str| {
        row.split(',')
            .map(|cell| cell.parse::<f64>().unwrap())
            .collect::<Vec<_>>()
    };
    let (actual, expected) = (cells(actual), cells(expected));
    assert_eq!(actual.len(), expected.len(), "{file}");
    let tied = TIED.iter().any(|(name, _)| case["name"] == *name);
    if case["depends_on_rounding"].is_null() && !tied {
        for (actual, expected) in actual.iter().zip(&expected) {
            assert!(
                close(*actual, *expected, relative),
                "{file}: {actual}, not {expected}"
            );
        }
    }
}

/// Compares JSON, figures to `relative`.
pub(crate) fn compare_json(actual: &Value, expected: &Value, relative: f64, file: &str) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            assert_eq!(
                actual.keys().collect::<Vec<_>>(),
                expected.keys().collect::<Vec<_>>(),
                "{file}"
            );
            actual
                .values()
                .zip(expected.values())
                .for_each(|(a, b)| compare_json(a, b, relative, file));
        }
        (Value::Array(actual), Value::Array(expected)) => {
            assert_eq!(actual.len(), expected.len(), "{file}");
            actual
                .iter()
                .zip(expected)
                .for_each(|(a, b)| compare_json(a, b, relative, file));
        }
        (Value::Number(actual), Value::Number(expected)) => {
            let (actual, expected) = (actual.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                close(actual, expected, relative),
                "{file}: {actual}, not {expected}"
            );
        }
        _ => assert_eq!(actual, expected, "{file}"),
    }
}

/// The reference's rows, with texts in place of their numbers.
pub(crate) fn expand(value: &Value, texts: &[String]) -> Value {
    match value {
        Value::Object(text) => Value::from(texts[text["t"].as_u64().unwrap() as usize].clone()),
        Value::Array(values) => values.iter().map(|value| expand(value, texts)).collect(),
        other => other.clone(),
    }
}
