//! Bad data, each with one clear message. (Malformed files are tested beside the readers.)

use std::path::Path;

use sparse_data::{BatchSamplerKind, SamplerConfig};

use crate::{failure, load, write};

#[test]
fn missing_and_empty_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "pairs.csv", "");
    assert_eq!(
        failure(root, "path = '{}/pair.csv'"),
        "`pair.csv` does not exist; did you mean `pairs.csv`?"
    );
    for name in ["pairs.csv", "a.tsv", "b.jsonl", "c.parquet", "d.arrow"] {
        write(root, name, "");
        assert_eq!(
            failure(root, &format!("path = '{{}}/{name}'")),
            format!("`{name}` is empty: the file has no bytes")
        );
    }
    write(root, "e.txt", "");
    assert_eq!(
        failure(root, "path = '{}/e.txt'"),
        "`e.txt` is empty: it has no rows"
    );
    assert!(failure(root, "path = '{}/*.ndjson'").starts_with("no data file matches `*.ndjson`"));
}

#[test]
fn contradictory_settings_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let cases = [
        (
            "name = 'x'",
            "`path` is missing: a data set needs `path`, `hub`, `database` or `retrieval`",
        ),
        (
            "path = 'a'\nretrieval = 'b'",
            "`path` is one way to name a data set; `path` and `retrieval` can't both be given",
        ),
        (
            "hub = 'a/b'\nretrieval = 'b'",
            "`path` is one way to name a data set; `hub` and `retrieval` can't both be given",
        ),
        ("path = 'a'\nsubset = 'b'", "`subset` belongs to `hub`"),
        ("path = 'a'\nrevision = 'b'", "`revision` belongs to `hub`"),
        ("path = []", "`path` is an empty list"),
        ("path = 'a'\ncolumns = []", "`columns` is an empty list"),
        (
            "path = 'a'\ndelimiter = 'é'",
            "`delimiter` must be one ASCII character, neither a quote nor a line end",
        ),
        (
            "path = 'a'\nbuffer_rows = 5",
            "`buffer_rows` belongs to `streaming = true`",
        ),
        (
            "path = 'a'\nstreaming = true\nbuffer_rows = 0",
            "`buffer_rows` must be at least 1; got 0",
        ),
        (
            "path = 'a'\nstreaming = true",
            "`streaming` is for training and evaluation data sets; here all rows must be in memory",
        ),
    ];
    for (toml, message) in cases {
        assert_eq!(failure(root, toml), message);
    }
    let unknown = toml::from_str::<sparse_data::DatasetConfig>("pth = 'a'")
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("unknown field `pth`"), "{unknown}");
}

#[test]
fn files_of_one_split_must_fit_together() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "0.csv", "a,score\nx,1\n");
    write(root, "1.csv", "score,a\n0.5,y\n");
    let table = load(root, "path = '{}'").unwrap();
    assert_eq!(
        table
            .batch(&table.roles().unwrap(), &[0, 1])
            .unwrap()
            .labels
            .unwrap()
            .values,
        [1.0, 0.5]
    );
    write(root, "1.csv", "a,score\ny,high\n");
    assert_eq!(
        failure(root, "path = '{}'"),
        "`1.csv`: column `score` holds text, and whole numbers in `0.csv`"
    );
    write(root, "1.csv", "a,scores\ny,1\n");
    assert_eq!(
        failure(root, "path = '{}'"),
        "`1.csv`: column `scores` is not in `0.csv`"
    );
    write(root, "1.csv", "a\ny\n");
    assert!(failure(root, "path = '{}'").starts_with("`1.csv` has no column `score`"));
}

#[test]
fn bad_cells_are_named_with_file_row_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "0.csv", "query,answer,label\na,b,1\n");
    let check = |content: &str, message: &str| {
        write(root, "1.csv", content);
        let table = load(root, "path = '{}'\nsplit = 'train'")
            .unwrap()
            .shuffle(1);
        let error = table.check(&table.roles().unwrap()).unwrap_err();
        let text = error
            .to_string()
            .replace(&format!("{}/", root.display()), "");
        assert!(text.starts_with(message), "{text}");
    };
    check(
        "query,answer,label\na,b,1\n,b,1\n",
        "`1.csv`, row 2, column `query`: has no text",
    );
    check(
        "query,answer,label\na,b,0.5\na,b,nan\n",
        "`1.csv`, row 2, column `label`: is NaN",
    );
    check(
        "query,answer,label\na,b,0.5\na,b,\n",
        "`1.csv`, row 2, column `label`: is null",
    );
    write(root, "0.csv", "query,answer,label\na,b,yes\n");
    check(
        "query,answer,label\na,b,no\n",
        "`0.csv`, row 1, column `label`: is the text \"yes\", and a label must be a number; convert it with `sql`",
    );
    write(root, "0.csv", "query,votes\na,1\n");
    write(root, "1.csv", "query,votes\nb,2\n");
    let table = load(root, "path = '{}'").unwrap();
    assert_eq!(
        table.check(&table.roles().unwrap()).unwrap().warnings,
        [
            "column `votes` holds only numbers, which will be encoded as texts; if they are none, leave it out with `columns`"
        ]
    );
    write(root, "2.jsonl", "{\"query\": \"b\", \"id\": 2}\n");
    let table = load(root, "path = '{}/2.jsonl'").unwrap();
    let message = table
        .check(&table.roles().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(
            "2.jsonl`: column `id` holds whole numbers, and an input column must hold text"
        ),
        "{message}"
    );
}

