//! JSON lines and JSON arrays: typed and checked in one pass, then read by DataFusion.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::prelude::JsonReadOptions;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::engine::{collect, ending, file_url, session};
use super::json_kind::Columns;
use super::text::invalid_utf8;
use super::{compression, io_error, open};
use crate::error::{Error, Result};
use crate::table::{Table, check_names};

/// Reads a file of one object a line, or of one array of objects. A key that a row lacks is null there.
pub(super) fn read(path: &Path) -> Result<Table> {
    let mut reader = open(path)?;
    let is_array = begins_array(path, &mut reader)?;
    let columns = if is_array {
        scan_array(path, reader)?
    } else {
        scan_lines(path, reader, |_, _| {})?
    };
    let schema = schema(path, &columns)?;
    let url = file_url(path)?;
    let ending = ending(path);
    let options = JsonReadOptions::default()
        .schema(&schema)
        .newline_delimited(!is_array)
        .file_extension(&ending)
        .file_compression_type(compression(path));
    let context = session();
    collect(path, context.read_json(url, options))
}

/// The schema of a file that has been gone through.
fn schema(path: &Path, columns: &Columns) -> Result<Schema> {
    if columns.num_rows == 0 {
        return Err(Error::Empty {
            place: path.display().to_string(),
            problem: "it has no rows".to_owned(),
        });
    }
    let fields: Vec<Field> = columns
        .kinds
        .iter()
        .filter_map(|(name, kind)| Some(Field::new(name, kind.data_type()?, true)))
        .collect();
    let schema = Schema::new(fields);
    check_names(&path.display().to_string(), &schema)?;
    Ok(schema)
}

/// A part of a file of lines: where it begins, how long it is, and which row (from 1) comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineRange {
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) first_row: u64,
}

/// Goes through a file of lines once; returns its schema, its number of rows, and ranges of about `range_bytes` that can
/// be read apart. A compressed file can't be cut and is one range.
pub(crate) fn line_ranges(path: &Path, range_bytes: u64) -> Result<(Schema, u64, Vec<LineRange>)> {
    let mut reader = open(path)?;
    if begins_array(path, &mut reader)? {
        return Err(super::malformed(
            path,
            "is one JSON array, and only a file of one object a line can be streamed".to_owned(),
        ));
    }
    let mut ranges = vec![LineRange {
        start: 0,
        length: 0,
        first_row: 1,
    }];
    let mut offset = 0;
    let columns = scan_lines(path, reader, |bytes, rows| {
        offset += bytes;
        if let Some(range) = ranges.last_mut() {
            range.length = offset - range.start;
            if range.length >= range_bytes {
                ranges.push(LineRange {
                    start: offset,
                    length: 0,
                    first_row: rows + 1,
                });
            }
        }
    })?;
    ranges.retain(|range| range.length > 0);
    let schema = schema(path, &columns)?;
    if compression(path).is_compressed() {
        ranges = vec![LineRange {
            start: 0,
            length: offset,
            first_row: 1,
        }];
    }
    Ok((schema, columns.num_rows, ranges))
}

/// Opens a range that [`line_ranges`] found.
pub(crate) fn open_range(path: &Path, range: LineRange) -> Result<Box<dyn BufRead + Send>> {
    if compression(path).is_compressed() {
        return Ok(Box::new(open(path)?));
    }
    let mut file = std::fs::File::open(path).map_err(|source| io_error(path, source))?;
    file.seek(std::io::SeekFrom::Start(range.start))
        .map_err(|source| io_error(path, source))?;
    Ok(Box::new(BufReader::new(file.take(range.length))))
}

fn begins_array(path: &Path, reader: &mut BufReader<Box<dyn Read + Send>>) -> Result<bool> {
    let start = reader.fill_buf().map_err(|source| io_error(path, source))?;
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

/// Goes through lines; `visit` learns the bytes of each and the number of rows so far.
fn scan_lines(
    path: &Path,
    mut reader: impl BufRead,
    mut visit: impl FnMut(u64, u64),
) -> Result<Columns> {
    let mut columns = Columns::default();
    let mut buffer = Vec::new();
    let mut line = 0;
    while reader
        .read_until(b'\n', &mut buffer)
        .map_err(|source| io_error(path, source))?
        > 0
    {
        line += 1;
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
        visit(buffer.len() as u64, columns.num_rows);
        buffer.clear();
    }
    Ok(columns)
}

fn scan_array(path: &Path, reader: impl Read) -> Result<Columns> {
    let mut columns = Columns::default();
    let mut parser = serde_json::Deserializer::from_reader(reader);
    let parsed = parser
        .deserialize_seq(ArrayVisitor(&mut columns))
        .and_then(|()| parser.end());
    match parsed {
        Ok(()) => Ok(columns),
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
        Some((column, problem)) => (Some(column), problem),
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
    use super::*;
    use crate::label::number;

    fn read_text(text: impl AsRef<[u8]>) -> Result<Table> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        read(&path)
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
        let mut text = "{\"id\": 1, \"q\": \"a\"}\n".repeat(3000);
        text.push_str("{\"q\": \"a\", \"id\": \"x\"}\n");
        assert_eq!(
            problem(text),
            ", row 3001 (line 3001), column `id`: is a text, and a whole number in an earlier row"
        );
        assert_eq!(
            problem("{\"l\": [1]}\n\n{\"l\": [\"a\"]}\n"),
            ", row 2 (line 3), column `l`: is a list (of it, a text), and a list (of it, a whole number) in an earlier row"
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
