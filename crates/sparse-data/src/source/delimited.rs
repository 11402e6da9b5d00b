//! CSV and TSV: checked row by row, then decoded by Arrow.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::bytes::{Reader, open_text};
use super::table_file::{Batches, Layout};
use super::text::invalid_utf8;
use super::{BatchSize, ReadLimits, io_error, malformed};
use crate::error::{Error, Result};

/// A byte that no UTF-8 text contains, to stand for "no quote character".
const NO_QUOTE: u8 = 0xff;

/// A file that was gone through.
#[derive(Debug, Clone)]
pub(super) struct Delimited {
    delimiter: u8,
    quoting: bool,
    names: Vec<String>,
    /// Bytes of the longest record.
    longest: usize,
    pub(super) num_rows: u64,
}

/// Goes through a file with a header line. Cells are texts as they are written, an empty one is null.
pub(super) fn open(
    path: &Path,
    delimiter: u8,
    quoting: bool,
    limits: &ReadLimits,
) -> Result<(Layout, Schema)> {
    let file = Checker::new(path, delimiter, quoting, limits).run(open_text(path)?)?;
    let schema = file.schema();
    Ok((Layout::Delimited(file), schema))
}

impl Delimited {
    fn schema(&self) -> Schema {
        let fields = self.names.iter();
        let fields = fields.map(|name| Field::new(name, DataType::Utf8, true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    /// The rows.
    pub(super) fn batches(&self, path: &Path, names: &[&str], size: BatchSize) -> Result<Batches> {
        let position = |name: &&str| self.names.iter().position(|known| known == name);
        let reader = ReaderBuilder::new(Arc::new(self.schema()))
            .with_header(true)
            .with_delimiter(self.delimiter)
            .with_quote(if self.quoting { b'"' } else { NO_QUOTE })
            .with_batch_size(size.rows_of(self.longest, self.names.len()))
            .with_projection(names.iter().filter_map(position).collect())
            .build_buffered(open_text(path)?)
            .map_err(|error| malformed(path, error.to_string()))?;
        let path = path.to_owned();
        let batches =
            reader.map(move |batch| batch.map_err(|error| malformed(&path, error.to_string())));
        Ok(Box::new(batches))
    }
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
    limits: ReadLimits,
    state: State,
    /// Number of the record; the header is 0.
    record: u64,
    line: u64,
    /// Line on which the record began, and the cell that is open.
    record_line: u64,
    column: usize,
    after_return: bool,
    header: Vec<Vec<u8>>,
    /// Bytes of the record so far, and of the longest.
    length: usize,
    longest: usize,
}

impl<'a> Checker<'a> {
    fn new(path: &'a Path, delimiter: u8, quoting: bool, limits: &ReadLimits) -> Self {
        Self {
            path,
            delimiter,
            quoting,
            limits: *limits,
            state: State::CellStart,
            record: 0,
            line: 1,
            record_line: 1,
            column: 0,
            after_return: false,
            header: vec![Vec::new()],
            length: 0,
            longest: 0,
        }
    }

    /// Checks the whole file.
    fn run(mut self, mut reader: Reader) -> Result<Delimited> {
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
            if self.length > self.limits.max_line_bytes {
                return Err(self.too_long());
            }
        }
        if !carried.is_empty() {
            return Err(invalid_utf8(
                self.path,
                self.record,
                self.line,
                self.column_name(),
            ));
        }
        self.finish()
    }

    /// What is known at the end of the file.
    fn finish(mut self) -> Result<Delimited> {
        if self.state == State::Quoted {
            return Err(self.error(
                "a quote is opened and never closed; double a `\"` that belongs to the text",
            ));
        }
        if self.state != State::CellStart || self.column > 0 {
            self.end_record()?;
        }
        match self.record {
            0 => Err(self.empty("it has no header line")),
            1 => Err(self.empty("it has a header line and no rows")),
            records => Ok(Delimited {
                delimiter: self.delimiter,
                quoting: self.quoting,
                names: self.names(),
                longest: self.longest,
                num_rows: records - 1,
            }),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for &byte in bytes {
            self.length += 1;
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
                        let place = self.path.display();
                        self.limits
                            .check_columns(&place.to_string(), self.header.len())?;
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
        if self.length > self.limits.max_line_bytes {
            return Err(self.too_long());
        }
        self.record += 1;
        self.longest = self.longest.max(self.length);
        self.length = 0;
        self.column = 0;
        self.state = State::CellStart;
        Ok(())
    }

    /// Header cells as text.
    fn names(&self) -> Vec<String> {
        self.header
            .iter()
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect()
    }

    /// Number of the row, none in the header.
    fn row(&self) -> Option<u64> {
        Some(self.record).filter(|&record| record > 0)
    }

    fn column_name(&self) -> Option<String> {
        self.names()
            .into_iter()
            .nth(self.column)
            .filter(|_| self.record > 0)
    }

    fn too_long(&self) -> Error {
        self.limits
            .too_long(self.path, self.row(), self.record_line)
    }

    fn error(&self, problem: &str) -> Error {
        Error::Malformed {
            file: self.path.display().to_string(),
            row: self.row(),
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

#[cfg(test)]
mod tests {
    use super::super::{Format, ReadOptions, read_file};
    use super::*;
    use crate::table::Table;

    fn read_with(bytes: impl AsRef<[u8]>, options: &ReadOptions) -> Result<Table> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b%20[1].csv");
        std::fs::write(&path, bytes).unwrap();
        read_file(&path, options)
    }

    fn read_bytes(bytes: impl AsRef<[u8]>, delimiter: u8, quoting: bool) -> Result<Table> {
        let options = ReadOptions {
            format: Some(if quoting { Format::Csv } else { Format::Tsv }),
            delimiter: Some(delimiter),
            ..ReadOptions::default()
        };
        read_with(bytes, &options)
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
            "[Utf8, Utf8, Utf8, Utf8, Utf8]"
        );
        assert_eq!(table.num_rows(), 2);
        assert_eq!(table.text("query", 0).unwrap(), Some("a, \"b\""));
        assert_eq!(table.text("text", 0).unwrap(), Some("two\nlines"));
        assert_eq!(table.text("query", 1).unwrap(), Some("5\" disk"));
        assert_eq!(table.text("text", 1).unwrap(), Some("é"));
    }

    #[test]
    fn cells_are_kept_as_they_are_written() {
        let table = read_bytes(
            "id,text,score\n1.1,1984,0.5\n1.10,007,1\n+1,1e3,-0.0\n",
            b',',
            true,
        )
        .unwrap();
        let ids: Vec<_> = (0..3)
            .map(|row| table.text("id", row).unwrap().unwrap())
            .collect();
        assert_eq!(ids, ["1.1", "1.10", "+1"]);
        assert_eq!(table.text("text", 0).unwrap(), Some("1984"));
        assert_eq!(table.text("text", 2).unwrap(), Some("1e3"));
        assert_eq!(
            table.labels("score", &[0, 1, 2]).unwrap().values,
            [0.5, 1.0, -0.0]
        );
    }

    #[test]
    fn a_byte_order_mark_before_a_quoted_header_is_no_part_of_it() {
        let table = read_bytes("\u{feff}\"id\",text\na,b\n", b',', true).unwrap();
        assert_eq!(table.column_names(), ["id", "text"]);
    }

    #[test]
    fn a_table_has_at_most_ten_thousand_columns() {
        let wide = |n: usize| {
            let names: Vec<String> = (0..n).map(|i| format!("c{i}")).collect();
            let cells = vec!["x"; n].join(",");
            read_bytes(format!("{}\n{cells}\n", names.join(",")), b',', true)
        };
        assert_eq!(wide(10_000).unwrap().column_names().len(), 10_000);
        let message = wide(20_000).unwrap_err().to_string();
        assert!(
            message.ends_with(
                "[1].csv`: it has more than 10000 columns, the most that a table can have; to read them all, set \
                 `limits.max_columns` (--max-columns) higher"
            ),
            "{message}"
        );
    }

    #[test]
    fn limits_can_be_set() {
        let read = |text: &str, limits: ReadLimits| {
            let options = ReadOptions {
                limits,
                ..ReadOptions::default()
            };
            read_with(text, &options).map(|table| table.num_rows())
        };
        let few = |max_columns, max_line_bytes| ReadLimits {
            max_columns,
            max_line_bytes,
            ..ReadLimits::default()
        };
        assert_eq!(read("a,b\n1,2\n", few(2, 4)).unwrap(), 1);
        let message = read("a,b\n1,2\n", few(1, 4)).unwrap_err().to_string();
        assert!(message.contains("more than 1 columns"), "{message}");
        let message = read("a,b\n1,2\n1,23\n", few(2, 4)).unwrap_err().to_string();
        assert!(
            message.contains(", row 2 (line 3): is longer than 4 bytes"),
            "{message}"
        );
    }

    #[test]
    fn a_record_without_end_is_refused() {
        let mut text = b"a,b\nx,\"".to_vec();
        text.resize(ReadLimits::default().max_line_bytes + (1 << 20), b'z');
        assert!(problem(text).starts_with(", row 1 (line 2): is longer than 64 MiB"));
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
