//! Evaluators: one kind of judgement per file.

mod binary_classification;
mod common;
mod embedding_similarity;
mod hybrid;
mod information_retrieval;
mod measure;
mod mse;
mod nano_beir;
mod reciprocal_rank_fusion;
mod reranking;
mod run;
mod sequential;
mod translation;
mod triplet;

use std::fmt;

use sparse_index::SimilarityFunction;
use sparse_model::SparseEncoder;

pub use binary_classification::{BinaryClassificationConfig, BinaryClassificationEvaluator};
pub use embedding_similarity::{EmbeddingSimilarityConfig, EmbeddingSimilarityEvaluator};
pub use hybrid::{HybridConfig, HybridEvaluator};
pub use information_retrieval::{
    InformationRetrievalConfig, InformationRetrievalEvaluator, RetrievalReport, SearchCost,
};
pub use mse::{MseConfig, MseEvaluator};
pub use nano_beir::{NANO_BEIR_DATASETS, NanoBeirConfig, NanoBeirEvaluator, NanoBeirPrompts};
pub use reciprocal_rank_fusion::{
    RankedSample, ReciprocalRankFusionConfig, ReciprocalRankFusionEvaluator, fuse,
};
pub use reranking::{RerankingConfig, RerankingEvaluator, RerankingSample};
pub use run::{EvaluationProgress, EvaluationRun, OnReport};
pub use sequential::{SequentialConfig, SequentialEvaluator, SequentialScore};
pub use translation::{TranslationConfig, TranslationEvaluator};
pub use triplet::{Margin, MarginPerFunction, TripletConfig, TripletEvaluator};

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

    /// Names of all figures, prefix included, that an evaluation of a model with the similarity `own` will have; `None` where
    /// they aren't known before.
    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        let _ = own;
        None
    }

    /// Settings that a model card shows.
    fn config(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }

    /// Whether queries search documents here, which makes the model a retrieval model.
    fn is_retrieval(&self) -> bool {
        false
    }

    /// The same figures for the lexical baseline BM25, as `bm25_ndcg@10` and so on, where the data allow it.
    ///
    /// # Errors
    ///
    /// If vectors cannot be compared.
    fn baseline(&self) -> Result<Option<Metrics>> {
        Ok(None)
    }

    /// Evaluators inside this one, whose results stand for themselves.
    fn children(&self) -> Vec<&dyn Evaluator> {
        Vec::new()
    }

    /// The retrieval evaluations of this evaluator and those inside it: what baselines and comparisons are made on.
    fn retrievals(&self) -> Vec<&InformationRetrievalEvaluator> {
        Vec::new()
    }
}
