//! Data read part by part.

use std::fs::File;

use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use sparse_data::{Batch, Column, DatasetConfig, StreamConfig, StreamingTable, Table};

use crate::write;

fn open(path: &str) -> sparse_data::Result<StreamingTable> {
    StreamingTable::open(&DatasetConfig {
        path: Some(path.into()),
        name: Some("large".to_owned()),
        ..DatasetConfig::default()
    })
}

fn epoch(stream: &StreamingTable, config: &StreamConfig, epoch: u64) -> Vec<Batch> {
    let roles = stream.roles().unwrap();
    stream
        .batches(&roles, config, epoch)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

fn queries(batches: &[Batch]) -> Vec<String> {
    batches
        .iter()
        .flat_map(|batch| batch.columns[0].texts.clone())
        .collect()
}

/// Each row comes once an epoch, in an order of the epoch's own, and a stream goes on at any batch.
pub(crate) fn check(stream: &StreamingTable, num_rows: usize) {
    let config = StreamConfig {
        batch_size: 32,
        buffer_rows: 3000,
        ..StreamConfig::default()
    };
    assert_eq!(stream.num_rows(), num_rows as u64);
    let head = stream.head(2000).unwrap();
    assert_eq!(
        (head.num_rows(), head.text("query", 0).unwrap()),
        (2000, Some("q0"))
    );
    let first = epoch(stream, &config, 0);
    assert_eq!(first.len() as u64, stream.num_batches(&config));
    let order = queries(&first);
    let mut sorted: Vec<usize> = order
        .iter()
        .map(|query| query[1..].parse().unwrap())
        .collect();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..num_rows).collect::<Vec<_>>(), "each row once");
    for batch in &first {
        assert_eq!(batch.dataset_name.as_deref(), Some("large"));
        let labels = &batch.labels.as_ref().unwrap().values;
        for (query, label) in batch.columns[0].texts.iter().zip(labels) {
            assert_eq!(
                query[1..].parse::<f32>().unwrap() / 2.0,
                *label,
                "a row stays together"
            );
        }
    }
    assert_eq!(first, epoch(stream, &config, 0));
    let second = queries(&epoch(stream, &config, 1));
    assert_ne!(order, second);
    assert!(
        order[..1000]
            .iter()
            .filter(|&query| second[..1000].contains(query))
            .count()
            < 500,
        "the parts change their order"
    );

    // A run that stopped after 100 batches goes on with the 101st.
    let mut resumed = stream
        .batches(&stream.roles().unwrap(), &config, 0)
        .unwrap();
    resumed.skip_batches(100).unwrap();
    assert_eq!(
        resumed.map(Result::unwrap).collect::<Vec<_>>(),
        first[100..]
    );
}

#[test]
fn parquet_is_streamed_by_row_groups() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let rows = 20_001;
    let table = Table::from_columns([
        (
            "query",
            Column::from((0..rows).map(|i| format!("q{i}")).collect::<Vec<_>>()),
        ),
        (
            "score",
            Column::from((0..rows).map(|i| i as f64 / 2.0).collect::<Vec<_>>()),
        ),
    ])
    .unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(1500))
        .build();
    let mut writer = ArrowWriter::try_new(
        File::create(&path).unwrap(),
        table.schema().clone(),
        Some(properties),
    )
    .unwrap();
    for batch in table.to_batches().unwrap() {
        writer.write(&batch).unwrap();
    }
    writer.close().unwrap();
    check(&open(path.to_str().unwrap()).unwrap(), rows);
}

#[test]
fn json_lines_are_streamed_by_ranges_of_files() {
    let directory = tempfile::tempdir().unwrap();
    for file in 0..10 {
        let rows: String = (file * 2000..(file + 1) * 2000)
            .map(|i| {
                format!(
                    "{{\"score\": {}, \"query\": \"q{i}\"}}\n",
                    f64::from(i) / 2.0
                )
            })
            .collect();
        write(directory.path(), &format!("{file}.jsonl"), rows);
    }
    check(
        &open(&format!("{}/*.jsonl", directory.path().display())).unwrap(),
        20_000,
    );
}

