//! Texts and their ids from a file of any known format.

use std::path::Path;

use serde_json::Value;
use sparse_encoder::data::{self, DatasetConfig, Format, ReadLimits, TextRows, VectorBatch};
use sparse_encoder::index::SparseMatrix;

use crate::failure::Result;

/// What is taken of an input at most.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(next_help_heading = "Limits of inputs")]
pub(crate) struct Limits {
    /// Bytes of a line, or of a record of CSV.
    #[arg(long, value_name = "BYTES", default_value_t = ReadLimits::default().max_line_bytes)]
    max_line_bytes: usize,
    /// Columns of a file, and keys of an object in JSON.
    #[arg(long, value_name = "COLUMNS", default_value_t = ReadLimits::default().max_columns)]
    max_columns: usize,
    /// Bytes of the rows that are decoded together.
    #[arg(long, value_name = "BYTES", default_value_t = ReadLimits::default().max_batch_bytes)]
    max_batch_bytes: usize,
    /// Bytes of a pipe, which are kept in a temporary file.
    #[arg(long, value_name = "BYTES", default_value_t = ReadLimits::default().max_pipe_bytes)]
    max_pipe_bytes: u64,
}

impl From<Limits> for ReadLimits {
    fn from(limits: Limits) -> Self {
        Self {
            max_line_bytes: limits.max_line_bytes,
            max_columns: limits.max_columns,
            max_batch_bytes: limits.max_batch_bytes,
            max_pipe_bytes: limits.max_pipe_bytes,
        }
    }
}

/// How a file is read.
pub(crate) fn dataset(path: &Path, format: Option<Format>, limits: Limits) -> DatasetConfig {
    DatasetConfig {
        format,
        limits: limits.into(),
        ..DatasetConfig::from_path(path)
    }
}

/// The texts of a file.
#[derive(Debug)]
pub(crate) struct Texts(data::Texts);

impl Texts {
    /// Opens `path`, and finds out before a model is loaded whether two rows have one id. `columns` are those with the text,
    /// joined with a blank: by default `title` (if there) and `text`, or the only one beside an id.
    pub(crate) fn open(
        path: &Path,
        columns: &[String],
        format: Option<Format>,
        limits: Limits,
    ) -> Result<Self> {
        let texts = Self::without_ids(path, columns, format, limits)?;
        texts.0.check_ids()?;
        Ok(texts)
    }

    /// As [`open`](Self::open), where ids play no part and may be what they like.
    pub(crate) fn without_ids(
        path: &Path,
        columns: &[String],
        format: Option<Format>,
        limits: Limits,
    ) -> Result<Self> {
        let config = dataset(path, format, limits);
        Ok(Self(data::Texts::open_with(path, &config, columns)?))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All rows, to be taken a few at a time.
    pub(crate) fn rows(&self) -> Rows {
        Rows {
            rows: self.0.rows(),
            taken: 0,
        }
    }
}

/// Rows of texts, of which only those that are taken are in memory.
#[derive(Debug)]
pub(crate) struct Rows {
    rows: TextRows,
    taken: usize,
}

impl Rows {
    /// Bytes of text after which no more rows are taken: long ones would fill the memory.
    const TAKEN_BYTES: usize = 8 << 20;

    /// Ids and texts of the next rows, at most so many; a row without an id has its number. None at the end.
    pub(crate) fn take(&mut self, most: usize) -> Result<Option<(Vec<Value>, Vec<String>)>> {
        let (mut ids, mut texts, mut bytes) = (Vec::new(), Vec::new(), 0);
        while ids.len() < most && bytes < Self::TAKEN_BYTES {
            let Some(row) = self.rows.next().transpose()? else {
                break;
            };
            bytes += row.text.len();
            ids.push(row.id.map_or_else(|| self.taken.into(), Value::from));
            texts.push(row.text);
            self.taken += 1;
        }
        Ok((!ids.is_empty()).then_some((ids, texts)))
    }

    /// Rows that were taken so far.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }
}

/// Ids as text.
pub(crate) fn id_texts(ids: Vec<Value>) -> Vec<String> {
    ids.into_iter()
        .map(|id| match id {
            Value::String(id) => id,
            other => other.to_string(),
        })
        .collect()
}

/// Ids and vectors that were read from a file.
pub(crate) fn vectors(batch: VectorBatch, n_dims: usize) -> Result<(Vec<String>, SparseMatrix)> {
    let rows = SparseMatrix::from_csr(n_dims, batch.offsets, batch.indices, batch.values)?;
    Ok((batch.ids, rows))
}
