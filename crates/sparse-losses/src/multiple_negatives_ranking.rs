//! The contrastive loss with in-batch negatives.

use burn::tensor::{Bool, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{require, require_positive, require_weight};
use crate::overview::Role;
use crate::similarity::Rows;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Error, Loss, LossOutput, Result,
    Similarity, citation,
};

const NAME: &str = "multiple_negatives_ranking";

/// Logit of an entry that is left out: finite, so that no backend meets an infinity, and its exponential is 0.
const EXCLUDED: f32 = -1e30;

/// A group of candidates that each query has to tell from its positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The query against every document of the batch: always needed, since it holds the positive.
    QueryToDoc,
    /// The query against the other queries.
    QueryToQuery,
    /// The positive against every query.
    DocToQuery,
    /// The positive against the documents of other queries.
    DocToDoc,
}

/// How the directions share the denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionMode {
    /// One softmax over the candidates of all directions.
    #[default]
    Joint,
    /// One softmax per direction, their losses averaged.
    PerDirection,
}

/// Which documents are made harder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardnessMode {
    /// Documents of other queries.
    InBatchNegatives,
    /// The query's own negatives.
    HardNegatives,
    /// Everything but the query's own positive.
    AllNegatives,
}

/// Configuration of [`MultipleNegativesRankingLoss`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultipleNegativesRankingLossConfig {
    /// Factor on the similarities, the inverse temperature (positive). About 20 suits `cosine`.
    pub scale: f64,
    /// `dot` or `cosine`.
    pub similarity_fct: Similarity,
    /// In a run of several processes, compares the rows of all of them instead of those of each by itself.
    pub gather_across_devices: bool,
    /// Groups of candidates; must contain `query_to_doc`.
    pub directions: Vec<Direction>,
    /// How the directions share the denominator.
    pub partition_mode: PartitionMode,
    /// Which documents get `hardness_strength` times their own similarity added to their logit; `None`: none.
    pub hardness_mode: Option<HardnessMode>,
    /// Strength of that penalty (at least 0).
    pub hardness_strength: f64,
}

impl Default for MultipleNegativesRankingLossConfig {
    fn default() -> Self {
        Self {
            scale: 1.0,
            similarity_fct: Similarity::Dot,
            gather_across_devices: false,
            directions: vec![Direction::QueryToDoc],
            partition_mode: PartitionMode::Joint,
            hardness_mode: None,
            hardness_strength: 0.0,
        }
    }
}

impl MultipleNegativesRankingLossConfig {
    pub(crate) const ROLE: Role = Role::Base;
    pub(crate) const SUMMARY: &'static str =
        "contrastive (InfoNCE): the positive against every other document of the batch";
    pub(crate) const FORMATS: &'static [DataFormat] = &[
        DataFormat::first_choice("(anchor, positive)", "none"),
        DataFormat::first_choice("(anchor, positive, negative)", "none"),
        DataFormat::first_choice("(anchor, positive, negative_1 … negative_n)", "none"),
    ];

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If `scale` is not positive, `hardness_strength` negative, or the directions don't fit each other or
    /// `partition_mode`.
    pub fn init(&self) -> Result<MultipleNegativesRankingLoss> {
        require_positive((NAME, "scale"), self.scale)?;
        require_weight((NAME, "hardness_strength"), self.hardness_strength)?;
        let directions = &self.directions;
        let require_directions = |holds: bool, expected: &str| {
            require(holds, (NAME, "directions"), expected, json!(directions))
        };
        require_directions(
            directions.contains(&Direction::QueryToDoc),
            "a list with \"query_to_doc\", which holds the positive pair",
        )?;
        let twice = (1..directions.len()).any(|end| directions[..end].contains(&directions[end]));
        require_directions(!twice, "a list without repetitions")?;
        let one_kind = |direction: &&Direction| {
            matches!(direction, Direction::QueryToQuery | Direction::DocToDoc)
        };
        if self.partition_mode == PartitionMode::PerDirection
            && let Some(direction) = self.directions.iter().find(one_kind)
        {
            return Err(Error::Conflict {
                loss: NAME,
                problem: format!(
                    "partition_mode = \"per_direction\" needs the positive pair in every direction, and {} never \
                     holds it",
                    json!(direction)
                ),
                fix: "use partition_mode = \"joint\" or leave that direction out".to_owned(),
            });
        }
        Ok(MultipleNegativesRankingLoss {
            config: self.clone(),
        })
    }
}

