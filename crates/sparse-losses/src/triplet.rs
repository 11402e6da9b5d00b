//! The triplet loss.

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::require;
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput, Result, Similarity,
    citation,
};

const NAME: &str = "triplet";

/// Smallest distance whose gradient is taken: the root is not differentiable at 0.
const EPSILON: f64 = 1e-12;

/// How far apart two embeddings are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DistanceMetric {
    /// `1 − cos(a, b)`.
    Cosine,
    /// `‖a − b‖₂`; equal vectors have distance 0 and gradient 0 (in the reference before 6.2: NaN).
    #[default]
    Euclidean,
    /// `‖a − b‖₁`.
    Manhattan,
}

impl DistanceMetric {
    /// Distances of row i of `a` to row i of `b`: `[n, 1]`.
    fn distance(self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Cosine => -Similarity::Cosine.pairwise(a, b) + 1.0,
            Self::Euclidean => (a - b)
                .square()
                .sum_dim(1)
                .clamp_min(EPSILON * EPSILON)
                .sqrt(),
            Self::Manhattan => (a - b).abs().sum_dim(1),
        }
    }

    /// The reference's name.
    fn name(self) -> &'static str {
        match self {
            Self::Cosine => "TripletDistanceMetric.COSINE",
            Self::Euclidean => "TripletDistanceMetric.EUCLIDEAN",
            Self::Manhattan => "TripletDistanceMetric.MANHATTAN",
        }
    }
}

/// Configuration of [`TripletLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TripletLossConfig {
    /// `cosine`, `euclidean` or `manhattan`.
    pub distance_metric: DistanceMetric,
    /// How much farther the negative should be than the positive, in units of the distance (finite).
    pub triplet_margin: f64,
}

impl Default for TripletLossConfig {
    fn default() -> Self {
        Self {
            distance_metric: DistanceMetric::Euclidean,
            triplet_margin: 5.0,
        }
    }
}

impl TripletLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "the negative must be farther from the anchor than the positive, by a margin";
    pub(crate) const FORMATS: &'static [DataFormat] =
        &[DataFormat::new("(anchor, positive, negative)", "none")];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `triplet_margin` is not finite.
    pub fn init(&self) -> Result<TripletLoss> {
        let margin = self.triplet_margin;
        let option = (NAME, "triplet_margin");
        require(margin.is_finite(), option, "a finite number", margin)?;
        Ok(TripletLoss {
            config: self.clone(),
        })
    }
}

/// Keeps the negative farther from the anchor than the positive, by a margin
/// ([Hermans et al., 2017](https://arxiv.org/abs/1703.07737)).
///
/// ```text
/// L = 1/B Σᵢ max( 0, dist(qᵢ, pᵢ) − dist(qᵢ, nᵢ) + margin )
/// ```
///
/// # Shapes
///
/// - columns: anchor, positive, negative, each `[batch_size, vocab_size]`
/// - labels: ignored
#[doc(alias = "SparseTripletLoss")]
#[derive(Debug, Clone)]
pub struct TripletLoss {
    config: TripletLossConfig,
}

impl Loss for TripletLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let [anchor, positive, negative] = batch.columns.as_slice() else {
            panic!("`{NAME}` needs three columns, got {}", batch.columns.len());
        };
        let distance = |document: &Tensor<2>| {
            self.config
                .distance_metric
                .distance(anchor.clone(), document.clone())
        };
        relu(distance(positive) - distance(negative) + self.config.triplet_margin)
            .mean()
            .into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        data.require_columns(
            NAME,
            3,
            Some(3),
            "exactly 3 input columns (anchor, positive, negative)",
        )
    }

    fn describe(&self) -> Description {
        Description::new("SparseTripletLoss")
            .option("distance_metric", json!(self.config.distance_metric.name()))
            .option("triplet_margin", json!(self.config.triplet_margin))
            .citation(citation::TRIPLET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, P, Q, device, scalar, total, values};

    #[test]
    fn distances_by_hand() {
        let value = |distance_metric, columns: &[[[f32; 2]; 1]; 3]| {
            let config = TripletLossConfig {
                distance_metric,
                triplet_margin: 1.0,
            };
            total(&config.init().unwrap(), columns)
        };
        let columns = [[[0.0, 1.0]], [[3.0, 5.0]], [[0.0, 3.0]]];
        assert_eq!(value(DistanceMetric::Euclidean, &columns), 4.0); // 5 − 2 + 1
        assert_eq!(value(DistanceMetric::Manhattan, &columns), 6.0); // 7 − 2 + 1
        // 1 − 5/√34 − (1 − 1) + 1
        assert!(
            (value(DistanceMetric::Cosine, &columns) - (2.0 - 5.0 / 34f32.sqrt())).abs() < 1e-6
        );
    }

    #[test]
    fn the_reference_s_check_values() {
        let expected = [
            (DistanceMetric::Euclidean, 4.703_022),
            (DistanceMetric::Cosine, 4.758_308),
            (DistanceMetric::Manhattan, 4.333_333),
        ];
        for (distance_metric, expected) in expected {
            let config = TripletLossConfig {
                distance_metric,
                ..Default::default()
            };
            let found = total(&config.init().unwrap(), &[Q, P, N1]);
            assert!(
                (found - expected).abs() < 1e-5,
                "{found} against {expected}"
            );
        }
    }

    #[test]
    fn equal_vectors_have_a_gradient_of_zero() {
        let zero = || Tensor::<2>::zeros([2, 3], &device()).require_grad();
        let columns = [zero(), zero(), zero()];
        let loss = TripletLossConfig::default()
            .init()
            .unwrap()
            .forward(&EmbeddedBatch::new(columns.to_vec()))
            .total();
        assert_eq!(scalar(loss.clone()), 5.0); // 0 − 0 + 5
        let gradients = loss.backward();
        assert_eq!(values(columns[0].grad(&gradients).unwrap()), [0.0; 6]);
    }

    #[test]
    fn only_triplets_are_accepted() {
        let loss = TripletLossConfig::default().init().unwrap();
        let message = |columns: &[&str]| {
            loss.check(&DataSummary::new(columns.to_vec()))
                .unwrap_err()
                .to_string()
        };
        assert!(message(&["a", "b"]).contains("Add 1 column,"));
        assert!(message(&["a", "b", "c", "d"]).contains("Keep 3 of them"));
    }
}
