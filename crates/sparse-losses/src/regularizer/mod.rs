//! What pushes embeddings towards zero, and the tagged configuration that names it.

mod df_flops;
mod flops;
mod l0_mask;
mod l1;

use std::fmt::Debug;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{Description, Result};

pub use df_flops::{DfFlopsConfig, DfFlopsRegularizer};
pub use flops::{FlopsConfig, FlopsRegularizer};
pub use l0_mask::{L0MaskConfig, L0MaskRegularizer};
pub use l1::{L1Config, L1Regularizer};

/// A scalar that grows with the number and size of active dimensions.
///
/// The terms are not additive over mini-batches: the exact value of a large batch needs all its rows at once, which
/// is what gradient caching provides.
pub trait Regularizer: Debug + Send + Sync {
    /// Name in a training file (`type` of `document_regularizer`).
    fn name(&self) -> &str;

    /// The unweighted term, shape `[1]`.
    fn forward(&self, input: &RegularizerInput<'_>) -> Tensor<1>;

    /// Options and literature, for the model card.
    fn describe(&self) -> Description;

    /// Whether [`RegularizerInput::document_frequencies`] would be used.
    fn needs_document_frequencies(&self) -> bool {
        false
    }
}

/// What a regularizer sees.
#[derive(Debug, Clone, Copy)]
pub struct RegularizerInput<'a> {
    /// The regularized columns, `[batch_size, vocab_size]` each; at least one. Most regularizers read them as one
    /// matrix of all rows, without copying them together.
    pub columns: &'a [Tensor<2>],
    /// See [`EmbeddedBatch::document_frequencies`](crate::EmbeddedBatch::document_frequencies).
    pub document_frequencies: Option<&'a Tensor<1>>,
}

impl<'a> RegularizerInput<'a> {
    /// Input without document frequencies.
    pub fn new(columns: &'a [Tensor<2>]) -> Self {
        Self {
            columns,
            document_frequencies: None,
        }
    }

    /// Number of rows of all columns.
    fn n_rows(&self) -> usize {
        self.columns.iter().map(|column| column.dims()[0]).sum()
    }
}

/// The `document_regularizer` or `query_regularizer` table of a training file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RegularizerConfig {
    /// Squared mean activation per dimension.
    Flops(FlopsConfig),
    /// Mean absolute sum per row.
    L1(L1Config),
    /// FLOPS of the rows that have too many active dimensions.
    L0Mask(L0MaskConfig),
    /// FLOPS weighted by document frequency.
    DfFlops(DfFlopsConfig),
}

impl RegularizerConfig {
    /// Builds the regularizer.
    ///
    /// # Errors
    ///
    /// If an option is outside its domain.
    pub fn init(&self) -> Result<Box<dyn Regularizer>> {
        Ok(match self {
            Self::Flops(config) => Box::new(config.init()?),
            Self::L1(config) => Box::new(config.init()?),
            Self::L0Mask(config) => Box::new(config.init()?),
            Self::DfFlops(config) => Box::new(config.init()?),
        })
    }
}

/// Sum over the rows of all columns: `[1, vocab_size]`.
fn sum_of_rows(columns: &[Tensor<2>]) -> Tensor<2> {
    sum(columns.iter().map(|column| column.clone().sum_dim(0)))
}

/// Sum of tensors of one shape.
fn sum<const D: usize>(terms: impl Iterator<Item = Tensor<D>>) -> Tensor<D> {
    terms
        .reduce(|sum, term| sum + term)
        .expect("a regularizer gets at least one column")
}

/// Sum over those rows of `column` that have more than `threshold` active dimensions: `[1, vocab_size]`.
fn sum_of_dense_rows(column: Tensor<2>, threshold: usize) -> Tensor<2> {
    let active = column
        .clone()
        .detach()
        .not_equal_elem(0.0)
        .float()
        .sum_dim(1);
    let chosen = active.greater_elem(threshold as f32).float();
    // A product with the row mask instead of a masked copy of the wide matrix.
    chosen.transpose().matmul(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regularizer_is_named_by_its_type() {
        let config: RegularizerConfig =
            serde_json::from_str(r#"{"type": "l0_mask", "threshold": 200}"#).unwrap();
        assert_eq!(config.init().unwrap().name(), "l0_mask");
        let error =
            serde_json::from_str::<RegularizerConfig>(r#"{"type": "flops", "treshold": 3}"#)
                .unwrap_err();
        assert!(error.to_string().contains("treshold"), "{error}");
    }
}
