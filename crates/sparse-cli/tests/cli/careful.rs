//! What would lose data or go wrong without a word: outputs over inputs, ids that occur twice, vectors of zeros, damaged
//! indexes.

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

/// A command that must stop before it needs the model, which isn't there.
fn refused_before_loading(arguments: &[&str]) -> String {
    refused(&[arguments, &["--model", "/nowhere/at/all"]].concat())
}

#[test]
fn no_output_takes_the_place_of_an_input() {
    let workshop = Workshop::new();
    let path = |name: &str| text(&workshop.path(name)).to_owned();
    let (corpus, pairs) = (path("data/corpus.jsonl"), path("pairs.tsv"));
    let dotted = path("./data/../data/corpus.jsonl");
    let before = fs::read(&corpus).unwrap();
    let data = path("data");
    for arguments in [
        vec!["encode", "--input", &corpus, "--output", &corpus],
        vec!["encode", "--input", &dotted, "--output", &corpus],
        vec!["encode", "--input", &data, "--output", &corpus],
        vec!["index", "--input", &corpus, "--output", &dotted],
        vec!["mine", "--retrieval", &data, "--output", &corpus],
        vec![
            "mine", "--pairs", &pairs, "--corpus", &corpus, "--report", &corpus,
        ],
        vec!["mine", "--pairs", &pairs, "--output", &pairs],
    ] {
        let message = refused_before_loading(&arguments);
        assert!(
            message.contains("are the same file"),
            "{arguments:?}: {message}"
        );
        assert!(
            message.contains("--output `") || message.contains("--report `"),
            "{message}"
        );
    }
    assert_eq!(fs::read(&corpus).unwrap(), before);

    let vectors = path("vectors.jsonl");
    fs::write(&vectors, "{\"id\": 1, \"indices\": [0], \"values\": [1]}\n").unwrap();
    let message = refused(&[
        "index",
        "--dimensions",
        "3",
        "--vectors",
        &vectors,
        "--output",
        &vectors,
    ]);
    assert!(message.contains("--vectors"), "{message}");
    let index = path("vectors.index");
    let arguments = [
        "index",
        "--dimensions",
        "3",
        "--vectors",
        &vectors,
        "--output",
        &index,
    ];
    stdout(&run(&arguments));
    let before = fs::read(&index).unwrap();
    for output in [&index, &vectors] {
        let message = refused(&[
            "search",
            "--index",
            &index,
            "--vectors",
            &vectors,
            "--output",
            output,
        ]);
        assert!(message.contains("--output `"), "{message}");
    }
    #[cfg(unix)]
    {
        let link = path("link");
        std::os::unix::fs::symlink(&index, &link).unwrap();
        let message = refused(&[
            "search",
            "--index",
            &link,
            "--vectors",
            &vectors,
            "--output",
            &index,
        ]);
        assert!(message.contains("link"), "{message}");
    }
    assert_eq!(fs::read(&index).unwrap(), before);

    for output in ["train.toml", "data/corpus.jsonl"] {
        let output = binary()
            .current_dir(workshop.folder.path())
            .args(["evaluate", "train.toml", "--output", output])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(stderr(&output).contains("are the same file"), "{output:?}");
    }
}

#[test]
fn ids_that_occur_twice_are_told_before_a_model_is_loaded() {
    let workshop = Workshop::new();
    workshop.write(
        "corpus.jsonl",
        b"{\"_id\": \"d1\", \"text\": \"one\"}\n{\"_id\": \"d2\", \"text\": \"two\"}\n{\"_id\": \"d1\", \"text\": \"another one\"}\n",
    );
    let (corpus, output) = (workshop.path("corpus.jsonl"), workshop.path("out.jsonl"));
    for command in ["index", "encode"] {
        let message =
            refused_before_loading(&[command, "--input", text(&corpus), "--output", text(&output)]);
        assert!(
            message.contains("corpus.jsonl`: `_id` d1 occurs twice, in rows 1 and 3"),
            "{command}: {message}"
        );
    }
    assert!(!output.exists());
}

