//! The binary seeds: `UPDATE_GENERATED=1 cargo test -p sparse-fuzz` makes them anew.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StringArray, StringViewArray,
};
use datafusion::arrow::datatypes::{Float64Type, Int8Type};
use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};
use datafusion::parquet::arrow::ArrowWriter;
use sparse_encoder::Table;
use sparse_encoder::data::DatasetConfig;

fn path(name: &str) -> PathBuf {
    sparse_fuzz::seeds::workspace()
        .join("fuzz/seeds")
        .join(name)
}

/// A column of each kind that readers treat in their own way.
fn rows() -> RecordBatch {
    let scores = [
        Some(vec![Some(0.5), Some(1.0)]),
        Some(vec![Some(2.0), None]),
        None,
    ];
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(Int64Array::from(vec![1, 9_007_199_254_740_993, 3])),
        ),
        (
            "query",
            Arc::new(StringArray::from(vec!["a cat", "a cow", "a hen"])),
        ),
        (
            "document",
            Arc::new(LargeStringArray::from(vec![
                Some("the cat"),
                None,
                Some("the hen"),
            ])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![
                "x",
                "a text that is longer than twelve bytes",
                "",
            ])),
        ),
        (
            "kind",
            Arc::new(DictionaryArray::<Int8Type>::from_iter(["u", "v", "u"])),
        ),
        ("label", Arc::new(Float64Array::from(vec![1.0, 0.0, 0.5]))),
        (
            "scores",
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(scores)),
        ),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn the_shipped_tables_hold_the_rows_that_they_should() {
    let rows = rows();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::create_dir_all(path("")).unwrap();
        let file = |name| File::create(path(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file("rows.parquet"), rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let mut writer = FileWriter::try_new(file("rows.arrow"), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        let mut writer = StreamWriter::try_new(file("stream.arrow"), &rows.schema()).unwrap();
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
    }
    let expected = Table::from_batches(vec![rows]).unwrap();
    let cells = |table: &Table| -> Vec<String> {
        let columns = table.column_names().into_iter();
        columns
            .flat_map(|column| (0..table.num_rows()).map(move |row| (column, row)))
            .map(|(column, row)| table.value_as_text(column, row).unwrap_or_default())
            .collect()
    };
    for name in ["rows.parquet", "rows.arrow", "stream.arrow"] {
        let read = Table::load(&DatasetConfig::from_path(path(name))).unwrap();
        assert_eq!(read.column_names(), expected.column_names(), "{name}");
        assert_eq!(cells(&read), cells(&expected), "{name}");
    }
}
