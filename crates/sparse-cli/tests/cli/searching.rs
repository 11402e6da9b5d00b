//! `index`, `search`, `mine`, and what `evaluate` says beyond metrics.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::{Workshop, binary, model, run, stdout};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An index over the corpus of the workshop.
fn indexed(workshop: &Workshop) -> String {
    let (model, corpus) = (model(), workshop.path("data/corpus.jsonl"));
    let index = workshop.path("corpus.index");
    let printed = stdout(&run(&[
        "index",
        "--model",
        text(&model),
        "--input",
        text(&corpus),
        "--output",
        text(&index),
    ]));
    assert!(printed.starts_with("indexed 16 documents"), "{printed}");
    text(&index).to_owned()
}

/// The same documents in the same order; texts that are encoded beside others differ by rounding.
fn assert_alike(a: &Value, b: &Value) {
    let (a, b) = (
        a["results"].as_array().unwrap(),
        b["results"].as_array().unwrap(),
    );
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a["corpus_id"], b["corpus_id"]);
        let (a, b) = (a["score"].as_f64().unwrap(), b["score"].as_f64().unwrap());
        assert!((a - b).abs() <= 1e-4 * a.abs(), "{a}, {b}");
    }
}

fn rankings(jsonl: &str) -> Vec<Value> {
    jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn texts_are_indexed_and_searched() {
    let workshop = Workshop::new();
    let index = indexed(&workshop);
    let table = stdout(&run(&[
        "search",
        "--index",
        &index,
        "what is a fox",
        "--top-k",
        "3",
    ]));
    assert_eq!(table.lines().count(), 1 + 2 + 3 + 1, "{table}");
    assert!(table.starts_with("what is a fox\ndocument"), "{table}");

    // The same query from stdin, from a file, and as a vector.
    let mut child = binary()
        .args(["search", "--index", &index])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"what is a fox\nwhat is a bee\n")
        .unwrap();
    let from_stdin = rankings(&stdout(&child.wait_with_output().unwrap()));
    assert_eq!(from_stdin.len(), 2);
    assert_eq!(from_stdin[0]["query"], "what is a fox");
    assert_eq!(from_stdin[0]["results"].as_array().unwrap().len(), 10);

    let queries = workshop.path("data/queries.jsonl");
    let from_file = rankings(&stdout(&run(&[
        "search",
        "--index",
        &index,
        "--queries",
        text(&queries),
        "--verify",
    ])));
    assert_eq!(from_file.len(), 16);
    let fox = from_file
        .iter()
        .find(|ranking| ranking["query"] == "what is a fox")
        .unwrap();
    assert_eq!(fox["query_id"], "4");
    assert_alike(fox, &from_stdin[0]);

    let vectors = workshop.path("queries.parquet");
    let model = model();
    stdout(&run(&[
        "encode",
        "--model",
        text(&model),
        "--task",
        "query",
        "--input",
        text(&queries),
        "--output",
        text(&vectors),
    ]));
    let from_vectors = rankings(&stdout(&run(&[
        "search",
        "--index",
        &index,
        "--vectors",
        text(&vectors),
    ])));
    for (a, b) in from_vectors.iter().zip(&from_file) {
        assert_eq!(a["query_id"], b["query_id"]);
        assert_alike(a, b);
    }

    // More than there are, and a TREC file by its ending.
    let trec = workshop.path("run.trec");
    stdout(&run(&[
        "search",
        "--index",
        &index,
        "--queries",
        text(&queries),
        "--top-k",
        "1000",
        "--output",
        text(&trec),
        "--tag",
        "ours",
    ]));
    let lines = fs::read_to_string(&trec).unwrap();
    assert_eq!(lines.lines().count(), 16 * 16);
    assert!(lines.lines().all(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        words.len() == 6 && words[1] == "Q0" && words[5] == "ours"
    }));
}

