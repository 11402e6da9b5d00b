//! CSV and TSV: checked row by row, then read by DataFusion.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::prelude::CsvReadOptions;

use super::engine::{collect, ending, file_url, session};
use super::text::invalid_utf8;
use super::{compression, io_error, open};
use crate::error::{Error, Result};
use crate::table::{Chunk, Table, check_names};

/// A byte that no UTF-8 text contains, to stand for "no quote character".
const NO_QUOTE: u8 = 0xff;

/// Reads a file with a header line. A column whose cells are all numbers, or all `true` and `false`, gets that type;
/// an empty cell is null.
pub(super) fn read(path: &Path, delimiter: u8, quoting: bool) -> Result<Table> {
    let header = Checker::new(path, delimiter, quoting).run(open(path)?)?;
    let fields: Vec<Field> = header
        .iter()
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect();
    let schema = Schema::new(fields);
    check_names(&path.display().to_string(), &schema)?;
    let url = file_url(path)?;
    let ending = ending(path);
    let options = CsvReadOptions::new()
        .has_header(true)
        .schema(&schema)
        .delimiter(delimiter)
        .quote(if quoting { b'"' } else { NO_QUOTE })
        .newlines_in_values(quoting)
        .file_extension(&ending)
        .file_compression_type(compression(path));
    // One partition: a file with line ends inside of cells can't be cut anywhere.
    let context = session();
    infer_types(collect(path, context.read_csv(url, options))?)
}

/// Where in a record the checker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside of a quoted cell: the end of the cell, or half of a doubled quote.
    QuoteInQuoted,
}

/// Goes through a file once and finds what the parser would accept silently or report without a place: cells that are
/// missing or too many, quotes that never close, bytes that are not UTF-8.
struct Checker<'a> {
    path: &'a Path,
    delimiter: u8,
    quoting: bool,
    state: State,
    /// Number of the record; the header is 0.
    record: u64,
    line: u64,
    /// Line on which the record began, and the cell that is open.
    record_line: u64,
    column: usize,
    after_return: bool,
    header: Vec<Vec<u8>>,
}

impl<'a> Checker<'a> {
    fn new(path: &'a Path, delimiter: u8, quoting: bool) -> Self {
        Self {
            path,
            delimiter,
            quoting,
            state: State::CellStart,
            record: 0,
            line: 1,
            record_line: 1,
            column: 0,
            after_return: false,
            header: vec![Vec::new()],
        }
    }

    /// Checks the whole file and returns the names of the columns.
    fn run(mut self, mut reader: BufReader<Box<dyn Read + Send>>) -> Result<Vec<String>> {
        // Bytes at the end of a block that begin a character which the next block ends.
        let mut carried: Vec<u8> = Vec::new();
        loop {
            let block = reader
                .fill_buf()
                .map_err(|source| io_error(self.path, source))?;
            if block.is_empty() {
                break;
            }
            let length = block.len();
            let owned: Vec<u8>;
            let bytes: &[u8] = if carried.is_empty() {
                block
            } else {
                owned = [carried.as_slice(), block].concat();
                &owned
            };
            let (valid, rest) = match std::str::from_utf8(bytes) {
                Ok(_) => (bytes, &bytes[bytes.len()..]),
                Err(error) => {
                    let (valid, rest) = bytes.split_at(error.valid_up_to());
                    if error.error_len().is_some() {
                        self.bytes(valid)?;
                        return Err(invalid_utf8(
                            self.path,
                            self.record,
                            self.line,
                            self.column_name(),
                        ));
                    }
                    (valid, rest)
                }
            };
            self.bytes(valid)?;
            carried = rest.to_vec();
            reader.consume(length);
        }
        if !carried.is_empty() {
            return Err(invalid_utf8(
                self.path,
                self.record,
                self.line,
                self.column_name(),
            ));
        }
        if self.state == State::Quoted {
            return Err(self.error(
                "a quote is opened and never closed; double a `\"` that belongs to the text",
            ));
        }
        if self.state != State::CellStart || self.column > 0 {
            self.end_record()?;
        }
        let names = self.names();
        match self.record {
            0 => Err(self.empty("it has no header line")),
            1 => Err(self.empty("it has a header line and no rows")),
            _ => Ok(names),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for &byte in bytes {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                continue;
            }
            match (self.state, byte) {
                (State::Quoted, b'"') => self.state = State::QuoteInQuoted,
                (State::Quoted, _) => {
                    self.line += u64::from(byte == b'\n');
                    self.header_byte(byte);
                }
                (_, b'\n' | b'\r') => {
                    self.after_return = byte == b'\r';
                    // An empty line is no record.
                    if self.state != State::CellStart || self.column > 0 {
                        self.end_record()?;
                    }
                    self.line += 1;
                    self.record_line = self.line;
                }
                (_, byte) if byte == self.delimiter => {
                    self.column += 1;
                    self.state = State::CellStart;
                    if self.record == 0 {
                        self.header.push(Vec::new());
                    }
                }
                (State::CellStart, b'"') if self.quoting => self.state = State::Quoted,
                (State::QuoteInQuoted, b'"') => {
                    self.state = State::Quoted;
                    self.header_byte(byte);
                }
                (State::QuoteInQuoted, _) => {
                    return Err(self.error(
                        "text follows a closing quote; double a `\"` that belongs to the text",
                    ));
                }
                (State::CellStart | State::Plain, _) => {
                    self.state = State::Plain;
                    self.header_byte(byte);
                }
            }
        }
        Ok(())
    }

