//! Rankings as lines of text: what other programs read.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use crate::retrieval::for_each_line;
use crate::{Error, Result};

/// How rankings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankingFormat {
    /// One JSON object per query: `{"query_id", "query", "results": [{"corpus_id", "score"}, …]}`.
    JsonLines,
    /// `query-id Q0 document-id rank score tag`, as `trec_eval` reads it.
    Trec,
}

#[derive(Serialize)]
struct Prediction<'a> {
    query_id: &'a str,
    query: &'a str,
    results: Vec<PredictedDocument<'a>>,
}

#[derive(Serialize)]
struct PredictedDocument<'a> {
    corpus_id: &'a str,
    score: f64,
}

impl RankingFormat {
    /// Writes the ranking of one query, best first; `tag` names the run in a TREC file.
    ///
    /// `trec_eval` sorts by score and breaks ties by *descending* document id; so that it sees the ranking that was made
    /// here, scores that would tie are lowered by the smallest step of an f32.
    ///
    /// # Errors
    ///
    /// If writing fails, or an id or a tag that holds white space would break a TREC file.
    pub fn write<'a>(
        self,
        out: &mut impl Write,
        (query_id, query): (&str, &str),
        hits: impl IntoIterator<Item = (&'a str, f32)>,
        tag: &str,
    ) -> io::Result<()> {
        match self {
            Self::JsonLines => {
                let results = hits
                    .into_iter()
                    .map(|(corpus_id, score)| PredictedDocument {
                        corpus_id,
                        score: f64::from(score),
                    });
                let prediction = Prediction {
                    query_id,
                    query,
                    results: results.collect(),
                };
                serde_json::to_writer(&mut *out, &prediction)?;
                out.write_all(b"\n")
            }
            Self::Trec => {
                check_word("tag", tag)?;
                check_word("id", query_id)?;
                let mut previous = f32::INFINITY;
                for (rank, (document, score)) in (1..).zip(hits) {
                    check_word("id", document)?;
                    previous = if score < previous {
                        score
                    } else {
                        previous.next_down()
                    };
                    writeln!(out, "{query_id} Q0 {document} {rank} {previous:?} {tag}")?;
                }
                Ok(())
            }
        }
    }
}

fn check_word(what: &str, word: &str) -> io::Result<()> {
    if word.is_empty() || word.contains(char::is_whitespace) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the {what} `{word}` can't stand in a TREC file: it is empty or holds white space"
            ),
        ));
    }
    Ok(())
}

/// Reads a TREC run file: per query its documents and scores, by descending score, equal scores by ascending id.
///
/// # Errors
///
/// If the file cannot be read, a line is malformed, or a document occurs twice for a query; the message names the line.
pub fn read_trec(path: &Path) -> Result<BTreeMap<String, Vec<(String, f32)>>> {
    let mut rankings = BTreeMap::<String, BTreeMap<String, f32>>::new();
    for_each_line(path, |number, line| {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let [query, _, document, _, score, _] = fields[..] else {
            let problem = format!(
                "expected 6 words (query-id Q0 document-id rank score tag); got {}",
                fields.len()
            );
            return Err(Error::line(path, number, problem));
        };
        let score = score.parse().ok().filter(|score: &f32| !score.is_nan());
        let score = score.ok_or_else(|| {
            Error::line(
                path,
                number,
                format!("score must be a number; got `{}`", fields[4]),
            )
        })?;
        let ranking = rankings.entry(query.to_owned()).or_default();
        if ranking.insert(document.to_owned(), score).is_some() {
            let problem = format!("document `{document}` occurs a second time for query `{query}`");
            return Err(Error::line(path, number, problem));
        }
        Ok(())
    })?;
    if rankings.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            problem: "holds no ranking".to_owned(),
        });
    }
    let sorted = rankings.into_iter().map(|(query, ranking)| {
        let mut ranking = ranking.into_iter().collect::<Vec<_>>();
        ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
        (query, ranking)
    });
    Ok(sorted.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.trec");
        let mut file = std::fs::File::create(&path).unwrap();
        let hits = [("c", 1.5), ("a", 0.0), ("b", 0.0)];
        RankingFormat::Trec
            .write(&mut file, ("q", ""), hits, "ours")
            .unwrap();
        let read = read_trec(&path).unwrap();
        let ids = read["q"]
            .iter()
            .map(|hit| hit.0.as_str())
            .collect::<Vec<_>>();
        assert_eq!(ids, ["c", "a", "b"]);
        let blank = RankingFormat::Trec.write(&mut Vec::new(), ("q r", ""), [], "ours");
        assert!(blank.unwrap_err().to_string().contains("the id `q r`"));
        let blank = RankingFormat::Trec.write(&mut Vec::new(), ("q", ""), [], "our run");
        assert!(blank.unwrap_err().to_string().contains("the tag `our run`"));
    }

    #[test]
    fn malformed_runs_are_refused_with_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.trec");
        let problem = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = read_trec(&path).unwrap_err().to_string();
            error.split("run.trec`").last().unwrap().to_owned()
        };
        assert_eq!(
            problem("q Q0 a 1 2.5 t\nq Q0 b 2 2.0\n"),
            ", line 2: expected 6 words (query-id Q0 document-id rank score tag); got 5"
        );
        assert_eq!(
            problem("q Q0 a 1 x t\n"),
            ", line 1: score must be a number; got `x`"
        );
        assert_eq!(
            problem("q Q0 a 1 nan t\n"),
            ", line 1: score must be a number; got `nan`"
        );
        assert_eq!(
            problem("q Q0 a 1 2 t\nq Q0 a 2 1 t\n"),
            ", line 2: document `a` occurs a second time for query `q`"
        );
        assert_eq!(problem(""), " holds no ranking");
    }
}
