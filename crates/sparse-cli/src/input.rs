//! Texts and their ids from a file of any known format.

use std::path::Path;

use sparse_encoder::data::{DatasetConfig, Table};

use crate::failure::{Failure, Result};

/// The texts of a file, read as they are asked for.
#[derive(Debug)]
pub(crate) struct Texts {
    table: Table,
    text: String,
    id: Option<String>,
}

impl Texts {
    /// Opens `path`; `column` is the one with the texts, by default `text`, or the only one beside an id.
    pub(crate) fn open(path: &Path, column: Option<&str>) -> Result<Self> {
        let table = Table::load(&DatasetConfig::from_path(path))?;
        let names: Vec<String> = table
            .column_names()
            .iter()
            .map(|&name| name.to_owned())
            .collect();
        let id = ["_id", "id"]
            .into_iter()
            .find(|id| names.iter().any(|name| name == id))
            .map(str::to_owned);
        let others: Vec<&String> = names
            .iter()
            .filter(|name| Some(*name) != id.as_ref())
            .collect();
        let text = match column {
            Some(column) => column.to_owned(),
            None if names.iter().any(|name| name == "text") => "text".to_owned(),
            None if others.len() == 1 => others[0].clone(),
            None => {
                return Err(Failure::input(format!(
                    "`{}` has the columns {}; choose one with --column",
                    path.display(),
                    names.join(", ")
                )));
            }
        };
        // Fails for a column that doesn't exist, before anything is written.
        table.text(&text, 0)?;
        Ok(Self { table, text, id })
    }

    pub(crate) fn len(&self) -> usize {
        self.table.num_rows()
    }

    /// Ids and texts of the rows `start..end`; a row without an id has its number.
    pub(crate) fn rows(
        &self,
        start: usize,
        end: usize,
    ) -> Result<(Vec<serde_json::Value>, Vec<String>)> {
        let mut ids = Vec::with_capacity(end - start);
        let mut texts = Vec::with_capacity(end - start);
        for row in start..end {
            ids.push(match &self.id {
                Some(id) => self.table.value_as_text(id, row)?.into(),
                None => row.into(),
            });
            let text = self.table.text(&self.text, row)?;
            let text = text.ok_or_else(|| {
                Failure::input(format!("row {}: column `{}` is null", row + 1, self.text))
            })?;
            texts.push(text.to_owned());
        }
        Ok((ids, texts))
    }
}
