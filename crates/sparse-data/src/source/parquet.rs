//! Parquet, page by page: DataFusion would hold the columns of a whole row group beside the rows.

use std::fs::File;
use std::path::Path;

use datafusion::arrow::datatypes::Schema;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::table_file::Batches;
use super::{BatchSize, io_error, malformed};
use crate::error::Result;

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| malformed(path, error.to_string()))
}

/// The columns of a file.
pub(super) fn schema(path: &Path) -> Result<Schema> {
    Ok(builder(path)?.schema().as_ref().clone())
}

/// The number of rows of each row group.
pub(super) fn row_groups(path: &Path) -> Result<Vec<u64>> {
    let builder = builder(path)?;
    let groups = builder.metadata().row_groups().iter();
    let rows = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(0));
    Ok(rows.collect())
}

/// The rows of a row group, or of all.
pub(super) fn batches(
    path: &Path,
    group: Option<usize>,
    names: &[&str],
    size: BatchSize,
) -> Result<Batches> {
    let mut builder = builder(path)?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let groups = builder.metadata().row_groups().iter();
    let mean = groups.map(|group| group.total_byte_size() / group.num_rows().max(1));
    let mean = usize::try_from(mean.max().unwrap_or(0)).unwrap_or(0);
    if let Some(group) = group {
        builder = builder.with_row_groups(vec![group]);
    }
    let reader = builder
        .with_projection(columns)
        .with_batch_size(size.rows_of(mean, names.len()))
        .build()
        .map_err(|error| malformed(path, error.to_string()))?;
    let path = path.to_owned();
    let batches =
        reader.map(move |batch| batch.map_err(|error| malformed(&path, error.to_string())));
    Ok(Box::new(batches))
}
