//! Texts by id: the tables that id columns and relevance judgements point into.

use std::path::Path;

use crate::error::{Error, Result, list_names, nearest};
use crate::table::Table;

/// Texts of a table, found by their ids.
#[derive(Debug, Clone)]
pub(crate) struct TextsById {
    place: String,
    ids: Ids,
    /// The table, and the columns whose texts are joined by a blank.
    table: Table,
    columns: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Ids {
    texts: Vec<Box<str>>,
    /// Rows in the order of their ids.
    sorted: Vec<u32>,
}

impl TextsById {
    /// Indexes a table. The id column, if not named, is the single one named `_id` or `id` or ending in `_id`; the text
    /// columns, if not named, are `title` and `text`, `text`, or the single other one.
    pub(crate) fn new(
        place: &Path,
        table: Table,
        id: Option<&str>,
        text: Option<&str>,
    ) -> Result<Self> {
        let names = table.column_names();
        let problem = |problem: String| Error::Columns {
            place: place.display().to_string(),
            problem,
        };
        let id = match id {
            Some(id) => id,
            None => {
                let by_name = ["_id", "id"].into_iter().find(|name| names.contains(name));
                let mut by_ending = names.iter().copied().filter(|name| name.ends_with("_id"));
                match (by_name, by_ending.next(), by_ending.next()) {
                    (Some(name), ..) | (None, Some(name), None) => name,
                    _ => {
                        return Err(problem(format!(
                            "which column holds the ids can't be told; set `id` to one of {}",
                            list_names(names)
                        )));
                    }
                }
            }
        };
        let columns: Vec<&str> = match text {
            Some(text) => vec![text],
            None if names.contains(&"text") => ["title", "text"]
                .into_iter()
                .filter(|name| names.contains(name))
                .collect(),
            None => {
                let others: Vec<&str> = names.iter().copied().filter(|name| *name != id).collect();
                if others.len() != 1 {
                    return Err(problem(format!(
                        "which column holds the texts can't be told; set `text` to one of {}",
                        list_names(others)
                    )));
                }
                others
            }
        };
        let columns = columns
            .into_iter()
            .map(|column| {
                let index = table.column_index(column)?;
                table.check_text(index)?;
                Ok(index)
            })
            .collect::<Result<Vec<_>>>()?;
        let ids = Ids::new(&table, id)?;
        Ok(Self {
            place: place.display().to_string(),
            ids,
            table,
            columns,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.texts.len()
    }

    pub(crate) fn id(&self, row: usize) -> &str {
        &self.ids.texts[row]
    }

    /// Row of an id.
    pub(crate) fn row(&self, id: &str) -> Option<usize> {
        let sorted = &self.ids.sorted;
        let position = sorted
            .binary_search_by(|&row| (*self.ids.texts[row as usize]).cmp(id))
            .ok()?;
        Some(sorted[position] as usize)
    }

    /// What is wrong with an id that is not there.
    pub(crate) fn unknown(&self, id: &str) -> String {
        // Comparing with every id of a large corpus would take longer than the person's search.
        const COMPARED: usize = 100_000;
        let candidates = self.ids.texts.iter().take(COMPARED).map(|text| &**text);
        let hint = match nearest(id, candidates) {
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        format!("the id `{id}` is not in `{}`{hint}", self.place)
    }

    /// Text of a row: its columns joined by a blank, without blanks at the ends if there are several.
    pub(crate) fn text(&self, row: usize) -> Result<String> {
        let mut joined = String::new();
        for (i, &column) in self.columns.iter().enumerate() {
            let is_last = i + 1 == self.columns.len();
            match self.table.text_at(column, row) {
                Some(text) => joined.push_str(text),
                // A document without a title is usual, one without a text is not.
                None if !is_last => {}
                None => {
                    let (file, row) = self.table.origin(row);
                    return Err(Error::value(
                        file,
                        row,
                        self.table.column_names()[column],
                        "has no text (null)",
                    ));
                }
            }
            if !is_last {
                joined.push(' ');
            }
        }
        if self.columns.len() > 1 {
            return Ok(joined.trim().to_owned());
        }
        Ok(joined)
    }
}

impl Ids {
    fn new(table: &Table, column: &str) -> Result<Self> {
        let texts = (0..table.num_rows())
            .map(|row| {
                let id = id_text(table, table.column_index(column)?, row)?;
                Ok(id.into_boxed_str())
            })
            .collect::<Result<Vec<_>>>()?;
        let mut sorted: Vec<u32> = (0..texts.len() as u32).collect();
        sorted.sort_by(|&a, &b| texts[a as usize].cmp(&texts[b as usize]).then(a.cmp(&b)));
        for pair in sorted.windows(2) {
            if texts[pair[0] as usize] == texts[pair[1] as usize] {
                let (file, row) = table.origin(pair[1] as usize);
                let (_, first) = table.origin(pair[0] as usize);
                return Err(Error::value(
                    file,
                    row,
                    column,
                    format!(
                        "repeats the id `{}` of row {first}",
                        texts[pair[1] as usize]
                    ),
                ));
            }
        }
        Ok(Self { texts, sorted })
    }
}

/// An id: a text, or a whole number as it is printed.
pub(crate) fn id_text(table: &Table, column: usize, row: usize) -> Result<String> {
    if let Some(text) = table.text_at(column, row) {
        return Ok(text.to_owned());
    }
    let (array, offset) = table.cell(column, row);
    match crate::label::number(array, offset) {
        Some(number) if number.fract() == 0.0 => Ok(format!("{number:.0}")),
        _ => {
            let (file, row) = table.origin(row);
            Err(Error::value(
                file,
                row,
                table.column_names()[column],
                "is not an id: a text or a whole number",
            ))
        }
    }
}
