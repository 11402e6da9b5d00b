//! Parquet, page by page: DataFusion would hold the columns of a whole row group beside the rows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::arrow::record_batch::RecordBatchReader;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::engine::BATCH_ROWS;
use super::{Choice, io_error, malformed};
use crate::error::Result;
use crate::table::{Chunk, Table, check_names, normal_type, normalize};

/// Reads the chosen columns of a file.
pub(super) fn read(path: &Path, choice: &Choice) -> Result<Table> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| malformed(path, error.to_string()))?;
    let place: Arc<str> = path.display().to_string().into();
    let stored = Arc::clone(builder.schema());
    check_names(&place, &stored)?;
    let names: Vec<&str> = stored
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let columns = choice.names(&place, &names)?;
    if let Some(columns) = &columns {
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
        Some(columns) => table.select_columns(&columns),
        None => Ok(table),
    }
}
