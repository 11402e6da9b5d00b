//! FLOPS of the rows that are not sparse enough yet.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Regularizer, RegularizerInput, sum, sum_of_dense_rows};
use crate::error::require;
use crate::{Description, Result, citation};

const NAME: &str = "l0_mask";

/// Configuration of [`L0MaskRegularizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct L0MaskConfig {
    /// Rows with at most this many active dimensions are left alone (at least 1).
    pub threshold: usize,
}

impl L0MaskConfig {
    /// Builds the regularizer.
    ///
    /// # Errors
    ///
    /// If `threshold` is 0, which would be plain FLOPS.
    pub fn init(&self) -> Result<L0MaskRegularizer> {
        let expected = "at least 1, the number of active dimensions to leave alone";
        require(self.threshold > 0, (NAME, "threshold"), expected, 0)?;
        Ok(L0MaskRegularizer {
            threshold: self.threshold,
        })
    }
}

/// ℓ₀ mask: FLOPS applied to the rows with more than `t` active dimensions, column by column
/// ([Shen et al., 2025](https://arxiv.org/abs/2504.14839)). A row that is sparse enough follows the ranking loss
/// alone; meant for inference-free models, whose documents would otherwise be pruned to nothing.
///
/// ```text
/// L = Σ_c Σⱼ ( 1/B Σᵢ m_ci |E_cij| )²,   m_ci = 1 if ‖E_ci‖₀ > t, else 0
/// ```
///
/// One sum per document column `c`, as in the authors' code: documents of the same query share dimensions for good
/// reason, so their means are not pooled. [`FlopsRegularizer`](super::FlopsRegularizer) with a `threshold` is the
/// variant with one mean over all columns; with a single column of non-negative vectors the two are equal.
#[derive(Debug, Clone)]
pub struct L0MaskRegularizer {
    threshold: usize,
}

impl Regularizer for L0MaskRegularizer {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, input: &RegularizerInput<'_>) -> Tensor<1> {
        sum(input.columns.iter().map(|column| {
            let [batch_size, _] = column.dims();
            let sum = sum_of_dense_rows(column.clone().abs(), self.threshold);
            (sum / batch_size as f64).square().sum()
        }))
    }

    fn describe(&self) -> Description {
        Description::new("L0MaskRegularizer")
            .option("threshold", json!(self.threshold))
            .citation(citation::L0_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, P, device, scalar, values};

    #[test]
    fn columns_are_summed_not_pooled() {
        let device = device();
        let columns = [
            Tensor::<2>::from_floats(P, &device),
            Tensor::from_floats(N1, &device),
        ];
        let loss = L0MaskConfig { threshold: 1 }
            .init()
            .unwrap()
            .forward(&RegularizerInput::new(&columns));
        // P: all rows count, means 2/3, 1, 1/3, 1/3: (4 + 9 + 1 + 1) / 9 = 15/9; N1: only (1, 0, 1, 0): 2/9
        assert!((scalar(loss) - 17.0 / 9.0).abs() < 1e-6);
    }

    #[test]
    fn sparse_rows_get_no_gradient() {
        let rows = Tensor::<2>::from_floats([[1.0, -1.0], [3.0, 0.0]], &device()).require_grad();
        let loss = L0MaskConfig { threshold: 1 }
            .init()
            .unwrap()
            .forward(&RegularizerInput::new(std::slice::from_ref(&rows)));
        let gradients = loss.backward();
        assert_eq!(
            values(rows.grad(&gradients).unwrap()),
            [0.5, -0.5, 0.0, 0.0]
        );
    }

    #[test]
    fn a_threshold_of_zero_is_refused() {
        let error = L0MaskConfig { threshold: 0 }.init().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`threshold` of `l0_mask` must be at least 1"),
            "{error}"
        );
    }
}
