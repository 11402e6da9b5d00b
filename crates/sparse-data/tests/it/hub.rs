//! Data sets of the hub, from a hub on the loopback address.

use std::process::Command;

use loopback_hub::LoopbackHub;
use sparse_data::{DatasetConfig, StreamingTable};

use crate::remote::parquet;
use crate::{failure, load, texts};

/// Runs the test of this name in a process of its own whose environment leads to `hub`; `true` in that process.
fn in_process(test: &str, start: impl FnOnce() -> LoopbackHub) -> bool {
    const MARK: &str = "SPARSE_DATA_HUB_TEST";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let hub = start();
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("hub::{test}")])
        .env(MARK, "1")
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", home.path())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[test]
fn subsets_and_splits_are_found() {
    let start = || {
        let hub = LoopbackHub::start();
        hub.add_converted(
            "org/nli",
            [
                ("pair", "train", parquet(0..3)),
                ("pair", "train", parquet(3..5)),
                ("pair", "dev", parquet(5..7)),
                ("triplet", "train", parquet(7..8)),
            ],
        );
        hub.add_converted("org/one", [("default", "train", parquet(0..2))]);
        hub
    };
    if !in_process("subsets_and_splits_are_found", start) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let queries = |toml: &str| texts(&load(root, toml).unwrap(), "query");
    let pair = "hub = 'org/nli'\nsubset = 'pair'\n";
    assert_eq!(
        queries(&format!("{pair}split = 'train[1:]+dev[:1]'")),
        ["q1", "q2", "q3", "q4", "q5"]
    );
    assert_eq!(queries("hub = 'org/nli'\nsubset = 'triplet'"), ["q7"]);
    assert_eq!(
        queries("hub = 'org/one'\ncolumns = ['query']"),
        ["q0", "q1"]
    );

    assert_eq!(
        failure(root, "hub = 'org/nli'"),
        "`subset` is missing: `org/nli` has the subsets `pair`, `triplet`"
    );
    assert_eq!(
        failure(root, "hub = 'org/nli'\nsubset = 'triplets'"),
        "`org/nli` has no subset `triplets`; did you mean `triplet`?; it has `pair`, `triplet`"
    );
    // The order of the splits is the repository's.
    let known = ["`train`", "`dev`"];
    for toml in [pair.to_owned(), format!("{pair}split = 'test'")] {
        let message = failure(root, &toml);
        assert!(known.iter().all(|name| message.contains(name)), "{message}");
    }
    let message = failure(root, "hub = 'org/none'");
    assert!(
        message.contains("no data set `org/none`") || message.contains("no dataset `org/none`"),
        "{message}"
    );
    assert!(failure(root, "hub = 'no id'").contains("can't be the id of a repository"));
    assert_eq!(
        failure(root, "hub = 'org/one'\ncolumns = ['qury']"),
        "`org/one: default/train/0000.parquet` has no column `qury`; did you mean `query`?; it has `query`"
    );

    let stream = StreamingTable::open(&DatasetConfig {
        hub: Some("org/nli".to_owned()),
        subset: Some("pair".to_owned()),
        split: Some("train".to_owned()),
        ..DatasetConfig::default()
    });
    assert_eq!(stream.unwrap().num_rows(), 5);
}

#[test]
fn what_the_hub_did_not_convert_is_read_from_the_repository() {
    let start = || {
        let hub = LoopbackHub::start();
        hub.add_dataset(
            "org/raw",
            [
                ("README.md", b"about".to_vec()),
                (
                    "fine/train.jsonl",
                    b"{\"query\": \"a\"}\n{\"query\": \"b\"}\n".to_vec(),
                ),
                ("fine/test.jsonl", b"{\"query\": \"c\"}\n".to_vec()),
                (
                    "broken/train.jsonl",
                    b"{\"query\": \"a\"}\n{\"query\": 1}\n".to_vec(),
                ),
            ],
        );
        hub
    };
    if !in_process(
        "what_the_hub_did_not_convert_is_read_from_the_repository",
        start,
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let raw = "hub = 'org/raw'\nrevision = 'main'\n";
    let fine = format!("{raw}subset = 'fine'\n");
    assert_eq!(
        texts(
            &load(root, &format!("{fine}split = 'test+train[:1]'")).unwrap(),
            "query"
        ),
        ["c", "a"]
    );
    assert_eq!(
        failure(root, &fine),
        "`split` is missing: `org/raw` has the splits `train`, `test`"
    );
    assert_eq!(
        failure(root, &format!("{raw}subset = 'fin'")),
        "`org/raw` has no subset `fin`; did you mean `fine`?; it has `broken`, `fine`"
    );
    assert_eq!(
        failure(root, "hub = 'org/raw'\nsubset = 'broken'"),
        "`org/raw: broken/train.jsonl`, row 2 (line 2), column `query`: is a whole number, and a text in an earlier row"
    );
}
