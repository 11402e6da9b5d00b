//! The rankings that a search made.

use std::path::Path;

use sparse_files::StagedFile;
use sparse_index::Hit;

use super::Collection;
use crate::{Error, RankingFormat, Result};

/// The best documents of every query of a [`Collection`], by one way of scoring.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalRun {
    /// Who ranked: the name of a similarity function, or `bm25`.
    pub name: String,
    /// Per query the best documents, best first; a hit's document is a position in [`Collection::document_ids`].
    pub rankings: Vec<Vec<Hit>>,
}

impl RetrievalRun {
    /// Writes one JSON object per query: `{"query_id", "query", "results": [{"corpus_id", "score"}, …]}`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_predictions(&self, collection: &Collection, path: &Path) -> Result<()> {
        self.write(RankingFormat::JsonLines, collection, "", path)
    }

    /// Writes the rankings as `trec_eval` reads them: `query-id Q0 document-id rank score tag`. Equal scores are told
    /// apart so that `trec_eval` sees the ranking that was evaluated here.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or an id holds white space.
    pub fn write_trec(&self, collection: &Collection, tag: &str, path: &Path) -> Result<()> {
        self.write(RankingFormat::Trec, collection, tag, path)
    }

    /// Takes the rankings of a TREC run file; the run has the name of the file. A query that the file lacks found nothing, as
    /// `trec_eval` is told by its option `-c`: how many these are is logged as a warning.
    ///
    /// # Errors
    ///
    /// If the file is malformed, lacks all queries of the collection, or names a document that the corpus lacks.
    pub fn read_trec(path: &Path, collection: &Collection) -> Result<Self> {
        let mut rankings = crate::ranked_lists::read_trec(path)?;
        let problem = |problem: String| Error::File {
            path: path.to_owned(),
            problem,
        };
        let mut missing = Vec::new();
        let ranking = |query: &String| {
            let Some(hits) = rankings.remove(query) else {
                missing.push(query.clone());
                return Ok(Vec::new());
            };
            let hits = hits.into_iter().map(|(document, score)| {
                let position = collection.document_ids().binary_search(&document);
                let document = position.map_err(|_| {
                    problem(format!("ranks `{document}`, which is not in the corpus"))
                })? as u32;
                Ok(Hit { document, score })
            });
            hits.collect::<Result<Vec<_>>>()
        };
        let n_queries = collection.query_ids().len();
        let found = collection.query_ids().iter().map(ranking);
        let found = found.collect::<Result<Vec<_>>>()?;
        match &missing[..] {
            [] => {}
            [first, ..] if missing.len() == n_queries => {
                let other = rankings.keys().next().map_or("", String::as_str);
                return Err(problem(format!(
                    "ranks none of the {n_queries} queries, such as `{first}`; it ranks others, such as `{other}`"
                )));
            }
            [first, ..] => tracing::warn!(
                "`{}` has no ranking for {} of {n_queries} queries, the first of them `{first}`: they count as queries that \
                 found nothing",
                path.display(),
                missing.len(),
            ),
        }
        Ok(Self {
            rankings: found,
            name: path
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        })
    }

    fn write(
        &self,
        format: RankingFormat,
        collection: &Collection,
        tag: &str,
        path: &Path,
    ) -> Result<()> {
        write(path, |file| {
            for (query, hits) in self.rankings.iter().enumerate() {
                let names = (
                    collection.query_ids()[query].as_str(),
                    collection.queries()[query].as_str(),
                );
                let hits = hits.iter().map(|hit| {
                    let id = collection.document_ids()[hit.document as usize].as_str();
                    (id, hit.score)
                });
                format.write(file, names, hits, tag)?;
            }
            Ok(())
        })
    }
}

fn write(path: &Path, content: impl FnOnce(&mut StagedFile) -> std::io::Result<()>) -> Result<()> {
    let mut file = StagedFile::create(path)?;
    content(&mut file).map_err(|source| Error::write(path, source))?;
    Ok(file.finish()?)
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
    fn a_query_that_a_run_file_lacks_found_nothing() {
        let pairs = |ids: &[&str]| {
            let pair = |id: &&str| ((*id).to_owned(), format!("<{id}>"));
            ids.iter().map(pair).collect::<Vec<_>>()
        };
        let relevant = ["q", "r"].map(|query| (query.to_owned(), ["a".to_owned()].into()));
        let collection =
            Collection::new(pairs(&["q", "r"]), pairs(&["a", "b"]), &relevant.into()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.trec");
        std::fs::write(&path, "r Q0 b 1 2.0 t\nr Q0 a 2 1.0 t\nother Q0 a 1 1 t\n").unwrap();
        let run = RetrievalRun::read_trec(&path, &collection).unwrap();
        let found = run.rankings.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(found, [0, 2]);
        let cutoffs = crate::Cutoffs::default();
        let values = cutoffs.per_query(&collection, &run, "mrr@10").unwrap();
        assert_eq!(values, [0.0, 0.5]);

        std::fs::write(&path, "other Q0 a 1 1 t\n").unwrap();
        let message = RetrievalRun::read_trec(&path, &collection)
            .unwrap_err()
            .to_string();
        assert!(
            message.ends_with(
                "run.trec` ranks none of the 2 queries, such as `q`; it ranks others, such as `other`"
            ),
            "{message}"
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