/// Ranks each query's positive above all other documents of the batch
/// ([van den Oord et al., 2018](https://arxiv.org/abs/1807.03748)); also known as InfoNCE or in-batch negatives.
///
/// ```text
/// joint          L = 1/B Σᵢ [ ln Σ exp(all entries of row i) − λ·S(qᵢ, pᵢ) ]
/// per_direction  L = 1/B Σᵢ [ mean over directions of ln Σ exp(its entries of row i) − λ·S(qᵢ, pᵢ) ]
/// ```
///
/// Documents are `d_cj`: c = 0 the positive of query j, c ≥ 1 its negatives. The entries of row i:
///
/// | direction | entries | left out |
/// | --- | --- | --- |
/// | `query_to_doc` | `λ·S(qᵢ, d_cj)` + penalty | nothing |
/// | `query_to_query` | `λ·S(qᵢ, qⱼ)` | j = i |
/// | `doc_to_query` | `λ·S(qⱼ, d₀ᵢ)` | nothing: in `joint` mode the positive pair counts twice, as in the reference |
/// | `doc_to_doc` | `λ·S(d_cj, d₀ᵢ)` | j = i |
///
/// The penalty is `hardness_strength · S(qᵢ, d_cj)`, without gradient, on the documents that `hardness_mode` names.
/// Both query–document directions with `per_direction` are the symmetric InfoNCE; all four with `joint` are the GTE
/// loss. Rows whose positive is also another row's document are false negatives: use a sampler without duplicates.
///
/// # Shapes
///
/// - columns: query, positive, then any number of negatives, each `[batch_size, vocab_size]`
/// - labels: ignored
#[doc(alias = "InfoNCE")]
#[doc(alias = "SparseMultipleNegativesRankingLoss")]
#[derive(Debug, Clone)]
pub struct MultipleNegativesRankingLoss {
    config: MultipleNegativesRankingLossConfig,
}

impl MultipleNegativesRankingLoss {
    /// The penalised entries among row i's similarities with document column `column`.
    fn penalised(&self, column: usize, own: &Tensor<2, Bool>) -> Option<Tensor<2, Bool>> {
        match (self.config.hardness_mode?, column) {
            (HardnessMode::InBatchNegatives, _) | (HardnessMode::AllNegatives, 0) => {
                Some(own.clone().bool_not())
            }
            (HardnessMode::HardNegatives, 0) => None,
            (HardnessMode::HardNegatives, _) => Some(own.clone()),
            (HardnessMode::AllNegatives, _) => Some(own.clone().bool_or(own.clone().bool_not())),
        }
    }
}

