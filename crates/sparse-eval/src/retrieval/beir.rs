//! Reading the three files of a test collection.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Error, Result};

/// Texts by id, in the order of the file.
#[derive(Debug)]
pub(crate) struct Texts {
    path: PathBuf,
    entries: Vec<(String, String)>,
    ids: BTreeSet<String>,
}

impl Texts {
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.entries
    }
}

/// A line of `corpus.jsonl` or `queries.jsonl`; other keys, such as `metadata`, are ignored.
#[derive(Deserialize)]
struct TextLine {
    #[serde(rename = "_id")]
    id: Id,
    title: Option<String>,
    text: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

/// Reads ids and texts; the text of a document is `title + " " + text`, without white space at either end.
pub(crate) fn read_texts(path: &Path) -> Result<Texts> {
    let mut texts = Texts {
        path: path.to_owned(),
        entries: Vec::new(),
        ids: BTreeSet::new(),
    };
    for_each_line(path, |number, line| {
        let TextLine { id, title, text } = serde_json::from_str(line).map_err(|error| {
            Error::line(
                path,
                number,
                format!("expected an object with `_id` and `text`; {error}"),
            )
        })?;
        let id = match id {
            Id::Text(id) => id,
            Id::Number(id) => id.to_string(),
        };
        if !texts.ids.insert(id.clone()) {
            return Err(Error::line(
                path,
                number,
                format!("`_id` {id} occurs a second time"),
            ));
        }
        let text = match title {
            Some(title) => format!("{title} {text}").trim().to_owned(),
            None => text.trim().to_owned(),
        };
        texts.entries.push((id, text));
        Ok(())
    })?;
    if texts.entries.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            problem: "is empty".to_owned(),
        });
    }
    Ok(texts)
}

/// Reads judgements: per query its relevant documents with their grades. Those with a score of 0 or less are checked and left
/// out.
pub(crate) fn read_qrels(
    path: &Path,
    queries: &Texts,
    corpus: &Texts,
) -> Result<BTreeMap<String, BTreeMap<String, f64>>> {
    let mut relevant = BTreeMap::<String, BTreeMap<String, f64>>::new();
    for_each_line(path, |number, line| {
        let fields = line.split('\t').map(str::trim).collect::<Vec<_>>();
        let [query, document, score] = fields[..] else {
            let problem = format!(
                "expected 3 columns separated by tabs (query-id, corpus-id, score); got {}",
                fields.len()
            );
            return Err(Error::line(path, number, problem));
        };
        let Ok(score) = score.parse::<f64>() else {
            if number == 1 {
                return Ok(()); // the header
            }
            return Err(Error::line(
                path,
                number,
                format!("score must be a number; got `{score}`"),
            ));
        };
        for (kind, id, texts) in [("query", query, queries), ("document", document, corpus)] {
            if !texts.ids.contains(id) {
                let problem = format!("{kind} `{id}` is not in `{}`", texts.path.display());
                return Err(Error::line(path, number, problem));
            }
        }
        if score > 0.0 {
            relevant
                .entry(query.to_owned())
                .or_default()
                .insert(document.to_owned(), score);
        }
        Ok(())
    })?;
    Ok(relevant)
}

