//! Texts by id: the tables that id columns and relevance judgements point into.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};

use crate::error::{Error, Result, list_names, nearest};
use crate::source::{Choice, unknown_column};
use crate::table::{Table, type_name};

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

/// Which columns of a table hold ids and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdColumns {
    pub(crate) id: String,
    /// Columns whose texts are joined by a blank.
    pub(crate) texts: Vec<String>,
}

impl IdColumns {
    /// The id column, if not named, is the single one named `_id` or `id` or ending in `_id`; the text columns, if not named,
    /// are `title` and `text`, `text`, or the single other one.
    pub(crate) fn find(
        place: &str,
        names: &[&str],
        id: Option<&str>,
        text: Option<&str>,
    ) -> Result<Self> {
        let problem = |problem: String| Error::Columns {
            place: place.to_owned(),
            problem,
        };
        let id = match id {
            Some(id) if names.contains(&id) => id,
            Some(id) => return Err(unknown_column(place, id, names)),
            None => {
                let by_name = ["_id", "id"].into_iter().find(|name| names.contains(name));
                let mut by_ending = names.iter().copied().filter(|name| name.ends_with("_id"));
                match (by_name, by_ending.next(), by_ending.next()) {
                    (Some(name), ..) | (None, Some(name), None) => name,
                    _ => {
                        return Err(problem(format!(
                            "which column holds the ids can't be told; set `id` to one of {}",
                            list_names(names.iter().copied())
                        )));
                    }
                }
            }
        };
        let texts: Vec<&str> = match text {
            Some(text) => vec![text],
            None => match usual_texts(names, Some(id)) {
                Some(texts) => texts,
                None => {
                    let others = names.iter().copied().filter(|name| *name != id);
                    return Err(problem(format!(
                        "which column holds the texts can't be told; set `text` to one of {}",
                        list_names(others)
                    )));
                }
            },
        };
        Ok(Self {
            id: id.to_owned(),
            texts: texts.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Reads only these columns of a file.
    pub(crate) fn choice(id: Option<String>, text: Option<String>) -> Choice {
        Choice::by(move |place, names| {
            let Self { id, mut texts } = Self::find(place, names, id.as_deref(), text.as_deref())?;
            texts.insert(0, id);
            texts.dedup();
            Ok(texts)
        })
    }
}

/// The columns in which texts usually are: `title` and `text`, `text`, or the only one beside that of the ids.
pub(crate) fn usual_texts<'a>(names: &[&'a str], id: Option<&str>) -> Option<Vec<&'a str>> {
    let known = |wanted: &str| names.iter().copied().find(|name| *name == wanted);
    if let Some(text) = known("text") {
        return Some(known("title").into_iter().chain([text]).collect());
    }
    let mut others = names.iter().copied().filter(|name| Some(*name) != id);
    match (others.next(), others.next()) {
        (Some(only), None) => Some(vec![only]),
        _ => None,
    }
}

/// Text of a row: its columns joined by a blank, without blanks at the ends if there are several. A row may lack a title.
pub(crate) fn joined_text(table: &Table, columns: &[usize], row: usize) -> Result<String> {
    let mut joined = String::new();
    for (i, &column) in columns.iter().enumerate() {
        let name = table.column_names()[column];
        match table.text_at(column, row) {
            Some(text) => joined.push_str(text),
            None if name == "title" && columns.len() > 1 => {}
            None => {
                let (file, row) = table.origin(row);
                return Err(Error::value(file, row, name, "has no text (null)"));
            }
        }
        if i + 1 < columns.len() {
            joined.push(' ');
        }
    }
    if columns.len() > 1 {
        return Ok(joined.trim().to_owned());
    }
    Ok(joined)
}

