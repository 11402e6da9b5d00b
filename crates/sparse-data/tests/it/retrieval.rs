//! Retrieval folders.

use std::path::Path;

use sparse_data::Retrieval;

use crate::{failure, load, texts, write};

fn folder(root: &Path) {
    write(
        root,
        "corpus.jsonl",
        "{\"_id\": \"d1\", \"title\": \"Apples\", \"text\": \"are red\", \"metadata\": {}}\n{\"_id\": \"d2\", \"title\": \"\", \"text\": \"Bananas\", \"metadata\": {}}\n",
    );
    write(
        root,
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"red\"}\n{\"_id\": \"q2\", \"text\": \"yellow\"}\n",
    );
    write(
        root,
        "qrels/train.tsv",
        "query-id\tcorpus-id\tscore\nq2\td2\t1\nq1\td1\t2\nq1\td2\t0\n",
    );
    write(root, "qrels/test.tsv", "q1\td2\t1\n");
}

#[test]
fn a_folder_gives_training_pairs() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    folder(root);
    let table = load(root, "retrieval = '{}'").unwrap();
    assert_eq!(table.column_names(), ["query", "document"]);
    assert_eq!(texts(&table, "query"), ["yellow", "red"]);
    assert_eq!(texts(&table, "document"), ["Bananas", "Apples are red"]);
    assert_eq!(
        texts(
            &load(root, "retrieval = '{}'\nsplit = 'test+train[:1]'").unwrap(),
            "query"
        ),
        ["red", "yellow"]
    );
    let retrieval = Retrieval::open(root).unwrap();
    assert_eq!((retrieval.num_queries(), retrieval.num_documents()), (2, 2));
    let judgements = retrieval.judgements("train").unwrap();
    assert_eq!(
        judgements
            .iter()
            .map(|judgement| judgement.score)
            .collect::<Vec<_>>(),
        [1.0, 2.0, 0.0]
    );
    assert_eq!(retrieval.document_id(judgements[0].document), "d2");
    assert!(failure(root, "path = '{}'").contains("is a retrieval folder; write `retrieval = "));
}

#[test]
fn what_does_not_fit_together_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    folder(root);
    assert!(
        failure(root, "retrieval = '{}'\nsplit = 'trian'")
            .ends_with("has no split `trian`; did you mean `train`?; it has `test`, `train`")
    );
    write(
        root,
        "qrels/train.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td3\t1\n",
    );
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`qrels/train.tsv`, line 3, column `corpus-id`: the id `d3` is not in `corpus.jsonl`"
    );
    write(
        root,
        "qrels/train.tsv",
        "query-id\tcorpus-id\tscore\nq1 d1 1\n",
    );
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`qrels/train.tsv`, line 2: has 1 cells; expected 3 between tabs: query-id, corpus-id, score"
    );
    write(root, "qrels/train.tsv", "q1\td1\t1\nq1\td1\tmany\n");
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`qrels/train.tsv`, line 2, column `score`: is not a number: `many`"
    );
    write(root, "qrels/train.tsv", "");
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`qrels/train.tsv` is empty: it has no judgements"
    );
    write(
        root,
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"a\"}\n{\"_id\": \"q1\", \"text\": \"b\"}\n",
    );
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`queries.jsonl`, row 2, column `_id`: repeats the id `q1` of row 1"
    );
    std::fs::remove_file(root.join("corpus.jsonl")).unwrap();
    write(
        root,
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"a\"}\n",
    );
    assert!(failure(root, "retrieval = '{}'").starts_with("`corpus.jsonl` does not exist"));
}
