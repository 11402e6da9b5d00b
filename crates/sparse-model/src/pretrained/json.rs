//! JSON files.

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// A configuration file is small; anything larger than this is something else.
const LARGEST_CONFIG: u64 = 256 << 20;

/// Reads and parses a file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path, needed_for: &'static str) -> Result<T> {
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > LARGEST_CONFIG => {
            return Err(Error::config(
                path,
                "",
                format!(
                    "is {} bytes long, too long for a configuration",
                    metadata.len()
                ),
            ));
        }
        Ok(_) => std::fs::read(path).map_err(|source| Error::read(path, source))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::MissingFile {
                path: path.to_path_buf(),
                needed_for,
            });
        }
        Err(source) => return Err(Error::read(path, source)),
    };
    serde_json::from_slice(&text).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a file, or gives the default where there is none.
pub(crate) fn read_json_or_default<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    if path.exists() {
        read_json(path, "")
    } else {
        Ok(T::default())
    }
}

/// Reads a JSON object, keeping its order.
pub(crate) fn read_object(path: &Path, needed_for: &'static str) -> Result<Map<String, Value>> {
    read_json(path, needed_for)
}

/// Indented JSON, as Python's `json.dumps(value, indent=indent, ensure_ascii=False)` writes it.
pub(crate) fn to_pretty<T: Serialize + ?Sized>(value: &T, indent: usize) -> Vec<u8> {
    let spaces = vec![b' '; indent];
    let mut text = Vec::new();
    let formatter = PythonFormatter(PrettyFormatter::with_indent(&spaces));
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    value
        .serialize(&mut serializer)
        .expect("a JSON value in memory can be written");
    text
}

/// Numbers as Python prints them: `1e-05` where Rust has `1e-5`.
struct PythonFormatter<'a>(PrettyFormatter<'a>);

impl Formatter for PythonFormatter<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> std::io::Result<()> {
        let text = format!("{value:?}");
        match text.split_once('e') {
            None => writer.write_all(text.as_bytes()),
            Some((digits, exponent)) => {
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(exponent) => ('-', exponent),
                    None => ('+', exponent),
                };
                write!(writer, "{digits}e{sign}{exponent:0>2}")
            }
        }
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        self.0.end_object_value(writer)
    }
}

/// A JSON value as Python prints it.
pub(crate) fn python_literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_string(),
        Value::Bool(true) => "True".to_string(),
        Value::Bool(false) => "False".to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Array(items) => format!(
            "[{}]",
            items
                .iter()
                .map(python_literal)
                .collect::<Vec<_>>()
                .join(", ")
        ),
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("'{key}': {}", python_literal(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let value = json!([1e-5, 1e-12, 0.0001, 0.1, 160000.0, 1e16, 3, [], {}]);
        let text = String::from_utf8(to_pretty(&value, 0))
            .unwrap()
            .replace('\n', "");
        assert_eq!(text, "[1e-05,1e-12,0.0001,0.1,160000.0,1e+16,3,[],{}]");
    }
}
