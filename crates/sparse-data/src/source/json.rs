//! JSON lines and JSON arrays: typed and checked in one pass, then decoded by Arrow.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::bytes::{Reader, open_after_mark, open_text, read_line};
use super::json_array::Elements;
use super::json_kind::Columns;
use super::table_file::{Batches, Layout};
use super::text::invalid_utf8;
use super::{BatchSize, Choice, ReadLimits, compression, io_error, malformed};
use crate::error::{Error, Result};

/// A file that was gone through.
#[derive(Debug, Clone)]
pub(super) struct Json {
    is_array: bool,
    /// All columns that hold something.
    schema: SchemaRef,
    /// Bytes of the longest row, and the number of all keys.
    longest: usize,
    keys: usize,
    pub(super) num_rows: u64,
    limits: ReadLimits,
}

/// Goes through a file of one object a line, or of one array of objects. A key that a row lacks is null there. Returns the
/// chosen columns, in which values must go with each other.
pub(super) fn open(path: &Path, choice: &Choice, limits: &ReadLimits) -> Result<(Layout, Schema)> {
    let mut reader = open_text(path)?;
    let is_array = begins_array(path, &mut reader)?;
    let mut longest = 0;
    let columns = if is_array {
        let mut elements = Elements::measured(reader, limits);
        let columns = scan_array(path, BufReader::new(&mut elements), limits)?;
        longest = elements.longest();
        columns
    } else {
        scan_lines(path, reader, limits, |bytes| longest = longest.max(bytes))?
    };
    let schema = schema(path, &columns, choice)?;
    let file = Json {
        is_array,
        schema: Arc::new(schema.clone()),
        longest,
        keys: columns.known.len(),
        num_rows: columns.num_rows,
        limits: *limits,
    };
    Ok((Layout::Json(file), schema))
}

impl Json {
    /// The rows of a range of lines, or all.
    pub(super) fn batches(
        &self,
        path: &Path,
        range: Option<LineRange>,
        names: &[&str],
        size: BatchSize,
    ) -> Result<Batches> {
        let reader: Box<dyn BufRead + Send> = match range {
            Some(range) => Box::new(open_range(path, range)?),
            None if self.is_array => Box::new(BufReader::new(Elements::bare(
                open_text(path)?,
                &self.limits,
            ))),
            None => Box::new(open_text(path)?),
        };
        let known = names
            .iter()
            .filter_map(|name| self.schema.index_of(name).ok());
        let schema = self
            .schema
            .project(&known.collect::<Vec<_>>())
            .map_err(|error| malformed(path, error.to_string()))?;
        let reader = ReaderBuilder::new(Arc::new(schema))
            .with_batch_size(size.rows_of(self.longest, self.keys))
            // Numbers among texts have been let pass in columns of ids only, which keep them as they are written.
            .with_coerce_primitive(true)
            .build(reader)
            .map_err(|error| malformed(path, error.to_string()))?;
        let path = path.to_owned();
        let batches =
            reader.map(move |batch| batch.map_err(|error| malformed(&path, error.to_string())));
        Ok(Box::new(batches))
    }

    /// Ranges of about `range_bytes` that can be read apart, and the number of rows of each; none if the file can only be read
    /// from its beginning, as one array and a compressed file are.
    pub(super) fn ranges(
        &self,
        path: &Path,
        range_bytes: u64,
    ) -> Result<Option<Vec<(LineRange, u64)>>> {
        if self.is_array || compression(path).is_compressed() {
            return Ok(None);
        }
        let (mut reader, mark) = open_after_mark(path)?;
        let mut ranges = Vec::new();
        let mut range = LineRange {
            start: mark,
            length: 0,
        };
        let (mut buffer, mut line, mut rows) = (Vec::new(), 0, 0);
        while read_line(path, &mut reader, line + 1, &mut buffer, &self.limits)? {
            line += 1;
            rows += u64::from(!buffer.trim_ascii().is_empty());
            range.length += buffer.len() as u64;
            if range.length >= range_bytes {
                ranges.push((range, std::mem::take(&mut rows)));
                range = LineRange {
                    start: range.start + range.length,
                    length: 0,
                };
            }
        }
        if rows > 0 {
            ranges.push((range, rows));
        }
        Ok(Some(ranges))
    }
}

/// The schema of the chosen columns of a file that has been gone through.
fn schema(path: &Path, columns: &Columns, choice: &Choice) -> Result<Schema> {
    let place = path.display().to_string();
    if columns.num_rows == 0 {
        return Err(Error::Empty {
            place,
            problem: "it has no rows".to_owned(),
        });
    }
    let held = columns.names();
    let chosen = choice.names(&place, &held)?;
    let names: Vec<&str> = match &chosen {
        Some(chosen) => chosen.iter().map(String::as_str).collect(),
        None => held,
    };
    if let Some(column) = columns.clash(&names)
        && let Some((row, line, problem)) = &column.clash
    {
        return Err(Error::Malformed {
            file: place,
            row: Some(*row),
            line: *line,
            column: Some(column.name.clone()),
            problem: problem.clone(),
        });
    }
    let field = |name: &str| {
        let column = columns.known.iter().find(|column| column.name == name)?;
        Some(Field::new(name, column.data_type()?, true))
    };
    let fields: Vec<Field> = names.into_iter().filter_map(field).collect();
    Ok(Schema::new(fields))
}

