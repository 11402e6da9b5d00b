//! Bad data, each with one clear message. (Malformed files are tested beside the readers.)

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
    check("query,answer,label\na,b,no\n", "`");
    write(root, "0.csv", "query,id\na,1\n");
    check(
        "query,id\nb,2\n",
        "`0.csv`: column `id` holds whole numbers, and an input column must hold text",
    );
}