impl Loss for MultipleNegativesRankingLoss {
    fn name(&self) -> &str {
        NAME
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        assert!(batch.columns.len() >= 2, "`{NAME}` needs a positive column");
        let config = &self.config;
        let prepare = |rows: &Tensor<2>| Rows::new(rows.clone(), config.similarity_fct);
        let queries = prepare(batch.query());
        let documents: Vec<_> = batch.documents().iter().map(prepare).collect();
        let similarity = |a: &Rows, b: &Rows| config.similarity_fct.matrix(a, b);

        // Everything below is [batch_size, batch_size]: row i against the batch's row j of one column.
        let own = Tensor::<2>::eye(batch.batch_size(), &batch.device()).bool();
        let to_documents: Vec<_> = documents
            .iter()
            .map(|document| similarity(&queries, document))
            .collect();
        let positive = to_documents[0].clone() * config.scale;
        let target = positive
            .clone()
            .mask_fill(own.clone().bool_not(), 0.0)
            .sum_dim(1);

        let directions = config.directions.iter().map(|direction| match direction {
            Direction::QueryToDoc => {
                let logits = to_documents
                    .iter()
                    .enumerate()
                    .map(|(column, similarities)| {
                        let logits = similarities.clone() * config.scale;
                        match self.penalised(column, &own) {
                            Some(mask) => {
                                let penalty =
                                    similarities.clone().detach() * config.hardness_strength;
                                logits + penalty.mask_fill(mask.bool_not(), 0.0)
                            }
                            None => logits,
                        }
                    });
                logits.collect()
            }
            Direction::QueryToQuery => {
                vec![
                    (similarity(&queries, &queries) * config.scale)
                        .mask_fill(own.clone(), EXCLUDED),
                ]
            }
            Direction::DocToQuery => vec![positive.clone().transpose()],
            Direction::DocToDoc => {
                let others = documents.iter().map(|document| {
                    (similarity(&documents[0], document) * config.scale)
                        .mask_fill(own.clone(), EXCLUDED)
                });
                others.collect::<Vec<_>>()
            }
        });
        let partition = match config.partition_mode {
            PartitionMode::Joint => log_sum_exp(Tensor::cat(directions.flatten().collect(), 1)),
            PartitionMode::PerDirection => {
                let partitions = directions.map(|entries| log_sum_exp(Tensor::cat(entries, 1)));
                Tensor::cat(partitions.collect(), 1).mean_dim(1)
            }
        };
        (partition - target).mean().into()
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
        let config = &self.config;
        let both_ways = [Direction::QueryToDoc, Direction::DocToQuery];
        let citation = if config.directions.len() == 4 {
            citation::GTE
        } else if config.directions.len() == 2
            && both_ways.iter().all(|way| config.directions.contains(way))
        {
            citation::JINA
        } else {
            citation::CPC
        };
        Description::new("SparseMultipleNegativesRankingLoss")
            .option("scale", json!(config.scale))
            .option("similarity_fct", json!(config.similarity_fct.matrix_name()))
            .option("gather_across_devices", json!(config.gather_across_devices))
            .option("directions", json!(config.directions))
            .option("partition_mode", json!(config.partition_mode))
            .option("hardness_mode", json!(config.hardness_mode))
            .option("hardness_strength", json!(config.hardness_strength))
            .citation(citation)
    }

    fn gathers_across_devices(&self) -> bool {
        self.config.gather_across_devices
    }

