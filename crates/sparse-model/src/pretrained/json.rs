//! JSON files.

use std::fmt;
use std::io::Write;
use std::path::Path;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Value};

use super::file::{is_there, read_limited};
use crate::error::nearest;
use crate::{Error, Result};

/// Longest configuration: those of models with a hundred thousand labels stay below.
const LONGEST_CONFIG: u64 = 16 << 20;

/// Longest table of token weights.
const LONGEST_TABLE: u64 = 128 << 20;

/// The entries of a file, in its order.
type Object = Map<String, Value>;

/// Reads a JSON object, keeping its order. A key that it has twice is an error: only one of the two would count.
pub(crate) fn read_object(path: &Path, needed_for: &'static str) -> Result<Object> {
    object_of(read_value(path, LONGEST_CONFIG, needed_for)?, path)
}

/// Reads a JSON object that has an entry for each token.
pub(crate) fn read_table(path: &Path, needed_for: &'static str) -> Result<Object> {
    object_of(read_value(path, LONGEST_TABLE, needed_for)?, path)
}

/// Reads a JSON object, or gives an empty one where there is no file.
pub(crate) fn read_object_or_empty(path: &Path) -> Result<Object> {
    if is_there(path)? {
        read_object(path, "")
    } else {
        Ok(Map::new())
    }
}

/// Reads a JSON array.
pub(crate) fn read_array(path: &Path) -> Result<Vec<Value>> {
    match read_value(path, LONGEST_CONFIG, "")? {
        Value::Array(items) => Ok(items),
        other => Err(not_valid(
            path,
            format!("is {}; expected an array", kind(&other)),
        )),
    }
}

fn object_of(value: Value, path: &Path) -> Result<Object> {
    match value {
        Value::Object(entries) => Ok(entries),
        other => Err(not_valid(
            path,
            format!("is {}; expected an object", kind(&other)),
        )),
    }
}

fn not_valid(path: &Path, problem: String) -> Error {
    Error::Unreadable {
        path: path.to_path_buf(),
        problem,
    }
}

fn read_value(path: &Path, limit: u64, needed_for: &'static str) -> Result<Value> {
    let text = read_limited(path, limit, needed_for)?;
    parse_strictly(&text).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// Parses JSON whose objects have each key once.
pub(crate) fn parse_strictly(text: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice::<Strict>(text).map(|value| value.0)
}

/// Makes a type out of an object's entries, or names the entry at fault.
pub(crate) fn from_object<T: DeserializeOwned>(entries: &Object, path: &Path) -> Result<T> {
    let parse = |entries: &Object| serde_json::from_value::<T>(Value::Object(entries.clone()));
    let error = match parse(entries) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error.to_string(),
    };
    // serde does not say which entry a value of the wrong type belongs to: it is the one without which the complaint is
    // another, or none.
    let at_fault = entries.iter().find(|(key, _)| {
        let mut others = entries.clone();
        others.shift_remove(*key);
        match parse(&others) {
            Ok(_) => true,
            Err(other) => other.to_string() != error,
        }
    });
    Err(match at_fault {
        Some((key, _)) if error.starts_with("unknown field") => {
            let hint = nearest(key, &names_in(&error));
            Error::config(
                path,
                key,
                format!("is no setting of this module: {error}{hint}"),
            )
        }
        Some((key, value)) => Error::config(path, key, format!("is {}: {error}", shortened(value))),
        None => not_valid(path, format!("is not valid: {error}")),
    })
}

/// The names that serde lists in back-quotes, but for the first, which is the one it complains of.
fn names_in(error: &str) -> Vec<&str> {
    error.split('`').skip(3).step_by(2).collect()
}

/// One entry of an object; `null` counts as absent.
pub(crate) fn entry<T: DeserializeOwned>(
    entries: &Object,
    key: &str,
    path: &Path,
) -> Result<Option<T>> {
    match entries.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| Error::config(path, key, format!("is {}: {error}", shortened(value)))),
    }
}

/// Warns of entries that nothing reads.
pub(crate) fn warn_of_unknown(entries: &Object, known: &[&str], path: &Path) {
    for key in entries.keys().filter(|key| !known.contains(&key.as_str())) {
        tracing::warn!(
            "`{}`: the unknown key `{key}` is ignored{}",
            path.display(),
            nearest(key, known)
        );
    }
}

/// A value as a message shows it.
pub(crate) fn shortened(value: &Value) -> String {
    const SHOWN: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A JSON value whose objects have each key once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Strict;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
                let mut array = Vec::new();
                while let Some(Strict(item)) = items.next_element()? {
                    array.push(item);
                }
                Ok(Strict(Value::Array(array)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
                let mut object = Map::new();
                while let Some(key) = entries.next_key::<String>()? {
                    if object.contains_key(&key) {
                        let problem = format!("the key `{key}` is there twice");
                        return Err(serde::de::Error::custom(problem));
                    }
                    let Strict(value) = entries.next_value()?;
                    object.insert(key, value);
                }
                Ok(Strict(Value::Object(object)))
            }
        }
        deserializer.deserialize_any(Any)
    }
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

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[allow(dead_code, reason = "only its errors are looked at")]
    struct Config {
        width: usize,
        pooling_strategy: Option<String>,
    }

    fn message(text: &str) -> String {
        let value = parse_strictly(text.as_bytes()).unwrap();
        let entries = object_of(value, Path::new("f")).unwrap();
        let parsed: Result<Config> = from_object(&entries, Path::new("f"));
        parsed.unwrap_err().to_string()
    }

    #[test]
    fn the_entry_at_fault_is_named() {
        assert_eq!(
            message(r#"{"pooling_strategy": "max", "width": "3"}"#),
            "`f`: `width` is \"3\": invalid type: string \"3\", expected usize"
        );
        assert!(message(r#"{"width": -3}"#).starts_with("`f`: `width` is -3: "));
        assert!(message(r#"{"width": 1e30}"#).starts_with("`f`: `width` is 1e+30: "));
        let unknown = message(r#"{"width": 1, "pooling_stratgy": "sum"}"#);
        assert!(
            unknown.starts_with("`f`: `pooling_stratgy` is no setting")
                && unknown.ends_with("did you mean `pooling_strategy`?"),
            "{unknown}"
        );
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused() {
        for text in [
            r#"{"a": 1, "b": 2, "a": 1}"#,
            r#"[{"x": {"a": 1, "a": 2}}]"#,
        ] {
            let message = parse_strictly(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains("the key `a` is there twice"), "{message}");
        }
        let plain = r#"{"a":[null,true,-1,18446744073709551615,0.5,"x",{"a":{}}]}"#;
        let parsed = parse_strictly(plain.as_bytes()).unwrap();
        assert_eq!(parsed.to_string(), plain);
        let deep = "[".repeat(100_000);
        assert!(parse_strictly(deep.as_bytes()).is_err());
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let value = json!([1e-5, 1e-12, 0.0001, 0.1, 160000.0, 1e16, 3, [], {}]);
        let text = String::from_utf8(to_pretty(&value, 0))
            .unwrap()
            .replace('\n', "");
        assert_eq!(text, "[1e-05,1e-12,0.0001,0.1,160000.0,1e+16,3,[],{}]");
    }
}