#[test]
fn vectors_are_indexed_as_their_texts_are() {
    let workshop = Workshop::new();
    let expected = indexed(&workshop);
    let (model, corpus) = (model(), workshop.path("data/corpus.jsonl"));
    for name in ["vectors.jsonl", "vectors.parquet"] {
        let vectors = workshop.path(name);
        stdout(&run(&[
            "encode",
            "--model",
            text(&model),
            "--input",
            text(&corpus),
            "--output",
            text(&vectors),
        ]));
        let index = workshop.path(&format!("{name}.index"));
        stdout(&run(&[
            "index",
            "--vectors",
            text(&vectors),
            "--model",
            text(&model),
            "--output",
            text(&index),
        ]));
        let found = |index: &str| {
            rankings(&stdout(&run(&[
                "search",
                "--index",
                index,
                "--queries",
                text(&corpus),
            ])))
        };
        for (a, b) in found(text(&index)).iter().zip(&found(&expected)) {
            assert_eq!(a["query_id"], b["query_id"]);
            assert_alike(a, b);
        }
        // Without a model, the dimensions must be given, and search must be told the model.
        let arguments = [
            "index",
            "--vectors",
            text(&vectors),
            "--output",
            text(&index),
        ];
        let message = refused(&run(&arguments));
        assert!(message.contains("give --dimensions"), "{message}");
        stdout(&run(&[&arguments[..], &["--dimensions", "1200"]].concat()));
        let message = refused(&run(&["search", "--index", text(&index), "a fox"]));
        assert!(message.contains("give --model"), "{message}");
        stdout(&run(&[
            "search",
            "--index",
            text(&index),
            "a fox",
            "--model",
            text(&model),
        ]));
        let message = refused(&run(&[&arguments[..], &["--dimensions", "12"]].concat()));
        assert!(message.contains("dimensions"), "{message}");
    }
}

#[test]
fn cosine_ranks_by_length_free_vectors() {
    let workshop = Workshop::new();
    workshop.write(
        "v.jsonl",
        b"{\"id\": \"long\", \"indices\": [0, 1], \"values\": [3, 4]}\n{\"id\": \"pure\", \"indices\": [0], \"values\": [2]}\n",
    );
    workshop.write("q.jsonl", b"{\"id\": \"q\", \"indices\": [0], \"values\": [5]}\n{\"id\": \"none\", \"indices\": [], \"values\": []}\n");
    let (vectors, queries, index) = (
        workshop.path("v.jsonl"),
        workshop.path("q.jsonl"),
        workshop.path("i"),
    );
    for (similarity, first, score) in [("dot", "long", 15.0), ("cosine", "pure", 1.0)] {
        stdout(&run(&[
            "index",
            "--vectors",
            text(&vectors),
            "--dimensions",
            "2",
            "--similarity",
            similarity,
            "--output",
            text(&index),
        ]));
        let found = rankings(&stdout(&run(&[
            "search",
            "--index",
            text(&index),
            "--vectors",
            text(&queries),
        ])));
        assert_eq!(found[0]["results"][0]["corpus_id"], first);
        assert_eq!(found[0]["results"][0]["score"], score);
        // An empty query finds nothing.
        assert_eq!(found[1]["results"], serde_json::json!([]));
    }
    let message = refused(&run(&[
        "index",
        "--vectors",
        text(&vectors),
        "--dimensions",
        "2",
        "--similarity",
        "euclidean",
        "--output",
        text(&index),
    ]));
    assert!(message.contains("must be dot or cosine"), "{message}");
}

#[test]
fn unusable_corpora_and_indexes_are_refused() {
    let workshop = Workshop::new();
    let index = workshop.path("i");
    let build = |lines: &str| {
        workshop.write("v.jsonl", lines.as_bytes());
        let vectors = workshop.path("v.jsonl");
        refused(&run(&[
            "index",
            "--vectors",
            text(&vectors),
            "--dimensions",
            "9",
            "--output",
            text(&index),
        ]))
    };
    let line = "{\"id\": \"a\", \"indices\": [1], \"values\": [1]}\n";
    assert!(build(&line.repeat(2)).contains("document id `a` occurs twice: documents 1 and 2"));
    assert!(build("").contains("no document"));
    assert!(build("{\"id\": 1, \"indices\": [1], \"values\": [1e40]}\n").contains("line 1"));
    assert!(!index.exists());
    workshop.write("i", b"something else");
    let message = refused(&run(&["search", "--index", text(&index), "x"]));
    assert!(message.contains("not a usable index file"), "{message}");
    let missing = workshop.path("none");
    refused(&run(&["search", "--index", text(&missing), "x"]));
    let index = indexed(&workshop);
    refused(&run(&["search", "--index", &index, "x", "--top-k", "0"]));
    let mut bytes = fs::read(&index).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    fs::write(&index, bytes).unwrap();
    let message = refused(&run(&["search", "--index", &index, "x", "--verify"]));
    assert!(message.contains("checksum"), "{message}");
}

