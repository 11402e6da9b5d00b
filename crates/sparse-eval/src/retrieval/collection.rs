//! A test collection.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::beir;
use crate::{Error, Result};

/// Judged queries and the documents they search.
///
/// Documents are kept by ascending id, which is the order of documents of equal score; queries in the order given.
/// Queries without a relevant document are left out.
#[derive(Debug, Clone)]
pub struct Collection {
    query_ids: Vec<String>,
    queries: Vec<String>,
    document_ids: Vec<String>,
    documents: Vec<String>,
    judgements: Vec<Judgements>,
}

/// Relevant documents of one query.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Judgements {
    /// Positions of those in the corpus, ascending.
    positions: Vec<u32>,
    /// All of them: those missing from the corpus count in recall and in the ideal ranking.
    n_relevant: usize,
}

/// The files of a collection in the layout of BEIR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalFiles {
    /// JSON lines `{"_id": …, "text": …}`.
    pub queries: PathBuf,
    /// JSON lines `{"_id": …, "title": …, "text": …}`; the title is optional.
    pub corpus: PathBuf,
    /// Tab-separated `query-id`, `corpus-id`, `score`, with or without a header.
    pub qrels: PathBuf,
}

impl RetrievalFiles {
    /// The files of a folder: `corpus.jsonl` and `queries.jsonl`, which may be compressed (`.gz`, `.zst`, `.bz2`, `.xz`), and
    /// `qrels/<split>.tsv`.
    pub fn in_folder(folder: &Path, split: &str) -> Self {
        let texts = |name: &str| {
            ["", ".gz", ".zst", ".bz2", ".xz"]
                .into_iter()
                .map(|ending| folder.join(format!("{name}{ending}")))
                .find(|path| path.exists())
                .unwrap_or_else(|| folder.join(name))
        };
        Self {
            queries: texts("queries.jsonl"),
            corpus: texts("corpus.jsonl"),
            qrels: folder.join("qrels").join(format!("{split}.tsv")),
        }
    }
}

impl Collection {
    /// Puts a collection together from ids and texts; `relevant` maps a query id to the ids of its relevant documents.
    ///
    /// As in the reference, relevant documents may be missing from the corpus, and judgements of unknown queries are
    /// ignored.
    ///
    /// # Errors
    ///
    /// If an id occurs twice, there is no document, or no query has a relevant document.
    pub fn new(
        queries: impl IntoIterator<Item = (String, String)>,
        corpus: impl IntoIterator<Item = (String, String)>,
        relevant: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<Self> {
        let mut corpus = corpus.into_iter().collect::<Vec<_>>();
        corpus.sort();
        if let Some(pair) = corpus.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::Data(format!(
                "document id `{}` occurs twice",
                pair[0].0
            )));
        }
        if corpus.is_empty() {
            return Err(Error::Data("the corpus holds no document".to_owned()));
        }
        let (document_ids, documents): (Vec<_>, Vec<_>) = corpus.into_iter().unzip();

