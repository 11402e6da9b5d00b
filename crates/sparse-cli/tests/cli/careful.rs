//! What would lose data or go wrong without a word: outputs over inputs, ids that occur twice, vectors of zeros, grades.

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
        vec!["idf", "--input", &corpus, "--table", &corpus],
    ] {
        let message = refused_before_loading(&arguments);
        assert!(
            message.contains("are the same file"),
            "{arguments:?}: {message}"
        );
        assert!(
            ["--output `", "--report `", "--table `"]
                .iter()
                .any(|option| message.contains(option)),
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
            message.contains("corpus.jsonl`, row 3")
                && message.contains("repeats the id `d1` of row 1"),
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