#[test]
fn vectors_without_an_active_dimension_are_counted() {
    let workshop = Workshop::new();
    workshop.write(
        "vectors.jsonl",
        b"{\"id\": \"a\", \"indices\": [0], \"values\": [1]}\n{\"id\": \"b\", \"indices\": [], \"values\": []}\n\
          {\"id\": \"c\", \"indices\": [2], \"values\": [0]}\n",
    );
    let (vectors, index) = (
        workshop.path("vectors.jsonl"),
        workshop.path("vectors.index"),
    );
    let arguments = [
        "index",
        "--dimensions",
        "3",
        "--vectors",
        text(&vectors),
        "--output",
        text(&index),
    ];
    let output = run(&arguments);
    assert!(stdout(&output).starts_with("indexed 3 documents"));
    let warning = "2 of 3 vectors are all zero, so that nothing is similar to them: `b`, `c`";
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));
    let output = run(&[
        "search",
        "--index",
        text(&index),
        "--vectors",
        text(&vectors),
    ]);
    assert!(stderr(&output).contains(warning), "{}", stderr(&output));

    // A query of an inference-free model has the weights of its tokens: no token, no weight.
    let (model, corpus) = (model(), workshop.path("data/corpus.jsonl"));
    let free = workshop.path("free");
    let arguments = [
        "idf",
        "--model",
        text(&model),
        "--input",
        text(&corpus),
        "--output",
        text(&free),
    ];
    stdout(&run(&arguments));
    workshop.write("queries.jsonl", b"{\"_id\": \"q\", \"text\": \"\"}\n");
    let queries = workshop.path("queries.jsonl");
    let arguments = [
        "encode",
        "--task",
        "query",
        "--model",
        text(&free),
        "--input",
        text(&queries),
    ];
    let output = run(&arguments);
    assert!(stdout(&output).contains("\"indices\":[]"));
    assert!(
        stderr(&output).contains("1 of 1 vectors are all zero"),
        "{}",
        stderr(&output)
    );
    let output = run(&["decode", "--task", "query", "--model", text(&free), ""]);
    assert!(
        stderr(&output).contains("1 of 1 vectors are all zero"),
        "{}",
        stderr(&output)
    );
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
fn grades_are_told_and_count_on_request() {
    let workshop = Workshop::new();
    let judgements = "0\t0\t1\n0\t1\t1\n0\t2\t3\n1\t1\t1\n";
    workshop.write(
        "data/qrels/test.tsv",
        format!("query-id\tcorpus-id\tscore\n{judgements}").as_bytes(),
    );
    let evaluate = |more: &[&str]| {
        let mut command = binary();
        command.current_dir(workshop.folder.path());
        command.args(["evaluate", "train.toml"]).args(more);
        let output = command.output().unwrap();
        let figures: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        (figures, stderr(&output))
    };
    let (plain, message) = evaluate(&[]);
    assert!(
        message.contains(
            "test.tsv`: 1 of 4 relevant judgements have another grade than 1 and count as 1"
        ),
        "{message}"
    );
    let (graded, message) = evaluate(&["--set", "evaluator.0.graded_gains=true"]);
    assert!(!message.contains("another grade"), "{message}");
    let figure = |figures: &serde_json::Value, name: &str| {
        figures[format!("animals_dot_{name}")].as_f64().unwrap()
    };
    assert_ne!(figure(&plain, "ndcg@10"), figure(&graded, "ndcg@10"));
    assert_eq!(figure(&plain, "map@100"), figure(&graded, "map@100"));
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

#[test]
fn scores_that_contradict_each_other_are_refused() {
    let workshop = Workshop::new();
    workshop.write(
        "scores.tsv",
        b"query\tdocument\tscore\nq\td\t1\nq\td\t1.0\nq\td\t2\n",
    );
    let (pairs, scores) = (workshop.path("pairs.tsv"), workshop.path("scores.tsv"));
    let message =
        refused_before_loading(&["mine", "--pairs", text(&pairs), "--scores", text(&scores)]);
    assert!(
        message.contains("scores.tsv`, row 3: the score 2 of this query and document contradicts that of row 2, 1"),
        "{message}"
    );
}
