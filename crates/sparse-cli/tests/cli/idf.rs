//! `idf`: token weights of a corpus, and the encoder made of them.

use serde_json::Value;

use crate::support::{Workshop, model, run, stdout};

fn workshop() -> Workshop {
    let workshop = Workshop::new();
    workshop.write(
        "corpus.jsonl",
        b"{\"_id\": \"1\", \"title\": \"the\", \"text\": \"cat cat\"}\n{\"_id\": \"2\", \"title\": null, \"text\": \"the dog\"}\n",
    );
    workshop
}

#[test]
fn weights_are_those_of_the_formula_and_make_queries() {
    let workshop = workshop();
    let (model, corpus) = (model(), workshop.path("corpus.jsonl"));
    let (table, output) = (workshop.path("idf.json"), workshop.path("inference-free"));
    let arguments = [
        "idf",
        "--model",
        model.to_str().unwrap(),
        "--input",
        corpus.to_str().unwrap(),
        "--table",
        table.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    stdout(&run(&arguments));
    let weights: Value = serde_json::from_str(&std::fs::read_to_string(&table).unwrap()).unwrap();
    // `the` is in both documents: ln(1 + 0.5/2.5); a token of none: ln(1 + 2.5/0.5).
    let close = |token: &str, expected: f64| {
        let weight = weights[token].as_f64().unwrap();
        assert!((weight - expected).abs() < 1e-6, "{token}: {weight}");
    };
    close("the", 0.182_321_556_793_954_6);
    close("[PAD]", 1.791_759_469_228_055);

    // A query is its tokens with these weights.
    let text = stdout(&run(&[
        "decode",
        "--model",
        output.to_str().unwrap(),
        "--task",
        "query",
        "the the",
    ]));
    assert!(text.contains("the") && text.contains("0.1823"), "{text}");
    assert!(text.contains("1 of 1200 dimensions are active"), "{text}");
    // Documents are those of the model.
    let decode = |model: &str| stdout(&run(&["decode", "--model", model, "the cat"]));
    assert_eq!(
        decode(output.to_str().unwrap()),
        decode(model.to_str().unwrap())
    );
    let text = stdout(&run(&["inspect", "--model", output.to_str().unwrap()]));
    assert!(text.contains("SparseStaticEmbedding"), "{text}");

    // The table again, into a second encoder: the same queries, frozen.
    let second = workshop.path("second");
    stdout(&run(&[
        "idf",
        "--model",
        model.to_str().unwrap(),
        "--weights",
        table.to_str().unwrap(),
        "--output",
        second.to_str().unwrap(),
        "--frozen",
    ]));
    let read = |path: &str| std::fs::read(second.join(path)).unwrap();
    let config = String::from_utf8(read("query_0_SparseStaticEmbedding/config.json")).unwrap();
    assert!(config.contains("\"frozen\": true"), "{config}");
    let weights = "query_0_SparseStaticEmbedding/model.safetensors";
    assert_eq!(read(weights), std::fs::read(output.join(weights)).unwrap());
}

#[test]
fn wrong_input_is_refused() {
    let workshop = workshop();
    let (model, corpus) = (model(), workshop.path("corpus.jsonl"));
    let output = workshop.path("out");
    let refuse = |arguments: &[&str], part: &str| {
        let start = ["idf", "--model", model.to_str().unwrap()];
        let output = run(&[&start, arguments].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(part), "{part}: {text}");
    };
    let (corpus, target) = (corpus.to_str().unwrap(), output.to_str().unwrap());
    refuse(&["--output", target], "--input");
    refuse(&["--input", corpus], "--output");
    refuse(
        &["--input", corpus, "--output", target, "--column", "txet"],
        "text",
    );
    workshop.write("weights.json", b"[1, 2]");
    let weights = workshop.path("weights.json");
    refuse(
        &["--weights", weights.to_str().unwrap(), "--output", target],
        "weights.json",
    );
    assert!(!output.exists());
}
