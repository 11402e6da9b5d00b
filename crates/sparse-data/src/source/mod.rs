//! Reading files: which files, in which format, into which table.

mod arrow_ipc;
mod budget;
mod bytes;
mod choice;
mod data_file;
mod database;
mod delimited;
mod engine;
mod files;
mod guard;
mod hub;
mod json;
mod json_array;
mod json_kind;
mod limits;
mod parquet;
mod pipe;
mod remote;
mod secret;
mod table_file;
mod text;

use std::path::Path;
use std::str::FromStr;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::Table;

pub use bytes::Lines;
pub(crate) use bytes::{Reader, open_text, read_line};
pub(crate) use choice::{Choice, unknown_column};
pub(crate) use data_file::{DataFile, LocalFile};
pub use database::DatabaseUrl;
pub(crate) use database::{DatabasePart, DatabaseTable, place as database_place};
pub(crate) use engine::query;
pub(crate) use files::{SplitFiles, canonical_split, require, resolve};
pub(crate) use guard::guarded;
pub(crate) use hub::splits as hub_splits;
pub(crate) use limits::BatchSize;
pub use limits::ReadLimits;
pub(crate) use pipe::is_pipe;
pub(crate) use remote::scheme;
pub(crate) use secret::{is_secret, masked};
pub(crate) use table_file::{Batches, Part, TableFile};

/// Format of a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// A header line, cells between commas, `"` quotes, a cell may hold line ends.
    Csv,
    /// A header line, one row a line, cells between tabs, no quoting: a `"` is a plain character.
    Tsv,
    /// One object a line, or one array of objects.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, as a file (Feather 2) or as a stream.
    Arrow,
    /// One row a line, in the column `text`.
    Text,
}

impl Format {
    /// Endings of file names, and the formats that they stand for.
    const ENDINGS: [(&'static str, Self); 10] = [
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("json", Self::Json),
        ("jsonl", Self::Json),
        ("ndjson", Self::Json),
        ("parquet", Self::Parquet),
        ("arrow", Self::Arrow),
        ("feather", Self::Arrow),
        ("ipc", Self::Arrow),
        ("txt", Self::Text),
    ];

    /// The format that a file's name stands for, with or without an ending of compression.
    pub fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        let name = compression_ending(&name).map_or(name.as_str(), |(stem, _)| stem);
        let (_, ending) = name.rsplit_once('.')?;
        Self::ENDINGS
            .iter()
            .find(|(known, _)| *known == ending)
            .map(|(_, format)| *format)
    }

    fn known_endings() -> String {
        Self::ENDINGS.map(|(ending, _)| ending).join(", ")
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Takes the names of a training file, and the endings of files.
    fn from_str(name: &str) -> Result<Self> {
        let named = [
            ("parquet", Self::Parquet),
            ("arrow", Self::Arrow),
            ("text", Self::Text),
        ];
        named
            .iter()
            .chain(&Self::ENDINGS)
            .find(|(known, _)| *known == name)
            .map(|(_, format)| *format)
            .ok_or_else(|| Error::Setting {
                key: "format",
                problem: format!("must be one of {KNOWN_FORMATS}; got `{name}`"),
            })
    }
}

const KNOWN_FORMATS: &str = "csv, tsv, json, parquet, arrow, text";

/// What a file's name does not tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadOptions {
    pub(crate) format: Option<Format>,
    pub(crate) delimiter: Option<u8>,
    /// Columns to read. The others may hold what they like.
    pub(crate) columns: Choice,
    pub(crate) limits: ReadLimits,
}

/// Reads one file.
pub(crate) fn read_file(path: &Path, options: &ReadOptions) -> Result<Table> {
    TableFile::open(path, options)?.read()
}

/// Fails on a file without a byte.
pub(crate) fn refuse_no_bytes(path: &Path) -> Result<()> {
    let found = path.metadata().map_err(|source| io_error(path, source))?;
    if found.len() > 0 {
        return Ok(());
    }
    Err(Error::Empty {
        place: path.display().to_string(),
        problem: "the file has no bytes".to_owned(),
    })
}

/// Reads a file of this machine, or a pipe.
pub(crate) fn read_path(path: &Path, options: &ReadOptions) -> Result<Table> {
    let file = DataFile::Local(path.to_owned()).local(&options.limits)?;
    file.named(read_file(&file.path, options))
}

/// Reads files one after the other into one table. A file without rows is passed over with a warning, unless it is the only
/// one.
pub(crate) fn read_files<'a>(
    files: impl IntoIterator<Item = &'a DataFile>,
    options: &ReadOptions,
) -> Result<Table> {
    let mut tables = Vec::new();
    let mut empty = None;
    for file in files {
        let local = file.local(&options.limits)?;
        match local.named(read_file(&local.path, options)) {
            Ok(table) if !table.is_empty() => tables.push(table),
            Err(error) if !matches!(error, Error::Empty { .. }) => return Err(error),
            without_rows => {
                if let Some((name, _)) = empty.replace((file.shown(), without_rows)) {
                    warn_empty(&name);
                }
            }
        }
    }
    match empty {
        Some((_, without_rows)) if tables.is_empty() => without_rows,
        Some((name, _)) => {
            warn_empty(&name);
            Table::concatenate(&options.columns.align(tables)?)
        }
        None => Table::concatenate(&options.columns.align(tables)?),
    }
}

/// Says that a file among others has no rows.
pub(crate) fn warn_empty(file: &str) {
    tracing::warn!("`{file}` holds no rows and is passed over");
}

/// The stem of a name and the compression that its ending stands for.
fn compression_ending(name: &str) -> Option<(&str, FileCompressionType)> {
    let (stem, ending) = name.rsplit_once('.')?;
    let compression = match ending {
        "gz" => FileCompressionType::GZIP,
        "bz2" => FileCompressionType::BZIP2,
        "xz" => FileCompressionType::XZ,
        "zst" => FileCompressionType::ZSTD,
        _ => return None,
    };
    Some((stem, compression))
}

/// The compression that a file's name stands for.
fn compression(path: &Path) -> FileCompressionType {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_lowercase();
    compression_ending(&name).map_or(FileCompressionType::UNCOMPRESSED, |(_, compression)| {
        compression
    })
}

pub(crate) fn io_error(path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// A file at fault as a whole.
pub(crate) fn malformed(path: &Path, problem: String) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        row: None,
        line: None,
        column: None,
        problem,
    }
}