/// From a file to the first batch, as training does it: where the rows are at fault, what is said.
fn first_fault(root: &Path, toml: &str) -> Result<Vec<String>, String> {
    let prepare = || -> sparse_data::Result<Vec<String>> {
        let table = load(root, toml)?;
        let roles = table.roles()?;
        let report = table.check(&roles)?;
        let config = SamplerConfig {
            batch_sampler: BatchSamplerKind::NoDuplicates,
            batch_size: 2,
            ..SamplerConfig::default()
        };
        config.init(&table, &roles)?.epoch(0)?;
        Ok(report.warnings)
    };
    prepare().map_err(|error| {
        assert!(error.is_user_error(), "{error:?}");
        error
            .to_string()
            .replace(&format!("{}/", root.display()), "")
    })
}

#[test]
fn every_kind_of_bad_data_has_one_message_before_training() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let cases = [
        (
            "ragged.csv",
            "query,answer\na,b\nc,d,e\n",
            "`ragged.csv`, row 2 (line 3): has 3 cells, the header has 2",
        ),
        (
            "quotes.csv",
            "query,answer\na,\"b\n",
            "`quotes.csv`, row 1 (line 2), column `answer`: a quote is opened and never closed",
        ),
        (
            "mixed.jsonl",
            "{\"query\": \"a\", \"answer\": \"b\"}\n{\"query\": \"c\", \"answer\": 4}\n",
            "`mixed.jsonl`, row 2 (line 2), column `answer`: is a whole number, and a text in an earlier row",
        ),
        (
            "null.jsonl",
            "{\"query\": \"a\", \"answer\": \"b\"}\n{\"query\": \"c\", \"answer\": null}\n",
            "`null.jsonl`, row 2, column `answer`: has no text",
        ),
        (
            "missing.jsonl",
            "{\"query\": \"a\"}\n{\"query\": \"c\", \"answer\": \"d\"}\n",
            "`missing.jsonl`, row 1, column `answer`: has no text",
        ),
        (
            "nan.csv",
            "query,answer,score\na,b,0.5\nc,d,NaN\n",
            "`nan.csv`, row 2, column `score`: is NaN, and a label must be a finite number",
        ),
        (
            "words.csv",
            "query,answer,label\na,b,neutral\n",
            "`words.csv`, row 1, column `label`: is the text \"neutral\", and a label must be a number",
        ),
        (
            "twice.csv",
            "query,answer,query\na,b,c\n",
            "`twice.csv`: columns 1 and 3 are both named `query`",
        ),
        (
            "twice.jsonl",
            "{\"query\": \"a\", \"query\": \"b\"}\n",
            "`twice.jsonl`, row 1 (line 1), column `query`: is there twice in one object",
        ),
        (
            "none.csv",
            "query,answer\n",
            "`none.csv` is empty: it has a header line and no rows",
        ),
        ("none.jsonl", "[]", "`none.jsonl` is empty: it has no rows"),
        (
            "same.csv",
            "query,answer\na,b\na,b\na,b\n",
            "`same.csv` can't be sampled by `no_duplicates`: all 3 rows share a text",
        ),
    ];
    for (name, content, message) in cases {
        write(root, name, content);
        let text = first_fault(root, &format!("path = '{{}}/{name}'")).unwrap_err();
        assert!(text.starts_with(message), "{text}\n{message}");
    }

    let split = |split: &str| {
        first_fault(
            root,
            &format!("path = '{{}}/pairs.jsonl'\nsplit = '{split}'"),
        )
    };
    write(
        root,
        "pairs.jsonl",
        "{\"query\": \"a\", \"answer\": \"b\"}\n{\"query\": \"\", \"answer\": \"d\"}\n",
    );
    assert_eq!(
        split("test").unwrap_err(),
        "`pairs.jsonl` has no split `test`; it has `train`"
    );
    assert_eq!(
        split("train[5:]").unwrap_err(),
        "`split = \"train[5:]\"`: the slice of `train` has no rows: it runs from row 2 to row 2 of 2"
    );
    // A bound beyond the end takes what there is. An empty text is no fault; it is counted.
    assert_eq!(
        split("train[:1_000]").unwrap(),
        ["column `query` holds 1 empty texts; they are kept and give empty vectors"]
    );
    assert_eq!(
        load(root, "path = '{}/pairs.jsonl'\nsplit = 'train[:1000]'")
            .unwrap()
            .num_rows(),
        2
    );
}
