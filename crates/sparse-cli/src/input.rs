//! Texts and their ids from a file of any known format.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sparse_encoder::data::{DatasetConfig, Table, VectorBatch};
use sparse_encoder::index::SparseMatrix;

use crate::failure::{Failure, Result};

/// The texts of a file, read as they are asked for.
#[derive(Debug)]
pub(crate) struct Texts {
    path: PathBuf,
    table: Table,
    columns: Vec<String>,
    id: Option<String>,
}

impl Texts {
    /// Opens `path`; `columns` are those with the text, joined with a blank: by default `title` (if there) and `text`, or the
    /// only one beside an id.
    pub(crate) fn open(path: &Path, columns: &[String]) -> Result<Self> {
        let table = Table::load(&DatasetConfig::from_path(path))?;
        let names: Vec<String> = table
            .column_names()
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        let id = ["_id", "id"]
            .into_iter()
            .find(|id| has(id))
            .map(str::to_owned);
        let others: Vec<&String> = names
            .iter()
            .filter(|name| Some(*name) != id.as_ref())
            .collect();
        let columns = match columns {
            [] if has("text") => ["title", "text"]
                .into_iter()
                .filter(|name| has(name))
                .map(str::to_owned)
                .collect(),
            [] if others.len() == 1 => vec![others[0].clone()],
            [] => {
                return Err(Failure::input(format!(
                    "`{}` has the columns {}; choose one with --column",
                    path.display(),
                    names.join(", ")
                )));
            }
            columns => columns.to_vec(),
        };
        // Fails for a column that doesn't exist, before anything is written.
        for column in &columns {
            table.text(column, 0)?;
        }
        Ok(Self {
            path: path.to_owned(),
            table,
            columns,
            id,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.num_rows()
    }

    /// Refuses ids that occur twice, naming both rows.
    pub(crate) fn check_distinct_ids(&self) -> Result<()> {
        let Some(column) = &self.id else {
            return Ok(());
        };
        // A number per row instead of its id, which may be long.
        let mut hashes = Vec::with_capacity(self.len());
        for row in 0..self.len() {
            let mut hasher = DefaultHasher::new();
            self.table.value_as_text(column, row)?.hash(&mut hasher);
            hashes.push((hasher.finish(), row));
        }
        hashes.sort_unstable();
        for alike in hashes
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|alike| alike.len() > 1)
        {
            let mut ids = Vec::with_capacity(alike.len());
            for &(_, row) in alike {
                ids.push((self.table.value_as_text(column, row)?, row));
            }
            ids.sort_unstable();
            if let Some(pair) = ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(Failure::input(format!(
                    "`{}`: `{column}` {} occurs twice, in rows {} and {}",
                    self.path.display(),
                    pair[0].0,
                    pair[0].1 + 1,
                    pair[1].1 + 1
                )));
            }
        }
        Ok(())
    }

    /// Ids and texts of the rows `start..end`; a row without an id has its number.
    pub(crate) fn rows(&self, start: usize, end: usize) -> Result<(Vec<Value>, Vec<String>)> {
        let mut ids = Vec::with_capacity(end - start);
        let mut texts = Vec::with_capacity(end - start);
        for row in start..end {
            ids.push(match &self.id {
                Some(id) => self.table.value_as_text(id, row)?.into(),
                None => row.into(),
            });
            texts.push(self.text(row)?);
        }
        Ok((ids, texts))
    }

    fn text(&self, row: usize) -> Result<String> {
        let cell = |column: &String| {
            self.table.text(column, row)?.ok_or_else(|| {
                Failure::input(format!("row {}: column `{column}` is null", row + 1))
            })
        };
        match &self.columns[..] {
            [column] => Ok(cell(column)?.to_owned()),
            columns => {
                let cells = columns.iter().map(cell).collect::<Result<Vec<_>>>()?;
                Ok(cells.join(" ").trim().to_owned())
            }
        }
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
