//! What people put into tables, and what must come out: ids, marks, titles, parts of files, pipes.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{StringArray, UInt64Array};
use sparse_data::{
    Column, Dataset, DatasetConfig, Format, Retrieval, StreamConfig, Table, TextRow, Texts,
};

use crate::{failure, load, texts, write};

const QUERIES: &str =
    "{\"_id\": \"q1\", \"text\": \"plays songs\"}\n{\"_id\": \"q2\", \"text\": \"sql\"}\n";
const CORPUS: &str = "{\"_id\": \"d1\", \"text\": \"player\"}\n{\"_id\": \"d2\", \"text\": \"server\"}\n{\"_id\": \"d3\", \"text\": \"viewer\"}\n";

fn rows(texts: &Texts) -> Vec<TextRow> {
    texts.rows().map(Result::unwrap).collect()
}

fn ids(texts: &Texts) -> Vec<String> {
    rows(texts).into_iter().map(|row| row.id.unwrap()).collect()
}

#[test]
fn looked_up_and_plain_texts_keep_their_places() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "queries.jsonl", QUERIES);
    write(root, "corpus.jsonl", CORPUS);
    write(
        root,
        "a.jsonl",
        "{\"source\": \"web\", \"query_id\": \"q1\", \"positive\": \"music\", \"year\": 3, \"negative_ids\": [\"d2\", \"d3\"]}\n\
         {\"source\": \"web\", \"query_id\": \"q2\", \"positive\": \"data\", \"year\": 4, \"negative_ids\": [\"d1\", \"d3\"]}\n",
    );
    let lookups = "lookups = { query_id = '{}/queries.jsonl', negative_ids = '{}/corpus.jsonl' }";
    let table = load(root, &format!("path = '{{}}/a.jsonl'\n{lookups}")).unwrap();
    assert_eq!(
        table.column_names(),
        ["query", "positive", "negative_1", "negative_2"]
    );
    assert_eq!(texts(&table, "query"), ["plays songs", "sql"]);
    assert_eq!(texts(&table, "positive"), ["music", "data"]);
    assert_eq!(texts(&table, "negative_1"), ["server", "player"]);
    // What is chosen later is there to be chosen.
    let table = load(
        root,
        &format!("path = '{{}}/a.jsonl'\ncolumns = ['query', 'source']\n{lookups}"),
    )
    .unwrap();
    assert_eq!(table.column_names(), ["query", "source"]);

    write(
        root,
        "b.jsonl",
        "{\"query\": \"songs\", \"doc_id\": \"d1\"}\n{\"query\": \"tables\", \"doc_id\": \"d2\"}\n",
    );
    let table = load(
        root,
        "path = '{}/b.jsonl'\nlookups = { doc_id = '{}/corpus.jsonl' }",
    )
    .unwrap();
    assert_eq!(table.column_names(), ["query", "doc"]);
    assert_eq!(texts(&table, "doc"), ["player", "server"]);
    write(
        root,
        "c.jsonl",
        "{\"doc\": \"songs\", \"doc_id\": \"d1\"}\n",
    );
    assert_eq!(
        failure(
            root,
            "path = '{}/c.jsonl'\nlookups = { doc_id = '{}/corpus.jsonl' }"
        ),
        "`c.jsonl`: the texts of `doc_id` become `doc`, and there is a column of that name; rename it"
    );
}

#[test]
fn ids_and_texts_of_csv_are_kept_as_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let path = write(root, "a.csv", "id,text\n1.1,1984\n1.10,2001\n2001,42\n");
    let found = Texts::open(Path::new(&path), None, &[]).unwrap();
    found.check_ids().unwrap();
    assert_eq!(ids(&found), ["1.1", "1.10", "2001"]);
    assert_eq!(rows(&found)[1].text, "2001");
    write(
        root,
        "b.csv",
        "query,document,score\n0.10,1e3,0.5\n007,+1,1\n",
    );
    let table = load(root, "path = '{}/b.csv'").unwrap();
    assert_eq!(texts(&table, "query"), ["0.10", "007"]);
    assert_eq!(texts(&table, "document"), ["1e3", "+1"]);
    let roles = table.roles().unwrap();
    let batch = table.batch(&roles, &[0, 1]).unwrap();
    assert_eq!(batch.labels.unwrap().values, [0.5, 1.0]);
    assert!(table.check(&roles).unwrap().warnings[0].contains("holds only numbers"));
    // A query compares numbers as such, and may make a label of them.
    write(root, "c.csv", "query,n\na,9\nb,10\n");
    let table = load(
        root,
        "path = '{}/c.csv'\nsql = 'select query, n as label from data where n > 9'",
    )
    .unwrap();
    assert_eq!(texts(&table, "query"), ["b"]);
    let batch = table.batch(&table.roles().unwrap(), &[0]).unwrap();
    let labels = batch.labels.unwrap();
    assert!(labels.integer);
    assert_eq!(labels.values, [10.0]);
}