/// Calls `take` with the number, from 1, and the text of every line that is not blank.
pub(crate) fn for_each_line(
    path: &Path,
    mut take: impl FnMut(usize, &str) -> Result<()>,
) -> Result<()> {
    let mut reader = BufReader::new(File::open(path).map_err(|source| Error::read(path, source))?);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if reader
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::read(path, source))?
            == 0
        {
            break;
        }
        let line = std::str::from_utf8(&bytes)
            .map_err(|_| Error::line(path, number, "is not valid UTF-8"))?;
        let line = if number == 1 {
            line.trim_start_matches('\u{feff}')
        } else {
            line
        };
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.trim().is_empty() {
            take(number, line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Collection, RetrievalFiles};

    fn load(queries: &str, corpus: &str, qrels: &[u8]) -> Result<Collection> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("qrels")).unwrap();
        std::fs::write(folder.path().join("queries.jsonl"), queries).unwrap();
        std::fs::write(folder.path().join("corpus.jsonl"), corpus).unwrap();
        std::fs::write(folder.path().join("qrels/test.tsv"), qrels).unwrap();
        Collection::load(&RetrievalFiles::in_folder(folder.path(), "test"))
    }

    const QUERIES: &str =
        "{\"_id\": \"q1\", \"text\": \" one \"}\n\n{\"_id\": 2, \"text\": \"two\"}\n";
    const CORPUS: &str = concat!(
        "{\"_id\": \"b\", \"title\": \"\", \"text\": \"bee\", \"metadata\": {}}\r\n",
        "{\"_id\": \"a\", \"title\": \"The\", \"text\": \"ape \"}",
    );

    fn problem(queries: &str, corpus: &str, qrels: &[u8]) -> String {
        let error = load(queries, corpus, qrels).unwrap_err();
        assert!(error.is_user_error());
        // Without the temporary folder.
        error
            .to_string()
            .split(['/', '\\'])
            .next_back()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn files_with_and_without_header_are_read() {
        for header in ["", "query-id\tcorpus-id\tscore\n"] {
            let qrels = format!("{header}q1\ta\t1\nq1\tb\t0\r\n2\tb\t2\n");
            let collection = load(QUERIES, CORPUS, qrels.as_bytes()).unwrap();
            assert_eq!(collection.query_ids(), ["q1", "2"]);
            assert_eq!(collection.queries(), ["one", "two"]);
            assert_eq!(collection.documents(), ["The ape", "bee"]);
            assert!(
                collection.is_relevant(0, 0)
                    && !collection.is_relevant(0, 1)
                    && collection.is_relevant(1, 1)
            );
        }
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let qrels = b"q1\ta\t1\nq9\ta\t1\n";
        assert_eq!(problem(QUERIES, CORPUS, qrels), "queries.jsonl`");
        let whole = load(QUERIES, CORPUS, qrels).unwrap_err().to_string();
        assert!(
            whole.contains("test.tsv`, line 2: query `q9` is not in `"),
            "{whole}"
        );
        let whole = load(QUERIES, CORPUS, b"q1\tz\t0\n")
            .unwrap_err()
            .to_string();
        assert!(
            whole.contains("test.tsv`, line 1: document `z` is not in `"),
            "{whole}"
        );

        assert_eq!(
            problem(QUERIES, CORPUS, b"q1 a 1\n"),
            "test.tsv`, line 1: expected 3 columns separated by tabs (query-id, corpus-id, score); got 1"
        );
        assert_eq!(
            problem(QUERIES, CORPUS, b"q1\ta\t1\nq1\tb\tx\n"),
            "test.tsv`, line 2: score must be a number; got `x`"
        );
        assert_eq!(
            problem(QUERIES, CORPUS, b"q1\ta\t1\n\xff\n"),
            "test.tsv`, line 2: is not valid UTF-8"
        );
        assert_eq!(
            problem(QUERIES, CORPUS, b"q1\ta\t0\n"),
            "test.tsv` holds no judgement with a score above 0"
        );
        assert_eq!(
            problem("", CORPUS, b"q1\ta\t1\n"),
            "queries.jsonl` is empty"
        );
        let twice = format!("{QUERIES}{QUERIES}");
        assert_eq!(
            problem(&twice, CORPUS, b"q1\ta\t1\n"),
            "queries.jsonl`, line 4: `_id` q1 occurs a second time"
        );
        let missing = problem("{\"_id\": \"q1\"}\n", CORPUS, b"q1\ta\t1\n");
        assert!(missing.starts_with(
            "queries.jsonl`, line 1: expected an object with `_id` and `text`; missing field `text`"
        ));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Collection::load(&RetrievalFiles::in_folder(Path::new("nowhere"), "dev")).unwrap_err();
        assert!(
            error.to_string().starts_with("failed to read `nowhere"),
            "{error}"
        );
    }
}
