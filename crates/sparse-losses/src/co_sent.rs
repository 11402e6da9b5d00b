//! The CoSENT loss: pairs ranked by their labels.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::require_positive;
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput, Result, Similarity,
    citation,
};

const NAME: &str = "co_sent";

/// Value of a comparison that does not count: its exponential is 0.
const EXCLUDED: f32 = -1e30;

/// Configuration of [`CoSentLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoSentLossConfig {
    /// Factor on the similarities, the inverse temperature (positive).
    pub scale: f64,
    /// `cosine` or `dot`.
    pub similarity_fct: Similarity,
}

impl Default for CoSentLossConfig {
    fn default() -> Self {
        Self {
            scale: 20.0,
            similarity_fct: Similarity::Cosine,
        }
    }
}

impl CoSentLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "pairs with a higher label must be more similar, pair against pair";
    pub(crate) const FORMATS: &'static [DataFormat] = &[DataFormat::first_choice(
        "(sentence_A, sentence_B)",
        "similarity of the two, 0 to 1",
    )];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `scale` is not positive.
    pub fn init(&self) -> Result<CoSentLoss> {
        require_positive((NAME, "scale"), self.scale)?;
        Ok(CoSentLoss {
            config: self.clone(),
        })
    }
}

/// Ranks pairs: one with a higher label must be more similar
/// ([Huang et al., 2024](https://doi.org/10.1109/TASLP.2024.3402087)).
///
/// ```text
/// sᵢ = λ · sim(aᵢ, bᵢ)         L = ln( 1 + Σ over (i, j) with yᵢ < yⱼ of exp(sᵢ − sⱼ) )
/// ```
///
/// One number for all ordered pairs of the batch, not a mean. Equal labels are not compared; a batch of equal labels
/// has loss 0. The model should be used with the similarity that it is trained for. Needs `batch_size²` numbers of
/// memory.
///
/// # Shapes
///
/// - columns: A, B, each `[batch_size, vocab_size]`; further columns are not compared
/// - labels: `[batch_size]`
#[doc(alias = "SparseCoSENTLoss")]
#[derive(Debug, Clone)]
pub struct CoSentLoss {
    config: CoSentLossConfig,
}

impl Loss for CoSentLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let (a, b) = batch.pair(NAME);
        let similarities = self.config.similarity_fct.pairwise(a, b);
        ranking_loss(similarities * self.config.scale, batch.scalar_labels(NAME)).into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        check_labelled_pairs(NAME, data)
    }

    fn describe(&self) -> Description {
        Description::new("SparseCoSENTLoss")
            .option("scale", json!(self.config.scale))
            .option(
                "similarity_fct",
                json!(self.config.similarity_fct.pairwise_name()),
            )
            .citation(citation::CO_SENT)
    }
}

/// Requires two columns and one finite number per row.
pub(crate) fn check_labelled_pairs(loss: &'static str, data: &DataSummary) -> Result<()> {
    data.require_columns(loss, 2, None, "2 input columns (sentence_A, sentence_B)")?;
    data.require_scalar_labels(
        loss,
        "one similarity per row, higher for more similar pairs",
    )
    .map(drop)
}

/// `ln(1 + Σ exp(sᵢ − sⱼ))` over the pairs with `yᵢ < yⱼ`, for scores `[n, 1]` and labels `[n]`.
pub(crate) fn ranking_loss(scores: Tensor<2>, labels: Tensor<1>) -> Tensor<1> {
    let labels: Tensor<2> = labels.unsqueeze_dim(1);
    let [n, _] = labels.dims();
    let lower = labels
        .clone()
        .expand([n, n])
        .lower(labels.transpose().expand([n, n]));
    let differences = (scores.clone() - scores.transpose()).mask_fill(lower.bool_not(), EXCLUDED);
    // The 1 is exp(0), so the largest exponent is at least 0.
    let largest = differences.clone().detach().max().clamp_min(0.0);
    let sum =
        (differences - largest.clone().unsqueeze_dim(1)).exp().sum() + (-largest.clone()).exp();
    sum.log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelShape;
    use crate::testing::{P, Q, batch, device, scalar};

    fn value(scale: f64, labels: [f32; 3]) -> f32 {
        let loss = CoSentLossConfig {
            scale,
            ..Default::default()
        }
        .init()
        .unwrap();
        scalar(
            loss.forward(&batch(&[Q, P]).with_labels(Tensor::<1>::from_floats(labels, &device())))
                .total(),
        )
    }

    #[test]
    fn scores_by_hand() {
        let device = device();
        let scores = Tensor::<2>::from_floats([[2.0], [1.0], [0.0]], &device);
        let labels = Tensor::<1>::from_floats([0.0, 1.0, 1.0], &device);
        // row 0 has the lowest label: ln(1 + e^(2−1) + e^(2−0)) = ln(1 + 2.718282 + 7.389056)
        let value = scalar(ranking_loss(scores, labels));
        assert!((value - 2.407_606).abs() < 1e-5, "{value}");
    }

    #[test]
    fn the_reference_s_check_values() {
        assert!((value(20.0, [0.9, 0.1, 0.5]) - 12.653_793).abs() < 1e-4);
        assert!((value(1.0, [0.9, 0.1, 0.5]) - 1.727_777).abs() < 1e-5);
    }

    #[test]
    fn equal_labels_have_loss_zero() {
        assert_eq!(value(20.0, [0.5; 3]), 0.0);
    }

    #[test]
    fn scores_far_apart_do_not_overflow() {
        let device = device();
        let scores = Tensor::<2>::from_floats([[1e4], [-1e4]], &device);
        assert_eq!(
            scalar(ranking_loss(
                scores,
                Tensor::<1>::from_floats([0.0, 1.0], &device)
            )),
            2e4
        );
    }

    #[test]
    fn labels_are_required_one_per_row() {
        let loss = CoSentLossConfig::default().init().unwrap();
        let data = DataSummary::new(["sentence1", "sentence2"]);
        assert!(
            loss.check(&data)
                .unwrap_err()
                .to_string()
                .contains("`co_sent` needs labels")
        );
        let lists = data
            .clone()
            .with_labels("score", LabelShape::List(3), vec![0.0; 3]);
        assert!(
            loss.check(&lists)
                .unwrap_err()
                .to_string()
                .contains("found a list of 3 numbers")
        );
        loss.check(&data.with_labels("score", LabelShape::Scalar, vec![0.3]))
            .unwrap();
        assert!(
            CoSentLossConfig {
                scale: -1.0,
                ..Default::default()
            }
            .init()
            .is_err()
        );
    }
}
