//! Index files that are damaged, of another model, or asked for with numbers that make no sense.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{Workshop, binary, model, run, stdout};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command says that refuses its input.
fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    stderr(&output)
}

#[test]
fn a_damaged_index_is_refused_without_being_asked_to_verify() {
    let workshop = Workshop::new();
    workshop.write(
        "vectors.jsonl",
        b"{\"id\": \"a\", \"indices\": [0, 1], \"values\": [1, 2]}\n{\"id\": \"b\", \"indices\": [1], \"values\": [3]}\n",
    );
    let (vectors, index) = (
        workshop.path("vectors.jsonl"),
        workshop.path("vectors.index"),
    );
    let arguments = [
        "index",
        "--dimensions",
        "2",
        "--vectors",
        text(&vectors),
        "--output",
        text(&index),
    ];
    stdout(&run(&arguments));
    let whole = fs::read(&index).unwrap();
    // Offsets, checksums, documents, values, ends of ids, ids: an array at every multiple of 64 bytes from the end.
    for array in 1..=6 {
        let mut bytes = whole.clone();
        let at = bytes.len() - 64 * array;
        bytes[at] ^= 4;
        fs::write(&index, bytes).unwrap();
        let message = refused(&[
            "search",
            "--index",
            text(&index),
            "--vectors",
            text(&vectors),
        ]);
        assert!(
            message.contains("vectors.index` is not a usable index file"),
            "{message}"
        );
    }
    for length in [0, 30, 64, whole.len() - 64] {
        fs::write(&index, &whole[..length]).unwrap();
        let message = refused(&[
            "search",
            "--index",
            text(&index),
            "--vectors",
            text(&vectors),
        ]);
        assert!(
            message.contains("vectors.index` is not a usable index file"),
            "{message}"
        );
    }
    let message = refused(&["search", "--index", text(workshop.folder.path()), "x"]);
    assert!(message.contains("it is no regular file"), "{message}");
}

#[test]
fn an_index_is_searched_with_the_model_it_was_built_with() {
    let workshop = Workshop::new();
    let (copied, elsewhere) = (workshop.copy_model(), tempfile::tempdir().unwrap());
    let in_folder = |arguments: &[&str]| {
        let mut command = binary();
        command.current_dir(workshop.folder.path()).args(arguments);
        command.output().unwrap()
    };
    let corpus = "data/corpus.jsonl";
    stdout(&in_folder(&[
        "index", "--model", "model", "--input", corpus, "--output", "i",
    ]));
    let index = workshop.path("i");
    let search = |more: &[&str]| {
        let mut command = binary();
        command.current_dir(elsewhere.path());
        command.args([
            "search",
            "--index",
            text(&index),
            "a fox",
            "--format",
            "jsonl",
        ]);
        command.args(more).output().unwrap()
    };
    // From any folder, by the index's own word or by another name of the model.
    let expected = stdout(&search(&[]));
    assert_eq!(stdout(&search(&["--model", text(&copied)])), expected);
    let (model, free) = (model(), workshop.path("free"));
    assert_eq!(stdout(&search(&["--model", text(&model)])), expected);

    let is_refused = |output: &Output| {
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let message = stderr(output);
        assert!(message.contains("is not the model that `"), "{message}");
        assert!(message.contains("--force"), "{message}");
    };
    // Its queries go another way.
    let arguments = [
        "idf", "--model", "model", "--input", corpus, "--output", "free",
    ];
    stdout(&in_folder(&arguments));
    is_refused(&search(&["--model", text(&free)]));
    let forced = search(&["--model", text(&free), "--force"]);
    assert!(stdout(&forced).contains("results"));
    assert!(stderr(&forced).contains("is not the model"), "{forced:?}");

    // A weight moves by the least that is possible.
    let weights = copied.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    is_refused(&search(&[]));
    stdout(&search(&["--force"]));

    fs::rename(&copied, workshop.path("moved")).unwrap();
    let output = search(&[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = stderr(&output);
    assert!(
        message.contains("the model that `") && message.contains("model`"),
        "{message}"
    );

    // Vectors may be from any model: nothing to compare.
    let arguments = [
        "encode",
        "--model",
        text(&model),
        "--input",
        corpus,
        "--output",
        "v.jsonl",
    ];
    stdout(&in_folder(&arguments));
    let arguments = [
        "index",
        "--vectors",
        "v.jsonl",
        "--model",
        text(&model),
        "--output",
        "i",
    ];
    stdout(&in_folder(&arguments));
    stdout(&search(&["--model", text(&free)]));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let workshop = Workshop::new();
    workshop.write(
        "v.jsonl",
        b"{\"id\": \"a\", \"indices\": [0], \"values\": [1]}\n",
    );
    let (vectors, index) = (workshop.path("v.jsonl"), workshop.path("v.index"));
    let build = |dimensions: &str| {
        let (vectors, index) = (text(&vectors), text(&index));
        run(&[
            "index",
            "--vectors",
            vectors,
            "--dimensions",
            dimensions,
            "--output",
            index,
        ])
    };
    for dimensions in ["0", "20000000", "18446744073709551615"] {
        let output = build(dimensions);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let message = stderr(&output);
        assert!(
            message.contains("`dimensions` must lie between 1 and 16777216"),
            "{message}"
        );
    }
    stdout(&build("3"));
    let found = |more: &[&str]| {
        let arguments = [
            "search",
            "--index",
            text(&index),
            "--vectors",
            text(&vectors),
        ];
        run(&[&arguments[..], more].concat())
    };
    assert!(stdout(&found(&["--top-k", "18446744073709551615"])).contains("\"a\""));
    for option in ["--top-k", "--max-active-dims", "--batch-size"] {
        let output = found(&[option, "0"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(
            stderr(&output).contains("at least 1"),
            "{}",
            stderr(&output)
        );
    }
    let output = found(&["--format", "trec", "--tag", "my run"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        stderr(&output).contains("--tag must be one word"),
        "{}",
        stderr(&output)
    );
    let values = |line: &str| {
        workshop.write("v.jsonl", line.as_bytes());
        let output = build("3");
        assert_eq!(output.status.code(), Some(2), "{line}: {output:?}");
        stderr(&output)
    };
    for line in [
        "{\"id\": \"a\", \"indices\": [1, 0], \"values\": [1, 1]}\n",
        "{\"id\": \"a\", \"indices\": [1, 1], \"values\": [1, 1]}\n",
        "{\"id\": \"a\", \"indices\": [-1], \"values\": [1]}\n",
        "{\"id\": \"a\", \"indices\": [3], \"values\": [1]}\n",
        "{\"id\": \"a\", \"indices\": [0], \"values\": [NaN]}\n",
        "{\"id\": \"a\", \"indices\": [0], \"values\": []}\n",
    ] {
        let message = values(line);
        assert!(
            message.contains("v.jsonl") && message.contains("line 1"),
            "{message}"
        );
    }
    let line = "{\"id\": \"a\", \"indices\": [1], \"values\": [1]}\n";
    let message = values(&line.repeat(2));
    assert!(
        message.contains("v.jsonl`: document id `a` occurs twice"),
        "{message}"
    );
    let message = values("");
    assert!(
        message.contains("v.jsonl`: the corpus holds no document"),
        "{message}"
    );
}
