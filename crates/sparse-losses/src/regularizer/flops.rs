//! The FLOPS regularizer.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Regularizer, RegularizerInput, sum, sum_of_dense_rows, sum_of_rows};
use crate::{Description, Result, citation};

/// Configuration of [`FlopsRegularizer`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlopsConfig {
    /// Only rows with more active dimensions than this take part; the others still count as rows. `None`: all rows.
    pub threshold: Option<usize>,
}

impl FlopsConfig {
    /// Builds the regularizer.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of every configuration.
    pub fn init(&self) -> Result<FlopsRegularizer> {
        Ok(FlopsRegularizer {
            config: self.clone(),
        })
    }
}

/// FLOPS: the expected number of products in scoring two random rows, made smooth
/// ([Paria et al., 2020](https://arxiv.org/abs/2004.05665)). It spreads activity over the dimensions: one that is
/// active in every row costs more than many that are rarely active.
///
/// ```text
/// FLOPS(E) = Σⱼ ( 1/N Σᵢ mᵢ Eᵢⱼ )²,   mᵢ = 1, or with a threshold t: 1 if ‖Eᵢ‖₀ > t, else 0
/// ```
///
/// The mean is signed and `N` counts every row, as in the reference.
#[doc(alias = "FlopsLoss")]
#[derive(Debug, Clone)]
pub struct FlopsRegularizer {
    config: FlopsConfig,
}

impl Regularizer for FlopsRegularizer {
    fn name(&self) -> &str {
        "flops"
    }

    fn forward(&self, input: &RegularizerInput<'_>) -> Tensor<1> {
        let sum = match self.config.threshold {
            None => sum_of_rows(input.columns),
            Some(threshold) => sum(input
                .columns
                .iter()
                .map(|column| sum_of_dense_rows(column.clone(), threshold))),
        };
        (sum / input.n_rows() as f64).square().sum()
    }

    fn describe(&self) -> Description {
        Description::new("FlopsLoss")
            .option("threshold", json!(self.config.threshold))
            .citation(citation::FLOPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, Q, device, scalar, values};

    fn flops(rows: [[f32; 4]; 3], threshold: Option<usize>) -> f32 {
        let rows = Tensor::<2>::from_floats(rows, &device());
        scalar(
            FlopsConfig { threshold }
                .init()
                .unwrap()
                .forward(&RegularizerInput::new(&[rows])),
        )
    }

    #[test]
    fn values_by_hand() {
        // column means 4/3, 1/3, 2/3, 2/3: (16 + 1 + 4 + 4) / 9
        assert!((flops(Q, None) - 25.0 / 9.0).abs() < 1e-6);
        // means 1/3, 0, 2/3, 2/3: (1 + 4 + 4) / 9
        assert!((flops(N1, None) - 1.0).abs() < 1e-6);
        // only row 2, (1, 0, 1, 0), has more than one active dimension: 2 · (1/3)²
        assert!((flops(N1, Some(1)) - 2.0 / 9.0).abs() < 1e-6);
        assert_eq!(flops(Q, Some(2)), 0.0);
    }

    #[test]
    fn two_columns_are_one_matrix_of_all_rows() {
        let device = device();
        let columns = [
            Tensor::<2>::from_floats([[2.0, 0.0]], &device),
            Tensor::from_floats([[0.0, 4.0]], &device),
        ];
        let loss = FlopsConfig::default()
            .init()
            .unwrap()
            .forward(&RegularizerInput::new(&columns));
        assert_eq!(scalar(loss), 5.0); // means 1 and 2: 1 + 4
    }

    #[test]
    fn rows_at_or_below_the_threshold_get_no_gradient() {
        let rows = Tensor::<2>::from_floats([[1.0, 1.0], [3.0, 0.0]], &device()).require_grad();
        let config = FlopsConfig { threshold: Some(1) };
        let loss = config
            .init()
            .unwrap()
            .forward(&RegularizerInput::new(std::slice::from_ref(&rows)));
        let gradients = loss.backward();
        // the mean is (1/2, 1/2): d/dE₁ⱼ = 2 · 1/2 · 1/2
        assert_eq!(values(rows.grad(&gradients).unwrap()), [0.5, 0.5, 0.0, 0.0]);
    }
}
