//! Plain text: one row a line, in the column `text`.

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::bytes::{MAX_BATCH_BYTES, open_text, read_line};
use crate::error::{Error, Result};
use crate::table::{Table, number_chunks};

const BATCH_ROWS: usize = 8192;

/// Reads a file; an empty line is an empty text.
pub(super) fn read(path: &Path) -> Result<Table> {
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
    let mut batches = Vec::new();
    let mut finish = |builder: &mut StringBuilder| -> Result<()> {
        let array: ArrayRef = Arc::new(builder.finish());
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array]).map_err(|source| {
            Error::Arrow {
                place: path.display().to_string(),
                source,
            }
        })?;
        batches.push(batch);
        Ok(())
    };
    let mut builder = StringBuilder::new();
    let mut reader = open_text(path)?;
    let mut line = Vec::new();
    let mut num_lines = 0_u64;
    let (mut rows, mut bytes_held) = (0, 0);
    while read_line(path, &mut reader, num_lines + 1, &mut line)? {
        num_lines += 1;
        let bytes = line.strip_suffix(b"\n").unwrap_or(&line);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes)
            .map_err(|_| invalid_utf8(path, num_lines, num_lines, None))?;
        builder.append_value(text);
        rows += 1;
        bytes_held += text.len();
        if rows == BATCH_ROWS || bytes_held >= MAX_BATCH_BYTES {
            finish(&mut builder)?;
            (rows, bytes_held) = (0, 0);
        }
    }
    finish(&mut builder)?;
    Table::from_chunks(&schema, number_chunks(&path.display().to_string(), batches))
}

/// The error for bytes that are not UTF-8.
pub(super) fn invalid_utf8(path: &Path, row: u64, line: u64, column: Option<String>) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        row: Some(row).filter(|&row| row > 0),
        line: Some(line),
        column,
        problem: "is not UTF-8; convert the file, for example with `iconv -f latin1 -t utf-8`"
            .to_owned(),
    }
}
