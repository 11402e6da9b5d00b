//! Run files, judgements and folders of a test collection.

use std::path::Path;

use sparse_encoder::data::Retrieval;
use sparse_encoder::eval::{Bm25, Collection, Cutoffs, RetrievalFiles, RetrievalRun, read_trec};

use super::{Reading, Target};
use crate::files::Files;
use crate::seeds;

pub(super) const TREC: Target = Target {
    name: "trec",
    batch: 2000,
    seeds: || {
        let run: String = (0..6)
            .map(|n| format!("q{} Q0 d{} {} {}.5 run\n", n / 3, n % 4, n % 3 + 1, 9 - n))
            .collect();
        let mut files = seeds::retrieval_folder();
        files.insert("run.trec".to_owned(), run.into());
        Ok(vec![files])
    },
    may_change: |name| name == "run.trec",
    read: read_run,
};

pub(super) const QRELS: Target = Target {
    name: "qrels",
    batch: 2000,
    seeds,
    may_change: |name| name.contains("/qrels/"),
    read: read_folder,
};

pub(super) const FOLDER: Target = Target {
    name: "retrieval",
    batch: 2000,
    seeds,
    may_change: |name| name.ends_with(".jsonl"),
    read: read_folder,
};

#[expect(clippy::unnecessary_wraps, reason = "other targets fail to make seeds")]
fn seeds() -> crate::Result<Vec<Files>> {
    Ok(vec![seeds::retrieval_folder()])
}

fn collection() -> sparse_encoder::eval::Result<Collection> {
    Collection::load(&RetrievalFiles::in_folder(Path::new("data"), "test"))
}

fn read_run(reading: &mut Reading) {
    let path = Path::new("run.trec");
    reading.read(read_trec(path));
    let Some(collection) = reading.read(collection()) else {
        return;
    };
    if let Some(run) = reading.read(RetrievalRun::read_trec(path, &collection)) {
        check_figures(reading, &collection, &run);
    }
}

/// The folder as training and as evaluation read it.
fn read_folder(reading: &mut Reading) {
    if let Some(folder) = reading.read(Retrieval::open("data")) {
        for split in reading.read(folder.splits()).into_iter().flatten() {
            reading.read(folder.judgements(&split));
            reading.read(folder.training_pairs(&split));
        }
        for query in 0..folder.num_queries() {
            reading.read(folder.query_text(query));
        }
        for document in 0..folder.num_documents() {
            reading.read(folder.document_text(document));
        }
    }
    if let Some(collection) = reading.read(collection())
        && let Some(run) = reading.used(Bm25::default().rank(&collection, 10))
    {
        check_figures(reading, &collection, &run);
    }
}

fn check_figures(reading: &mut Reading, collection: &Collection, run: &RetrievalRun) {
    for (name, value) in Cutoffs::default().figures(collection, run) {
        reading.require((0.0..=1.0).contains(&value), || {
            format!("{name} is {value}")
        });
    }
}