    fn header_byte(&mut self, byte: u8) {
        if self.record == 0
            && let Some(cell) = self.header.last_mut()
        {
            cell.push(byte);
        }
    }

    fn end_record(&mut self) -> Result<()> {
        let (found, expected) = (self.column + 1, self.header.len());
        if found != expected {
            let hint = match (found > expected, self.quoting) {
                (true, true) => format!(
                    "; quote a cell that holds a `{}`",
                    char::from(self.delimiter)
                ),
                (true, false) => "; a cell can't hold a tab".to_owned(),
                (false, _) => String::new(),
            };
            return Err(Error::Malformed {
                file: self.path.display().to_string(),
                row: Some(self.record),
                line: Some(self.record_line),
                column: None,
                problem: format!("has {found} cells, the header has {expected}{hint}"),
            });
        }
        self.record += 1;
        self.column = 0;
        self.state = State::CellStart;
        Ok(())
    }

    /// Header cells as text; a byte order mark is not part of the first.
    fn names(&self) -> Vec<String> {
        self.header
            .iter()
            .map(|name| {
                String::from_utf8_lossy(name)
                    .trim_start_matches('\u{feff}')
                    .to_owned()
            })
            .collect()
    }

    fn column_name(&self) -> Option<String> {
        self.names()
            .into_iter()
            .nth(self.column)
            .filter(|_| self.record > 0)
    }

    fn error(&self, problem: &str) -> Error {
        Error::Malformed {
            file: self.path.display().to_string(),
            row: Some(self.record).filter(|&record| record > 0),
            line: Some(self.record_line),
            column: self.column_name(),
            problem: problem.to_owned(),
        }
    }

    fn empty(&self, problem: &str) -> Error {
        Error::Empty {
            place: self.path.display().to_string(),
            problem: problem.to_owned(),
        }
    }
}