        let mut seen = BTreeSet::new();
        let (mut query_ids, mut texts, mut judgements) = (Vec::new(), Vec::new(), Vec::new());
        for (id, text) in queries {
            if !seen.insert(id.clone()) {
                return Err(Error::Data(format!("query id `{id}` occurs twice")));
            }
            let Some(relevant) = relevant.get(&id).filter(|relevant| !relevant.is_empty()) else {
                continue;
            };
            let position = |id: &String| {
                document_ids
                    .binary_search(id)
                    .ok()
                    .map(|position| position as u32)
            };
            judgements.push(Judgements {
                positions: relevant.iter().filter_map(position).collect(),
                n_relevant: relevant.len(),
            });
            query_ids.push(id);
            texts.push(text);
        }
        if texts.is_empty() {
            return Err(Error::Data("no query has a relevant document".to_owned()));
        }
        Ok(Self {
            query_ids,
            queries: texts,
            document_ids,
            documents,
            judgements,
        })
    }

    /// Reads a collection; judgements with a score above 0 count as relevant.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, a line is malformed, an id occurs twice, or a judgement names an unknown query or
    /// document: the message names file and line.
    pub fn load(files: &RetrievalFiles) -> Result<Self> {
        Self::load_texts(files, |_| true)
    }

    /// As [`load`](Self::load), without the queries and documents whose text is empty; judgements of those documents still
    /// count, as for documents that are missing.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_without_empty(files: &RetrievalFiles) -> Result<Self> {
        Self::load_texts(files, |text| !text.is_empty())
    }

    fn load_texts(files: &RetrievalFiles, keep: impl Fn(&str) -> bool) -> Result<Self> {
        let queries = beir::read_texts(&files.queries)?;
        let corpus = beir::read_texts(&files.corpus)?;
        let relevant = beir::read_qrels(&files.qrels, &queries, &corpus)?;
        if relevant.is_empty() {
            let problem = "holds no judgement with a score above 0".to_owned();
            return Err(Error::File {
                path: files.qrels.clone(),
                problem,
            });
        }
        let kept = |pairs: Vec<(String, String)>| {
            pairs
                .into_iter()
                .filter(|pair| keep(&pair.1))
                .collect::<Vec<_>>()
        };
        let (queries, corpus) = (kept(queries.into_pairs()), kept(corpus.into_pairs()));
        // What is found wrong from here on is no longer in a line, but still in a file.
        for (path, texts) in [(&files.corpus, &corpus), (&files.queries, &queries)] {
            if texts.is_empty() {
                return Err(Error::File {
                    path: path.clone(),
                    problem: "holds no text that isn't empty".to_owned(),
                });
            }
        }
        if !queries.iter().any(|(id, _)| relevant.contains_key(id)) {
            return Err(Error::File {
                path: files.qrels.clone(),
                problem: "judges a document relevant for no query that has a text".to_owned(),
            });
        }
        Self::new(queries, corpus, &relevant)
    }

    /// Ids of the queries.
    pub fn query_ids(&self) -> &[String] {
        &self.query_ids
    }

    /// Texts of the queries.
    pub fn queries(&self) -> &[String] {
        &self.queries
    }

    /// Ids of the documents, ascending.
    pub fn document_ids(&self) -> &[String] {
        &self.document_ids
    }

    /// Texts of the documents, by ascending id.
    pub fn documents(&self) -> &[String] {
        &self.documents
    }

    /// Whether the document at `position` is relevant to the query.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn is_relevant(&self, query: usize, position: u32) -> bool {
        self.judgements[query]
            .positions
            .binary_search(&position)
            .is_ok()
    }

    /// Positions of the documents relevant to the query, ascending; those missing from the corpus have none.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn relevant(&self, query: usize) -> impl Iterator<Item = u32> {
        self.judgements[query].positions.iter().copied()
    }

    /// Number of documents relevant to the query, those missing from the corpus included.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn n_relevant(&self, query: usize) -> usize {
        self.judgements[query].n_relevant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ids: &[&str]) -> Vec<(String, String)> {
        ids.iter()
            .map(|id| ((*id).to_owned(), format!("text of {id}")))
            .collect()
    }

    fn relevant(pairs: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        pairs
            .iter()
            .map(|(query, documents)| ((*query).to_owned(), owned(documents)))
            .collect()
    }

    #[test]
    fn unjudged_queries_are_dropped_and_documents_sorted() {
        let judgements = relevant(&[("q2", &["b", "missing"]), ("q3", &[]), ("unknown", &["a"])]);
        let collection =
            Collection::new(pairs(&["q1", "q2", "q3"]), pairs(&["b", "a"]), &judgements).unwrap();
        assert_eq!(collection.query_ids(), ["q2"]);
        assert_eq!(collection.document_ids(), ["a", "b"]);
        assert_eq!(collection.documents(), ["text of a", "text of b"]);
        assert!(collection.is_relevant(0, 1) && !collection.is_relevant(0, 0));
        assert_eq!(collection.n_relevant(0), 2);
    }

    #[test]
    fn unusable_collections_are_refused() {
        let judged = relevant(&[("q", &["a"])]);
        let message = |queries: &[&str], corpus: &[&str]| {
            Collection::new(pairs(queries), pairs(corpus), &judged)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&["q"], &["a", "b", "a"]),
            "document id `a` occurs twice"
        );
        assert_eq!(message(&["q", "q"], &["a"]), "query id `q` occurs twice");
        assert_eq!(message(&["q"], &[]), "the corpus holds no document");
        assert_eq!(
            message(&["other"], &["a"]),
            "no query has a relevant document"
        );
    }
}