#[test]
fn faults_are_found_before_or_named_during_the_stream() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let path = write(root, "a.jsonl", "{\"query\": \"a\"}\n{\"query\": 1}\n");
    let message = open(&path).unwrap_err().to_string();
    assert!(
        message.ends_with(
            "row 2 (line 2), column `query`: is a whole number, and a text in an earlier row"
        ),
        "{message}"
    );
    let path = write(root, "b.jsonl", "{\"query\": \"a\"}\n\n{\"query\": null}\n");
    let stream = open(&path).unwrap();
    let mut batches = stream
        .batches(&stream.roles().unwrap(), &StreamConfig::default(), 0)
        .unwrap();
    let message = batches.next().unwrap().unwrap_err().to_string();
    assert!(
        message.contains("b.jsonl`, row 2, column `query`: has no text"),
        "{message}"
    );
    assert!(batches.next().is_none());
    let path = write(root, "c.csv", "query,label\na,1\nb,2,3\n");
    let message = open(&path).unwrap_err().to_string();
    assert!(
        message.contains("c.csv`, row 2 (line 3): has 3 cells, the header has 2"),
        "{message}"
    );
    let sliced = DatasetConfig {
        path: Some(path.as_str().into()),
        split: Some("train[:5]".to_owned()),
        ..DatasetConfig::default()
    };
    assert_eq!(
        StreamingTable::open(&sliced).unwrap_err().to_string(),
        "`split` takes a slice, which needs the whole table in memory and can't be streamed; name whole splits"
    );
    write(root, "folder/dev.jsonl", "{\"query\": \"a\"}\n");
    write(
        root,
        "folder/train.jsonl",
        "{\"query\": \"b\"}\n{\"query\": \"c\"}\n",
    );
    let mut folder = DatasetConfig {
        path: Some(format!("{}/folder", root.display()).as_str().into()),
        ..DatasetConfig::default()
    };
    let message = StreamingTable::open(&folder).unwrap_err().to_string();
    assert!(
        message.ends_with("has the splits `train`, `validation`"),
        "{message}"
    );
    folder.split = Some("train + dev".to_owned());
    assert_eq!(StreamingTable::open(&folder).unwrap().num_rows(), 3);
}

/// Rows of a table in every format, streamed in order, are the rows of the table in memory, with the same types.
#[test]
fn every_format_is_streamed_with_the_rows_that_it_has_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let row = |i: usize| {
        (
            format!("q{i}"),
            format!("a \"quoted\" answer, {i}"),
            i as f64 / 2.0,
        )
    };
    let rows = 3001;
    let csv: String = (0..rows)
        .map(row)
        .map(|(q, a, s)| format!("{q},\"{}\", {s}\n", a.replace('"', "\"\"")))
        .collect();
    let tsv: String = (0..rows)
        .map(row)
        .map(|(q, a, s)| format!("{q}\t{a}\t{s}\n"))
        .collect();
    let objects: Vec<String> = (0..rows)
        .map(row)
        .map(|(q, a, s)| {
            let a = a.replace('"', "\\\"");
            format!("{{\"query\": \"{q}\", \"answer\": \"{a}\", \"score\": {s}}}")
        })
        .collect();
    write(root, "a.csv", format!("query,answer,score\n{csv}"));
    write(root, "a.tsv", format!("query\tanswer\tscore\n{tsv}"));
    write(root, "a.jsonl", objects.join("\n"));
    write(root, "a.json", format!("[{}]", objects.join(",\n")));
    write(root, "a.txt", tsv);
    let table = Table::read(&format!("{}/a.csv", root.display())).unwrap();
    table.write_parquet(&root.join("a.parquet")).unwrap();
    let mut arrow =
        FileWriter::try_new(File::create(root.join("a.arrow")).unwrap(), table.schema());
    let writer = arrow.as_mut().unwrap();
    for batch in table.to_batches().unwrap() {
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
    for name in [
        "a.csv",
        "a.tsv",
        "a.jsonl",
        "a.json",
        "a.parquet",
        "a.arrow",
        "a.txt",
    ] {
        let path = format!("{}/{name}", root.display());
        let table = Table::read(&path).unwrap();
        let stream = open(&path).unwrap();
        assert_eq!(stream.num_rows(), rows as u64, "{name}");
        let streamed = stream.head(rows).unwrap();
        assert_eq!(streamed.schema(), table.schema(), "{name}");
        for column in table.column_names() {
            let cells = |table: &Table| -> Vec<String> {
                (0..rows)
                    .map(|row| table.value_as_text(column, row).unwrap())
                    .collect()
            };
            assert_eq!(cells(&streamed), cells(&table), "{name} {column}");
        }
        let batches = epoch(&stream, &StreamConfig::default(), 0);
        let streamed: usize = batches.iter().map(Batch::num_rows).sum();
        assert_eq!(streamed, rows, "{name}");
    }
}
