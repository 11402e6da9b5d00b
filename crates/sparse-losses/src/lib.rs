//! Losses and regularizers for learned sparse encoders.
//!
//! A [`Loss`] turns the embeddings of one batch into named scalars whose sum is differentiated: it sees no text, no
//! file and no model. **Base losses** compare embeddings ([`MultipleNegativesRankingLoss`], [`MarginMseLoss`], …);
//! **wrappers** add what keeps the vectors sparse ([`SpladeLoss`]) or the autoencoder faithful ([`CsrLoss`]).
//!
//! A training file names a loss by its `type`; [`LossConfig`] is that table, [`LossConfig::init`] builds the loss:
//!
//! ```
//! use sparse_losses::LossConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: LossConfig = serde_json::from_str(
//!     r#"{
//!         "type": "splade",
//!         "document_regularizer_weight": 3e-5,
//!         "query_regularizer_weight": 5e-5,
//!         "loss": { "type": "multiple_negatives_ranking", "scale": 1.0 }
//!     }"#,
//! )?;
//! let loss = config.init()?;
//! assert_eq!(loss.name(), "splade");
//! # Ok(())
//! # }
//! ```
//!
//! What is absent: labels never get a gradient, nothing here is random, and no loss keeps state between calls. What
//! changes from step to step (the weights in force, document frequencies) arrives in the [`EmbeddedBatch`], so a
//! resumed run needs nothing from a loss. Gradient caching evaluates a loss at the embeddings of the whole batch;
//! nothing in a loss knows about it.

mod angle;
mod batch;
mod cached_splade;
mod check;
mod citation;
mod co_sent;
mod cosine_similarity;
mod csr;
mod csr_reconstruction;
mod describe;
mod distill_kl_div;
mod document_frequency;
mod error;
mod loss;
mod margin_mse;
mod mse;
mod multiple_negatives_ranking;
mod overview;
mod registry;
mod regularizer;
mod schedule;
mod sigmoid;
mod similarity;
mod splade;
#[cfg(test)]
mod testing;
mod top_k;
mod triplet;
mod weighted_sum;

pub use angle::{AngleLoss, AngleLossConfig};
pub use batch::{
    AutoencoderFeatures, EmbeddedBatch, Labels, MiniBatches, RegularizerWeights, TargetActiveDims,
};
pub use cached_splade::CachedSpladeLossConfig;
pub use check::{DataSummary, LabelShape, LabelSummary};
pub use co_sent::{CoSentLoss, CoSentLossConfig};
pub use cosine_similarity::{
    CosineSimilarityLoss, CosineSimilarityLossConfig, RegressionLoss, ScoreTransformation,
};
pub use csr::{CsrLoss, CsrLossConfig};
pub use csr_reconstruction::{CsrReconstructionLoss, CsrReconstructionLossConfig};
pub use describe::Description;
pub use distill_kl_div::{DistillKlDivLoss, DistillKlDivLossConfig};
pub use document_frequency::DocumentFrequencies;
pub use error::{Error, Result};
pub use loss::{BASE_LOSS, Loss, LossOutput};
pub use margin_mse::{MarginMseLoss, MarginMseLossConfig};
pub use mse::{MseLoss, MseLossConfig};
pub use multiple_negatives_ranking::{
    Direction, HardnessMode, MultipleNegativesRankingLoss, MultipleNegativesRankingLossConfig,
    PartitionMode,
};
pub use overview::{DataFormat, overview_markdown};
pub use registry::LossConfig;
pub use regularizer::{
    DfFlopsConfig, DfFlopsRegularizer, FlopsConfig, FlopsRegularizer, L0MaskConfig,
    L0MaskRegularizer, L1Config, L1Regularizer, Regularizer, RegularizerConfig, RegularizerInput,
};
pub use schedule::{RegularizerScheduleConfig, WeightScheduleType, weight_factor};
pub use sigmoid::{SigmoidLoss, SigmoidLossConfig};
pub use similarity::Similarity;
pub use splade::{DOCUMENT_REGULARIZER_LOSS, QUERY_REGULARIZER_LOSS, SpladeLoss, SpladeLossConfig};
pub use top_k::{TopKScheduleConfig, keep_largest};
pub use triplet::{DistanceMetric, TripletLoss, TripletLossConfig};
pub use weighted_sum::{WeightedLossConfig, WeightedSumLoss, WeightedSumLossConfig};
