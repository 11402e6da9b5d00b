//! The L1 regularizer.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Regularizer, RegularizerInput, sum};
use crate::{Description, Result, citation};

/// Configuration of [`L1Regularizer`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1Config {}

impl L1Config {
    /// Builds the regularizer.
    ///
    /// # Errors
    ///
    /// Never; the signature is that of every configuration.
    pub fn init(&self) -> Result<L1Regularizer> {
        Ok(L1Regularizer {})
    }
}

/// L1: the mean over rows of the sum of absolute values
/// ([Zamani et al., 2018](https://doi.org/10.1145/3269206.3271800)). Every active entry is pushed down equally, so
/// rows become short, but nothing keeps all of them from using the same dimensions.
///
/// ```text
/// L1(E) = 1/N Σᵢ Σⱼ |Eᵢⱼ|
/// ```
#[derive(Debug, Clone)]
pub struct L1Regularizer {}

impl Regularizer for L1Regularizer {
    fn name(&self) -> &str {
        "l1"
    }

    fn forward(&self, input: &RegularizerInput<'_>) -> Tensor<1> {
        sum(input
            .columns
            .iter()
            .map(|column| column.clone().abs().sum()))
            / input.n_rows() as f64
    }

    fn describe(&self) -> Description {
        Description::new("L1Regularizer").citation(citation::SNRM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, scalar, values};

    #[test]
    fn value_and_gradient_by_hand() {
        let rows =
            Tensor::<2>::from_floats([[1.0, -2.0, 0.0], [0.0, 0.0, 4.0]], &device()).require_grad();
        let loss = L1Config {}
            .init()
            .unwrap()
            .forward(&RegularizerInput::new(std::slice::from_ref(&rows)));
        assert_eq!(scalar(loss.clone()), 3.5); // (1 + 2 + 4) / 2
        let gradients = loss.backward();
        assert_eq!(
            values(rows.grad(&gradients).unwrap()),
            [0.5, -0.5, 0.0, 0.0, 0.0, 0.5]
        );
    }
}