/// Gives a column the type that all its cells have.
fn infer_types(table: Table) -> Result<Table> {
    let types: Vec<DataType> = (0..table.schema().fields().len())
        .map(|column| cell_type(&table, column))
        .collect();
    if types.iter().all(|data_type| *data_type == DataType::Utf8) {
        return Ok(table);
    }
    let fields: Vec<Field> = table
        .schema()
        .fields()
        .iter()
        .zip(&types)
        .map(|(field, data_type)| Field::new(field.name(), data_type.clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let chunks = table
        .chunks()
        .iter()
        .map(|chunk| {
            let columns = chunk
                .batch
                .columns()
                .iter()
                .zip(&types)
                .map(|(array, data_type)| cast(array, data_type))
                .collect::<Result<Vec<ArrayRef>, _>>()
                .map_err(|source| table.arrow_error(source))?;
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
                .map_err(|source| table.arrow_error(source))?;
            Ok(Chunk {
                batch,
                ..chunk.clone()
            })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Table::from_normal(schema, chunks, None))
}

fn cell_type(table: &Table, column: usize) -> DataType {
    let cells = || {
        table.chunks().iter().flat_map(move |chunk| {
            chunk
                .batch
                .column(column)
                .as_string::<i32>()
                .iter()
                .flatten()
        })
    };
    if cells().next().is_none() {
        return DataType::Utf8;
    }
    // A number that would be printed otherwise, such as 007, is a name: it must find its like in another file.
    let whole = |cell: &str| {
        cell.parse::<i64>()
            .is_ok_and(|number| number.to_string() == cell)
    };
    let fraction = |cell: &str| {
        cell.parse::<f64>().is_ok() && (whole(cell) || !cell.bytes().all(|b| b.is_ascii_digit()))
    };
    if cells().all(whole) {
        DataType::Int64
    } else if cells().all(fraction) {
        DataType::Float64
    } else if cells().all(|cell| matches!(cell, "true" | "false" | "True" | "False")) {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: impl AsRef<[u8]>, delimiter: u8, quoting: bool) -> Result<Table> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b%20[1].csv");
        std::fs::write(&path, bytes).unwrap();
        read(&path, delimiter, quoting)
    }

    fn problem(bytes: impl AsRef<[u8]>) -> String {
        let message = read_bytes(bytes, b',', true).unwrap_err().to_string();
        message.split_once("[1].csv`").unwrap().1.to_owned()
    }

    #[test]
    fn quotes_line_ends_and_types_are_understood() {
        let table = read_bytes(
            "\u{feff}query,text,n,x,id\r\n\"a, \"\"b\"\"\",\"two\nlines\",1,0.5,007\r\n\r\n5\" disk,é,2,1,008\r\n",
            b',',
            true,
        )
        .unwrap();
        assert_eq!(
            format!(
                "{:?}",
                table
                    .schema()
                    .fields()
                    .iter()
                    .map(|f| f.data_type())
                    .collect::<Vec<_>>()
            ),
            "[Utf8, Utf8, Int64, Float64, Utf8]"
        );
        assert_eq!(table.num_rows(), 2);
        assert_eq!(table.text("query", 0).unwrap(), Some("a, \"b\""));
        assert_eq!(table.text("text", 0).unwrap(), Some("two\nlines"));
        assert_eq!(table.text("query", 1).unwrap(), Some("5\" disk"));
        assert_eq!(table.text("text", 1).unwrap(), Some("é"));
    }

    #[test]
    fn a_quote_in_tsv_is_a_plain_character() {
        let table = read_bytes("query\tanswer\n\"open\tx, y\n'\t\"\"\n", b'\t', false).unwrap();
        assert_eq!(table.text("query", 0).unwrap(), Some("\"open"));
        assert_eq!(table.text("answer", 1).unwrap(), Some("\"\""));
    }

    #[test]
    fn an_empty_cell_is_null() {
        let table = read_bytes("query,score\na,1\n,2\n", b',', true).unwrap();
        assert_eq!(table.text("query", 1).unwrap(), None);
    }

    #[test]
    fn ragged_rows_are_named() {
        assert_eq!(
            problem("a,b\n1,2\n\n1,2,3\n"),
            ", row 2 (line 4): has 3 cells, the header has 2; quote a cell that holds a `,`"
        );
        assert_eq!(
            problem("a,b\n\"x\ny\",2\n1"),
            ", row 2 (line 4): has 1 cells, the header has 2"
        );
    }

    #[test]
    fn wrong_quoting_is_named() {
        assert_eq!(
            problem("a,b\nx,y\nx,\"open\nz,z\n"),
            ", row 2 (line 3), column `b`: a quote is opened and never closed; double a `\"` that belongs to the text"
        );
        assert_eq!(
            problem("a,b\n\"x\"y,z\n"),
            ", row 1 (line 2), column `a`: text follows a closing quote; double a `\"` that belongs to the text"
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_named() {
        assert!(
            problem(b"a,b\nx,y\nx,caf\xe9\n")
                .starts_with(", row 2 (line 3), column `b`: is not UTF-8")
        );
        assert!(
            problem(b"a,b\nx,caf\xc3").starts_with(", row 1 (line 2), column `b`: is not UTF-8")
        );
    }

    #[test]
    fn no_rows_and_repeated_columns_are_errors() {
        assert_eq!(
            problem("a,b\n"),
            " is empty: it has a header line and no rows"
        );
        assert_eq!(problem("\n"), " is empty: it has no header line");
        assert_eq!(
            problem("a,b,a\n1,2,3\n"),
            ": columns 1 and 3 are both named `a`"
        );
        assert_eq!(problem("a,\n1,2\n"), ": column 2 has no name");
    }
}