#[test]
fn negatives_are_mined_from_a_folder_and_from_pairs() {
    let workshop = Workshop::new();
    let model = model();
    let (data, report) = (workshop.path("data"), workshop.path("report.json"));
    let triplets = stdout(&run(&[
        "mine",
        "--model",
        text(&model),
        "--retrieval",
        text(&data),
        "--num-negatives",
        "2",
        "--max-score",
        "1e9",
        "--report",
        text(&report),
    ]));
    let rows = rankings(&triplets);
    assert_eq!(rows.len(), 32);
    for row in &rows {
        assert_ne!(row["positive"], row["negative"]);
        let animal = row["anchor"].as_str().unwrap().rsplit(' ').next().unwrap();
        assert!(!row["negative"].as_str().unwrap().contains(animal), "{row}");
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["n_queries"], 16);
    assert_eq!(report["dropped"], serde_json::json!([["max_score", 0]]));
    assert!(report["dropped_positives"].as_u64().unwrap() > 0);

    // The same from pairs, into a file that `train` reads.
    let (pairs, output) = (workshop.path("pairs.tsv"), workshop.path("mined.jsonl"));
    let arguments = ["mine", "--model", text(&model), "--pairs", text(&pairs)];
    let written = run(&[
        &arguments[..],
        &["--num-negatives", "2", "--output", text(&output)],
    ]
    .concat());
    assert_eq!(stdout(&written), "");
    assert_eq!(fs::read_to_string(&output).unwrap(), triplets);
    assert!(
        String::from_utf8(written.stderr)
            .unwrap()
            .contains("Difference")
    );
    let labeled = rankings(&stdout(&run(&[
        &arguments[..],
        &[
            "--output-format",
            "labeled-list",
            "--output-scores",
            "--num-negatives",
            "2",
        ],
    ]
    .concat())));
    assert_eq!(labeled[0]["scores"].as_array().unwrap().len(), 3);

    // Scores from outside: whatever has none is no candidate.
    workshop.write(
        "scores.tsv",
        "query\tdocument\tscore\nwhat is a cat\tthe cat is an animal\t9\nwhat is a cat\tthe yak is an animal\t8\n".as_bytes(),
    );
    workshop.write(
        "one.tsv",
        b"query\tdocument\nwhat is a cat\tthe cat is an animal\n",
    );
    let (one, scores) = (workshop.path("one.tsv"), workshop.path("scores.tsv"));
    let corpus = workshop.path("data/corpus.jsonl");
    let mined = run(&[
        "mine",
        "--model",
        text(&model),
        "--pairs",
        text(&one),
        "--corpus",
        text(&corpus),
        "--scores",
        text(&scores),
        "--range-max",
        "16",
        "--num-negatives",
        "2",
        "--output-scores",
    ]);
    let rows = rankings(&stdout(&mined));
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["negative"], "the yak is an animal");
    assert_eq!(rows[0]["scores"], serde_json::json!([9.0, 8.0]));
    assert!(
        String::from_utf8(mined.stderr)
            .unwrap()
            .contains("unscored dropped 14 of 16")
    );
    let second = stdout(&run(&[
        &arguments[..],
        &["--rescore-model", text(&model), "--num-negatives", "2"],
    ]
    .concat()));
    assert_eq!(second.lines().count(), 32);
}

#[test]
fn wrong_mining_settings_are_refused_before_a_model_is_loaded() {
    let workshop = Workshop::new();
    let pairs = workshop.path("pairs.tsv");
    let mine = |more: &[&str]| {
        let arguments = ["mine", "--model", "nowhere", "--pairs", text(&pairs)];
        refused(&run(&[&arguments[..], more].concat()))
    };
    assert!(mine(&["--num-negatives", "0"]).contains("`num_negatives` must be at least 1"));
    assert!(mine(&["--range-min", "5", "--range-max", "5"]).contains("`range_min`"));
    assert!(mine(&["--num-negatives", "10", "--range-max", "4"]).contains("only 4 candidates"));
    let missing = mine(&["--columns", "query,none"]);
    assert!(missing.contains("none"), "{missing}");
}

