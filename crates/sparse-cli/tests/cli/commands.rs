//! Commands that look at a model.

use serde_json::Value;

use crate::support::{Workshop, model, run, stdout};

#[test]
fn encode_writes_sorted_sparse_vectors() {
    let workshop = Workshop::new();
    workshop.write("texts.txt", b"the cat sat\n\na dog\n");
    let (model, input) = (model(), workshop.path("texts.txt"));
    let arguments = [
        "encode",
        "--model",
        model.to_str().unwrap(),
        "--input",
        input.to_str().unwrap(),
    ];
    let text = stdout(&run(&arguments));
    let rows: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 3);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row["id"], number);
        let indices: Vec<u64> = row["indices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|index| index.as_u64().unwrap())
            .collect();
        assert!(indices.is_sorted() && !indices.is_empty());
        assert_eq!(row["values"].as_array().unwrap().len(), indices.len());
    }

    // The same vectors in a file, and cut to four dimensions.
    let output = workshop.path("vectors.jsonl");
    stdout(&run(&[
        &arguments[..],
        &["--output", output.to_str().unwrap()],
    ]
    .concat()));
    assert_eq!(std::fs::read_to_string(&output).unwrap(), text);
    let cut = stdout(&run(&[&arguments[..], &["--max-active-dims", "4"]].concat()));
    assert!(cut.lines().all(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["indices"].as_array().unwrap().len() == 4
    }));
    let tokens = stdout(&run(&[
        &arguments[..],
        &["--tokens", "--max-active-dims", "2"],
    ]
    .concat()));
    let first: Value = serde_json::from_str(tokens.lines().next().unwrap()).unwrap();
    assert_eq!(first.as_object().unwrap().len(), 2);

    let parquet = workshop.path("vectors.parquet");
    stdout(&run(&[
        &arguments[..],
        &["--output", parquet.to_str().unwrap()],
    ]
    .concat()));
    assert!(std::fs::read(parquet).unwrap().starts_with(b"PAR1"));
}

#[test]
fn ids_and_columns_are_taken_from_the_file() {
    let workshop = Workshop::new();
    workshop.write(
        "texts.jsonl",
        b"{\"_id\": \"x\", \"body\": \"a cat\", \"title\": \"t\"}\n",
    );
    let (model, input) = (model(), workshop.path("texts.jsonl"));
    let arguments = [
        "encode",
        "--model",
        model.to_str().unwrap(),
        "--input",
        input.to_str().unwrap(),
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("choose one with --column"), "{message}");
    let text = stdout(&run(&[&arguments[..], &["--column", "body"]].concat()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], "x");
}

#[test]
fn decode_and_similarity_show_tokens() {
    let model = model();
    let model = model.to_str().unwrap();
    let text = stdout(&run(&[
        "decode", "--model", model, "the cat", "--top-k", "3",
    ]));
    assert_eq!(
        text.lines().count(),
        6,
        "a header, a rule, three tokens, a summary: {text}"
    );
    assert!(text.contains("of 1200 dimensions are active"), "{text}");
    let text = stdout(&run(&[
        "similarity",
        "--model",
        model,
        "the cat",
        "the cat",
    ]));
    assert!(text.starts_with("dot "), "{text}");
    assert!(text.contains("active dimensions: query"), "{text}");
    let text = stdout(&run(&["inspect", "--model", model]));
    for part in ["Transformer", "SpladePooling", "ln(1 + max(0, ", "max"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn evaluate_prints_and_writes_metrics() {
    let workshop = Workshop::new();
    let output = crate::support::binary()
        .current_dir(workshop.folder.path())
        .args(["evaluate", "train.toml", "--output", "metrics.json"])
        .output()
        .unwrap();
    let metrics: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let ndcg = metrics["animals_dot_ndcg@10"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&ndcg));
    assert!(metrics["animals_avg_flops"].as_f64().unwrap() > 0.0);
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(workshop.path("metrics.json")).unwrap())
            .unwrap();
    assert_eq!(written, metrics);
}

#[test]
fn every_command_has_an_example() {
    for command in [
        "train",
        "encode",
        "evaluate",
        "similarity",
        "decode",
        "inspect",
        "idf",
        "push",
    ] {
        let text = stdout(&run(&[command, "--help"]));
        assert!(
            text.contains(&format!("Example: sparse-encoder {command}")),
            "{text}"
        );
        assert!(text.contains("--device"), "{text}");
    }
}
