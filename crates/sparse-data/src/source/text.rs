//! Plain text: one row a line, in the column `text`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use super::bytes::{Reader, open_text, read_line};
use super::table_file::Batches;
use super::{BatchSize, ReadLimits};
use crate::error::{Error, Result};

/// The only column.
pub(super) fn schema() -> Schema {
    Schema::new(vec![Field::new("text", DataType::Utf8, true)])
}

/// The rows; an empty line is an empty text.
pub(super) fn batches(path: &Path, size: BatchSize, limits: ReadLimits) -> Result<Batches> {
    let mut lines = TextLines {
        path: path.to_owned(),
        reader: open_text(path)?,
        limits,
        line: Vec::new(),
        num_lines: 0,
    };
    Ok(Box::new(std::iter::from_fn(move || {
        lines.batch(size).transpose()
    })))
}

struct TextLines {
    path: PathBuf,
    reader: Reader,
    limits: ReadLimits,
    line: Vec<u8>,
    num_lines: u64,
}

impl TextLines {
    fn batch(&mut self, size: BatchSize) -> Result<Option<RecordBatch>> {
        let mut builder = StringBuilder::new();
        let (mut rows, mut bytes_held) = (0, 0);
        while rows < size.rows && bytes_held < size.bytes {
            let Self {
                path,
                reader,
                limits,
                line,
                num_lines,
            } = self;
            if !read_line(path, reader, *num_lines + 1, line, limits)? {
                break;
            }
            *num_lines += 1;
            let bytes = line.strip_suffix(b"\n").unwrap_or(line);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let text = std::str::from_utf8(bytes)
                .map_err(|_| invalid_utf8(path, *num_lines, *num_lines, None))?;
            builder.append_value(text);
            rows += 1;
            bytes_held += text.len();
        }
        if rows == 0 {
            return Ok(None);
        }
        let array: ArrayRef = Arc::new(builder.finish());
        let batch = RecordBatch::try_new(Arc::new(schema()), vec![array]);
        batch.map(Some).map_err(|source| Error::Arrow {
            place: self.path.display().to_string(),
            source,
        })
    }
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