fn evaluate(workshop: &Workshop, arguments: &[&str]) -> Output {
    binary()
        .current_dir(workshop.folder.path())
        .args(["evaluate", "train.toml"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn figures_come_before_files_and_what_cant_be_written_before_both() {
    let workshop = Workshop::new();
    fs::write(workshop.path("file"), "").unwrap();
    for (arguments, part) in [
        (["--output", "data"], "`data` is a directory"),
        (["--per-query", "data"], "`data` is a directory"),
        (["--output", "none/m.json"], "there is no directory `none`"),
        (["--runs", "file"], "`file` is a file"),
        (["--runs", "file/runs"], "`file` is a file"),
    ] {
        // The model would be looked for next.
        let output = evaluate(
            &workshop,
            &[
                &arguments[..],
                &["--set", "model.name_or_path=no/such/model/here"],
            ]
            .concat(),
        );
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(part), "{message}");
        assert!(message.contains(arguments[0]), "{message}");
    }
    // What stands in the way is noticed only when the file is written.
    fs::create_dir_all(workshop.path("runs/animals.model.trec/x")).unwrap();
    let output = evaluate(&workshop, &["--runs", "runs", "--output", "m.json"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("animals.model.trec"), "{message}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let written: Value =
        serde_json::from_slice(&fs::read(workshop.path("m.json")).unwrap()).unwrap();
    assert!(shown["animals_dot_ndcg@10"].is_f64());
    assert_eq!(shown, written);

    // Two whose files would be one.
    let again = "[[evaluator]]\ntype = \"information_retrieval\"\nname = \"animals\"\nretrieval = \"data\"\nsplit = \"test\"\n";
    workshop.write_config(again);
    let output = evaluate(&workshop, &["--runs", "other"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("two evaluators are called \"animals\""),
        "{message}"
    );
}

#[test]
fn baselines_costs_and_figures_by_query() {
    let workshop = Workshop::new();
    let copy = workshop.copy_model();
    let output = evaluate(
        &workshop,
        &[
            "--model",
            text(&copy),
            "--baselines",
            "--per-query",
            "q.parquet",
            "--runs",
            "runs",
        ],
    );
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let contenders = result["contenders"].as_array().unwrap();
    let names: Vec<&str> = contenders
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["model", "bm25", "idf_queries", "before"]);
    for contender in contenders {
        assert_eq!(contender["evaluator"], "animals");
        let ndcg = contender["metrics"]["ndcg@10"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&ndcg));
        assert!(contender["cost"]["index"]["n_bytes"].as_u64().unwrap() > 0);
    }
    // The copy has the same weights; BM25 finds the one rare word.
    assert_eq!(contenders[0]["metrics"], contenders[3]["metrics"]);
    assert_eq!(
        contenders[0]["metrics"]["ndcg@10"],
        result["animals_dot_ndcg@10"]
    );
    assert_eq!(contenders[1]["metrics"]["ndcg@10"], 1.0);
    let table = String::from_utf8(output.stderr).unwrap();
    assert!(
        table.contains("animals idf_queries") && table.contains("µs/query"),
        "{table}"
    );
    assert!(
        fs::read(workshop.path("q.parquet"))
            .unwrap()
            .starts_with(b"PAR1")
    );
    for name in names {
        assert!(
            workshop.path(&format!("runs/animals.{name}.trec")).exists(),
            "{name}"
        );
    }

    // Two runs, a run and a model.
    let compared = |a: &str, b: &str| -> Value {
        let output = evaluate(&workshop, &["--compare", a, b, "--figure", "mrr@10"]);
        serde_json::from_str(&stdout(&output)).unwrap()
    };
    let result = compared("runs/animals.model.trec", "runs/animals.bm25.trec");
    let comparison = &result["comparisons"][0]["comparison"];
    assert_eq!(comparison["second"], 1.0);
    let interval = comparison["interval"].as_array().unwrap();
    assert!(interval[0].as_f64() <= interval[1].as_f64());
    let same = compared(text(&copy), "runs/animals.model.trec");
    assert_eq!(same["comparisons"][0]["comparison"]["difference"], 0.0);
    let message = refused(&evaluate(
        &workshop,
        &[
            "--compare",
            "runs/animals.model.trec",
            "runs/animals.bm25.trec",
            "--figure",
            "f1",
        ],
    ));
    assert!(message.contains("`f1` is no figure"), "{message}");
}

#[test]
fn pruning_tables_and_plots() {
    let workshop = Workshop::new();
    let output = evaluate(
        &workshop,
        &[
            "--pruning",
            "2,8,all",
            "--pruning-queries",
            "4,all",
            "--pruning-plots",
            "plots",
        ],
    );
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let entries = result["pruning"][0]["table"]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[0]["corpus_active_dims"], 2.0);
    assert_eq!(entries[0]["query_active_dims"], 4.0);
    assert_eq!(entries[5]["value"], result["animals_dot_ndcg@10"]);
    let plot = fs::read_to_string(workshop.path("plots/animals.pruning.svg")).unwrap();
    assert!(plot.starts_with("<svg"));
    let message = refused(&evaluate(&workshop, &["--pruning", "0"]));
    assert!(message.contains("at least 1, or `all`"), "{message}");
}
