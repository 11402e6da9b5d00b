//! What an evaluation found out, and the part of it that takes documents in parts.

use std::sync::Arc;

use serde::Serialize;
use sparse_index::{ActiveCounts, IndexCost, SimilarityFunction, SparseMatrix};

use super::super::common::Primary;
use super::InformationRetrievalEvaluator;
use crate::retrieval::{Cutoffs, Ranker, RetrievalRun};
use crate::vector_store::VectorStore;
use crate::{Metrics, Result};

/// All that an evaluation found out.
#[derive(Debug, Clone)]
pub struct RetrievalReport {
    /// The figures, without the evaluator's name.
    pub metrics: Metrics,
    /// The rankings behind them, one per similarity function.
    pub runs: Vec<RetrievalRun>,
    /// In how many queries each dimension is active.
    pub query_counts: ActiveCounts,
    /// In how many documents each dimension is active.
    pub corpus_counts: ActiveCounts,
    /// What searching cost, per similarity function.
    pub costs: Vec<SearchCost>,
}

/// What a search cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchCost {
    /// Name of the similarity function.
    pub name: String,
    /// Sizes of the index; 0 bytes for a similarity that works without.
    pub index: IndexCost,
    /// Mean time of a query in µs, searching in batches on all threads.
    pub microseconds_per_query: f64,
}

/// An evaluation under way: takes documents in parts.
pub(super) struct Judge<'a> {
    evaluator: &'a InformationRetrievalEvaluator,
    rankers: Vec<Ranker>,
    query_counts: ActiveCounts,
    corpus_counts: ActiveCounts,
    pending: SparseMatrix,
}

impl<'a> Judge<'a> {
    /// Most entries of the part of a corpus that is searched at once: what a dense model makes of a large corpus does not
    /// fit in memory.
    const MAX_ENTRIES: usize = 1 << 24;

    pub(super) fn new(
        evaluator: &'a InformationRetrievalEvaluator,
        functions: &[SimilarityFunction],
        (queries, query_counts): (VectorStore, ActiveCounts),
    ) -> Self {
        let max_k = evaluator.cutoffs.max_k();
        let pending = SparseMatrix::new(queries.n_cols());
        let queries = Arc::new(queries);
        let rankers = functions
            .iter()
            .map(|&function| Ranker::of_stored(function, Arc::clone(&queries), max_k));
        Self {
            evaluator,
            rankers: rankers.collect(),
            query_counts,
            corpus_counts: ActiveCounts::new(),
            pending,
        }
    }

    pub(super) fn add(&mut self, documents: SparseMatrix) -> Result<()> {
        self.corpus_counts.add(&documents);
        match self.pending.n_rows() {
            0 => self.pending = documents,
            _ => self.pending.append(&documents)?,
        }
        let enough = self.pending.n_rows() >= self.evaluator.config.corpus_chunk_size
            || self.pending.nnz() >= Self::MAX_ENTRIES;
        if enough { self.search() } else { Ok(()) }
    }

    fn search(&mut self) -> Result<()> {
        let documents = std::mem::replace(&mut self.pending, SparseMatrix::new(0));
        self.rankers
            .iter_mut()
            .try_for_each(|ranker| ranker.add(&documents))
    }

    pub(super) fn finish(mut self) -> Result<RetrievalReport> {
        if self.pending.n_rows() > 0 {
            self.search()?;
        }
        let Self {
            evaluator,
            rankers,
            query_counts,
            corpus_counts,
            ..
        } = self;
        let costs = rankers
            .iter()
            .map(|ranker| (ranker.index_bytes(), ranker.elapsed()))
            .collect::<Vec<_>>();
        let runs = rankers.into_iter().map(Ranker::finish).collect::<Vec<_>>();
        let mut metrics = Metrics::new();
        for run in &runs {
            let figures = evaluator
                .cutoffs
                .figures(&evaluator.collection, run)
                .into_iter();
            metrics.extend(figures.map(|(name, value)| (format!("{}_{name}", run.name), value)));
        }
        let functions = runs.iter().map(|run| run.name.as_str());
        let primary = choose_primary(&evaluator.primary, &metrics, functions, &evaluator.cutoffs);
        metrics.extend(sparsity_figures(&query_counts, &corpus_counts));
        let costs = runs
            .iter()
            .zip(costs)
            .map(|(run, (n_bytes, elapsed))| SearchCost {
                name: run.name.clone(),
                index: IndexCost::new(corpus_counts.n_rows(), corpus_counts.counts(), n_bytes),
                microseconds_per_query: elapsed.as_secs_f64() * 1e6 / query_counts.n_rows() as f64,
            });
        let costs = costs.collect();
        Ok(RetrievalReport {
            metrics: metrics.with_primary(primary),
            runs,
            query_counts,
            corpus_counts,
            costs,
        })
    }
}

/// The primary figure: the one set or found before, if it was computed, else the best of the functions' (the first of
/// equals), which is kept for later evaluations.
pub(crate) fn choose_primary<'a>(
    primary: &Primary,
    metrics: &Metrics,
    functions: impl Iterator<Item = &'a str>,
    cutoffs: &Cutoffs,
) -> String {
    if let Some(known) = primary.get().filter(|name| metrics.get(name).is_some()) {
        return known;
    }
    let names = functions.map(|function| format!("{function}_{}", cutoffs.primary()));
    let better = |best: String, name: String| {
        if metrics.get(&name) > metrics.get(&best) {
            name
        } else {
            best
        }
    };
    let best = names.reduce(better).unwrap_or_default();
    primary.set(&best);
    best
}

/// Names of what [`sparsity_figures`] gives.
pub(crate) const COST_NAMES: [&str; 5] = [
    "query_active_dims",
    "query_sparsity_ratio",
    "corpus_active_dims",
    "corpus_sparsity_ratio",
    "avg_flops",
];

/// The five figures of what vectors cost.
pub(crate) fn sparsity_figures(
    queries: &ActiveCounts,
    corpus: &ActiveCounts,
) -> [(String, f64); 5] {
    let (query, document) = (queries.sparsity(), corpus.sparsity());
    [
        ("query_active_dims".to_owned(), query.active_dims),
        ("query_sparsity_ratio".to_owned(), query.sparsity_ratio),
        ("corpus_active_dims".to_owned(), document.active_dims),
        ("corpus_sparsity_ratio".to_owned(), document.sparsity_ratio),
        ("avg_flops".to_owned(), queries.avg_flops(corpus)),
    ]
}

/// Columns of a result file: per function, by name, those of the cut-offs, then what the vectors cost.
pub(crate) fn csv_columns(
    metrics: &Metrics,
    functions: &[&str],
    cutoffs: &Cutoffs,
) -> Vec<(String, f64)> {
    let mut functions = functions.to_vec();
    functions.sort_unstable();
    let value = |name: &str| metrics.get(name).unwrap_or(f64::NAN);
    let mut columns = Vec::new();
    for function in functions {
        for (title, figure) in cutoffs.csv_columns() {
            columns.push((
                format!("{function}-{title}"),
                value(&format!("{function}_{figure}")),
            ));
        }
    }
    columns.extend(COST_NAMES.map(|name| (name.to_owned(), value(name))));
    columns
}
