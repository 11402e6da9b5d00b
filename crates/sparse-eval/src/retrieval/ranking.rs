//! The rankings that a search made.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use sparse_index::Hit;

use super::Collection;
use crate::{Error, Result};

/// The best documents of every query of a [`Collection`], by one way of scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalRun {
    /// Who ranked: the name of a similarity function, or `bm25`.
    pub name: String,
    /// Per query the best documents, best first; a hit's document is a position in [`Collection::document_ids`].
    pub rankings: Vec<Vec<Hit>>,
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

impl RetrievalRun {
    /// Writes one JSON object per query: `{"query_id", "query", "results": [{"corpus_id", "score"}, …]}`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_predictions(&self, collection: &Collection, path: &Path) -> Result<()> {
        write(path, |file| {
            for (query, hits) in self.rankings.iter().enumerate() {
                let results = hits.iter().map(|hit| PredictedDocument {
                    corpus_id: &collection.document_ids()[hit.document as usize],
                    score: f64::from(hit.score),
                });
                let prediction = Prediction {
                    query_id: &collection.query_ids()[query],
                    query: &collection.queries()[query],
                    results: results.collect(),
                };
                serde_json::to_writer(&mut *file, &prediction)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })
    }

    /// Writes the rankings as `trec_eval` reads them: `query-id Q0 document-id rank score tag`.
    ///
    /// `trec_eval` sorts by score and breaks ties by *descending* document id; so that it sees the ranking that was
    /// evaluated here, scores that would tie are lowered by the smallest step of an f32.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_trec(&self, collection: &Collection, tag: &str, path: &Path) -> Result<()> {
        write(path, |file| {
            for (query, hits) in self.rankings.iter().enumerate() {
                let id = &collection.query_ids()[query];
                let mut previous = f32::INFINITY;
                for (rank, hit) in hits.iter().enumerate() {
                    let document = &collection.document_ids()[hit.document as usize];
                    previous = if hit.score < previous {
                        hit.score
                    } else {
                        previous.next_down()
                    };
                    writeln!(file, "{id} Q0 {document} {} {previous:?} {tag}", rank + 1)?;
                }
            }
            Ok(())
        })
    }
}

fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        content(&mut file)?;
        file.flush()
    });
    written.map_err(|source| Error::write(path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Collection, RetrievalRun) {
        let pairs = |ids: &[&str]| {
            ids.iter()
                .map(|id| ((*id).to_owned(), format!("<{id}>")))
                .collect::<Vec<_>>()
        };
        let relevant = [("q".to_owned(), ["a".to_owned()].into())].into();
        let collection =
            Collection::new(pairs(&["q"]), pairs(&["a", "b", "c"]), &relevant).unwrap();
        let hits = [(2, 1.5), (0, 0.0), (1, 0.0)].map(|(document, score)| Hit { document, score });
        (
            collection,
            RetrievalRun {
                name: "dot".to_owned(),
                rankings: vec![hits.to_vec()],
            },
        )
    }

    #[test]
    fn predictions_are_one_object_per_query() {
        let (collection, run) = example();
        let file = tempfile::NamedTempFile::new().unwrap();
        run.write_predictions(&collection, file.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(file.path()).unwrap(),
            "{\"query_id\":\"q\",\"query\":\"<q>\",\"results\":[{\"corpus_id\":\"c\",\"score\":1.5},\
             {\"corpus_id\":\"a\",\"score\":0.0},{\"corpus_id\":\"b\",\"score\":0.0}]}\n"
        );
    }

    #[test]
    fn ties_are_broken_for_trec_eval() {
        let (collection, run) = example();
        let file = tempfile::NamedTempFile::new().unwrap();
        run.write_trec(&collection, "ours", file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(
            text,
            "q Q0 c 1 1.5 ours\nq Q0 a 2 0.0 ours\nq Q0 b 3 -1e-45 ours\n"
        );
    }
}
