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
#[derive(Debug, Clone, PartialEq)]
struct Judgements {
    /// Positions of those in the corpus, ascending.
    positions: Vec<u32>,
    /// Grades at `positions`.
    grades: Vec<f64>,
    /// Grades of all of them, descending: those missing from the corpus count in recall and in the ideal ranking.
    ideal: Vec<f64>,
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
        let grades = relevant.iter().map(|(query, documents)| {
            let graded = documents.iter().map(|document| (document.clone(), 1.0));
            (query.clone(), graded.collect())
        });
        Self::with_grades(queries, corpus, &grades.collect())
    }

    /// As [`new`](Self::new), with how relevant each of the documents is: its gain where
    /// [`graded_gains`](crate::Cutoffs::graded_gains) asks for it.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if a grade is not a positive number.
    pub fn with_grades(
        queries: impl IntoIterator<Item = (String, String)>,
        corpus: impl IntoIterator<Item = (String, String)>,
        relevant: &BTreeMap<String, BTreeMap<String, f64>>,
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
            let wrong = relevant
                .iter()
                .find(|(_, grade)| !(grade.is_finite() && **grade > 0.0));
            if let Some((document, grade)) = wrong {
                return Err(Error::Data(format!(
                    "the grade of document `{document}` for query `{id}` must be a positive number; got {grade}"
                )));
            }
            judgements.push(Judgements::new(relevant, &document_ids));
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

    /// Reads a collection; judgements with a score above 0 count as relevant, and the score is their grade.
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
        Self::with_grades(queries, corpus, &relevant)
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
        self.judgements[query].ideal.len()
    }

    /// How relevant the document at `position` is to the query; 0 if it is not.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn grade(&self, query: usize, position: u32) -> f64 {
        let judgements = &self.judgements[query];
        let found = judgements.positions.binary_search(&position);
        found.map_or(0.0, |index| judgements.grades[index])
    }

    /// Grades of all documents relevant to the query, those missing from the corpus included, descending.
    ///
    /// # Panics
    ///
    /// If there is no such query.
    pub fn ideal_gains(&self, query: usize) -> &[f64] {
        &self.judgements[query].ideal
    }

    /// Warns if there are grades that a figure of relevant and irrelevant documents doesn't tell apart; `remedy` says what does.
    pub(crate) fn warn_of_grades(&self, source: &Path, remedy: &str) {
        let grades = || self.judgements.iter().flat_map(|one| &one.ideal);
        let n_graded = grades().filter(|&&grade| grade != 1.0).count();
        if n_graded > 0 {
            tracing::warn!(
                "`{}`: {n_graded} of {} relevant judgements have another grade than 1 and count as 1{remedy}",
                source.display(),
                grades().count()
            );
        }
    }
}

impl Judgements {
    fn new(relevant: &BTreeMap<String, f64>, document_ids: &[String]) -> Self {
        let (mut positions, mut grades) = (Vec::new(), Vec::new());
        for (id, &grade) in relevant {
            if let Ok(position) = document_ids.binary_search(id) {
                positions.push(position as u32);
                grades.push(grade);
            }
        }
        let mut ideal = relevant.values().copied().collect::<Vec<_>>();
        ideal.sort_by(|a, b| b.total_cmp(a));
        Self {
            positions,
            grades,
            ideal,
        }
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
    fn grades_are_kept_for_those_who_ask() {
        let graded = [("b", 1.0), ("c", 3.0), ("missing", 2.0)];
        let graded = graded.map(|(id, grade)| (id.to_owned(), grade)).into();
        let judgements = [("q".to_owned(), graded)].into();
        let (queries, corpus) = (pairs(&["q"]), pairs(&["c", "b", "a"]));
        let collection = Collection::with_grades(queries, corpus, &judgements).unwrap();
        let grades = [0, 1, 2].map(|position| collection.grade(0, position));
        assert_eq!(grades, [0.0, 1.0, 3.0]);
        assert_eq!(collection.ideal_gains(0), [3.0, 2.0, 1.0]);
        assert_eq!(collection.n_relevant(0), 3);
        for grade in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let judgements = [("q".to_owned(), [("a".to_owned(), grade)].into())].into();
            let error = Collection::with_grades(pairs(&["q"]), pairs(&["a"]), &judgements);
            let message = error.unwrap_err().to_string();
            assert!(message.contains("document `a` for query `q`"), "{message}");
        }
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