#[test]
fn ids_of_64_bits_are_exact() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let corpus = "{\"_id\": 9007199254740993, \"text\": \"...993\"}\n{\"_id\": 18446744073709551615, \"text\": \"...615\"}\n";
    write(root, "corpus.jsonl", corpus);
    write(
        root,
        "queries.jsonl",
        "{\"_id\": \"q\", \"text\": \"x\"}\n{\"_id\": 7, \"text\": \"y\"}\n",
    );
    write(
        root,
        "qrels/train.tsv",
        "q\t9007199254740993\t1\n7\t18446744073709551615\t1\n",
    );
    let pairs = Retrieval::open(root)
        .unwrap()
        .training_pairs("train")
        .unwrap();
    assert_eq!(texts(&pairs, "document"), ["...993", "...615"]);
    write(
        root,
        "a.jsonl",
        "{\"query\": \"x\", \"doc_id\": 9007199254740992}\n",
    );
    let lookup = "path = '{}/a.jsonl'\nlookups = { doc_id = '{}/corpus.jsonl' }";
    assert_eq!(
        failure(root, lookup),
        "`a.jsonl`, row 1, column `doc_id`: the id `9007199254740992` is not in `corpus.jsonl`; did you mean `9007199254740993`?"
    );
    let ids = Column::from_arrow(Arc::new(UInt64Array::from(vec![u64::MAX, 5])));
    let texts_of = Column::from_arrow(Arc::new(StringArray::from(vec!["large", "small"])));
    let table = Table::from_columns([("id", ids), ("text", texts_of)]).unwrap();
    let path = root.join("corpus.parquet");
    table.write_parquet(&path).unwrap();
    let found = Texts::open(&path, None, &[]).unwrap();
    assert_eq!(rows(&found)[0].id.as_deref(), Some("18446744073709551615"));
    write(
        root,
        "a.jsonl",
        "{\"query\": \"x\", \"doc_ids\": [18446744073709551615, 5]}\n",
    );
    let table = load(
        root,
        "path = '{}/a.jsonl'\nlookups = { doc_ids = '{}/corpus.parquet' }",
    )
    .unwrap();
    assert_eq!(texts(&table, "doc_1"), ["large"]);
    assert_eq!(texts(&table, "doc_2"), ["small"]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let marked = |text: &str| format!("\u{feff}{text}");
    write(root, "queries.jsonl", marked(QUERIES));
    write(root, "corpus.jsonl", marked(CORPUS));
    write(root, "qrels/test.tsv", marked("q1\td1\t1\nq2\td2\t1\n"));
    write(
        root,
        "qrels/train.tsv",
        marked("query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
    );
    let retrieval = Retrieval::open(root).unwrap();
    assert_eq!(retrieval.query_id(0), "q1");
    assert_eq!(retrieval.judgements("test").unwrap().len(), 2);
    assert_eq!(retrieval.judgements("train").unwrap().len(), 1);
    let corpus = root.join("corpus.jsonl");
    assert_eq!(
        ids(&Texts::open(&corpus, None, &[]).unwrap()),
        ["d1", "d2", "d3"]
    );
    for (name, content) in [
        ("a.csv", "\"id\",text\nd1,x\n"),
        ("a.tsv", "id\ttext\nd1\tx\n"),
        ("a.json", " [{\"id\": \"d1\", \"text\": \"x\"}]"),
        ("a.txt", "x\n"),
    ] {
        let path = write(root, name, marked(content));
        let found = Texts::open(Path::new(&path), None, &[]).unwrap();
        let row = &rows(&found)[0];
        assert_eq!(row.text, "x", "{name}");
        assert_eq!(row.id.is_none(), name == "a.txt");
    }
    // A streamed file is cut at positions that count the mark.
    let lines: String = (0..3000)
        .map(|i| format!("{{\"text\": \"row {i}\"}}\n"))
        .collect();
    let path = write(root, "stream.jsonl", marked(&lines));
    let config = DatasetConfig {
        streaming: true,
        ..DatasetConfig::from_path(path)
    };
    let Dataset::Stream(stream) = Dataset::load(&config).unwrap() else {
        panic!("not streamed")
    };
    let batches = stream
        .batches(&stream.roles().unwrap(), &StreamConfig::default(), 0)
        .unwrap();
    assert_eq!(
        batches
            .map(|batch| batch.unwrap().num_rows())
            .sum::<usize>(),
        3000
    );
    write(root, "utf16.csv", b"\xff\xfei\0d\0");
    assert!(failure(root, "path = '{}/utf16.csv'").starts_with("`utf16.csv`: is UTF-16; convert"));
}

#[test]
fn a_missing_or_null_title_is_no_title() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let lines = [
        "{\"_id\": \"a\", \"title\": \"Alpha\", \"text\": \"first\"}\n",
        "{\"_id\": \"b\", \"text\": \"second\"}\n",
        "{\"_id\": \"c\", \"title\": null, \"text\": \"third\"}\n",
    ];
    let open = |path: &str| {
        let found = Texts::open(Path::new(path), None, &[]).unwrap();
        rows(&found)
            .into_iter()
            .map(|row| row.text)
            .collect::<Vec<_>>()
    };
    let all = write(root, "corpus.jsonl", lines.concat());
    assert_eq!(open(&all), ["Alpha first", "second", "third"]);
    write(root, "queries.jsonl", QUERIES);
    let retrieval = Retrieval::open(root).unwrap();
    assert_eq!(retrieval.document_text(2).unwrap(), "third");
    let null = write(root, "null.jsonl", lines[2]);
    assert_eq!(open(&null), ["third"]);
    let empty = write(root, "empty.csv", "id,title,text\na,,first\n");
    assert_eq!(open(&empty), ["first"]);
    // Some parts of a corpus have titles, others don't.
    for (part, row) in lines.iter().enumerate() {
        write(root, &format!("parts/{part}.jsonl"), row);
    }
    assert_eq!(
        open(&format!("{}/parts", root.display())),
        ["Alpha first", "second", "third"]
    );
    let error = write(
        root,
        "error.jsonl",
        "{\"id\": \"a\", \"title\": \"A\", \"text\": \"x\"}\n{\"id\": \"b\", \"title\": \"B\"}\n",
    );
    let found = Texts::open(Path::new(&error), None, &[]).unwrap();
    assert_eq!(
        found.rows().nth(1).unwrap().unwrap_err().to_string(),
        format!("`{error}`, row 2, column `text`: has no text (null)")
    );
}

