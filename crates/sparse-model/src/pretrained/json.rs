//! JSON files.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A configuration file is small; anything larger than this is something else.
const LARGEST_CONFIG: u64 = 256 << 20;

/// Reads and parses a file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, needed_for: &'static str) -> Result<T> {
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LARGEST_CONFIG => {
            return Err(Error::config(path, "", format!("is {} bytes long, too long for a configuration", metadata.len())));
        }
        Ok(_) => std::fs::read(path).map_err(|source| Error::read(path, source))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::MissingFile { path: path.to_path_buf(), needed_for });
        }
        Err(source) => return Err(Error::read(path, source)),
    };
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })
}

/// Reads a file, or gives the default where there is none.
pub(crate) fn read_json_or_default<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    if path.exists() { read_json(path, "") } else { Ok(T::default()) }
}

/// Reads a JSON object, keeping its order.
pub(crate) fn read_object(path: &Path, needed_for: &'static str) -> Result<Map<String, Value>> {
    read_json(path, needed_for)
}

/// Indented JSON, as Python's `json.dumps(value, indent=indent, ensure_ascii=False)` writes it.
pub(crate) fn to_pretty<T: Serialize + ?Sized>(value: &T, indent: usize) -> Vec<u8> {
    let spaces = vec![b' '; indent];
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(&spaces));
    value.serialize(&mut serializer).expect("a JSON value in memory can be written");
    text
}
