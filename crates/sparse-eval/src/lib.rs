//! Figures that say how good a sparse encoder is, and what it costs.
//!
//! An [`Evaluator`] takes an encoder and returns [`Metrics`] under the reference's names. The one that matters most,
//! [`InformationRetrievalEvaluator`], lets queries search a corpus:
//!
//! ```no_run
//! use sparse_eval::{EvaluationRun, Evaluator, InformationRetrievalConfig};
//!
//! # fn example(encoder: &sparse_model::SparseEncoder) -> sparse_eval::Result<()> {
//! let config = InformationRetrievalConfig {
//!     name: "scifact".into(),
//!     retrieval: Some("data/scifact".into()), // corpus.jsonl, queries.jsonl, qrels/test.tsv
//!     ..Default::default()
//! };
//! let evaluator = config.init()?;
//! let metrics = evaluator.evaluate(encoder, &EvaluationRun::default())?;
//! let baseline = evaluator.baseline()?;
//! assert!(metrics.get("scifact_dot_ndcg@10") > Some(0.6));
//! # Ok(())
//! # }
//! ```
//!
//! The figures themselves are pure functions in [`metric`]. [`Bm25`] is the lexical baseline on the same data, [`Bootstrap`]
//! says how sure a difference between two runs is, [`PruningTable`] what fewer active dimensions cost, and [`mining`] finds
//! hard negatives.
//!
//! This crate never updates a weight. Collections are read from BEIR's files or from the hub.

mod compare;
mod config;
mod contender;
mod corpus_index;
mod csv;
mod encode_chunk;
mod error;
mod evaluator;
pub mod metric;
mod metrics;
pub mod mining;
mod pruning;
mod ranked_lists;
mod retrieval;
mod table;
mod vector_store;

/// The similarities of vectors, which [`Evaluator::metric_names`] asks for.
pub use sparse_index::SimilarityFunction;

pub use compare::{Bootstrap, Comparison};
pub use config::EvaluatorConfig;
pub use contender::{Contender, PerQuery, baselines};
pub use corpus_index::{CorpusIndex, CorpusIndexBuilder, IndexDescription};
pub use encode_chunk::EncodeChunk;
pub use error::{Error, Result};
pub use evaluator::{
    BinaryClassificationConfig, BinaryClassificationEvaluator, EmbeddingSimilarityConfig,
    EmbeddingSimilarityEvaluator, EvaluationProgress, EvaluationRun, Evaluator, HybridConfig,
    HybridEvaluator, InformationRetrievalConfig, InformationRetrievalEvaluator, Margin,
    MarginPerFunction, MseConfig, MseEvaluator, NANO_BEIR_DATASETS, NanoBeirConfig,
    NanoBeirEvaluator, NanoBeirPrompts, OnReport, RankedSample, ReciprocalRankFusionConfig,
    ReciprocalRankFusionEvaluator, RerankingConfig, RerankingEvaluator, RerankingSample,
    RetrievalReport, SearchCost, SequentialConfig, SequentialEvaluator, SequentialScore,
    TranslationConfig, TranslationEvaluator, TripletConfig, TripletEvaluator, fuse,
};
pub use metrics::Metrics;
pub use pruning::{PruningEntry, PruningTable};
pub use ranked_lists::{RankingFormat, read_trec};
pub use retrieval::{Bm25, Collection, Cutoffs, Ranker, RetrievalFiles, RetrievalRun};