#[test]
fn empty_parts_and_empty_columns_go_with_all_others() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(
        root,
        "files/0.jsonl",
        "{\"query\": \"a\", \"document\": \"b\"}\n",
    );
    write(root, "files/1.jsonl", "");
    write(
        root,
        "files/2.jsonl",
        "{\"query\": \"c\", \"document\": \"d\"}\n",
    );
    for more in ["", "\nstreaming = true"] {
        let toml = format!("path = '{}/files'{more}", root.display());
        let config: DatasetConfig = toml::from_str(&toml).unwrap();
        assert_eq!(Dataset::load(&config).unwrap().num_rows(), 2, "{more}");
    }
    write(root, "none/0.jsonl", "");
    write(root, "none/1.jsonl", "");
    assert_eq!(
        failure(root, "path = '{}/none'"),
        "`none/1.jsonl` is empty: the file has no bytes"
    );
    write(
        root,
        "columns/a.csv",
        "query,document,score\na,b,1\nc,d,2\n",
    );
    write(root, "columns/b.csv", "query,document,score\ne,f,\n");
    let table = load(root, "path = '{}/columns'\ncolumns = ['query', 'document']").unwrap();
    assert_eq!(texts(&table, "query"), ["a", "c", "e"]);
    let all = load(root, "path = '{}/columns'").unwrap();
    let message = all.check(&all.roles().unwrap()).unwrap_err().to_string();
    assert!(
        message.contains("b.csv`, row 1, column `score`: is null"),
        "{message}"
    );
    // Only what is chosen must agree, or be there.
    write(
        root,
        "columns/b.csv",
        "query,document,score,more\ne,f,high,x\n",
    );
    let table = load(root, "path = '{}/columns'\ncolumns = ['query', 'document']").unwrap();
    assert_eq!(table.num_rows(), 3);
    write(root, "mixed/a.jsonl", "{\"query\": \"a\", \"extra\": 1}\n");
    write(root, "mixed/b.csv", "query,extra\nb,\n");
    assert_eq!(load(root, "path = '{}/mixed'").unwrap().num_rows(), 2);
}

