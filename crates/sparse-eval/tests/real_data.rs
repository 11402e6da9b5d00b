//! Figures on real collections, which are too large for the repository: `SPARSE_DATA` names a folder with them.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::path::PathBuf;

use burn::tensor::Device;
use sparse_eval::{
    Bm25, Collection, Cutoffs, EvaluationRun, InformationRetrievalConfig, RetrievalFiles,
    RetrievalRun,
};
use sparse_model::SparseEncoder;

fn data() -> PathBuf {
    PathBuf::from(std::env::var_os("SPARSE_DATA").expect("SPARSE_DATA names a folder"))
}

/// Writes a run for `scripts/trec_eval.py` to the folder that `TREC_FOLDER` names, if it is set.
fn write_trec(run: &RetrievalRun, collection: &Collection, name: &str) {
    if let Some(folder) = std::env::var_os("TREC_FOLDER") {
        let path = PathBuf::from(folder).join(format!("{name}-{}.trec", run.name));
        run.write_trec(collection, &run.name, &path).unwrap();
    }
}

#[test]
#[ignore = "reads the collections in the folder SPARSE_DATA"]
fn bm25_reaches_its_known_figures() {
    let folder = data();
    let known = [
        ("scifact", [0.6635, 0.6316, 0.8859]),
        ("squadshifts-wiki", [0.8588, 0.8318, 0.9858]),
        ("debian-packages", [0.7203, 0.6847, 0.9276]),
    ];
    let cutoffs = Cutoffs {
        precision_recall_at_k: vec![100],
        ..Cutoffs::default()
    };
    for (name, expected) in known {
        let collection =
            Collection::load(&RetrievalFiles::in_folder(&folder.join(name), "test")).unwrap();
        let start = std::time::Instant::now();
        let run = Bm25::default().rank(&collection, 100).unwrap();
        write_trec(&run, &collection, name);
        let figures = cutoffs.figures(&collection, &run);
        println!("{name}: {figures:?} in {:?}", start.elapsed());
        for (key, expected) in ["ndcg@10", "mrr@10", "recall@100"]
            .into_iter()
            .zip(expected)
        {
            let value = figures.iter().find(|figure| figure.0 == key).unwrap().1;
            assert!(
                (value - expected).abs() < 5e-5 + 1e-9,
                "{name} {key}: {value}, not {expected}"
            );
        }
    }
}

#[test]
#[ignore = "reads a model and a collection in the folder SPARSE_DATA, and takes minutes"]
fn a_real_encoder_reaches_the_figures_of_the_reference() {
    let folder = data();
    let model = folder.join("splade-tiny-bert");
    let encoder =
        SparseEncoder::from_pretrained(model.to_str().unwrap(), &Device::default()).unwrap();
    let config = InformationRetrievalConfig {
        retrieval: Some(folder.join("scifact")),
        ..InformationRetrievalConfig::default()
    };
    let evaluator = config.init().unwrap();
    let start = std::time::Instant::now();
    let report = evaluator
        .report(&encoder, &encoder, &EvaluationRun::default())
        .unwrap();
    println!(
        "{}\n{:?}\n{:?}",
        report.metrics,
        report.costs,
        start.elapsed()
    );
    write_trec(&report.runs[0], evaluator.collection(), "scifact");
    for (key, expected, tolerance) in [
        ("dot_ndcg@10", 0.64665, 5e-4),
        ("dot_mrr@10", 0.61915, 5e-4),
        ("dot_accuracy@1", 0.55, 5e-4),
        ("dot_recall@10", 0.75778, 5e-4),
        ("dot_map@100", 0.61254, 5e-4),
        ("query_active_dims", 52.59, 1e-2),
        ("corpus_active_dims", 285.15, 1e-2),
        ("avg_flops", 10.337, 1e-3),
    ] {
        let value = report.metrics.get(key).unwrap();
        assert!(
            (value - expected).abs() <= tolerance,
            "{key}: {value}, not {expected}"
        );
    }
}