    fn warnings(&self) -> Vec<String> {
        let config = &self.config;
        match config.hardness_mode {
            Some(_) if config.hardness_strength == 0.0 => {
                vec!["`hardness_mode` has no effect while `hardness_strength` is 0".to_owned()]
            }
            None if config.hardness_strength > 0.0 => {
                vec!["`hardness_strength` has no effect without a `hardness_mode`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// `ln Σⱼ exp(xᵢⱼ)` of each row: `[n, 1]`.
fn log_sum_exp(logits: Tensor<2>) -> Tensor<2> {
    let largest = logits.clone().detach().max_dim(1);
    (logits - largest.clone()).exp().sum_dim(1).log() + largest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{N1, N2, P, Q, device, scalar, total, values};

    #[test]
    fn two_rows_by_hand() {
        // similarities [[2, 0], [0, 1]]: (ln(e² + 1) − 2 + ln(1 + e) − 1) / 2 = (0.126928 + 0.313262) / 2
        let loss = MultipleNegativesRankingLossConfig::default()
            .init()
            .unwrap();
        let value = total(&loss, &[[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]);
        assert!((value - 0.220_095).abs() < 1e-5, "{value}");
    }

    #[test]
    fn the_reference_s_check_values() {
        let value = |config: MultipleNegativesRankingLossConfig, columns: &[[[f32; 4]; 3]]| {
            total(&config.init().unwrap(), columns)
        };
        let base = MultipleNegativesRankingLossConfig::default();
        let both = vec![Direction::QueryToDoc, Direction::DocToQuery];
        let all = vec![
            Direction::QueryToDoc,
            Direction::QueryToQuery,
            Direction::DocToQuery,
            Direction::DocToDoc,
        ];
        let hard = |mode| MultipleNegativesRankingLossConfig {
            hardness_mode: Some(mode),
            hardness_strength: 0.5,
            ..base.clone()
        };
        let cases = [
            (value(base.clone(), &[Q, P]), 1.032_772),
            (value(base.clone(), &[Q, P, N1, N2]), 2.001_029),
            (
                value(
                    MultipleNegativesRankingLossConfig {
                        directions: both.clone(),
                        partition_mode: PartitionMode::PerDirection,
                        ..base.clone()
                    },
                    &[Q, P],
                ),
                1.037_574,
            ),
            (
                value(
                    MultipleNegativesRankingLossConfig {
                        directions: both,
                        ..base.clone()
                    },
                    &[Q, P],
                ),
                1.730_993,
            ),
            (
                value(
                    MultipleNegativesRankingLossConfig {
                        directions: all,
                        ..base.clone()
                    },
                    &[Q, P, N1],
                ),
                2.360_024,
            ),
            (
                value(hard(HardnessMode::InBatchNegatives), &[Q, P, N1]),
                2.494_474,
            ),
            (
                value(hard(HardnessMode::HardNegatives), &[Q, P, N1]),
                1.702_624,
            ),
            (
                value(hard(HardnessMode::AllNegatives), &[Q, P, N1]),
                2.535_103,
            ),
            (value(hard(HardnessMode::HardNegatives), &[Q, P]), 1.032_772),
        ];
        for (found, expected) in cases {
            assert!(
                (found - expected).abs() < 2e-5,
                "{found} against {expected}"
            );
        }
    }

    #[test]
    fn one_pair_alone_has_nothing_to_tell_apart() {
        let loss = MultipleNegativesRankingLossConfig::default()
            .init()
            .unwrap();
        let query = Tensor::<2>::from_floats([[1.0, 2.0]], &device()).require_grad();
        let positive = Tensor::<2>::from_floats([[0.0, 3.0]], &device()).require_grad();
        let value = loss
            .forward(&EmbeddedBatch::new(vec![query.clone(), positive]))
            .total();
        assert_eq!(scalar(value.clone()), 0.0); // ln(e⁶) − 6
        let gradients = value.backward();
        assert_eq!(values(query.grad(&gradients).unwrap()), [0.0, 0.0]);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let base = MultipleNegativesRankingLossConfig::default();
        let refuse = |config: MultipleNegativesRankingLossConfig, word: &str| {
            let message = config.init().unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        };
        refuse(
            MultipleNegativesRankingLossConfig {
                scale: 0.0,
                ..base.clone()
            },
            "`scale`",
        );
        refuse(
            MultipleNegativesRankingLossConfig {
                hardness_strength: -1.0,
                ..base.clone()
            },
            "`hardness_strength`",
        );
        refuse(
            MultipleNegativesRankingLossConfig {
                directions: vec![],
                ..base.clone()
            },
            "query_to_doc",
        );
        let directions = vec![Direction::QueryToDoc, Direction::DocToDoc];
        let partition_mode = PartitionMode::PerDirection;
        refuse(
            MultipleNegativesRankingLossConfig {
                directions,
                partition_mode,
                ..base.clone()
            },
            "\"doc_to_doc\"",
        );
        let directions = vec![Direction::QueryToDoc, Direction::QueryToDoc];
        refuse(
            MultipleNegativesRankingLossConfig {
                directions,
                ..base.clone()
            },
            "without repetitions",
        );
        let idle = MultipleNegativesRankingLossConfig {
            hardness_mode: Some(HardnessMode::AllNegatives),
            ..base
        };
        assert!(idle.init().unwrap().warnings()[0].contains("no effect"));
    }
}
