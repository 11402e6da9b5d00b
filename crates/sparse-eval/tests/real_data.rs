//! Figures on real collections, which are too large for the repository: `SPARSE_DATA` names a folder with them.

use std::path::PathBuf;

use sparse_eval::{Bm25, Collection, Cutoffs, RetrievalFiles};

#[test]
#[ignore = "reads the collections in the folder SPARSE_DATA"]
fn bm25_reaches_its_known_figures() {
    let folder =
        PathBuf::from(std::env::var_os("SPARSE_DATA").expect("SPARSE_DATA names a folder"));
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
