//! Training sets that hold ids instead of texts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Int64Type};
use serde::{Deserialize, Serialize};

use crate::columns::LABEL_COLUMNS;
use crate::error::{Error, Result};
use crate::ids::{TextsById, id_text};
use crate::source::{ReadOptions, read_file};
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

    fn read(&self) -> Result<TextsById> {
        let table = read_file(self.path(), &ReadOptions::default())?;
        let (id, text) = match self {
            Self::File(_) => (None, None),
            Self::Columns(columns) => (columns.id.as_deref(), columns.text.as_deref()),
        };
        TextsById::new(self.path(), table, id, text)
    }
}

/// Replaces columns of ids by their texts. A column loses the ending `_id`, `_ids` or `_idx` of its name; a column of
/// lists becomes `NAME_1` to `NAME_n`. Of the other columns only those with a label's name stay, after the texts.
pub(crate) fn resolve_ids(table: &Table, lookups: &BTreeMap<String, Lookup>) -> Result<Table> {
    let mut files: BTreeMap<&Lookup, TextsById> = BTreeMap::new();
    for (column, lookup) in lookups {
        table.column_index(column)?;
        if !files.contains_key(lookup) {
            files.insert(lookup, lookup.read()?);
        }
    }
    let mut resolved = table.clone();
    let mut names: Vec<String> = Vec::new();
    for column in table.column_names() {
        let Some(texts) = lookups.get(column).and_then(|lookup| files.get(lookup)) else {
            continue;
        };
        let name = ["_ids", "_id", "_idx"]
            .into_iter()
            .find_map(|ending| column.strip_suffix(ending))
            .filter(|name| !name.is_empty())
            .unwrap_or(column);
        for (name, column_texts) in id_column(table, column, name, texts)? {
            if names.contains(&name) {
                return Err(Error::Columns {
                    place: table.place().to_owned(),
                    problem: format!("two columns of ids become `{name}`; rename one with `sql`"),
                });
            }
            resolved = resolved.with_text_column(&name, &column_texts)?;
            names.push(name);
        }
    }
    for label in LABEL_COLUMNS {
        if table.column_names().contains(&label) && !names.iter().any(|name| name == label) {
            names.push(label.to_owned());
        }
    }
    resolved.select_columns(&names)
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
            if items.is_null(i) {
                return Err(wrong());
            }
            if let Some(texts) = items.as_string_opt::<i32>() {
                return Ok(texts.value(i).to_owned());
            }
            let numbers = items.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
            Ok(numbers.value(i).to_string())
        })
        .collect()
}
