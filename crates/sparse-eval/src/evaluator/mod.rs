//! Evaluators: one kind of judgement per file.

mod information_retrieval;
mod run;

use std::fmt;

use sparse_model::SparseEncoder;

pub use information_retrieval::{
    InformationRetrievalConfig, InformationRetrievalEvaluator, RetrievalReport, SearchCost,
};
pub use run::{EvaluationProgress, EvaluationRun};

use crate::{Metrics, Result};

/// Judges an encoder by named figures.
pub trait Evaluator: fmt::Debug + Send + Sync {
    /// The name given by the user: a prefix of every figure's name, or empty.
    fn name(&self) -> &str;

    /// Name of the kind of evaluator in the reference, such as `SparseTripletEvaluator`.
    fn class_name(&self) -> &'static str;

    /// What is judged, in words, such as "Sparse Triplet".
    fn description(&self) -> &'static str;

    /// Evaluates `encoder` and writes what [`EvaluationRun::output_path`] asks for. All figures carry the
    /// evaluator's name.
    ///
    /// # Errors
    ///
    /// If the encoder fails or a file cannot be written.
    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics>;

    /// Name, prefix included, of the figure that stands for all; `None` while it depends on a model not yet seen.
    fn primary_metric(&self) -> Option<String>;

    /// Settings that a model card shows.
    fn config(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }

    /// Whether queries search documents here, which makes the model a retrieval model.
    fn is_retrieval(&self) -> bool {
        false
    }

    /// The same figures for the lexical baseline BM25, where the data allow it.
    ///
    /// # Errors
    ///
    /// If vectors cannot be compared.
    fn bm25(&self) -> Result<Option<Metrics>> {
        Ok(None)
    }

    /// Evaluators inside this one, whose results stand for themselves.
    fn children(&self) -> Vec<&dyn Evaluator> {
        Vec::new()
    }
}
