//! Texts and their ids from a file of any known format.

use std::path::Path;

use serde_json::Value;
use sparse_encoder::data::{self, Format, VectorBatch};
use sparse_encoder::index::SparseMatrix;

use crate::failure::Result;

/// The texts of a file.
#[derive(Debug)]
pub(crate) struct Texts(data::Texts);

impl Texts {
    /// Opens `path`, and finds out before a model is loaded whether two rows have one id. `columns` are those with the text,
    /// joined with a blank: by default `title` (if there) and `text`, or the only one beside an id.
    pub(crate) fn open(path: &Path, columns: &[String], format: Option<Format>) -> Result<Self> {
        let texts = Self::without_ids(path, columns, format)?;
        texts.0.check_ids()?;
        Ok(texts)
    }

    /// As [`open`](Self::open), where ids play no part and may be what they like.
    pub(crate) fn without_ids(
        path: &Path,
        columns: &[String],
        format: Option<Format>,
    ) -> Result<Self> {
        Ok(Self(data::Texts::open(path, format, columns)?))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Ids and texts of the rows `start..end`; a row without an id has its number.
    pub(crate) fn rows(&self, start: usize, end: usize) -> Result<(Vec<Value>, Vec<String>)> {
        let id =
            |row| -> Result<Value> { Ok(self.0.id(row)?.map_or_else(|| row.into(), Value::from)) };
        let ids = (start..end).map(id).collect::<Result<_>>()?;
        Ok((ids, self.texts(start, end)?))
    }

    /// The texts of the rows `start..end`.
    pub(crate) fn texts(&self, start: usize, end: usize) -> Result<Vec<String>> {
        (start..end).map(|row| Ok(self.0.text(row)?)).collect()
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
