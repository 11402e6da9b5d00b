//! Rows as they came from one place.

use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};

use crate::error::{Error, Result};

/// A run of rows from one place.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) batch: RecordBatch,
    /// File, or query, that the rows come from.
    pub(crate) file: Arc<str>,
    /// Row of the file that the first row here is, counted from 1.
    pub(crate) first_row: u64,
}

impl Chunk {
    /// The same rows without the room that a reader kept for more.
    pub(crate) fn shrunk(self) -> Result<Self> {
        let (schema, mut columns, num_rows) = self.batch.into_parts();
        for column in &mut columns {
            column.shrink_to_fit();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
        let batch = RecordBatch::try_new_with_options(schema, columns, &options);
        let batch = batch.map_err(|source| Error::Arrow {
            place: self.file.to_string(),
            source,
        })?;
        Ok(Self { batch, ..self })
    }
}
