//! Parquet, page by page: DataFusion would hold the columns of a whole row group beside the rows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatchReader;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::engine::BATCH_ROWS;
use super::{io_error, malformed};
use crate::error::{Error, Result, list_names, nearest};
use crate::table::{Chunk, Table, check_names, normal_type, normalize};

/// Reads a file, or only some of its columns.
pub(super) fn read(path: &Path, columns: Option<&[String]>) -> Result<Table> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| malformed(path, error.to_string()))?;
    let place: Arc<str> = path.display().to_string().into();
    let stored = Arc::clone(builder.schema());
    check_names(&place, &stored)?;
    if let Some(columns) = columns {
        let known = || stored.fields().iter().map(|field| field.name().as_str());
        if let Some(column) = columns
            .iter()
            .find(|column| !known().any(|name| name == *column))
        {
            return Err(Error::UnknownColumn {
                place: place.to_string(),
                column: column.clone(),
                nearest: nearest(column, known()),
                known: list_names(known()),
            });
        }
        let names = columns.iter().map(String::as_str);
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        builder = builder.with_projection(mask);
    }
    let reader = builder
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| malformed(path, error.to_string()))?;
    let read = reader.schema();
    let fields = read.fields().iter();
    let fields: Vec<Field> = fields
        .map(|field| Field::new(field.name(), normal_type(field.data_type()), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let mut chunks = Vec::new();
    let mut first_row = 1;
    for batch in reader {
        let batch = batch.map_err(|error| malformed(path, error.to_string()))?;
        let chunk = Chunk {
            batch,
            file: Arc::clone(&place),
            first_row,
        };
        let chunk = normalize(chunk, &schema)?.shrunk()?;
        first_row += chunk.batch.num_rows() as u64;
        chunks.push(chunk);
    }
    let table = Table::from_chunks(&schema, chunks)?;
    match columns {
        Some(columns) => table.select_columns(columns),
        None => Ok(table),
    }
}