#[test]
fn contradicting_judgements_and_repeated_ids_are_refused_with_both_places() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "queries.jsonl", QUERIES);
    write(root, "corpus.jsonl", CORPUS);
    write(
        root,
        "qrels/train.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td1\t0\n",
    );
    assert_eq!(
        failure(root, "retrieval = '{}'"),
        "`qrels/train.tsv`, line 3, column `score`: is 0 for query `q1` and document `d1`, and 1 in line 2"
    );
    let path = write(root, "a.jsonl", format!("{CORPUS}{CORPUS}"));
    let found = Texts::open(Path::new(&path), None, &[]).unwrap();
    assert_eq!(
        found.check_ids().unwrap_err().to_string(),
        format!("`{path}`, row 4, column `_id`: repeats the id `d1` of row 1")
    );
    write(root, "parts/a.jsonl", CORPUS);
    write(root, "parts/b.jsonl", CORPUS);
    let parts = Texts::open(&root.join("parts"), None, &[]).unwrap();
    let message = parts.check_ids().unwrap_err().to_string();
    assert!(
        message.contains("b.jsonl`, row 1, column `_id`: repeats the id `d1` of row 1 of `"),
        "{message}"
    );
    let none = write(
        root,
        "none.jsonl",
        "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": null, \"text\": \"y\"}\n",
    );
    let none = Texts::open(Path::new(&none), None, &[]).unwrap();
    assert!(
        none.check_ids()
            .unwrap_err()
            .to_string()
            .contains("row 2, column `id`: is null")
    );
}

#[test]
fn keys_that_nobody_asks_for_may_hold_what_they_like() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "queries.jsonl", QUERIES);
    write(
        root,
        "corpus.jsonl",
        "{\"_id\": \"d1\", \"text\": \"a\", \"metadata\": {\"n\": 1}}\n{\"_id\": \"d2\", \"text\": \"b\", \"metadata\": {\"n\": \"x\"}}\n",
    );
    assert_eq!(Retrieval::open(root).unwrap().num_documents(), 2);
    assert_eq!(
        Texts::open(&root.join("corpus.jsonl"), None, &[])
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        failure(root, "path = '{}/corpus.jsonl'"),
        "`corpus.jsonl`, row 2 (line 2), column `metadata`: has a key `n` that holds a whole number and a text"
    );
}

#[test]
#[cfg(unix)]
fn a_pipe_is_read_like_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let pipe = root.join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let give = |bytes: Vec<u8>| {
        let pipe = pipe.clone();
        std::thread::spawn(move || std::fs::write(pipe, bytes).unwrap())
    };
    let compressed =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pairs.csv.gz"))
            .unwrap();
    for (bytes, format, rows) in [
        (CORPUS.as_bytes().to_vec(), Format::Json, 3),
        (b"text\nx\n".to_vec(), Format::Csv, 1),
        (compressed, Format::Csv, 2),
    ] {
        let writer = give(bytes);
        let mut config = DatasetConfig::from_path(&pipe);
        config.format = Some(format);
        assert_eq!(Table::load(&config).unwrap().num_rows(), rows);
        writer.join().unwrap();
    }
    let writer = give(b"{\"text\": \"a\"}\n{\"text\": 4}\n".to_vec());
    let message = Texts::open(&pipe, Some(Format::Json), &[])
        .unwrap_err()
        .to_string();
    writer.join().unwrap();
    assert!(
        message.ends_with(
            "pipe`, row 2 (line 2), column `text`: is a whole number, and a text in an earlier row"
        ),
        "{message}"
    );
    let writer = give(b"x".to_vec());
    let message = Texts::open(&pipe, None, &[]).unwrap_err().to_string();
    writer.join().unwrap();
    assert!(
        message.starts_with("the format of `") && message.contains("pipe` can't be told"),
        "{message}"
    );
    let message = Texts::open(Path::new("/dev/zero"), Some(Format::Json), &[]).unwrap_err();
    assert_eq!(
        message.to_string(),
        "`/dev/zero`: is a device; expected a file, a directory or a pipe"
    );
}
