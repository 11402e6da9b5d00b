//! Columns of text from small files.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sparse_data::Lines;

use crate::retrieval::for_each_line;
use crate::{Error, Result};

/// The longest row of a file that is read.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// The chosen columns of a `.tsv`, `.csv` or `.jsonl` file, in the order asked for.
#[derive(Debug)]
pub(crate) struct Table {
    path: PathBuf,
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    /// Line of the file that each row comes from.
    lines: Vec<usize>,
}

/// The file of a configuration.
pub(crate) fn required(path: &Option<PathBuf>) -> Result<&Path> {
    path.as_deref()
        .ok_or_else(|| Error::option("path", "is missing: the file with the evaluation data"))
}

impl Table {
    /// Reads the columns `names`. A `.tsv` file has a header line and no quoting, a `.csv` file a header line and quotes
    /// as in RFC 4180, a `.jsonl` file an object per line.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, lacks a column, is malformed or holds no row; the message names file and line.
    pub(crate) fn read(path: &Path, names: &[String]) -> Result<Self> {
        let columns = vec![Vec::new(); names.len()];
        let mut table = Self {
            path: path.to_owned(),
            names: names.to_vec(),
            columns,
            lines: Vec::new(),
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("tsv") => {
                table.read_separated(|text| Some(text.split('\t').map(str::to_owned).collect()))?
            }
            Some("csv") => table.read_separated(split_csv)?,
            Some("jsonl") => table.read_json_lines()?,
            _ => {
                let problem = "has an unknown ending; expected .tsv, .csv or .jsonl".to_owned();
                return Err(Error::File {
                    path: path.to_owned(),
                    problem,
                });
            }
        }
        if table.lines.is_empty() {
            return Err(Error::File {
                path: path.to_owned(),
                problem: "holds no row".to_owned(),
            });
        }
        Ok(table)
    }

    /// Takes a column out.
    pub(crate) fn take(&mut self, column: usize) -> Vec<String> {
        std::mem::take(&mut self.columns[column])
    }

    /// A column of numbers.
    pub(crate) fn numbers(&self, column: usize) -> Result<Vec<f64>> {
        self.parse(column, "a number", |text| {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        })
    }

    /// A column of zeros and ones.
    pub(crate) fn labels(&self, column: usize) -> Result<Vec<bool>> {
        self.parse(column, "0 or 1", |text| match text.parse::<f64>() {
            Ok(0.0) => Some(false),
            Ok(1.0) => Some(true),
            _ => None,
        })
    }

    fn parse<T>(
        &self,
        column: usize,
        what: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>> {
        let values = self.columns[column]
            .iter()
            .zip(&self.lines)
            .map(|(text, &line)| {
                parse(text.trim()).ok_or_else(|| {
                    let problem = format!(
                        "column `{}` must hold {what}; got `{text}`",
                        self.names[column]
                    );
                    Error::line(&self.path, line, problem)
                })
            });
        values.collect()
    }

    fn read_separated(&mut self, split: impl Fn(&str) -> Option<Vec<String>>) -> Result<()> {
        let path = self.path.clone();
        let mut header = Vec::new();
        let mut positions = Vec::new();
        let mut open = String::new();
        let mut lines = Lines::open(&path)?;
        while let Some((line, text)) = lines.next_line()? {
            let line = usize::try_from(line).unwrap_or(usize::MAX);
            // A quoted field may go on in the next line, over lines without a character.
            if !open.is_empty() {
                open.push('\n');
            } else if text.trim().is_empty() {
                continue;
            }
            open.push_str(text);
            if open.len() > MAX_RECORD_BYTES {
                let problem = "a row is longer than 64 MiB; is a quote never closed?";
                return Err(Error::line(&path, line, problem));
            }
            let Some(fields) = split(&open) else {
                continue;
            };
            open.clear();
            if header.is_empty() {
                positions = self.positions(&fields)?;
                header = fields;
                continue;
            }
            if fields.len() != header.len() {
                let problem = format!("expected {} columns, got {}", header.len(), fields.len());
                return Err(Error::line(&path, line, problem));
            }
            for (column, &position) in self.columns.iter_mut().zip(&positions) {
                column.push(fields[position].clone());
            }
            self.lines.push(line);
        }
        match open.is_empty() {
            true => Ok(()),
            false => Err(Error::File {
                path,
                problem: "ends within quotes".to_owned(),
            }),
        }
    }

    fn positions(&self, header: &[String]) -> Result<Vec<usize>> {
        let position = |name: &String| {
            header
                .iter()
                .position(|column| column == name)
                .ok_or_else(|| {
                    let problem = format!(
                        "has no column `{name}`; its columns are {}",
                        header.join(", ")
                    );
                    Error::File {
                        path: self.path.clone(),
                        problem,
                    }
                })
        };
        self.names.iter().map(position).collect()
    }

    fn read_json_lines(&mut self) -> Result<()> {
        let path = self.path.clone();
        for_each_line(&path, |line, text| {
            let row: serde_json::Map<String, Value> =
                serde_json::from_str(text).map_err(|error| {
                    Error::line(&path, line, format!("expected a JSON object; {error}"))
                })?;
            for (column, name) in self.columns.iter_mut().zip(&self.names) {
                let text = match row.get(name) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Number(number)) => number.to_string(),
                    Some(Value::Bool(flag)) => u8::from(*flag).to_string(),
                    Some(other) => {
                        let problem =
                            format!("`{name}` must be a text or a number; got {}", kind(other));
                        return Err(Error::line(&path, line, problem));
                    }
                    None => return Err(Error::line(&path, line, format!("`{name}` is missing"))),
                };
                column.push(text);
            }
            self.lines.push(line);
            Ok(())
        })
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
    }
}