/// A part of a file of lines: where it begins, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineRange {
    start: u64,
    length: u64,
}

fn open_range(path: &Path, range: LineRange) -> Result<impl BufRead + Send + use<>> {
    let mut file = std::fs::File::open(path).map_err(|source| io_error(path, source))?;
    file.seek(std::io::SeekFrom::Start(range.start))
        .map_err(|source| io_error(path, source))?;
    Ok(BufReader::new(file.take(range.length)))
}

fn begins_array(path: &Path, reader: &mut Reader) -> Result<bool> {
    let start = reader.fill_buf().map_err(|source| io_error(path, source))?;
    // What follows a byte order mark comes in two parts.
    let (buffered, start) = (start.len(), start.trim_ascii_start());
    if !start.is_empty() || buffered == 0 {
        return Ok(start.first() == Some(&b'['));
    }
    reader.consume(buffered);
    begins_array(path, reader)
}

/// Goes through lines; `visit` learns the bytes of each.
fn scan_lines(
    path: &Path,
    mut reader: impl BufRead,
    limits: &ReadLimits,
    mut visit: impl FnMut(usize),
) -> Result<Columns> {
    let mut columns = Columns::new(limits);
    let mut buffer = Vec::new();
    let mut line = 0;
    while read_line(path, &mut reader, line + 1, &mut buffer, limits)? {
        line += 1;
        columns.line = Some(line);
        if !buffer.trim_ascii().is_empty() {
            let mut parser = serde_json::Deserializer::from_slice(&buffer);
            let row = columns.num_rows + 1;
            let parsed = (&mut columns)
                .deserialize(&mut parser)
                .and_then(|()| parser.end());
            if let Err(error) = parsed {
                if std::str::from_utf8(&buffer).is_err() {
                    return Err(invalid_utf8(path, row, line, None));
                }
                return Err(fault(path, &mut columns, Some(line), &error));
            }
        }
        visit(buffer.len());
    }
    Ok(columns)
}

fn scan_array(path: &Path, reader: impl Read, limits: &ReadLimits) -> Result<Columns> {
    let mut columns = Columns::new(limits);
    let mut parser = serde_json::Deserializer::from_reader(reader);
    let parsed = parser
        .deserialize_seq(ArrayVisitor(&mut columns))
        .and_then(|()| parser.end());
    match parsed {
        Ok(()) => Ok(columns),
        Err(error) if error.is_io() => Err(io_error(path, error.into())),
        Err(error) => Err(fault(path, &mut columns, Some(error.line() as u64), &error)),
    }
}

struct ArrayVisitor<'a>(&'a mut Columns);

impl<'de> Visitor<'de> for ArrayVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(&mut *self.0)?.is_some() {}
        Ok(())
    }
}

