//! Regression of the cosine similarity.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::overview::Role;
use crate::similarity::pairwise_cosine;
use crate::{DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput, Result};

const NAME: &str = "cosine_similarity";

/// Smallest norm by which this loss's cosine divides; larger than elsewhere, as in the reference.
const EPSILON: f64 = 1e-8;

/// How a similarity is compared with its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegressionLoss {
    /// Mean squared difference.
    #[default]
    Mse,
    /// Mean absolute difference.
    L1,
}

/// What happens to a similarity before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreTransformation {
    /// Nothing.
    #[default]
    Identity,
    /// `1 / (1 + e^(−x))`.
    Sigmoid,
}

/// Configuration of [`CosineSimilarityLoss`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineSimilarityLossConfig {
    /// `mse` or `l1`.
    pub loss_fct: RegressionLoss,
    /// `identity` or `sigmoid`.
    pub cos_score_transformation: ScoreTransformation,
}

impl CosineSimilarityLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str = "the cosine of a pair imitates its label";
    pub(crate) const FORMATS: &'static [DataFormat] = &[DataFormat::new(
        "(sentence_A, sentence_B)",
        "similarity of the two, 0 to 1",
    )];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of every configuration.
    pub fn init(&self) -> Result<CosineSimilarityLoss> {
        Ok(CosineSimilarityLoss {
            config: self.clone(),
        })
    }
}

/// The cosine of each pair imitates its label.
///
/// ```text
/// L = 1/B Σᵢ ℓ( transform(cos(aᵢ, bᵢ)) − yᵢ ),   ℓ(x) = x² or |x|
/// ```
///
/// A zero vector has cosine 0 with everything; its gradient is finite but large, as in the reference, and is stopped
/// by a SPLADE model's activation.
///
/// # Shapes
///
/// - columns: A, B, each `[batch_size, vocab_size]`; further columns are not compared
/// - labels: `[batch_size]`
#[doc(alias = "SparseCosineSimilarityLoss")]
#[derive(Debug, Clone)]
pub struct CosineSimilarityLoss {
    config: CosineSimilarityLossConfig,
}

impl Loss for CosineSimilarityLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let (a, b) = batch.pair(NAME);
        let cosines: Tensor<1> = pairwise_cosine(a, b, EPSILON).squeeze_dim(1);
        let scores = match self.config.cos_score_transformation {
            ScoreTransformation::Identity => cosines,
            ScoreTransformation::Sigmoid => sigmoid(cosines),
        };
        let differences = scores - batch.scalar_labels(NAME);
        match self.config.loss_fct {
            RegressionLoss::Mse => differences.square().mean().into(),
            RegressionLoss::L1 => differences.abs().mean().into(),
        }
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        data.require_columns(NAME, 2, None, "2 input columns (sentence_A, sentence_B)")?;
        let labels =
            data.require_scalar_labels(NAME, "one similarity per row, between -1 and 1")?;
        let fix = "Divide the labels by the largest of them, or use `co_sent`, which only ranks";
        labels.require_values(
            NAME,
            "labels between -1 and 1, as a cosine is",
            fix,
            |label| label.abs() <= 1.0,
        )
    }

    fn describe(&self) -> Description {
        let loss = match self.config.loss_fct {
            RegressionLoss::Mse => "torch.nn.modules.loss.MSELoss",
            RegressionLoss::L1 => "torch.nn.modules.loss.L1Loss",
        };
        let transformation = match self.config.cos_score_transformation {
            ScoreTransformation::Identity => "torch.nn.modules.linear.Identity",
            ScoreTransformation::Sigmoid => "torch.nn.modules.activation.Sigmoid",
        };
        Description::new("SparseCosineSimilarityLoss")
            .option("loss_fct", json!(loss))
            .option("cos_score_transformation", json!(transformation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelShape;
    use crate::testing::{P, Q, batch, device, scalar};

    fn value(loss_fct: RegressionLoss, cos_score_transformation: ScoreTransformation) -> f32 {
        let loss = CosineSimilarityLossConfig {
            loss_fct,
            cos_score_transformation,
        }
        .init()
        .unwrap();
        let batch = batch(&[[[3.0, 4.0], [1.0, 0.0]], [[4.0, 3.0], [0.0, 0.0]]]);
        scalar(
            loss.forward(&batch.with_labels(Tensor::<1>::from_floats([0.5, 0.2], &device())))
                .total(),
        )
    }

    #[test]
    fn values_by_hand() {
        // cosines 24/25 and 0 (a zero vector)
        let plain = value(RegressionLoss::Mse, ScoreTransformation::Identity);
        assert!((plain - 0.1258).abs() < 1e-6); // (0.46² + 0.2²) / 2
        let absolute = value(RegressionLoss::L1, ScoreTransformation::Identity);
        assert!((absolute - 0.33).abs() < 1e-6); // (0.46 + 0.2) / 2
        let squashed = value(RegressionLoss::L1, ScoreTransformation::Sigmoid);
        assert!((squashed - 0.261_561).abs() < 1e-5); // (0.723122 − 0.5 + 0.5 − 0.2) / 2
    }

    #[test]
    fn the_reference_s_check_value() {
        let loss = CosineSimilarityLossConfig::default().init().unwrap();
        let labels = Tensor::<1>::from_floats([0.9, 0.1, 0.5], &device());
        let value = scalar(loss.forward(&batch(&[Q, P]).with_labels(labels)).total());
        assert!((value - 0.363_411).abs() < 1e-5);
    }

    #[test]
    fn labels_outside_the_cosine_s_range_are_refused() {
        let loss = CosineSimilarityLossConfig::default().init().unwrap();
        let data =
            DataSummary::new(["a", "b"]).with_labels("score", LabelShape::Scalar, vec![0.5, 4.2]);
        let message = loss.check(&data).unwrap_err().to_string();
        assert!(
            message.contains("row 1 holds 4.2") && message.contains("co_sent"),
            "{message}"
        );
    }
}