/// Fields of a CSV record, or `None` if a quoted field is still open at its end.
fn split_csv(record: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut()?;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &str, columns: &[&str]) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Table::read(
            &path,
            &columns
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn the_three_formats_give_the_same_columns() {
        let tables = [
            read(
                "a.tsv",
                "score\ttext\textra\n1\tsay \"hi\", you\tx\n0.5\tb\ty\n",
                &["text", "score"],
            ),
            read(
                "a.csv",
                "score,text\n1,\"say \"\"hi\"\", you\"\r\n0.5,b\n",
                &["text", "score"],
            ),
            read(
                "a.jsonl",
                "{\"text\": \"say \\\"hi\\\", you\", \"score\": 1}\n{\"score\": 0.5, \"text\": \"b\"}",
                &["text", "score"],
            ),
        ];
        for table in tables {
            let mut table = table.unwrap();
            assert_eq!(table.numbers(1).unwrap(), [1.0, 0.5]);
            assert_eq!(table.take(0), ["say \"hi\", you", "b"]);
        }
    }

    #[test]
    fn quoted_fields_may_hold_line_ends() {
        let mut table = read("a.csv", "a,b\n\"one\n\ntwo\",3\n", &["a", "b"]).unwrap();
        assert_eq!(table.take(0), ["one\n\ntwo"]);
        assert!(
            read("a.csv", "a,b\n\"one,3\n", &["a"])
                .unwrap_err()
                .to_string()
                .ends_with("ends within quotes")
        );
    }

    #[test]
    fn mistakes_name_the_line() {
        let problem = |name: &str, content: &str, columns: &[&str]| {
            let error = read(name, content, columns)
                .and_then(|table| table.labels(0))
                .unwrap_err()
                .to_string();
            error.split(['/', '\\']).next_back().unwrap().to_owned()
        };
        assert_eq!(
            problem("a.tsv", "a\tb\n1\t2\n", &["c"]),
            "a.tsv` has no column `c`; its columns are a, b"
        );
        assert_eq!(
            problem("a.tsv", "a\tb\n1\n", &["a"]),
            "a.tsv`, line 2: expected 2 columns, got 1"
        );
        assert_eq!(
            problem("a.tsv", "a\n1\n2\n", &["a"]),
            "a.tsv`, line 3: column `a` must hold 0 or 1; got `2`"
        );
        assert_eq!(problem("a.tsv", "a\n", &["a"]), "a.tsv` holds no row");
        assert_eq!(
            problem("a.txt", "a\n", &["a"]),
            "a.txt` has an unknown ending; expected .tsv, .csv or .jsonl"
        );
        assert_eq!(
            problem("a.jsonl", "{\"b\": 1}\n", &["a"]),
            "a.jsonl`, line 1: `a` is missing"
        );
    }
}
