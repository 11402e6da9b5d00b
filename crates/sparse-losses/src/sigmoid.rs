//! The pairwise sigmoid loss.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{require, require_positive};
use crate::overview::Role;
use crate::similarity::Rows;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossOutput, Result, Similarity,
    citation,
};

const NAME: &str = "sigmoid";

/// Configuration of [`SigmoidLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SigmoidLossConfig {
    /// Factor on the similarities, the inverse temperature (positive). About 10 suits `cosine`.
    pub scale: f64,
    /// Added to the scaled similarities (finite); negative values expect most pairs not to match. −10 suits `cosine`.
    pub bias: f64,
    /// `dot` or `cosine`.
    pub similarity_fct: Similarity,
}

impl Default for SigmoidLossConfig {
    fn default() -> Self {
        Self {
            scale: 1.0,
            bias: 0.0,
            similarity_fct: Similarity::Dot,
        }
    }
}

impl SigmoidLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "every query and document of the batch: match or not, each pair by itself";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::new("(anchor, positive)", "none"),
        DataFormat::new("(anchor, positive, negative)", "none"),
        DataFormat::new("(anchor, positive, negative_1 … negative_n)", "none"),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `scale` is not positive or `bias` not finite.
    pub fn init(&self) -> Result<SigmoidLoss> {
        require_positive((NAME, "scale"), self.scale)?;
        let finite = self.bias.is_finite();
        require(finite, (NAME, "bias"), "a finite number", self.bias)?;
        Ok(SigmoidLoss {
            config: self.clone(),
        })
    }
}

/// Decides for every query and document of the batch whether they belong together
/// ([Zhai et al., 2023](https://arxiv.org/abs/2303.15343), SigLIP).
///
/// ```text
/// L = − 1/B Σᵢ Σ_c Σⱼ ln σ( z · ( λ·S(qᵢ, d_cj) + bias ) ),   z = 1 for the query's own positive, else −1
/// ```
///
/// Unlike the softmax of `multiple_negatives_ranking`, each pair's term depends on that pair alone, so the loss of a
/// large batch is the sum over its blocks. Not in the reference. SigLIP learns λ and the bias; here they are options.
///
/// # Shapes
///
/// - columns: query, positive, then any number of negatives, each `[batch_size, vocab_size]`
/// - labels: ignored
#[doc(alias = "SigLIP")]
#[derive(Debug, Clone)]
pub struct SigmoidLoss {
    config: SigmoidLossConfig,
}

impl Loss for SigmoidLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        assert!(batch.columns.len() >= 2, "`{NAME}` needs a positive column");
        let batch_size = batch.batch_size();
        let prepare = |rows: &Tensor<2>| Rows::new(rows.clone(), self.config.similarity_fct);
        let queries = prepare(batch.query());
        let own = Tensor::<2>::eye(batch_size, &batch.device());
        let terms = batch
            .documents()
            .iter()
            .enumerate()
            .map(|(column, document)| {
                let similarities = self
                    .config
                    .similarity_fct
                    .matrix(&queries, &prepare(document));
                let logits = similarities * self.config.scale + self.config.bias;
                let signed = if column == 0 {
                    logits * (own.clone() * 2.0 - 1.0)
                } else {
                    -logits
                };
                log_sigmoid(signed).sum()
            });
        let sum = terms
            .reduce(|sum, term| sum + term)
            .expect("there is a positive column");
        (-sum / batch_size as f64).into()
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        data.require_columns(
            NAME,
            2,
            None,
            "at least 2 input columns (anchor, positive and any number of negatives)",
        )
    }

    fn describe(&self) -> Description {
        Description::new("SigmoidLoss")
            .option("scale", json!(self.config.scale))
            .option("bias", json!(self.config.bias))
            .option(
                "similarity_fct",
                json!(self.config.similarity_fct.matrix_name()),
            )
            .citation(citation::SIGMOID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, scalar, total, values};

    #[test]
    fn two_rows_by_hand() {
        // similarities [[2, 0], [0, 1]], −ln σ(2) = 0.126928, −ln σ(1) = 0.313262, −ln σ(0) = 0.693147
        let loss = SigmoidLossConfig::default().init().unwrap();
        let columns = [[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]];
        let value = total(&loss, &columns);
        assert!(
            (value - (0.126_928 + 0.313_262 + 2.0 * 2f32.ln()) / 2.0).abs() < 1e-5,
            "{value}"
        );
        // with a bias of −1 the pairs are σ(1), σ(0), and twice σ(1): (3 · 0.313262 + 0.693147) / 2
        let loss = SigmoidLossConfig {
            bias: -1.0,
            ..Default::default()
        }
        .init()
        .unwrap();
        assert!((total(&loss, &columns) - 0.816_467).abs() < 1e-5);
    }

    #[test]
    fn a_negative_column_is_all_negatives() {
        // own negative with similarity 1: −ln σ(1) − ln σ(−1) = 0.313262 + 1.313262
        let loss = SigmoidLossConfig::default().init().unwrap();
        let value = total(&loss, &[[[1.0, 0.0]], [[1.0, 0.0]], [[1.0, 0.0]]]);
        assert!((value - 1.626_523).abs() < 1e-5, "{value}");
    }

    #[test]
    fn the_loss_of_a_batch_is_independent_per_pair() {
        let loss = SigmoidLossConfig::default().init().unwrap();
        let whole = total(&loss, &[[[1.0, 2.0], [0.5, 1.0]], [[1.0, 0.0], [0.0, 3.0]]]);
        let first = total(&loss, &[[[1.0, 2.0]], [[1.0, 0.0]]])
            + total(&loss, &[[[0.5, 1.0]], [[0.0, 3.0]]]);
        // the two blocks off the diagonal, as hard negatives of a positive that costs −ln σ(0)
        let zero = [[0.0, 0.0]];
        let others = total(&loss, &[[[1.0, 2.0]], zero, [[0.0, 3.0]]])
            + total(&loss, &[[[0.5, 1.0]], zero, [[1.0, 0.0]]]);
        let expected = (first + others - 2.0 * 2f32.ln()) / 2.0;
        assert!(
            (whole - expected).abs() < 1e-5,
            "{whole} against {expected}"
        );
    }

    #[test]
    fn huge_similarities_stay_finite() {
        let query = Tensor::<2>::from_floats([[1e4, 0.0], [1e4, 0.0]], &device()).require_grad();
        let loss = SigmoidLossConfig::default().init().unwrap();
        let value = loss
            .forward(&EmbeddedBatch::new(vec![query.clone(), query.clone()]))
            .total();
        assert!((scalar(value.clone()) / 1e8 - 1.0).abs() < 1e-5); // two mismatches of 1e8 each, over 2 rows
        let gradients = value.backward();
        assert!(
            values(query.grad(&gradients).unwrap())
                .iter()
                .all(|value| value.is_finite())
        );
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        assert!(
            SigmoidLossConfig {
                scale: 0.0,
                ..Default::default()
            }
            .init()
            .is_err()
        );
        assert!(
            SigmoidLossConfig {
                bias: f64::NAN,
                ..Default::default()
            }
            .init()
            .is_err()
        );
    }
}