impl TextsById {
    /// Indexes a table by the ids in its columns.
    pub(crate) fn new(table: Table, columns: &IdColumns) -> Result<Self> {
        let texts = columns
            .texts
            .iter()
            .map(|column| {
                let index = table.column_index(column)?;
                table.check_text(index)?;
                Ok(index)
            })
            .collect::<Result<Vec<_>>>()?;
        let ids = Ids::new(&table, &columns.id)?;
        Ok(Self {
            place: table.place().to_owned(),
            ids,
            table,
            columns: texts,
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

    /// Text of a row.
    pub(crate) fn text(&self, row: usize) -> Result<String> {
        joined_text(&self.table, &self.columns, row)
    }
}

impl Ids {
    fn new(table: &Table, column: &str) -> Result<Self> {
        let index = table.column_index(column)?;
        let texts = (0..table.num_rows())
            .map(|row| Ok(id_text(table, index, row)?.into_boxed_str()))
            .collect::<Result<Vec<_>>>()?;
        let mut sorted: Vec<u32> = (0..texts.len() as u32).collect();
        sorted.sort_by(|&a, &b| texts[a as usize].cmp(&texts[b as usize]).then(a.cmp(&b)));
        let repeats = sorted
            .windows(2)
            .filter(|pair| texts[pair[0] as usize] == texts[pair[1] as usize]);
        // The first of them in the file.
        if let Some(pair) = repeats.min_by_key(|pair| pair[1]) {
            let (first, id) = (pair[0] as usize, &texts[pair[1] as usize]);
            let (first, second) = (table.origin(first), table.origin(pair[1] as usize));
            return Err(repeated(column, id, first, second));
        }
        Ok(Self { texts, sorted })
    }
}

/// The error for a row that repeats the id of an earlier one; each with its file and its number there.
pub(crate) fn repeated(
    column: &str,
    id: &str,
    (first_file, first): (&str, u64),
    (file, row): (&str, u64),
) -> Error {
    let place = if first_file == file {
        format!("row {first}")
    } else {
        format!("row {first} of `{first_file}`")
    };
    Error::value(
        file,
        row,
        column,
        format!("repeats the id `{id}` of {place}"),
    )
}

/// An id: a text, or a whole number as it is printed.
pub(crate) fn id_text(table: &Table, column: usize, row: usize) -> Result<String> {
    let (array, offset) = table.cell(column, row);
    id_value(array, offset).map_err(|problem| {
        let (file, row) = table.origin(row);
        Error::value(file, row, table.column_names()[column], problem)
    })
}

/// The id at an offset, or what is wrong with it.
pub(crate) fn id_value(array: &ArrayRef, offset: usize) -> Result<String, String> {
    // Beyond this a number of type f64 may stand for several whole numbers.
    const EXACT: f64 = (1_u64 << 53) as f64;
    const EXPECTED: &str = "and an id must be a text or a whole number";
    if array.is_null(offset) {
        return Err(format!("is null, {EXPECTED}"));
    }
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().value(offset).to_owned()),
        DataType::Int64 => Ok(array.as_primitive::<Int64Type>().value(offset).to_string()),
        DataType::UInt64 => Ok(array.as_primitive::<UInt64Type>().value(offset).to_string()),
        DataType::Float64 => match array.as_primitive::<Float64Type>().value(offset) {
            number if number.fract() != 0.0 || number.is_nan() => {
                Err(format!("is {number}, {EXPECTED}"))
            }
            number if number.abs() >= EXACT => Err(format!(
                "is {number:.0}, which a column of fractions doesn't hold exactly; store the ids as whole numbers or as texts"
            )),
            // Without the sign of a zero.
            number => Ok(format!("{:.0}", number + 0.0)),
        },
        other => Err(format!("holds {}, {EXPECTED}", type_name(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn id(column: Column) -> Result<String, String> {
        let table = Table::from_columns([("id", column)]).unwrap();
        id_text(&table, 0, 0).map_err(|error| error.to_string())
    }

    #[test]
    fn ids_are_exact_or_refused() {
        assert_eq!(
            id(Column::from([9_007_199_254_740_993])).unwrap(),
            "9007199254740993"
        );
        assert_eq!(id(Column::from([3.0])).unwrap(), "3");
        assert_eq!(id(Column::from([-0.0])).unwrap(), "0");
        assert_eq!(id(Column::from(["1.10"])).unwrap(), "1.10");
        let wrong = |column: Column| id(column).unwrap_err();
        assert_eq!(
            wrong(Column::from([1.5])),
            "`from_columns`, row 1, column `id`: is 1.5, and an id must be a text or a whole number"
        );
        assert!(
            wrong(Column::from([9_007_199_254_740_992.0])).contains("is 9007199254740992, which")
        );
        assert!(wrong(Column::from([f64::INFINITY])).contains("is inf"));
        assert!(wrong(Column::from([true])).contains("holds true and false"));
        assert!(wrong(Column::from([None::<&str>])).contains("is null"));
    }
}
