//! The AnglE loss: CoSENT with the angle of complex vectors.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::co_sent::{check_labelled_pairs, ranking_loss};
use crate::error::require_positive;
use crate::overview::Role;
use crate::similarity::row_norms;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput, Result, citation,
};

const NAME: &str = "angle";

/// Smallest norm by which the similarity divides.
const EPSILON: f64 = 1e-12;

/// Configuration of [`AngleLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AngleLossConfig {
    /// Factor on the similarities, the inverse temperature (positive).
    pub scale: f64,
}

impl Default for AngleLossConfig {
    fn default() -> Self {
        Self { scale: 20.0 }
    }
}

impl AngleLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "`co_sent` with the angle between complex vectors as similarity";
    pub(crate) const FORMATS: &'static [DataFormat] = &[DataFormat::new(
        "(sentence_A, sentence_B)",
        "similarity of the two, 0 to 1",
    )];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `scale` is not positive.
    pub fn init(&self) -> Result<AngleLoss> {
        require_positive((NAME, "scale"), self.scale)?;
        Ok(AngleLoss {
            config: self.clone(),
        })
    }
}

/// CoSENT ranking by the angle between the vectors read as complex numbers, whose gradient does not vanish near ±1
/// as the cosine's does ([Li and Li, 2023](https://arxiv.org/abs/2309.12871)).
///
/// ```text
/// x = [a; b], y = [c; d], halves of each vector
/// sim(x, y) = | Σ ( a·c + b·d + b·c − a·d ) | / ( ‖x‖ ‖y‖ )
/// ```
///
/// Up to √2, and 0 if either vector is zero (in the reference before 6.2: NaN). A vector of odd width gets a zero
/// behind it. Like the reference's sparse version, and unlike its dense one, it takes no triplets and needs labels.
///
/// # Shapes
///
/// - columns: A, B, each `[batch_size, vocab_size]`; further columns are not compared
/// - labels: `[batch_size]`
#[doc(alias = "SparseAnglELoss")]
#[derive(Debug, Clone)]
pub struct AngleLoss {
    config: AngleLossConfig,
}

impl Loss for AngleLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let (x, y) = batch.pair(NAME);
        ranking_loss(
            angle_similarity(x, y) * self.config.scale,
            batch.scalar_labels(NAME),
        )
        .into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        check_labelled_pairs(NAME, data)
    }

    fn describe(&self) -> Description {
        Description::new("SparseAnglELoss")
            .option("scale", json!(self.config.scale))
            .option("similarity_fct", json!("pairwise_angle_sim"))
            .citation(citation::CO_SENT)
    }
}

/// Angle similarity of row i of `x` with row i of `y`: `[n, 1]`.
fn angle_similarity(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    let [n, width] = x.dims();
    let even = |rows: Tensor<2>| match width % 2 {
        0 => rows,
        _ => Tensor::cat(vec![rows.clone(), Tensor::zeros([n, 1], &rows.device())], 1),
    };
    let (x, y) = (even(x), even(y));
    let half = width.div_ceil(2);
    let halves = |rows: &Tensor<2>| {
        (
            rows.clone().narrow(1, 0, half),
            rows.clone().narrow(1, half, half),
        )
    };
    let ((a, b), (c, d)) = (halves(&x), halves(&y));
    let norms = (row_norms(x.clone(), EPSILON), row_norms(y.clone(), EPSILON));
    // a·c + b·d is the product of the whole vectors.
    let numerator = (x * y).sum_dim(1) + (b * c - a * d).sum_dim(1);
    numerator.abs() / norms.0 / norms.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LabelShape;
    use crate::testing::{P, Q, assert_close, batch, device, scalar, values};

    #[test]
    fn similarities_by_hand() {
        let device = device();
        let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
        let y = Tensor::<2>::from_floats([[3.0, 1.0], [0.0, 0.0]], &device);
        // a=1 b=2 c=3 d=1: 3 + 2 + 6 − 1 = 10, over √5·√10
        assert_close(
            &values(angle_similarity(x, y)),
            &[10.0 / 50f32.sqrt(), 0.0],
            1e-6,
        );
    }

    #[test]
    fn an_odd_width_is_padded() {
        let device = device();
        let x = Tensor::<2>::from_floats([[1.0, 0.0, 2.0]], &device);
        let y = Tensor::<2>::from_floats([[2.0, 0.0, 1.0]], &device);
        // a=(1,0) b=(2,0) c=(2,0) d=(1,0): 2 + 2 + 4 − 1 = 7, over 5
        assert_close(&values(angle_similarity(x, y)), &[1.4], 1e-6);
    }

    #[test]
    fn the_reference_s_check_values() {
        let device = device();
        let tensor = |rows: [[f32; 4]; 3]| Tensor::<2>::from_floats(rows, &device);
        let similarities = values(angle_similarity(tensor(Q), tensor(P)));
        assert_close(&similarities, &[0.948_683, 1.264_911, 0.0], 1e-5);
        let labels = Tensor::<1>::from_floats([0.9, 0.1, 0.5], &device);
        let loss = AngleLossConfig::default()
            .init()
            .unwrap()
            .forward(&batch(&[Q, P]).with_labels(labels));
        assert!((scalar(loss.total()) - 25.298_222).abs() < 1e-4);
    }

    #[test]
    fn a_zero_vector_gives_no_nan_gradient() {
        let x = Tensor::<2>::zeros([1, 4], &device()).require_grad();
        let y = Tensor::<2>::from_floats([[1.0, 0.0, 2.0, 0.0]], &device());
        let gradients = angle_similarity(x.clone(), y).sum().backward();
        assert_eq!(values(x.grad(&gradients).unwrap()), [0.0; 4]);
    }

    #[test]
    fn labels_are_required() {
        let loss = AngleLossConfig::default().init().unwrap();
        let data = DataSummary::new(["a", "b", "c"]);
        assert!(
            loss.check(&data)
                .unwrap_err()
                .to_string()
                .contains("`angle` needs labels")
        );
        let nan = data.with_labels("label", LabelShape::Scalar, vec![0.0, f32::NAN]);
        assert!(
            loss.check(&nan)
                .unwrap_err()
                .to_string()
                .contains("row 1 holds NaN")
        );
    }
}
