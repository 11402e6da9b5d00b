//! Training sets that hold ids instead of texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::columns::{LABEL_COLUMNS, is_leftover};
use crate::error::{Error, Result};
use crate::ids::{IdColumns, TextsById, id_text, id_value};
use crate::source::{ReadLimits, ReadOptions, read_path};
use crate::table::Table;

/// The file in which the texts of an id column are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Lookup {
    /// A file whose columns speak for themselves: the ids in `_id`, `id` or the only column that ends in `_id`; the
    /// texts in `text` (after `title`, if there is one) or the only other column.
    File(PathBuf),
    /// A file and its columns.
    Columns(LookupColumns),
}

/// A file of texts, and the names of its columns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupColumns {
    /// The file.
    pub path: PathBuf,
    /// Column of the ids.
    pub id: Option<String>,
    /// Column of the texts.
    pub text: Option<String>,
}

impl<'de> Deserialize<'de> for Lookup {
    /// Reads a path or a table; of the latter an unknown key is named.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;
        impl<'de> serde::de::Visitor<'de> for Place {
            type Value = Lookup;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a path, or a table with `path`, `id` and `text`")
            }

            fn visit_str<E>(self, path: &str) -> Result<Lookup, E> {
                Ok(Lookup::File(path.into()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Lookup, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                LookupColumns::deserialize(map).map(Lookup::Columns)
            }
        }
        deserializer.deserialize_any(Place)
    }
}

impl Lookup {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Columns(columns) => &columns.path,
        }
    }

    fn read(&self, limits: &ReadLimits) -> Result<TextsById> {
        let (id, text) = match self {
            Self::File(_) => (None, None),
            Self::Columns(columns) => (columns.id.clone(), columns.text.clone()),
        };
        let options = ReadOptions {
            columns: IdColumns::choice(id.clone(), text.clone()),
            limits: *limits,
            ..ReadOptions::default()
        };
        let table = read_path(self.path(), &options)?;
        let names = table.column_names();
        let columns = IdColumns::find(table.place(), &names, id.as_deref(), text.as_deref())?;
        TextsById::new(table, &columns)
    }
}

/// Which columns of a table with lookups stay beside those that are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// All, because `sql` or `columns` choose among them.
    All,
    /// Texts and labels; what can't be trained on is left out with a warning.
    Trainable,
}

/// Replaces columns of ids by their texts, each in its place. A column loses the ending `_id`, `_ids` or `_idx` of its name; a
/// column of lists becomes `NAME_1` to `NAME_n`.
pub(crate) fn resolve_ids(
    table: &Table,
    lookups: &BTreeMap<String, Lookup>,
    others: Others,
    limits: &ReadLimits,
) -> Result<Table> {
    let mut files: BTreeMap<&Lookup, TextsById> = BTreeMap::new();
    for (column, lookup) in lookups {
        table.column_index(column)?;
        if !files.contains_key(lookup) {
            files.insert(lookup, lookup.read(limits)?);
        }
    }
    let kept: Vec<&str> = table
        .column_names()
        .into_iter()
        .filter(|name| !lookups.contains_key(*name))
        .filter(|name| others == Others::All || stays(table, name))
        .collect();
    // Columns that stay, and those that were looked up, under the names that they get.
    let mut names: Vec<String> = Vec::new();
    let mut resolved = table.select_columns(&kept)?;
    for column in table.column_names() {
        let Some(texts) = lookups.get(column).and_then(|lookup| files.get(lookup)) else {
            if kept.contains(&column) {
                names.push(column.to_owned());
            }
            continue;
        };
        let name = ["_ids", "_id", "_idx"]
            .into_iter()
            .find_map(|ending| column.strip_suffix(ending))
            .filter(|name| !name.is_empty())
            .unwrap_or(column);
        for (name, column_texts) in id_column(table, column, name, texts)? {
            if resolved.column_names().contains(&name.as_str()) {
                return Err(Error::Columns {
                    place: table.place().to_owned(),
                    problem: format!(
                        "the texts of `{column}` become `{name}`, and there is a column of that name; rename it"
                    ),
                });
            }
            resolved = resolved.with_text_column(&name, &column_texts)?;
            names.push(name);
        }
    }
    resolved.select_columns(&names)
}

/// Whether a column that isn't looked up can be trained on: a label, or a text that isn't named like an id.
fn stays(table: &Table, name: &str) -> bool {
    if LABEL_COLUMNS.contains(&name) {
        return true;
    }
    let is_text = table
        .column_index(name)
        .is_ok_and(|column| *table.column_type(column) == DataType::Utf8);
    if !is_text || is_leftover(name) {
        tracing::warn!(
            "column `{name}` of `{}` is not used: it is neither looked up nor a text to train on; name it in `lookups`, or choose \
             with `columns`",
            table.place()
        );
        return false;
    }
    true
}

/// The texts of a column of ids, under the names that they get.
fn id_column(
    table: &Table,
    column: &str,
    name: &str,
    texts: &TextsById,
) -> Result<Vec<(String, Vec<String>)>> {
    let index = table.column_index(column)?;
    let look_up = |id: &str, row: usize| -> Result<String> {
        let Some(found) = texts.row(id) else {
            let (file, row) = table.origin(row);
            return Err(Error::value(file, row, column, texts.unknown(id)));
        };
        texts.text(found)
    };
    if !matches!(table.column_type(index), DataType::List(_)) {
        let found = (0..table.num_rows())
            .map(|row| look_up(&id_text(table, index, row)?, row))
            .collect::<Result<Vec<_>>>()?;
        return Ok(vec![(name.to_owned(), found)]);
    }
    let mut columns: Vec<Vec<String>> = Vec::new();
    for row in 0..table.num_rows() {
        let ids = id_list(table, index, row)?;
        if row == 0 {
            columns.resize_with(ids.len(), Vec::new);
        }
        if ids.is_empty() || ids.len() != columns.len() {
            let (file, row) = table.origin(row);
            let problem = format!(
                "is a list of {} ids, the first row has {}; all must be equally long and not empty",
                ids.len(),
                columns.len()
            );
            return Err(Error::value(file, row, column, problem));
        }
        for (texts, id) in columns.iter_mut().zip(&ids) {
            texts.push(look_up(id, row)?);
        }
    }
    Ok(columns
        .into_iter()
        .enumerate()
        .map(|(i, texts)| (format!("{name}_{}", i + 1), texts))
        .collect())
}

fn id_list(table: &Table, column: usize, row: usize) -> Result<Vec<String>> {
    let (array, offset) = table.cell(column, row);
    let wrong = || {
        let (file, row) = table.origin(row);
        Error::value(
            file,
            row,
            table.column_names()[column],
            "is not a list of ids: texts or whole numbers",
        )
    };
    if array.is_null(offset) {
        return Err(wrong());
    }
    let items = array.as_list::<i32>().value(offset);
    (0..items.len())
        .map(|i| {
            id_value(&items, i).map_err(|problem| {
                let (file, row) = table.origin(row);
                let name = table.column_names()[column];
                Error::value(file, row, name, format!("holds an id that {problem}"))
            })
        })
        .collect()
}
