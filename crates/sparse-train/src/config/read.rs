//! TOML text and overrides to a typed configuration, with errors that name the key.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::suggest::explain;
use crate::arguments::foreign;
use crate::error::{Error, Result};
use crate::optimizer::ELSEWHERE;
use crate::secret::{is_secret, mask_secrets};

/// More bytes than a training file has.
const LARGEST: u64 = 16 << 20;

/// The text of a training file.
pub(super) fn text(path: &Path) -> Result<String> {
    let refused = |message: String| Error::File {
        path: path.to_path_buf(),
        message,
    };
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Ok(n) if n as u64 > LARGEST => Err(refused(format!(
            "is longer than {LARGEST} bytes: is it a training file?"
        ))),
        Ok(_) => Ok(text),
        Err(source) => Err(match source.kind() {
            ErrorKind::NotFound => refused("no such file".to_owned()),
            ErrorKind::InvalidData => refused("is not valid UTF-8".to_owned()),
            _ => Error::Unreadable {
                path: path.to_path_buf(),
                source,
            },
        }),
    }
}

/// What the text and the overrides say, and warnings about arguments that have no effect.
pub(super) fn parse<T: DeserializeOwned>(
    text: &str,
    overrides: &[String],
) -> Result<(T, Vec<String>)> {
    let mut table: Table = text.parse().map_err(|error| not_toml(text, &error))?;
    for entry in overrides {
        apply(&mut table, entry)?;
    }
    let warnings = take_foreign(&mut table)?;
    read_json(&mut table)?;
    let read = serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let message = explain(&without_secrets(
            &path,
            error.inner().to_string().lines().next().unwrap_or_default(),
        ));
        // serde's path of an unknown key ends in that key, which the message names already.
        let key = match path.rsplit_once('.') {
            _ if path == "." => return Error::Table { problem: message },
            _ if message.starts_with("missing field") => path,
            Some((parent, last)) if message.contains(&format!("`{last}`")) => parent.to_owned(),
            None if message.contains(&format!("`{path}`")) => {
                return Error::Table { problem: message };
            }
            _ => path,
        };
        Error::argument(key, format!("has an error: {message}"))
    })?;
    Ok((read, warnings))
}

/// Where a text stops to be TOML, by line, column and key. The line itself isn't shown: there may be a token or a password in it.
fn not_toml(text: &str, error: &toml::de::Error) -> Error {
    let found = error.span().map(|span| {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line = before.matches('\n').count();
        let first = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = text[first..start].chars().count() + 1;
        let whole = text.lines().nth(line).unwrap_or_default();
        let is_key = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let key = whole
            .split_once('=')
            .map(|(key, _)| key.trim())
            .filter(|key| !key.is_empty() && key.chars().all(is_key));
        ((line + 1, column), key.map(mask_secrets))
    });
    let (place, key) = found.unzip();
    Error::NotToml {
        place,
        key: key.flatten(),
        problem: mask_secrets(error.message().lines().next().unwrap_or_default()),
    }
}

/// A message of serde's, which quotes the value that it refuses, without the value where that may be a secret.
fn without_secrets(path: &str, message: &str) -> String {
    let quotes_value = ["invalid type", "invalid value"]
        .iter()
        .any(|start| message.starts_with(start));
    match message.split_once(", expected") {
        Some((_, expected)) if quotes_value && is_secret(path) => {
            format!("invalid value, which isn't shown, expected{expected}")
        }
        _ => mask_secrets(message),
    }
}

/// Sets `a.b.c=value`; a value that is no TOML is taken as a string.
fn apply(table: &mut Table, entry: &str) -> Result<()> {
    let Some((key, text)) = entry.split_once('=') else {
        return Err(Error::argument(
            mask_secrets(entry),
            "must have the form key=value",
        ));
    };
    let value = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut parts = key.trim().split('.').peekable();
    let mut place = table;
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            place.insert(part.to_owned(), value);
            return Ok(());
        }
        let next = place
            .entry(part.to_owned())
            .or_insert_with(|| Value::Table(Table::new()));
        // `evaluator.0.name` reaches into a list of tables.
        place = match next {
            Value::Table(inner) => inner,
            Value::Array(list) => {
                let index = parts.next().and_then(|part| part.parse::<usize>().ok());
                let length = list.len();
                let item = index
                    .and_then(|index| list.get_mut(index))
                    .and_then(Value::as_table_mut);
                let Some(inner) = item.filter(|_| parts.peek().is_some()) else {
                    return Err(Error::argument(
                        key,
                        format!("must go on with an index below {length} and a key"),
                    ));
                };
                inner
            }
            _ => {
                return Err(Error::argument(
                    key,
                    format!("cannot be set: `{part}` is a value"),
                ));
            }
        };
    }
    Ok(())
}

/// Arguments that the reference also takes as JSON, which is how a command line sets them.
const JSON: [&str; 4] = [
    PROMPTS,
    "router_mapping",
    "learning_rate_mapping",
    "lr_scheduler_kwargs",
];

/// Of these, the one that may be a text.
const PROMPTS: &str = "prompts";

/// Puts what the JSON of an argument says in its place.
fn read_json(table: &mut Table) -> Result<()> {
    let Some(arguments) = table.get_mut("arguments").and_then(Value::as_table_mut) else {
        return Ok(());
    };
    for name in JSON {
        let Some(value) = arguments.get_mut(name) else {
            continue;
        };
        let Some(text) = value.as_str() else { continue };
        let parsed: serde_json::Result<toml::Table> = serde_json::from_str(text);
        *value = match parsed {
            Ok(table) => Value::Table(table),
            // As in the reference.
            Err(_) if name == PROMPTS => continue,
            Err(source) => {
                let key = format!("arguments.{name}");
                return Err(Error::Json { key, source });
            }
        };
    }
    Ok(())
}

/// Takes the arguments of the reference out that have no field here: warns of those without effect and fails at the others,
/// unless the value is the reference's default.
fn take_foreign(table: &mut Table) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let Some(arguments) = table.get_mut("arguments").and_then(Value::as_table_mut) else {
        return Ok(warnings);
    };
    let mut given = |name: &str, default: &str| {
        let value = arguments.remove(name);
        value.is_some_and(|value| !is_default(&value, default))
    };
    for (reason, names) in foreign::WITHOUT_EFFECT {
        for (name, _) in names.iter().filter(|(name, default)| given(name, default)) {
            warnings.push(format!("`arguments.{name}` has no effect: {reason}"));
        }
    }
    for (instead, names) in foreign::REFUSED {
        if let Some((name, _)) = names.iter().find(|(name, default)| given(name, default)) {
            return Err(Error::argument(format!("arguments.{name}"), *instead));
        }
    }
    let optim = arguments.get("optim").and_then(Value::as_str);
    if let Some((name, instead)) = ELSEWHERE.iter().find(|(name, _)| Some(*name) == optim) {
        return Err(Error::argument(
            "arguments.optim",
            format!("= \"{name}\" needs a package of the reference's; set \"{instead}\" instead"),
        ));
    }
    Ok(warnings)
}

/// Whether a value is the default, which is written in TOML; 0 and 0.0 are the same.
fn is_default(value: &Value, default: &str) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
    let Ok(parsed) = format!("value = {default}").parse::<Table>() else {
        return false;
    };
    parsed.get("value").is_some_and(|default| {
        default == value || (number(default).is_some() && number(default) == number(value))
    })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
