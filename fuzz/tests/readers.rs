//! A few mutations for every reader; `cargo xtask fuzz` runs many.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use sparse_fuzz::campaign::{self, Campaign};
use sparse_fuzz::targets::find;

const MUTATIONS: u64 = 200;

fn holds(target: &str) {
    let folder = tempfile::tempdir().unwrap();
    let campaign = Campaign {
        program: env!("CARGO_BIN_EXE_sparse-fuzz").into(),
        folder: folder.path().to_owned(),
        targets: vec![find(target).unwrap()],
        mutations: MUTATIONS,
        seed: 0,
        processes: 1,
    };
    let tallies = campaign.run().unwrap();
    assert_eq!(tallies[0].inputs(), MUTATIONS);
    assert_eq!(
        tallies[0].failed,
        0,
        "\n{}",
        campaign::report(&campaign, &tallies)
    );
    // An input that changes nothing of importance is read, one that does is refused: a target where either is missing tests
    // nothing.
    assert!(
        tallies[0].ok > 0 && tallies[0].refused > 0,
        "{:?}",
        tallies[0]
    );
}

macro_rules! readers {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        #[test]
        fn no_reader_is_left_out() {
            let names = [$(stringify!($name)),*];
            let targets = sparse_fuzz::targets::TARGETS.each_ref().map(|target| target.name);
            assert_eq!(names.as_slice(), targets.as_slice());
        }
    };
}

readers!(
    tokenizer,
    config,
    safetensors,
    pickle,
    csv,
    json,
    jsonl,
    parquet,
    arrow,
    compressed,
    trec,
    qrels,
    retrieval,
    index,
    vectors,
    checkpoint,
    training,
);
