//! Training out of a database.

use std::fs;

use crate::support::{Workshop, stdout};

/// The pairs of the workshop as the table `pairs` of an SQLite file, written from the last to the first.
const ANIMALS: &[u8] = include_bytes!("../fixtures/animals.db");

/// A workshop whose training file reads the pairs as `source` says.
fn workshop(source: &str) -> Workshop {
    let workshop = Workshop::new();
    workshop.write("animals.db", ANIMALS);
    let file = workshop.path("train.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("path = \"pairs.tsv\"", source);
    fs::write(file, text).unwrap();
    workshop
}

#[test]
#[cfg(feature = "databases")]
fn a_run_from_a_database_ends_with_the_model_of_one_from_a_file() {
    let weights = |source: &str| {
        let workshop = workshop(source);
        stdout(&workshop.train(&[]));
        fs::read(workshop.path("out/final/model.safetensors")).unwrap()
    };
    let from_file = weights("path = \"pairs.tsv\"");
    for source in [
        "table = \"pairs\"\ncolumns = [\"query\", \"document\"]",
        "query = \"select query, document from pairs order by id\"",
        "table = \"pairs\"\nsql = \"select query, document from data where id > 0\"",
    ] {
        let source = format!("database = \"sqlite:animals.db\"\n{source}");
        assert!(weights(&source) == from_file, "{source}");
    }
    // A stream has an order of its own.
    let streamed = "database = \"sqlite:animals.db\"\ntable = \"pairs\"\ncolumns = [\"query\", \"document\"]\nstreaming = true";
    assert!(
        weights(streamed) == weights(streamed),
        "it is the same every time"
    );
}

#[test]
fn a_database_that_does_not_do_is_a_mistake_of_the_user() {
    let refusal = |source: &str| {
        let output = workshop(source).train(&[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refusal("database = \"sqlite:animals.db\"\ntable = \"pears\"");
    if cfg!(feature = "databases") {
        assert!(
            text.contains("has no table `pears`; did you mean `pairs`?"),
            "{text}"
        );
    } else {
        assert!(text.contains("build with `--features databases`"), "{text}");
    }
    let text = refusal("database = \"postgres://me:s3cret@/shop\"\ntable = \"pairs\"");
    assert!(
        text.contains("names no host") && !text.contains("s3cret"),
        "{text}"
    );
}
