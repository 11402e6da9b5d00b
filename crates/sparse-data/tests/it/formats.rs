//! Every format gives the same table.

use std::fs::File;
use std::path::Path;

use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};
use datafusion::parquet::arrow::ArrowWriter;
use sparse_data::{Column, Table};

use crate::{failure, load, texts, write};

fn pairs() -> Table {
    Table::from_columns([
        ("query", Column::from(["red fruit", "yellow fruit"])),
        ("answer", Column::from(["an apple, or a cherry", "banana"])),
        ("score", Column::from([0.5, 1.0])),
    ])
    .unwrap()
}

fn check(table: &Table) {
    assert_eq!(texts(table, "query"), ["red fruit", "yellow fruit"]);
    assert_eq!(texts(table, "answer"), ["an apple, or a cherry", "banana"]);
}

fn write_parquet(table: &Table, path: &Path, rows_per_group: usize) {
    let properties = datafusion::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows_per_group))
        .build();
    let mut writer = ArrowWriter::try_new(
        File::create(path).unwrap(),
        table.schema().clone(),
        Some(properties),
    )
    .unwrap();
    for batch in table.to_batches().unwrap() {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn compressed_text_files_are_read_as_they_are() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in [
        "pairs.jsonl",
        "pairs.csv.gz",
        "pairs.jsonl.bz2",
        "pairs.csv.xz",
        "pairs.jsonl.zst",
    ] {
        check(&Table::read(fixtures.join(name).to_str().unwrap()).unwrap());
    }
}

#[test]
fn parquet_is_read_with_its_columns_and_row_groups() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write_parquet(&pairs(), &root.join("a.parquet"), 1);
    let table = load(root, "path = '{}/a.parquet'").unwrap();
    check(&table);
    let batch = table.batch(&table.roles().unwrap(), &[1, 0]).unwrap();
    assert_eq!(batch.labels.unwrap().values, [1.0, 0.5]);
    let table = load(root, "path = '{}/a.parquet'\ncolumns = ['answer', 'query']").unwrap();
    assert_eq!(table.column_names(), ["answer", "query"]);
    assert_eq!(
        failure(root, "path = '{}/a.parquet'\ncolumns = ['answr']"),
        "`a.parquet` has no column `answr`; did you mean `answer`?; it has `query`, `answer`, `score`"
    );
    write(
        root,
        "cut.parquet",
        &std::fs::read(root.join("a.parquet")).unwrap()[..200],
    );
    assert!(failure(root, "path = '{}/cut.parquet'").starts_with("`cut.parquet`: "));
}

#[test]
fn a_large_parquet_file_keeps_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.parquet");
    let numbered: Vec<String> = (0..300_000)
        .map(|i| format!("row {i} {:x}", i * 2_654_435_761_u64))
        .collect();
    let table = Table::from_columns([("text", Column::from(numbered.clone()))]).unwrap();
    write_parquet(&table, &path, 10_000);
    assert_eq!(
        texts(&Table::read(path.to_str().unwrap()).unwrap(), "text"),
        numbered
    );
}

#[test]
fn arrow_files_and_streams_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let table = pairs();
    let mut file =
        FileWriter::try_new(File::create(root.join("a.arrow")).unwrap(), table.schema()).unwrap();
    let mut stream =
        StreamWriter::try_new(File::create(root.join("b.arrow")).unwrap(), table.schema()).unwrap();
    for batch in table.to_batches().unwrap() {
        file.write(&batch).unwrap();
        stream.write(&batch).unwrap();
    }
    file.finish().unwrap();
    stream.finish().unwrap();
    check(&load(root, "path = '{}/a.arrow'").unwrap());
    check(&load(root, "path = '{}/b.arrow'").unwrap());
    write(root, "c.arrow", "not arrow at all");
    assert!(
        failure(root, "path = '{}/c.arrow'")
            .starts_with("`c.arrow`: is not a whole Arrow IPC file or stream")
    );
}

#[test]
fn text_files_have_one_row_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "a.txt", "one\r\n\nthree");
    assert_eq!(
        texts(&load(root, "path = '{}/a.txt'").unwrap(), "text"),
        ["one", "", "three"]
    );
    write(root, "b.txt", b"fine\ncaf\xe9\n");
    assert!(
        failure(root, "path = '{}/b.txt'").starts_with("`b.txt`, row 2 (line 2): is not UTF-8")
    );
}

#[test]
fn a_format_and_a_delimiter_can_be_given() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "a.data", "query;answer\nx;y\n");
    let table = load(root, "path = '{}/a.data'\nformat = 'csv'\ndelimiter = ';'").unwrap();
    assert_eq!(texts(&table, "answer"), ["y"]);
    assert_eq!(
        failure(root, "path = '{}/a.data'"),
        "the format of `a.data` can't be told from its name; set `format` to one of csv, tsv, json, parquet, arrow, text"
    );
}

/// Every bit of a file turned, one at a time: a message that names the file, or a table, but no panic.
fn every_flipped_bit_is_survived(root: &Path, name: &str) {
    let whole = std::fs::read(root.join(name)).unwrap();
    let toml = format!("path = '{{}}/{name}'");
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        write(root, name, &bytes);
        if let Err(error) = load(root, &toml) {
            let message = error.to_string();
            assert!(message.contains(name), "byte {place}: {message}");
        }
        if place % 16 == 0 {
            write(root, name, &whole[..place]);
            match load(root, &toml) {
                // The mark at the end of a stream may be missing.
                Ok(table) => assert_eq!(table.num_rows(), 2),
                Err(error) => assert!(error.to_string().contains(name), "{place}: {error}"),
            }
        }
    }
}

#[test]
fn damaged_binary_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let table = pairs();
    let mut file =
        FileWriter::try_new(File::create(root.join("a.arrow")).unwrap(), table.schema()).unwrap();
    let mut stream =
        StreamWriter::try_new(File::create(root.join("b.ipc")).unwrap(), table.schema()).unwrap();
    for batch in table.to_batches().unwrap() {
        file.write(&batch).unwrap();
        stream.write(&batch).unwrap();
    }
    file.finish().unwrap();
    stream.finish().unwrap();
    write_parquet(&table, &root.join("c.parquet"), 1);
    for name in ["a.arrow", "b.ipc", "c.parquet"] {
        every_flipped_bit_is_survived(root, name);
    }
}

#[test]
fn a_column_without_a_name_is_told_with_its_file_also_where_there_is_no_row() {
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.arrow");
    let schema = Schema::new(vec![Field::new("", DataType::Utf8, true)]);
    let mut stream = StreamWriter::try_new(File::create(&path).unwrap(), &schema).unwrap();
    stream.finish().unwrap();
    let message = failure(directory.path(), "path = '{}/a.arrow'");
    assert!(
        message.contains("a.arrow`: column 1 has no name"),
        "{message}"
    );
}
