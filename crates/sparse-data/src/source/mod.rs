//! Reading files: which files, in which format, into which table.

mod arrow_ipc;
mod data_file;
mod database;
mod delimited;
mod engine;
mod files;
mod hub;
mod json;
mod json_kind;
mod parquet;
mod remote;
mod text;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::Table;

pub(crate) use data_file::{DataFile, LocalFile};
pub use database::DatabaseUrl;
pub(crate) use database::{DatabasePart, DatabaseTable, place as database_place};
pub(crate) use engine::query;
pub(crate) use files::{SplitFiles, canonical_split, require, resolve};
pub(crate) use hub::splits as hub_splits;
pub(crate) use json::{LineRange, line_ranges, open_range};
pub(crate) use remote::scheme;

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
        let name = path.file_name()?.to_str()?.to_lowercase();
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

/// What a file's name does not tell.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadOptions {
    pub(crate) format: Option<Format>,
    pub(crate) delimiter: Option<u8>,
    /// Columns to read, where the format allows to skip the others.
    pub(crate) columns: Option<Vec<String>>,
}

/// Reads one file.
pub(crate) fn read_file(path: &Path, options: &ReadOptions) -> Result<Table> {
    let format = options
        .format
        .or_else(|| Format::from_path(path))
        .ok_or_else(|| Error::UnknownFormat {
            path: path.to_owned(),
            known: "csv, tsv, json, parquet, arrow, text".to_owned(),
        })?;
    require(path)?;
    let length = path
        .metadata()
        .map_err(|source| io_error(path, source))?
        .len();
    if length == 0 && format != Format::Text {
        return Err(Error::Empty {
            place: path.display().to_string(),
            problem: "the file has no bytes".to_owned(),
        });
    }
    match format {
        Format::Csv => delimited::read(path, options.delimiter.unwrap_or(b','), true),
        Format::Tsv => delimited::read(path, options.delimiter.unwrap_or(b'\t'), false),
        Format::Json => json::read(path),
        Format::Parquet => parquet::read(path, options.columns.as_deref()),
        Format::Arrow => arrow_ipc::read(path),
        Format::Text => text::read(path),
    }
}

/// Reads files one after the other into one table.
pub(crate) fn read_files<'a>(
    files: impl IntoIterator<Item = &'a DataFile>,
    options: &ReadOptions,
) -> Result<Table> {
    let tables = files
        .into_iter()
        .map(|file| {
            let file = file.local()?;
            file.named(read_file(&file.path, options))
        })
        .collect::<Result<Vec<_>>>()?;
    Table::concatenate(&tables)
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

/// Opens a file and decompresses it on the way.
fn open(path: &Path) -> Result<BufReader<Box<dyn Read + Send>>> {
    const BUFFER_BYTES: usize = 1 << 18;
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    let reader = compression(path)
        .convert_read(BufReader::with_capacity(BUFFER_BYTES, file))
        .map_err(|error| malformed(path, error.to_string()))?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, reader))
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
