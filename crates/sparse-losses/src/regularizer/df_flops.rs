//! FLOPS weighted by document frequency.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Regularizer, RegularizerInput, sum, sum_of_rows};
use crate::error::require;
use crate::{Description, Result, citation};

const NAME: &str = "df_flops";

/// Configuration of [`DfFlopsRegularizer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DfFlopsConfig {
    /// Share of documents at which a dimension gets half of the penalty, between 0 and 1 exclusive.
    pub alpha: f64,
    /// Steepness of the penalty around `alpha` (positive, dimensionless).
    pub beta: f64,
}

impl Default for DfFlopsConfig {
    fn default() -> Self {
        Self {
            alpha: 0.1,
            beta: 10.0,
        }
    }
}

impl DfFlopsConfig {
    /// Builds the regularizer.
    ///
    /// # Errors
    ///
    /// If `alpha` is not between 0 and 1 or `beta` not positive.
    pub fn init(&self) -> Result<DfFlopsRegularizer> {
        let Self { alpha, beta } = *self;
        let share = "greater than 0 and less than 1, a share of the documents";
        require(alpha > 0.0 && alpha < 1.0, (NAME, "alpha"), share, alpha)?;
        let positive = beta > 0.0 && beta.is_finite();
        require(positive, (NAME, "beta"), "a positive finite number", beta)?;
        Ok(DfFlopsRegularizer {
            config: self.clone(),
        })
    }
}

/// DF-FLOPS: FLOPS that punishes dimensions active in many documents, since those make the long posting lists that
/// cost an index its speed ([Porco et al., 2025](https://arxiv.org/abs/2505.15070)).
///
/// ```text
/// L = Σⱼ ( wⱼ/N Σᵢ Eᵢⱼ )²,   wⱼ = activ(dfⱼ),   activ(x) = 1 / ( 1 + (x^(log_α 2) − 1)^β )
/// ```
///
/// `dfⱼ` is the share of documents in which dimension j is active; `activ` goes from 0 at 0 through 1/2 at `α` to 1
/// at 1. The frequencies are constants: no gradient flows through them. The paper counts them every 100 steps on its
/// validation documents; here they are [`DocumentFrequencies`](crate::DocumentFrequencies), counted over the training
/// documents as they pass, which needs no extra encoding. A batch that carries none is counted itself, which with few
/// rows is coarse.
#[derive(Debug, Clone)]
pub struct DfFlopsRegularizer {
    config: DfFlopsConfig,
}

impl DfFlopsRegularizer {
    /// `[1, vocab_size]` weights from frequencies of the same shape.
    fn weights(&self, frequencies: Tensor<2>) -> Tensor<2> {
        let exponent = 2f64.ln() / self.config.alpha.ln();
        // The floor keeps 0 from becoming ∞; the weight is 0 there either way.
        let base = frequencies.clamp(1e-30, 1.0).powf_scalar(exponent) - 1.0;
        // base^β as exp(β ln base): rounding can leave a frequency of 1 just below base 0, where a fractional power
        // is NaN, and beyond e^80 the weight is 0 in f32 anyway.
        let odds = (base.clamp_min(1e-30).log() * self.config.beta)
            .clamp(-80.0, 80.0)
            .exp();
        (odds + 1.0).recip()
    }
}

impl Regularizer for DfFlopsRegularizer {
    fn name(&self) -> &str {
        NAME
    }

    /// # Panics
    ///
    /// If the frequencies are not as wide as the columns.
    fn forward(&self, input: &RegularizerInput<'_>) -> Tensor<1> {
        let frequencies = match input.document_frequencies {
            Some(frequencies) => frequencies.clone().detach().unsqueeze_dim(0),
            None => {
                let active = input.columns.iter().map(|column| {
                    column
                        .clone()
                        .detach()
                        .not_equal_elem(0.0)
                        .float()
                        .sum_dim(0)
                });
                sum(active) / input.n_rows() as f64
            }
        };
        let mean = sum_of_rows(input.columns) / input.n_rows() as f64;
        assert_eq!(
            mean.dims(),
            frequencies.dims(),
            "document frequencies are as wide as the embeddings"
        );
        (self.weights(frequencies) * mean).square().sum()
    }

    fn describe(&self) -> Description {
        Description::new("DfFlopsRegularizer")
            .option("alpha", json!(self.config.alpha))
            .option("beta", json!(self.config.beta))
            .citation(citation::DF_FLOPS)
    }

    fn needs_document_frequencies(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, scalar, values};

    #[test]
    fn the_weight_is_one_half_at_alpha_and_monotone() {
        let regularizer = DfFlopsConfig {
            alpha: 0.25,
            beta: 2.0,
        }
        .init()
        .unwrap();
        let frequencies = Tensor::<2>::from_floats([[0.0, 0.0625, 0.25, 0.5, 1.0]], &device());
        // log_¼ 2 = −½, so x^(−½): ∞, 4, 2, √2, 1; weights 0, 1/(1+3²), 1/(1+1²), 1/(1+0.41421²), 1/(1+0)
        let expected = [0.0, 0.1, 0.5, 0.853_553_4, 1.0];
        assert_close(&values(regularizer.weights(frequencies)), &expected, 1e-5);
    }

    #[test]
    fn value_by_hand_with_given_frequencies() {
        let device = device();
        let rows = Tensor::<2>::from_floats([[2.0, 4.0], [0.0, 4.0]], &device).require_grad();
        let frequencies = Tensor::<1>::from_floats([0.1, 1.0], &device);
        let input = RegularizerInput {
            columns: std::slice::from_ref(&rows),
            document_frequencies: Some(&frequencies),
        };
        let loss = DfFlopsConfig::default().init().unwrap().forward(&input);
        // weights 1/2 and 1, means 1 and 4: (1/2)² + 4²
        assert!((scalar(loss.clone()) - 16.25).abs() < 1e-4);
        let gradients = loss.backward();
        // d/dEᵢⱼ = 2 · wⱼ² · meanⱼ / N: 2·¼·1/2 and 2·1·4/2
        assert_close(
            &values(rows.grad(&gradients).unwrap()),
            &[0.25, 4.0, 0.25, 4.0],
            1e-4,
        );
    }

    #[test]
    fn without_frequencies_the_batch_is_counted() {
        let device = device();
        let rows = Tensor::<2>::from_floats([[2.0, 4.0], [0.0, 4.0]], &device);
        let regularizer = DfFlopsConfig {
            alpha: 0.5,
            beta: 3.0,
        }
        .init()
        .unwrap();
        let loss = regularizer.forward(&RegularizerInput::new(&[rows]));
        assert!((scalar(loss) - 16.25).abs() < 1e-4); // active in 1/2 and in all: weights 1/2 and 1
    }

    #[test]
    fn options_outside_their_domain_are_refused() {
        for config in [
            DfFlopsConfig {
                alpha: 1.0,
                beta: 10.0,
            },
            DfFlopsConfig {
                alpha: 0.1,
                beta: f64::NAN,
            },
        ] {
            assert!(
                config
                    .init()
                    .unwrap_err()
                    .to_string()
                    .contains("of `df_flops` must be")
            );
        }
    }
}