/// The error for the row read last.
fn fault(
    path: &Path,
    columns: &mut Columns,
    line: Option<u64>,
    error: &serde_json::Error,
) -> Error {
    let (column, problem) = match columns.fault.take() {
        Some((column, problem)) => (column, problem),
        None => {
            let text = error.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            (
                None,
                format!(
                    "is not a JSON object: {text}, at character {}",
                    error.column()
                ),
            )
        }
    };
    Error::Malformed {
        file: path.display().to_string(),
        row: Some(columns.num_rows),
        line,
        column,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ReadOptions, read_file};
    use super::*;
    use crate::label::number;
    use crate::table::Table;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Table> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        read_file(&path, &ReadOptions::default())
    }

    fn problem(text: impl AsRef<[u8]>) -> String {
        let message = read_text(text).unwrap_err().to_string();
        message.split_once("a.jsonl`").unwrap().1.to_owned()
    }

    #[test]
    fn lines_and_arrays_give_the_same_table() {
        let lines = "{\"q\": \"a\", \"s\": 1, \"m\": {}, \"l\": [1, 2.5]}\n\n{\"q\": \"b\", \"s\": 0.5, \"new\": true}\n";
        let array = "[{\"q\": \"a\", \"s\": 1, \"m\": {}, \"l\": [1, 2.5]},\n {\"q\": \"b\", \"s\": 0.5, \"new\": true}]";
        for text in [lines, array] {
            let table = read_text(text).unwrap();
            assert_eq!(
                format!("{table:?}"),
                "Table { name: None, columns: [\"q: text\", \"s: numbers\", \"l: lists of numbers\", \
                 \"new: true and false\"], num_rows: 2 }"
            );
            assert_eq!(table.text("q", 1).unwrap(), Some("b"));
            let (array, offset) = table.cell(1, 0);
            assert_eq!(number(array, offset), Some(1.0));
        }
    }

    #[test]
    fn a_type_that_changes_late_is_named_with_both_types() {
        let mut text = "{\"n\": 1, \"q\": \"a\"}\n".repeat(3000);
        text.push_str("{\"q\": \"a\", \"n\": \"x\"}\n");
        assert_eq!(
            problem(text),
            ", row 3001 (line 3001), column `n`: is a text, and a whole number in an earlier row"
        );
        assert_eq!(
            problem("{\"l\": [1]}\n\n{\"l\": [\"a\"]}\n"),
            ", row 2 (line 3), column `l`: is a list (of it, a text), and a list (of it, a whole number) in an earlier row"
        );
    }

    #[test]
    fn ids_are_kept_as_they_are_written() {
        let text = concat!(
            "{\"_id\": 1.10, \"doc_id\": \"a\", \"n\": 18446744073709551615, \"ids\": [1, \"b\"]}\n",
            "{\"_id\": 2001, \"doc_id\": 7, \"n\": 9007199254740993, \"ids\": [\"c\"]}\n",
        );
        for text in [
            text.to_owned(),
            format!("[{}]", text.trim().replace('\n', ",")),
        ] {
            let table = read_text(text).unwrap();
            let cell = |column: &str, row| table.value_as_text(column, row).unwrap();
            assert_eq!([cell("_id", 0), cell("_id", 1)], ["1.10", "2001"]);
            assert_eq!([cell("doc_id", 0), cell("doc_id", 1)], ["a", "7"]);
            assert_eq!(
                [cell("n", 0), cell("n", 1)],
                ["18446744073709551615", "9007199254740993"]
            );
            assert_eq!(table.texts("ids", 0).unwrap(), ["1", "b"]);
        }
        assert_eq!(
            problem("{\"tags\": [1, \"b\"]}\n"),
            ", row 1 (line 1), column `tags`: is a list that holds a whole number and a text"
        );
        assert!(problem("{\"score\": 1e400}\n").contains("number out of range"));
    }

    #[test]
    fn only_the_chosen_columns_must_agree() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        let text =
            "{\"text\": \"a\", \"m\": {\"u\": 1}}\n{\"m\": {\"u\": \"x\"}, \"text\": \"b\"}\n";
        std::fs::write(&path, text).unwrap();
        let of = |name: &str| {
            let options = ReadOptions {
                columns: Choice::These(vec![name.to_owned()]),
                ..ReadOptions::default()
            };
            read_file(&path, &options)
        };
        assert_eq!(of("text").unwrap().text("text", 1).unwrap(), Some("b"));
        let message = of("m").unwrap_err().to_string();
        assert!(
            message.ends_with(
                "row 2 (line 2), column `m`: has a key `u` that holds a whole number and a text"
            ),
            "{message}"
        );
    }

    #[test]
    fn keys_without_end_are_refused() {
        let lines: String = (0..10_001).map(|i| format!("{{\"k{i}\": 1}}\n")).collect();
        assert_eq!(
            problem(lines),
            ", row 10001 (line 10001), column `k10000`: has one more key, and all rows together may have 10000; to read more, set \
             `limits.max_columns` (--max-columns) higher"
        );
        let keys: Vec<String> = (0..10_001).map(|i| format!("\"k{i}\": 1")).collect();
        let nested = format!("{{\"m\": {{{}}}}}\n", keys.join(", "));
        assert!(
            problem(nested)
                .contains("column `m`: holds objects with more than 10000 keys; to read them set")
        );
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(
            problem("{\"q\": \"a\"}\n{\"q\": \"b\"\n"),
            ", row 2 (line 2): is not a JSON object: EOF while parsing an object, at character 0"
        );
        assert!(
            problem("\"text\"\n").starts_with(
                ", row 1 (line 1): is not a JSON object: invalid type: string \"text\""
            )
        );
        assert!(problem("{\"q\": 1} {}\n").contains("trailing characters"));
        assert!(problem("[{\"q\": 1},\n 2]").starts_with(", row 2 (line 2): is not a JSON object"));
        assert_eq!(
            problem("{\"q\": 1, \"q\": 2}\n"),
            ", row 1 (line 1), column `q`: is there twice in one object"
        );
        assert!(
            problem(b"{\"q\": \"a\"}\n{\"q\": \"\xff\"}\n")
                .starts_with(", row 2 (line 2): is not UTF-8")
        );
        assert_eq!(problem("\n\n"), " is empty: it has no rows");
        assert_eq!(problem("[]"), " is empty: it has no rows");
    }
}
