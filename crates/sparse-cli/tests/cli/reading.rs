//! Inputs of every command: pipes, formats, ids, marks, titles, duplicates.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Workshop, binary, model, run, stdout};

/// Runs the binary with something on its standard input.
fn run_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = binary()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn ids(lines: &str) -> Vec<String> {
    lines
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            row["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

const CORPUS: &str = concat!(
    "\u{feff}{\"_id\": 9007199254740993, \"title\": null, \"text\": \"the cat\", \"metadata\": 1}\n",
    "{\"_id\": \"1.10\", \"title\": \"the\", \"text\": \"dog\", \"metadata\": \"x\"}\n",
    "{\"_id\": 18446744073709551615, \"text\": \"the cow\"}\n",
);
const IDS: [&str; 3] = ["9007199254740993", "1.10", "18446744073709551615"];

#[test]
fn every_command_reads_the_same_corpus_alike() {
    let workshop = Workshop::new();
    workshop.write("corpus.jsonl", CORPUS.as_bytes());
    let (model, corpus) = (model(), workshop.path("corpus.jsonl"));
    let (model, corpus) = (model.to_str().unwrap(), corpus.to_str().unwrap());
    let encoded = stdout(&run(&["encode", "--model", model, "--input", corpus]));
    assert_eq!(ids(&encoded), IDS);
    let piped = ["encode", "--model", model, "--format", "jsonl", "--input"];
    for input in ["-", "/dev/stdin"] {
        let piped = stdout(&run_with(
            &[&piped[..], &[input]].concat(),
            CORPUS.as_bytes(),
        ));
        assert_eq!(piped, encoded, "{input}");
    }
    let index = workshop.path("corpus.index");
    let index = index.to_str().unwrap();
    for (input, format) in [(corpus, "json"), ("-", "json")] {
        let arguments = [
            "index", "--model", model, "--output", index, "--format", format, "--input", input,
        ];
        let printed = stdout(&run_with(&arguments, CORPUS.as_bytes()));
        assert!(printed.starts_with("indexed 3 documents"), "{printed}");
    }
    let vectors = [
        "index",
        "--model",
        model,
        "--output",
        index,
        "--vectors",
        "-",
    ];
    let printed = stdout(&run_with(&vectors, encoded.as_bytes()));
    assert!(printed.starts_with("indexed 3 documents"), "{printed}");
    let queries = [
        "search",
        "--index",
        index,
        "--queries-format",
        "csv",
        "--queries",
        "-",
    ];
    let found = stdout(&run_with(
        &queries,
        "\u{feff}\"id\",text\n1.1,the cat\n1.10,the dog\n".as_bytes(),
    ));
    let found: Vec<Value> = found
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&found[0]["query_id"], &found[1]["query_id"]),
        (&"1.1".into(), &"1.10".into())
    );
    let table = workshop.path("idf.json");
    let table = table.to_str().unwrap();
    let idf = [
        "idf", "--model", model, "--table", table, "--format", "jsonl", "--input", "-",
    ];
    stdout(&run_with(&idf, CORPUS.as_bytes()));
    let pairs = b"query\tdocument\tscore\nwhat is a cat\tthe cat\tx\n";
    let mine = [
        "mine", "--model", model, "--format", "tsv", "--pairs", "-", "--corpus", corpus,
    ];
    let mined = stdout(&run_with(&mine, pairs));
    assert!(
        mined.contains("the dog") || mined.contains("the cow"),
        "{mined}"
    );
}

#[test]
fn repeated_ids_are_said_before_a_model_is_loaded() {
    let workshop = Workshop::new();
    workshop.write(
        "corpus.jsonl",
        b"{\"_id\": \"d1\", \"text\": \"one\"}\n{\"_id\": \"d2\", \"text\": \"two\"}\n{\"_id\": \"d1\", \"text\": \"three\"}\n",
    );
    let corpus = workshop.path("corpus.jsonl");
    let corpus = corpus.to_str().unwrap();
    let output = workshop.path("out");
    let output = output.to_str().unwrap();
    for command in ["encode", "index"] {
        let arguments = [
            command, "--model", "no/model", "--input", corpus, "--output", output,
        ];
        let message = refused(&run(&arguments));
        let expected = format!("`{corpus}`, row 3, column `_id`: repeats the id `d1` of row 1");
        assert!(message.contains(&expected), "{message}");
        assert!(!workshop.path("out").exists());
    }
}

#[test]
fn contradicting_judgements_are_refused_with_both_lines() {
    let workshop = Workshop::new();
    for split in ["train", "test"] {
        workshop.write(
            &format!("data/qrels/{split}.tsv"),
            b"0\t0\t1\n1\t1\t1\n0\t0\t0\n",
        );
    }
    let folder = workshop.path("data");
    let folder = folder.to_str().unwrap();
    let model = model();
    let model = model.to_str().unwrap();
    let mine = refused(&run(&["mine", "--model", model, "--retrieval", folder]));
    assert!(
        mine.contains("train.tsv`, line 3") && mine.contains("in line 1"),
        "{mine}"
    );
    let train = refused(&workshop.train(&[]));
    assert!(
        train.contains("test.tsv`, line 3") && train.contains("in line 1"),
        "{train}"
    );
}

#[test]
fn inputs_that_have_no_end_or_no_format_are_refused() {
    let workshop = Workshop::new();
    let model = model();
    let encode = ["encode", "--model", model.to_str().unwrap(), "--input"];
    let message = refused(&run_with(&[&encode[..], &["-"]].concat(), b"x\n"));
    assert!(
        message.contains("the format of `standard input` can't be told"),
        "{message}"
    );
    let message = refused(&run(&[&encode[..], &["-", "--format", "xml"]].concat()));
    assert!(
        message.contains("csv, tsv, json, parquet, arrow, text; got `xml`"),
        "{message}"
    );
    let message = refused(&run(
        &[&encode[..], &["/dev/zero", "--format", "csv"]].concat()
    ));
    assert!(message.contains("`/dev/zero`: is a device"), "{message}");
    let message = refused(&workshop.train(&["--set", "evaluator.0.retrieval=/dev/zero"]));
    assert!(message.contains("/dev/zero"), "{message}");
    workshop.write("data/queries.jsonl", b"");
    std::fs::remove_file(workshop.path("data/queries.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", workshop.path("data/queries.jsonl")).unwrap();
    let message = refused(&workshop.train(&[]));
    assert!(message.contains("queries.jsonl`: is a device"), "{message}");
}
