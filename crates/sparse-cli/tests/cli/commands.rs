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
fn convert_writes_a_model_of_half_the_size() {
    let workshop = Workshop::new();
    let (model, output) = (model(), workshop.path("half"));
    let arguments = [
        "convert",
        "--model",
        model.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    stdout(&run(&[&arguments[..], &["--weights", "bf16"]].concat()));
    let size = |directory: &std::path::Path| {
        std::fs::metadata(directory.join("model.safetensors"))
            .unwrap()
            .len()
    };
    assert!(size(&output) < size(&model) * 6 / 10);
    let decode = |directory: &std::path::Path| {
        stdout(&run(&[
            "decode",
            "--model",
            directory.to_str().unwrap(),
            "the cat",
            "--top-k",
            "1",
        ]))
    };
    let token = |text: String| {
        text.lines()
            .nth(2)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(token(decode(&output)), token(decode(&model)));

    let refuse = |more: &[&str], part: &str| {
        let result = run(&[&arguments[..], more].concat());
        let message = String::from_utf8(result.stderr).unwrap();
        assert_eq!(result.status.code(), Some(2), "{message}");
        assert!(message.contains(part), "{message}");
    };
    refuse(&[], "is there already");
    std::fs::remove_dir_all(&output).unwrap();
    refuse(&["--merge-adapter"], "has no adapter to merge");
    assert!(!output.exists());
}

#[test]
fn devices_share_the_work_of_encode() {
    let workshop = Workshop::new();
    let texts: String = (0..50)
        .map(|number| format!("the cat sat {number} times\n"))
        .collect();
    workshop.write("texts.txt", texts.as_bytes());
    let (model, input) = (model(), workshop.path("texts.txt"));
    let arguments = [
        "encode",
        "--model",
        model.to_str().unwrap(),
        "--input",
        input.to_str().unwrap(),
    ];
    let rows = |text: String| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let one = rows(stdout(&run(&arguments)));
    let two = rows(stdout(&run(
        &[&arguments[..], &["--devices", "cpu,cpu"]].concat()
    )));
    assert_eq!(one.len(), 50);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!(one["id"], two["id"]);
        assert_eq!(one["indices"], two["indices"]);
    }
    let wrong = run(&[&arguments[..], &["--devices", "cpu,abacus"]].concat());
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("abacus"));
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
        "convert",
        "idf",
        "index",
        "search",
        "mine",
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
