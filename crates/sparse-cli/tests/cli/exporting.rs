//! `export`, as a user sees it.

use std::fs;

use crate::support::{Workshop, model, run, stdout};

/// A workshop with the vectors of its corpus and queries.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for (task, input, output) in [
        ("document", "data/corpus.jsonl", "documents.jsonl"),
        ("query", "data/queries.jsonl", "queries.parquet"),
    ] {
        stdout(&run(&[
            "encode",
            "--model",
            model().to_str().unwrap(),
            "--input",
            workshop.path(input).to_str().unwrap(),
            "--task",
            task,
            "--output",
            workshop.path(output).to_str().unwrap(),
        ]));
    }
    workshop
}

#[test]
fn vectors_and_texts_give_the_same_files() {
    let workshop = workshop();
    let model = model();
    let model = model.to_str().unwrap();
    let (by_vectors, by_texts) = (workshop.path("one"), workshop.path("two"));
    let vectors = workshop.path("documents.jsonl");
    let texts = workshop.path("data/corpus.jsonl");
    for (output, from) in [
        (&by_vectors, ["--vectors", vectors.to_str().unwrap()]),
        (&by_texts, ["--input", texts.to_str().unwrap()]),
    ] {
        let output = output.to_str().unwrap();
        let arguments = [
            "export", "--engine", "vespa", "--model", model, "--output", output,
        ];
        let printed = stdout(&run(&[&arguments[..], &from[..]].concat()));
        assert!(
            printed.starts_with("exported 16 vectors of at most "),
            "{printed}"
        );
    }
    let read = |file: &str| fs::read_to_string(by_vectors.join(file)).unwrap();
    assert_eq!(
        read("feed.jsonl"),
        fs::read_to_string(by_texts.join("feed.jsonl")).unwrap()
    );
    assert_eq!(read("feed.jsonl").lines().count(), 16);
    assert!(read("schema.sd").contains("field vector type tensor<float>(token{})"));
}

#[test]
fn impacts_fit_the_largest_weight() {
    let workshop = workshop();
    let output = workshop.path("bmp");
    let vectors = workshop.path("documents.jsonl");
    let dimensions = "--dimensions=1000000";
    let base = [
        "export",
        "--engine",
        "bmp",
        dimensions,
        "--vectors",
        vectors.to_str().unwrap(),
    ];
    stdout(&run(
        &[&base[..], &["--output", output.to_str().unwrap()]].concat()
    ));
    assert!(output.join("documents.ciff").exists());
    let refused = run(&[
        &base[..],
        &[
            "--output",
            output.to_str().unwrap(),
            "--impact-scale",
            "1e6",
        ],
    ]
    .concat());
    assert_eq!(refused.status.code(), Some(2));
    let message = String::from_utf8_lossy(&refused.stderr);
    assert!(
        message.contains("is above 255, the largest impact: the largest scale for it is"),
        "{message}"
    );
    assert!(message.contains("documents.jsonl"), "{message}");
}

#[test]
fn a_check_prints_overlap_and_quality() {
    let workshop = workshop();
    let check = |engine: &str| {
        stdout(&run(&[
            "export",
            "--check",
            "--engine",
            engine,
            "--dimensions=1000000",
            "--vectors",
            workshop.path("documents.jsonl").to_str().unwrap(),
            "--queries",
            workshop.path("queries.parquet").to_str().unwrap(),
            "--data",
            workshop.path("data").to_str().unwrap(),
        ]))
    };
    let figures = |printed: &str, name: &str| -> Vec<f64> {
        let row = printed.lines().find(|line| line.starts_with(name)).unwrap();
        row.split_whitespace()
            .skip(1)
            .map(|cell| cell.parse().unwrap())
            .collect()
    };
    let exact = check("pgvector");
    assert_eq!(figures(&exact, "pgvector"), figures(&exact, "exact"));
    assert_eq!(figures(&exact, "exact")[0], 1.0);
    let nine_bits = check("elasticsearch");
    assert!(figures(&nine_bits, "elasticsearch")[0] > 0.8, "{nine_bits}");
}

/// The plugin of OpenSearch cuts documents' weights at 3: of 4 and 5 it makes equals, and the first of equals comes first.
#[test]
fn a_check_shows_what_is_cut_off() {
    let workshop = Workshop::new();
    let line = |id: &str, value: f64| {
        format!("{{\"id\": \"{id}\", \"indices\": [7], \"values\": [{value}]}}\n")
    };
    workshop.write(
        "documents.jsonl",
        (line("a", 4.0) + &line("b", 5.0)).as_bytes(),
    );
    workshop.write("queries.jsonl", line("q", 1.0).as_bytes());
    let overlap = |engine: &str| {
        let printed = stdout(&run(&[
            "export",
            "--check",
            "--top-k=1",
            "--dimensions=8",
            "--engine",
            engine,
            "--vectors",
            workshop.path("documents.jsonl").to_str().unwrap(),
            "--queries",
            workshop.path("queries.jsonl").to_str().unwrap(),
        ]));
        let last = printed.lines().last().unwrap();
        last.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(overlap("opensearch-sparse-vector"), "0.0000");
    assert_eq!(overlap("opensearch"), "1.0000");
}

#[test]
fn what_is_missing_is_named() {
    let workshop = workshop();
    let vectors = workshop.path("documents.jsonl");
    let output = workshop.path("out");
    let refuse = |arguments: &[&str], message: &str| {
        let given = [
            "--vectors",
            vectors.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
        ];
        let refused = run(&[&["export"], arguments, &given[..]].concat());
        let printed = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{printed}");
        assert!(printed.contains(message), "{printed}");
        assert!(!output.exists());
    };
    refuse(
        &["--engine", "solr"],
        "invalid value 'solr' for '--engine <ENGINE>'",
    );
    refuse(
        &["--engine", "seismic", "--dimensions=1000000"],
        "seismic stores tokens: give --model, whose vocabulary names the dimensions",
    );
    refuse(&["--engine", "milvus"], "give --dimensions, or --model");
    let beside = run(&[
        "export",
        "--engine=seismic",
        "--model",
        model().to_str().unwrap(),
        "--vectors",
        vectors.to_str().unwrap(),
        "--output",
        workshop.folder.path().to_str().unwrap(),
    ]);
    assert_eq!(beside.status.code(), Some(2));
    let message = String::from_utf8_lossy(&beside.stderr);
    assert!(message.contains("--vectors lies in --output"), "{message}");
    refuse(
        &[
            "--engine",
            "milvus",
            "--dimensions=1000000",
            "--impact-scale=2",
        ],
        "--impact-scale: milvus stores floating-point weights",
    );
    refuse(
        &["--engine", "milvus", "--dimensions=1000000", "--field=a b"],
        "field `a b`: expected lower-case letters, digits and `_`",
    );
}
