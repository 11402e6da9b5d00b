//! Mined negatives from the reference's own similarities.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod golden;

use serde_json::Value;
use sparse_eval::mining::{MinedNegatives, MiningConfig, MiningData, select_negatives};
use sparse_index::{Hit, TopK};

/// The parameters that are settings here; the others name ways of computing the same.
fn config(params: &Value) -> Result<MiningConfig, serde_json::Error> {
    let mut params = params.clone();
    params.as_object_mut().unwrap().remove("faiss_batch_size");
    serde_json::from_value(params)
}

fn data(golden: &Value, extra: bool) -> MiningData {
    let rows = golden["rows"].as_array().unwrap();
    let column = |name: &str| {
        rows.iter()
            .map(|row| golden::text(&row[name]))
            .collect::<Vec<_>>()
    };
    let corpus = if extra {
        golden::texts(&golden["extra_corpus"])
    } else {
        Vec::new()
    };
    MiningData::new(&column("anchor"), &column("positive"), &corpus).unwrap()
}

/// Mines with a matrix of similarities, queries by candidates with the extra corpus.
fn mine(
    data: &MiningData,
    config: &MiningConfig,
    width: usize,
    similarities: &[f32],
) -> MinedNegatives {
    let range = config.range(data.max_positives()).unwrap();
    let rows = || similarities.chunks(width);
    let found = rows().map(|row| {
        let mut best = TopK::new(range.end + data.max_positives());
        (0..)
            .zip(&row[..data.candidates.len()])
            .for_each(|(document, &score)| best.offer(Hit { document, score }));
        best.into_hits()
    });
    let found = found.collect::<Vec<_>>();
    let positive_scores = rows().zip(&data.positives).map(|(row, positives)| {
        positives
            .iter()
            .map(|&position| row[position as usize])
            .collect::<Vec<_>>()
    });
    let positive_scores = positive_scores.collect::<Vec<_>>();
    let selection = select_negatives(data, &found, &positive_scores, config).unwrap();
    MinedNegatives::new(data, &positive_scores, selection, config)
}

#[test]
fn negatives_of_the_reference() {
    let golden = golden::read_from("mining/mining.json");
    let texts = golden::texts(&golden["texts"]);
    let mut compared = 0;
    for case in golden["cases"].as_array().unwrap() {
        let (name, params) = (case["name"].as_str().unwrap(), &case["params"]);
        if case["error"].is_object()
            || params
                .as_object()
                .unwrap()
                .keys()
                .any(|key| key.contains("prompt"))
        {
            continue; // With a prompt, other vectors were compared.
        }
        let kind = name.split('.').next().unwrap();
        let (shape, similarities) = golden::tensor(
            "mining/similarity.safetensors",
            &format!("{kind}.similarity"),
        );
        let data = data(&golden, case["uses_extra_corpus"] == true);
        let mined = mine(&data, &config(params).unwrap(), shape[1], &similarities);
        assert_eq!(mined.columns, golden::texts(&case["columns"]), "{name}");
        let expected = case["output"].as_array().unwrap();
        assert_eq!(mined.rows.len(), expected.len(), "{name}");
        for (row, expected) in mined.rows.iter().zip(expected) {
            golden::compare_json(
                &serde_json::to_value(row).unwrap(),
                &golden::expand(expected, &texts),
                1e-6,
                name,
            );
        }
        compared += 1;
    }
    assert!(compared >= 25, "{compared} cases");
}

#[test]
fn settings_that_the_reference_refuses() {
    let golden = golden::read_from("mining/mining.json");
    let cases = golden["cases"].as_array().unwrap();
    let refused = cases
        .iter()
        .filter(|case| case["error"].is_object())
        .filter(|case| {
            let config = config(&case["params"]);
            config.map_or(true, |config| config.range(2).is_err())
        });
    assert_eq!(
        refused.count(),
        cases
            .iter()
            .filter(|case| case["error"].is_object())
            .count()
    );
}

#[test]
fn counts_and_scores_are_reported_as_in_the_reference() {
    let golden = golden::read_from("mining/mining.json");
    let case = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|case| case["name"] == "dense.relative_margin")
        .unwrap();
    let (shape, similarities) = golden::tensor("mining/similarity.safetensors", "dense.similarity");
    let mined = mine(
        &data(&golden, true),
        &config(&case["params"]).unwrap(),
        shape[1],
        &similarities,
    );
    let report = mined.report.to_string();
    let expected = case["printed"].as_str().unwrap();
    for row in ["Mean", "Std", "Min", "25%", "50%", "75%", "Max"] {
        let cells = |text: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(row))
                .unwrap()
                .to_owned();
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(cells(&report), cells(expected));
    }
    // "Skipped 483 potential negatives (80.50%)", "Could not find enough negatives for 24 samples (46.15%)"
    assert!(
        report.contains("relative_margin dropped 483 of 600 candidates (80.50%)"),
        "{report}"
    );
    assert!(
        report.contains("24 of 52 negatives were not found (46.15%)"),
        "{report}"
    );
}
