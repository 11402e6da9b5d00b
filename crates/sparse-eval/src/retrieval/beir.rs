//! Reading the three files of a test collection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sparse_data::{Id, Lines};

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

/// Reads ids and texts; the text of a document is `title + " " + text`, without white space at either end.
pub(crate) fn read_texts(path: &Path) -> Result<Texts> {
    let mut texts = Texts {
        path: path.to_owned(),
        entries: Vec::new(),
        ids: BTreeSet::new(),
    };
    for_each_line(path, |number, line| {
        let TextLine {
            id: Id(id),
            title,
            text,
        } = serde_json::from_str(line).map_err(|error| {
            Error::line(
                path,
                number,
                format!("expected an object with `_id` and `text`; {error}"),
            )
        })?;
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
    // Line and score of each pair so far.
    let mut judged = BTreeMap::<(String, String), (usize, f64)>::new();
    for_each_line(path, |number, line| {
        let fields = line.split('\t').map(str::trim).collect::<Vec<_>>();
        let [query, document, score] = fields[..] else {
            let problem = format!(
                "expected 3 columns separated by tabs (query-id, corpus-id, score); got {}",
                fields.len()
            );
            return Err(Error::line(path, number, problem));
        };
        let parsed = score.parse().ok().filter(|score: &f64| score.is_finite());
        let Some(score) = parsed else {
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
        let pair = (query.to_owned(), document.to_owned());
        let earlier = judged.insert(pair, (number, score));
        if let Some((first, other)) = earlier
            && other != score
        {
            let problem = format!(
                "score is {score} for query `{query}` and document `{document}`, and {other} in line {first}"
            );
            return Err(Error::line(path, number, problem));
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
    let mut lines = Lines::open(path)?;
    while let Some((number, line)) = lines.next_line()? {
        if !line.trim().is_empty() {
            take(usize::try_from(number).unwrap_or(usize::MAX), line)?;
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
            "test.tsv`, line 2: is not UTF-8; convert the file, for example with `iconv -f latin1 -t utf-8`"
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
    fn contradicting_judgements_are_refused_with_both_lines() {
        assert_eq!(
            problem(QUERIES, CORPUS, b"q1\ta\t1\nq1\tb\t1\nq1\ta\t0\n"),
            "test.tsv`, line 3: score is 0 for query `q1` and document `a`, and 1 in line 1"
        );
        // The same judgement twice contradicts nothing.
        load(QUERIES, CORPUS, b"q1\ta\t1\nq1\ta\t1\n").unwrap();
    }

    #[test]
    fn ids_are_exact_titles_may_be_null_and_a_byte_order_mark_is_no_data() {
        let queries = "\u{feff}{\"_id\": 18446744073709551615, \"text\": \"q\"}\n";
        let corpus = concat!(
            "\u{feff}{\"_id\": 9007199254740993, \"title\": null, \"text\": \"...993\"}\n",
            "{\"_id\": 9007199254740994, \"text\": \"...994\"}\n",
        );
        let qrels = "\u{feff}18446744073709551615\t9007199254740994\t1\n";
        let collection = load(queries, corpus, qrels.as_bytes()).unwrap();
        assert_eq!(collection.query_ids(), ["18446744073709551615"]);
        assert_eq!(collection.documents(), ["...993", "...994"]);
        assert!(collection.is_relevant(0, 1) && !collection.is_relevant(0, 0));
        let absent = "18446744073709551615\t9007199254740992\t1\n";
        let message = load(queries, corpus, absent.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("document `9007199254740992` is not in"),
            "{message}"
        );
        let fraction = "{\"_id\": 1.5, \"text\": \"q\"}\n";
        let message = load(fraction, corpus, absent.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("a text or a whole number of 64 bits"),
            "{message}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            Collection::load(&RetrievalFiles::in_folder(Path::new("nowhere"), "dev")).unwrap_err();
        assert!(
            error.to_string().ends_with("queries.jsonl` does not exist"),
            "{error}"
        );
    }
}
