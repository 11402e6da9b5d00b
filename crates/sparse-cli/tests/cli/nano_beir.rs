//! NanoBEIR from the hub, over real texts in the same layout.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use loopback_hub::LoopbackHub;
use serde_json::Value;
use sparse_encoder::data::{Column, Table};
use sparse_encoder::eval::NANO_BEIR_DATASETS;

use crate::support::{Workshop, binary, model, stdout};

const ID: &str = "sentence-transformers/NanoBEIR-en";

/// Queries, documents and judgements of one collection.
#[derive(Default)]
struct Small {
    queries: Vec<(String, String)>,
    corpus: Vec<(String, String)>,
    qrels: Vec<(String, String)>,
}

fn lines(path: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(path).unwrap();
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.map(|row| (row["_id"].as_str().unwrap().to_owned(), row))
        .collect()
}

/// Cuts Debian's package descriptions into thirteen collections of 4 queries and 12 documents.
fn collections() -> Vec<Small> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/debian-packages");
    let (queries, corpus) = (
        lines(&folder.join("queries.jsonl")),
        lines(&folder.join("corpus.jsonl")),
    );
    let qrels = fs::read_to_string(folder.join("qrels/test.tsv")).unwrap();
    let mut judged = qrels.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        (cells[0].to_owned(), cells[1].to_owned())
    });
    let mut others = corpus.iter().step_by(7);
    let text = |row: &Value| row["text"].as_str().unwrap().to_owned();
    let collection = |_| {
        let mut small = Small::default();
        for (query, document) in judged.by_ref().take(4) {
            small.queries.push((query.clone(), text(&queries[&query])));
            small
                .corpus
                .push((document.clone(), text(&corpus[&document])));
            small.qrels.push((query, document));
        }
        for (id, row) in others.by_ref().take(8) {
            if !small.corpus.iter().any(|known| known.0 == *id) {
                small.corpus.push((id.clone(), text(row)));
            }
        }
        // As some of the real ones have: a document without text.
        small.corpus.push(("empty".to_owned(), String::new()));
        small
    };
    (0..13).map(collection).collect()
}

fn parquet(folder: &Path, names: [&str; 2], rows: &[(String, String)]) -> Vec<u8> {
    let column = |side: fn(&(String, String)) -> String| {
        Column::from(rows.iter().map(side).collect::<Vec<_>>())
    };
    let table = Table::from_columns([
        (names[0], column(|row| row.0.clone())),
        (names[1], column(|row| row.1.clone())),
    ]);
    let path = folder.join("part.parquet");
    table.unwrap().write_parquet(&path).unwrap();
    fs::read(path).unwrap()
}

/// The same collections as folders of BEIR.
fn write_folder(folder: &Path, name: &str, small: &Small) {
    let folder = folder.join(name);
    fs::create_dir_all(folder.join("qrels")).unwrap();
    let json = |rows: &[(String, String)]| -> String {
        let line = |(id, text): &(String, String)| {
            serde_json::json!({"_id": id, "text": text}).to_string() + "\n"
        };
        rows.iter().map(line).collect()
    };
    fs::write(folder.join("queries.jsonl"), json(&small.queries)).unwrap();
    fs::write(folder.join("corpus.jsonl"), json(&small.corpus)).unwrap();
    let qrels: String = small
        .qrels
        .iter()
        .map(|(query, document)| format!("{query}\t{document}\t1\n"))
        .collect();
    fs::write(folder.join("qrels/test.tsv"), qrels).unwrap();
}

fn config(workshop: &Workshop, more: &str) {
    let text = format!(
        "[model]\nname_or_path = \"{}\"\n\n[[evaluator]]\ntype = \"nano_beir\"\n{more}\n",
        model().display()
    );
    workshop.write("train.toml", text.as_bytes());
}

fn evaluate(
    workshop: &Workshop,
    hub: &LoopbackHub,
    home: &Path,
    more: &[&str],
) -> std::process::Output {
    binary()
        .current_dir(workshop.folder.path())
        .args(["evaluate", "train.toml", "--quiet"])
        .args(more)
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .output()
        .unwrap()
}

#[test]
fn the_thirteen_collections_come_from_the_hub_in_either_layout() {
    let workshop = Workshop::new();
    let parts = collections();
    let hub = LoopbackHub::start();
    let (mut converted, mut own) = (Vec::new(), Vec::new());
    for (small, (_, split)) in parts.iter().zip(NANO_BEIR_DATASETS) {
        let folder = workshop.folder.path();
        for (config, bytes) in [
            ("corpus", parquet(folder, ["_id", "text"], &small.corpus)),
            ("queries", parquet(folder, ["_id", "text"], &small.queries)),
            (
                "qrels",
                parquet(folder, ["query-id", "corpus-id"], &small.qrels),
            ),
        ] {
            own.push((
                format!("{config}/{split}-00000-of-00001.parquet"),
                bytes.clone(),
            ));
            converted.push((config, split, bytes));
        }
        write_folder(&workshop.path("folders"), split, small);
    }
    hub.add_dataset(ID, own);

    config(&workshop, "folder = \"folders\"");
    let home: PathBuf = workshop.path("home");
    let expected: Value =
        serde_json::from_str(&stdout(&evaluate(&workshop, &hub, &home, &[]))).unwrap();
    assert!(expected["NanoBEIR_mean_dot_ndcg@10"].as_f64().unwrap() > 0.0);
    assert!(expected["NanoTouche2020_dot_ndcg@10"].is_number());

    // Its own files, then those of the conversion; then once more without the network.
    config(&workshop, "");
    let found = |home: &Path, more: &[&str]| -> Value {
        serde_json::from_str(&stdout(&evaluate(&workshop, &hub, home, more))).unwrap()
    };
    assert_eq!(found(&home, &[]), expected);
    hub.add_converted(ID, converted);
    let second = workshop.path("second");
    assert_eq!(found(&second, &[]), expected);
    hub.clear_requests();
    assert_eq!(found(&second, &["--local-files-only"]), expected);
    assert!(hub.requests().is_empty());
}

#[test]
fn what_the_hub_lacks_is_named() {
    let workshop = Workshop::new();
    let hub = LoopbackHub::start();
    let home = workshop.path("home");
    config(&workshop, "dataset_names = [\"nq\"]");
    let missing = evaluate(&workshop, &hub, &home, &[]);
    let message = String::from_utf8(missing.stderr).unwrap();
    assert_eq!(missing.status.code(), Some(2), "{message}");
    assert!(message.contains(ID), "{message}");

    let small = &collections()[0];
    let bytes = parquet(workshop.folder.path(), ["_id", "text"], &small.corpus);
    hub.add_dataset(ID, [("corpus/NanoNQ-00000-of-00001.parquet", bytes)]);
    let partial = evaluate(&workshop, &hub, &home, &[]);
    let message = String::from_utf8(partial.stderr).unwrap();
    assert_eq!(partial.status.code(), Some(2), "{message}");
    assert!(
        message.contains("configuration `queries`, split `NanoNQ`"),
        "{message}"
    );

    config(&workshop, "dataset_names = [\"nothing\"]");
    let unknown = evaluate(&workshop, &hub, &home, &[]);
    assert!(
        String::from_utf8(unknown.stderr)
            .unwrap()
            .contains("valid names are climatefever")
    );
}
