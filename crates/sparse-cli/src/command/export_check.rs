//! What an engine's arithmetic costs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sparse_encoder::data::{ReadLimits, Retrieval};
use sparse_encoder::eval::metric::ranking::graded_ndcg;
use sparse_encoder::export::{Engine, Impacts, Replay, Side};
use sparse_encoder::index::{InvertedIndex, SparseMatrix};

use crate::failure::{Failure, Result};
use crate::output::{line, table};

/// Ranks exactly and as the engine does, and prints both: mean share of the top `k` that both have, and nDCG@10 where judgements
/// are known.
pub(super) fn check(
    engine: Engine,
    documents: (&[String], &SparseMatrix),
    queries: (&[String], &SparseMatrix),
    impacts: (Option<Impacts>, Option<Impacts>),
    judgements: Option<&Judgements>,
    k: usize,
) -> Result<()> {
    let replayed = (
        Replay::new(engine, Side::Document, impacts.0)?.apply(documents.1)?,
        Replay::new(engine, Side::Query, impacts.1)?.apply(queries.1)?,
    );
    let rank = |documents: &SparseMatrix, queries: &SparseMatrix| -> Result<Vec<Vec<u32>>> {
        let hits = InvertedIndex::from_matrix(documents).search(queries, k.max(10))?;
        let documents = |hits: Vec<sparse_encoder::index::Hit>| {
            hits.into_iter().map(|hit| hit.document).collect()
        };
        Ok(hits.into_iter().map(documents).collect())
    };
    let exact = rank(documents.1, queries.1)?;
    let engines = rank(&replayed.0, &replayed.1)?;
    let shared = exact.iter().zip(&engines).map(|(exact, engine)| {
        let best: BTreeSet<&u32> = exact.iter().take(k).collect();
        if best.is_empty() {
            // No document answers the query, here or there.
            return 1.0;
        }
        let both = engine.iter().take(k);
        both.filter(|document| best.contains(document)).count() as f64 / best.len() as f64
    });
    let overlap = shared.sum::<f64>() / exact.len().max(1) as f64;
    let mut rows = vec![
        vec!["exact".to_owned(), "1.0000".to_owned()],
        vec![engine.to_string(), format!("{overlap:.4}")],
    ];
    let mut header = vec!["ranking".to_owned(), format!("overlap@{k}")];
    if let Some(judged) = judgements {
        header.push("nDCG@10".to_owned());
        rows[0].push(format!(
            "{:.4}",
            judged.ndcg(&exact, documents.0, queries.0)?
        ));
        rows[1].push(format!(
            "{:.4}",
            judged.ndcg(&engines, documents.0, queries.0)?
        ));
    }
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    line(&table(&header, &rows))
}

/// Relevance of documents to queries, by their ids.
pub(super) struct Judgements {
    place: String,
    by_query: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Judgements {
    pub(super) fn read(folder: &Path, split: &str, limits: ReadLimits) -> Result<Self> {
        let retrieval = Retrieval::open_with(folder, limits)?;
        let mut by_query: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
        for judgement in retrieval.judgements(split)? {
            let query = retrieval.query_id(judgement.query).to_owned();
            let document = retrieval.document_id(judgement.document).to_owned();
            let documents = by_query.entry(query).or_default();
            documents.insert(document, judgement.score);
        }
        Ok(Self {
            place: format!("{}, split `{split}`", folder.display()),
            by_query,
        })
    }

    /// Mean over the queries that have a relevant document.
    fn ndcg(&self, rankings: &[Vec<u32>], documents: &[String], queries: &[String]) -> Result<f64> {
        let (mut sum, mut count) = (0.0, 0_usize);
        for (ranking, query) in rankings.iter().zip(queries) {
            let Some(judged) = self.by_query.get(query) else {
                continue;
            };
            let mut ideal: Vec<f64> = judged
                .values()
                .copied()
                .filter(|gain| *gain > 0.0)
                .collect();
            if ideal.is_empty() {
                continue;
            }
            ideal.sort_by(|one, other| other.total_cmp(one));
            let gains: Vec<f64> = ranking
                .iter()
                .map(|document| {
                    judged
                        .get(&documents[*document as usize])
                        .map_or(0.0, |gain| gain.max(0.0))
                })
                .collect();
            sum += graded_ndcg(&gains, &ideal, 10);
            count += 1;
        }
        if count == 0 {
            return Err(Failure::input(format!(
                "`{}` judges none of the queries: their ids must be those of --queries",
                self.place
            )));
        }
        Ok(sum / count as f64)
    }
}
