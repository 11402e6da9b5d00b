//! Which files, which splits, which rows, which columns.

use crate::{failure, load, texts, write};

#[test]
fn a_directory_has_splits() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "train-1.csv", "a,b\n1x,x\n");
    write(root, "train-0.csv", "a,b\n0x,x\n");
    write(root, "dev.csv", "a,b\ndx,x\n");
    assert_eq!(
        texts(&load(root, "path = '{}'\nsplit = 'train'").unwrap(), "a"),
        ["0x", "1x"]
    );
    assert_eq!(
        texts(
            &load(root, "path = '{}'\nsplit = 'dev+train[:1]'").unwrap(),
            "a"
        ),
        ["dx", "0x"]
    );
    assert!(failure(root, "path = '{}'").ends_with("has the splits `train`, `validation`"));
    assert!(
        failure(root, "path = '{}'\nsplit = 'test'")
            .ends_with("has no split `test`; it has `train`, `validation`")
    );
    assert_eq!(
        texts(&load(root, "path = '{}/train-*.csv'").unwrap(), "a"),
        ["0x", "1x"]
    );
    assert_eq!(
        texts(
            &load(root, "path = ['{}/dev.csv', '{}/train-0.csv']").unwrap(),
            "a"
        ),
        ["dx", "0x"]
    );
}

#[test]
fn columns_choose_and_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "a.tsv", "answer\tquery\tgenre\n\"a\tq\tg\n");
    let table = load(
        root,
        "path = '{}/a.tsv'\ncolumns = ['query', 'answer']\nname = 'toy'",
    )
    .unwrap();
    assert_eq!(table.column_names(), ["query", "answer"]);
    assert_eq!(
        (table.name(), texts(&table, "answer")),
        (Some("toy"), vec!["\"a".to_owned()])
    );
    assert_eq!(
        failure(root, "path = '{}/a.tsv'"),
        "`a.tsv`: column `answer` stands before `query`, and the order decides which is the query; write `columns = \
         [\"query\", \"answer\", \"genre\"]`, or the present order to confirm it"
    );
    assert_eq!(
        failure(root, "path = '{}/a.tsv'\ncolumns = ['query', 'anser']"),
        "`a.tsv` has no column `anser`; did you mean `answer`?; it has `answer`, `query`, `genre`"
    );
}

#[test]
fn sql_reshapes_and_keeps_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let rows: String = (0..30_000)
        .map(|i| format!("{{\"q\": \"q{i}\", \"s\": {i}, \"t\": \"short\"}}\n"))
        .collect();
    write(root, "a.jsonl", rows);
    let table = load(
        root,
        "path = '{}/a.jsonl'\nsplit = 'train[10:]'\nsql = \"select q as query, upper(t) as answer, s / 10.0 as score from data where s % 2 = 0\"",
    )
    .unwrap();
    assert_eq!(table.column_names(), ["query", "answer", "score"]);
    assert_eq!(table.num_rows(), 14_995);
    let batch = table.batch(&table.roles().unwrap(), &[0, 14_994]).unwrap();
    assert_eq!(batch.columns[0].texts, ["q10", "q29998"]);
    assert_eq!(batch.columns[1].texts, ["SHORT", "SHORT"]);
    assert_eq!(batch.labels.unwrap().values, [1.0, 2999.8]);
    let message = failure(
        root,
        "path = '{}/a.jsonl'\nsql = 'select question from data'",
    );
    assert!(
        message.contains("question") && message.contains("data.q"),
        "{message}"
    );
    assert!(failure(root, "path = '{}/a.jsonl'\nsql = 'drop table data'").contains("failed"));
    assert_eq!(
        failure(
            root,
            "path = '{}/a.jsonl'\nsql = 'select * from data where s < 0'"
        ),
        "`a.jsonl` is empty: `sql = \"select * from data where s < 0\"` leaves no rows"
    );
}

#[test]
fn ids_are_replaced_by_texts() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(
        root,
        "queries.jsonl",
        "{\"_id\": \"q1\", \"text\": \"first\"}\n{\"_id\": \"q2\", \"text\": \"second\"}\n",
    );
    write(
        root,
        "corpus.jsonl",
        "{\"_id\": 1, \"title\": \"T\", \"text\": \"one\"}\n{\"_id\": 2, \"title\": \"\", \"text\": \"two\"}\n{\"_id\": 3, \"title\": \"\", \"text\": \"three\"}\n",
    );
    write(
        root,
        "train.jsonl",
        "{\"query_id\": \"q2\", \"positive_id\": 1, \"negative_ids\": [2, 3], \"scores\": [3.5, 1, 0], \"bm25\": [1, 2, 3]}\n\
         {\"query_id\": \"q1\", \"positive_id\": 2, \"negative_ids\": [3, 1], \"scores\": [2, 1, 0.5], \"bm25\": [1, 2, 3]}\n",
    );
    let lookups = "path = '{}/train.jsonl'\n[lookups]\nquery_id = '{}/queries.jsonl'\npositive_id = '{}/corpus.jsonl'\n\
                   negative_ids = { path = '{}/corpus.jsonl', id = '_id' }";
    let table = load(root, lookups).unwrap();
    assert_eq!(
        table.column_names(),
        ["query", "positive", "negative_1", "negative_2", "scores"]
    );
    assert_eq!(texts(&table, "query"), ["second", "first"]);
    assert_eq!(texts(&table, "positive"), ["T one", "two"]);
    assert_eq!(texts(&table, "negative_2"), ["three", "T one"]);
    let labels = table
        .batch(&table.roles().unwrap(), &[1])
        .unwrap()
        .labels
        .unwrap();
    assert_eq!(
        (labels.values, labels.width, labels.per_row_list),
        (vec![2.0, 1.0, 0.5], 3, true)
    );

    write(
        root,
        "train.jsonl",
        "{\"query_id\": \"q3\", \"positive_id\": 1, \"negative_ids\": [2]}\n",
    );
    assert_eq!(
        failure(root, lookups),
        "`train.jsonl`, row 1, column `query_id`: the id `q3` is not in `queries.jsonl`"
    );
}
