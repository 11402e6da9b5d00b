//! What a reader takes at most before it refuses a file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Limits of the readers of tables, so that a file without line ends, an endless pipe or keys that are values cannot fill the
/// memory or the disk. A message about one of them names the setting that raises it.
///
/// ```
/// use sparse_data::{DatasetConfig, ReadLimits, Table};
///
/// let config = DatasetConfig {
///     limits: ReadLimits { max_line_bytes: 256 << 20, ..ReadLimits::default() },
///     ..DatasetConfig::from_path("books.jsonl")
/// };
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadLimits {
    /// Bytes of a line, of a record of CSV or of an element of a JSON array; 64 MiB.
    pub max_line_bytes: usize,
    /// Columns of a file, and keys of an object in a cell; 10,000.
    pub max_columns: usize,
    /// Bytes of the rows that are decoded together; 256 MiB. One row may be longer.
    pub max_batch_bytes: usize,
    /// Bytes of a pipe, which are kept in a temporary file while it is read; 64 GiB.
    pub max_pipe_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_line_bytes: 64 << 20,
            max_columns: 10_000,
            max_batch_bytes: 256 << 20,
            max_pipe_bytes: 64 << 30,
        }
    }
}

impl ReadLimits {
    /// The offsets of an Arrow array end at 2 GiB, and a batch may go beyond its limit by one row.
    const MOST_BYTES: usize = 1 << 30;

    /// Whether these are the defaults.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If a limit is 0, or one in bytes is more than an Arrow array holds (1 GiB).
    pub fn validate(&self) -> Result<()> {
        let most = Self::MOST_BYTES as u64;
        for (key, value, most) in [
            ("max_line_bytes", self.max_line_bytes as u64, most),
            ("max_columns", self.max_columns as u64, u64::MAX),
            ("max_batch_bytes", self.max_batch_bytes as u64, most),
            ("max_pipe_bytes", self.max_pipe_bytes, u64::MAX),
        ] {
            if value == 0 || value > most {
                let allowed = match most {
                    u64::MAX => "must be at least 1".to_owned(),
                    most => format!("must be from 1 to {most}"),
                };
                return Err(Error::Setting {
                    key,
                    problem: format!("{allowed}; got {value}"),
                });
            }
        }
        Ok(())
    }

    /// What is wrong with a line or a record that is too long.
    pub(super) fn line_problem(&self) -> String {
        format!(
            "is longer than {}; a row must be shorter, or {}",
            shown(self.max_line_bytes as u64),
            raised_by("max_line_bytes")
        )
    }

    /// The error for a line, or a record that begins on it, that is too long.
    pub(super) fn too_long(&self, path: &Path, row: Option<u64>, line: u64) -> Error {
        Error::Malformed {
            file: path.display().to_string(),
            row,
            line: Some(line),
            column: None,
            problem: self.line_problem(),
        }
    }

    /// The error for a file with too many columns.
    pub(super) fn too_many_columns(&self, place: &str) -> Error {
        Error::Columns {
            place: place.to_owned(),
            problem: format!(
                "it has more than {} columns, the most that a table can have; to read them all, set {}",
                self.max_columns,
                raised_by("max_columns")
            ),
        }
    }

    /// Fails if a file has too many columns.
    pub(super) fn check_columns(&self, place: &str, columns: usize) -> Result<()> {
        if columns > self.max_columns {
            return Err(self.too_many_columns(place));
        }
        Ok(())
    }
}

/// How many rows are decoded together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchSize {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

impl BatchSize {
    /// Rows where the longest has so many bytes and each so many cells.
    pub(super) fn rows_of(&self, longest: usize, cells: usize) -> usize {
        const MAX_CELLS: usize = 1 << 20;
        self.rows
            .min(self.bytes / longest.max(1))
            .min(MAX_CELLS / cells.max(1))
            .max(1)
    }
}

/// The setting that raises a limit, in a training file and on the command line.
pub(super) fn raised_by(key: &str) -> String {
    let option = key.replace('_', "-");
    format!("`limits.{key}` (--{option}) higher")
}

/// A number of bytes as people write it.
pub(super) fn shown(bytes: u64) -> String {
    match (bytes % (1 << 30), bytes % (1 << 20)) {
        (0, _) => format!("{} GiB", bytes >> 30),
        (_, 0) => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_rows_and_many_columns_are_decoded_a_few_at_a_time() {
        let size = BatchSize {
            rows: 8192,
            bytes: 256 << 20,
        };
        assert_eq!(size.rows_of(100, 3), 8192);
        assert_eq!(size.rows_of(64 << 20, 3), 4);
        assert_eq!(size.rows_of(1 << 30, 3), 1);
        assert_eq!(size.rows_of(100, 10_000), 104);
    }

    #[test]
    fn a_limit_must_be_one_that_arrow_can_hold() {
        ReadLimits::default().validate().unwrap();
        let error = |limits: ReadLimits| limits.validate().unwrap_err().to_string();
        assert_eq!(
            error(ReadLimits {
                max_columns: 0,
                ..ReadLimits::default()
            }),
            "`max_columns` must be at least 1; got 0"
        );
        assert_eq!(
            error(ReadLimits {
                max_line_bytes: 2 << 30,
                ..ReadLimits::default()
            }),
            "`max_line_bytes` must be from 1 to 1073741824; got 2147483648"
        );
    }

    #[test]
    fn bytes_are_shown_in_the_largest_whole_unit() {
        assert_eq!(
            [64 << 20, 64 << 30, 1000].map(shown),
            ["64 MiB", "64 GiB", "1000 bytes"]
        );
    }
}
