//! A weighted sum of base losses.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{require, require_positive};
use crate::overview::Role;
use crate::{
    BASE_LOSS, DataFormat, DataSummary, Description, EmbeddedBatch, Loss, LossConfig, LossOutput,
    Result,
};

const NAME: &str = "weighted_sum";

/// One term of [`WeightedSumLossConfig`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedLossConfig {
    /// Factor on this loss (positive).
    pub weight: f64,
    /// A base loss.
    pub loss: LossConfig,
}

/// Configuration of [`WeightedSumLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedSumLossConfig {
    /// The terms, at least one.
    pub losses: Vec<WeightedLossConfig>,
}

impl WeightedSumLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "any base losses on the same data, as SPLADE-v3 mixes `distill_kl_div` and `margin_mse`";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::new("(query, positive, negative)", "list of both teacher scores"),
        DataFormat::new(
            "(query, positive, negative_1 … negative_n)",
            "list of n + 1 teacher scores",
        ),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If there is no term, a weight is not positive, or a loss inside is a wrapper or invalid.
    pub fn init(&self) -> Result<WeightedSumLoss> {
        let expected = "a list of at least one { weight, loss }";
        let given = !self.losses.is_empty();
        require(given, (NAME, "losses"), expected, "an empty list")?;
        let terms = self.losses.iter().map(|term| {
            require_positive((NAME, "weight"), term.weight)?;
            Ok((term.weight, term.loss.init_inside(NAME)?))
        });
        Ok(WeightedSumLoss {
            terms: terms.collect::<Result<_>>()?,
        })
    }
}

/// A weighted sum of base losses on the same embeddings and labels.
///
/// ```text
/// L = Σₖ weightₖ · lossₖ
/// ```
///
/// [SPLADE-v3](https://arxiv.org/abs/2403.06789) trains with `distill_kl_div` (weight 1) and `margin_mse` (weight
/// 0.05) on the same teacher scores. Not in the reference.
///
/// # Components
///
/// One per term, `<type>_loss` (a second one of the same type `<type>_loss_2`), already weighted.
#[derive(Debug)]
pub struct WeightedSumLoss {
    terms: Vec<(f64, Box<dyn Loss>)>,
}

impl Loss for WeightedSumLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let mut components = Vec::new();
        for (weight, loss) in &self.terms {
            for (component, value) in loss.forward(batch).scaled(*weight).into_components() {
                let name = if component == BASE_LOSS {
                    format!("{}_loss", loss.name())
                } else {
                    component
                };
                components.push((unused(&components, name), value));
            }
        }
        LossOutput::new(components)
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        self.terms.iter().try_for_each(|(_, loss)| loss.check(data))
    }

    fn describe(&self) -> Description {
        let parts: Vec<_> = self.terms.iter().map(|(_, loss)| loss.describe()).collect();
        let weights: Vec<_> = self.terms.iter().map(|(weight, _)| *weight).collect();
        let losses: Vec<_> = parts.iter().map(Description::to_call).collect();
        let description = Description::new("WeightedSumLoss")
            .option("weights", json!(weights))
            .option("losses", json!(losses));
        parts.into_iter().fold(description, Description::part)
    }

    fn gathers_across_devices(&self) -> bool {
        let mut terms = self.terms.iter();
        terms.any(|(_, loss)| loss.gathers_across_devices())
    }

    fn warnings(&self) -> Vec<String> {
        self.terms
            .iter()
            .flat_map(|(_, loss)| loss.warnings())
            .collect()
    }
}

/// `name`, or `name_2`, `name_3`, … if a term of that name is there already.
fn unused<T>(components: &[(String, T)], name: String) -> String {
    let taken = |name: &str| components.iter().any(|(other, _)| other == name);
    if !taken(&name) {
        return name;
    }
    let mut number = 2;
    while taken(&format!("{name}_{number}")) {
        number += 1;
    }
    format!("{name}_{number}")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::testing::{N1, P, Q, batch, device, scalar};
    use crate::{LabelShape, MarginMseLossConfig, MultipleNegativesRankingLossConfig};

    fn sum(losses: Vec<(f64, LossConfig)>) -> Result<WeightedSumLoss> {
        let losses = losses
            .into_iter()
            .map(|(weight, loss)| WeightedLossConfig { weight, loss })
            .collect();
        WeightedSumLossConfig { losses }.init()
    }

    #[test]
    fn terms_are_weighted_and_named() {
        let ranking = || LossConfig::from(MultipleNegativesRankingLossConfig::default());
        let loss = sum(vec![
            (2.0, ranking()),
            (0.05, MarginMseLossConfig::default().into()),
            (1.0, ranking()),
        ])
        .unwrap();
        let labels = Tensor::<1>::from_floats([1.0, 0.5, -1.0], &device());
        let output = loss.forward(&batch(&[Q, P, N1]).with_labels(labels));
        let term = |name| scalar(output.component(name).unwrap().clone());
        // 2 · 1.575570, 0.05 · 4.75, 1 · 1.575570
        assert!((term("multiple_negatives_ranking_loss") - 3.151_14).abs() < 1e-5);
        assert!((term("margin_mse_loss") - 0.2375).abs() < 1e-6);
        assert!((term("multiple_negatives_ranking_loss_2") - 1.575_57).abs() < 1e-5);
        assert!((scalar(output.total()) - 4.964_21).abs() < 1e-5);
    }

    #[test]
    fn the_data_must_fit_every_term() {
        let loss = sum(vec![
            (1.0, crate::DistillKlDivLossConfig::default().into()),
            (0.05, MarginMseLossConfig::default().into()),
        ])
        .unwrap();
        let data = DataSummary::new(["query", "positive", "negative"]);
        loss.check(
            &data
                .clone()
                .with_labels("scores", LabelShape::List(2), vec![1.0, 0.0]),
        )
        .unwrap();
        let error = loss
            .check(&data.with_labels("score", LabelShape::Scalar, vec![1.0]))
            .unwrap_err();
        assert!(
            error.to_string().contains("`distill_kl_div` needs"),
            "{error}"
        );
    }

    #[test]
    fn sums_that_make_no_sense_are_refused() {
        assert!(
            sum(vec![])
                .unwrap_err()
                .to_string()
                .contains("at least one")
        );
        let ranking = LossConfig::from(MultipleNegativesRankingLossConfig::default());
        assert!(
            sum(vec![(0.0, ranking)])
                .unwrap_err()
                .to_string()
                .contains("`weight` of `weighted_sum`")
        );
        assert!(
            sum(vec![(1.0, LossConfig::default())])
                .unwrap_err()
                .to_string()
                .contains("cannot contain `splade`")
        );
    }
}
