//! The SPLADE wrapper: a base loss and what keeps the vectors sparse.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_with_macros::skip_serializing_none;

use crate::error::{require, require_weight};
use crate::overview::Role;
use crate::{
    DataFormat, DataSummary, Description, EmbeddedBatch, Error, FlopsConfig, Loss, LossConfig,
    LossOutput, MiniBatches, MultipleNegativesRankingLossConfig, Regularizer, RegularizerConfig,
    RegularizerInput, RegularizerWeights, Result, TargetActiveDims, citation,
};

/// Name of the weighted document term.
pub const DOCUMENT_REGULARIZER_LOSS: &str = "document_regularizer_loss";
/// Name of the weighted query term.
pub const QUERY_REGULARIZER_LOSS: &str = "query_regularizer_loss";

const NAME: &str = "splade";

/// Weights of the reference's default loss, from which a controller starts when nothing else is said.
const DEFAULT_WEIGHTS: RegularizerWeights = RegularizerWeights {
    document: 3e-5,
    query: Some(5e-5),
};

/// Configuration of [`SpladeLoss`].
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpladeLossConfig {
    /// The base loss.
    pub loss: Box<LossConfig>,
    /// Factor on the document regularizer (at least 0). Typical: 3e-5 with `multiple_negatives_ranking`, 0.08 with
    /// `margin_mse`. It may be left out beside `document_target_active_dims`, whose controller starts from it.
    #[serde(alias = "lambda_corpus")]
    pub document_regularizer_weight: Option<f64>,
    /// Factor on the query regularizer (at least 0); `None`: queries are not regularized, unless
    /// `query_target_active_dims` is given.
    #[serde(alias = "lambda_query")]
    pub query_regularizer_weight: Option<f64>,
    /// Mean number of active dimensions of a document that training shall reach (at least 1): the trainer then sets the
    /// weight, step by step.
    pub document_target_active_dims: Option<usize>,
    /// Likewise for queries.
    pub query_target_active_dims: Option<usize>,
    /// What is applied to documents; `None`: FLOPS.
    pub document_regularizer: Option<RegularizerConfig>,
    /// What is applied to queries; `None`: FLOPS.
    pub query_regularizer: Option<RegularizerConfig>,
    /// Threshold of the default document regularizer, see [`FlopsConfig`].
    pub document_regularizer_threshold: Option<usize>,
    /// Threshold of the default query regularizer.
    pub query_regularizer_threshold: Option<usize>,
    /// Treats every column as documents: for symmetric data, such as pairs of similar sentences.
    #[serde(default)]
    pub use_document_regularizer_only: bool,
}

impl Default for SpladeLossConfig {
    /// What the reference trains with when no loss is given.
    fn default() -> Self {
        Self {
            query_regularizer_weight: DEFAULT_WEIGHTS.query,
            ..Self::new(
                MultipleNegativesRankingLossConfig::default(),
                DEFAULT_WEIGHTS.document,
            )
        }
    }
}

impl SpladeLossConfig {
    pub(crate) const ROLE: Role = Role::Wrapper;
    pub(crate) const SUMMARY: &'static str = "a base loss plus weighted regularizers of documents and queries (FLOPS unless told otherwise)";
    pub(crate) const FORMATS: &'static [DataFormat] = &[];

    /// `loss` with FLOPS on the documents and nothing on the queries.
    pub fn new(loss: impl Into<LossConfig>, document_regularizer_weight: f64) -> Self {
        Self {
            loss: Box::new(loss.into()),
            document_regularizer_weight: Some(document_regularizer_weight),
            query_regularizer_weight: None,
            document_target_active_dims: None,
            query_target_active_dims: None,
            document_regularizer: None,
            query_regularizer: None,
            document_regularizer_threshold: None,
            query_regularizer_threshold: None,
            use_document_regularizer_only: false,
        }
    }

    /// Builds the loss.
    ///
    /// # Errors
    ///
    /// If the inner loss is a wrapper, a weight is missing, negative or not finite, a target is 0 or contradicts
    /// `use_document_regularizer_only`, a threshold stands beside a regularizer of its own, or `df_flops` is asked for on
    /// queries.
    pub fn init(&self) -> Result<SpladeLoss> {
        let weights = [
            (
                "document_regularizer_weight",
                self.document_regularizer_weight,
            ),
            ("query_regularizer_weight", self.query_regularizer_weight),
        ];
        for (option, weight) in weights {
            if let Some(weight) = weight {
                require_weight((NAME, option), weight)?;
            }
        }
        let weights = self.start_weights()?;
        if matches!(self.query_regularizer, Some(RegularizerConfig::DfFlops(_))) {
            return Err(Error::Conflict {
                loss: NAME,
                problem: "`df_flops` counts documents, so it cannot regularize queries".to_owned(),
                fix: "use it as `document_regularizer`, and `flops`, `l1` or `l0_mask` for queries"
                    .to_owned(),
            });
        }
        Ok(SpladeLoss {
            loss: self.loss.init_inside(NAME)?,
            document_regularizer: regularizer(
                "document_regularizer",
                self.document_regularizer.as_ref(),
                self.document_regularizer_threshold,
            )?,
            query_regularizer: regularizer(
                "query_regularizer",
                self.query_regularizer.as_ref(),
                self.query_regularizer_threshold,
            )?,
            weights,
            targets: TargetActiveDims {
                document: self.document_target_active_dims,
                query: self.query_target_active_dims,
            },
            use_document_regularizer_only: self.use_document_regularizer_only,
            ignored_query_weight: self
                .query_regularizer_weight
                .filter(|_| self.use_document_regularizer_only),
            caching: None,
        })
    }
}

impl SpladeLossConfig {
    /// The weights, or where a controller starts.
    fn start_weights(&self) -> Result<RegularizerWeights> {
        let targets = [
            (
                "document_target_active_dims",
                self.document_target_active_dims,
            ),
            ("query_target_active_dims", self.query_target_active_dims),
        ];
        for (option, target) in targets {
            require(target != Some(0), (NAME, option), "at least 1", 0)?;
        }
        if self.query_target_active_dims.is_some() && self.use_document_regularizer_only {
            return Err(Error::Conflict {
                loss: NAME,
                problem: "use_document_regularizer_only = true treats every column as documents, so `query_target_active_dims` has nothing to set"
                    .to_owned(),
                fix: "leave it out, or unset use_document_regularizer_only".to_owned(),
            });
        }
        let document = match (
            self.document_regularizer_weight,
            self.document_target_active_dims,
        ) {
            (Some(weight), _) => weight,
            (None, Some(_)) => DEFAULT_WEIGHTS.document,
            (None, None) => {
                return Err(Error::Option {
                    loss: NAME,
                    option: "document_regularizer_weight",
                    expected: "given, unless `document_target_active_dims` is".to_owned(),
                    found: "neither".to_owned(),
                });
            }
        };
        let query = match (self.query_regularizer_weight, self.query_target_active_dims) {
            (None, Some(_)) => DEFAULT_WEIGHTS.query,
            (weight, _) => weight.filter(|_| !self.use_document_regularizer_only),
        };
        Ok(RegularizerWeights { document, query })
    }
}

/// The regularizer of one side.
fn regularizer(
    option: &'static str,
    config: Option<&RegularizerConfig>,
    threshold: Option<usize>,
) -> Result<Box<dyn Regularizer>> {
    match (config, threshold) {
        (Some(_), Some(_)) => Err(Error::Conflict {
            loss: NAME,
            problem: format!(
                "`{option}_threshold` belongs to the default regularizer, but `{option}` is given"
            ),
            fix: format!(
                "write the threshold inside `{option}`, as in {{ type = \"l0_mask\", threshold = 200 }}"
            ),
        }),
        (Some(config), None) => config.init(),
        (None, threshold) => Ok(Box::new(FlopsConfig { threshold }.init()?)),
    }
}

/// A base loss plus regularizers, the loss of SPLADE and of inference-free models
/// ([Formal et al., 2022](https://arxiv.org/abs/2205.04733)).
///
/// ```text
/// L = base(E₀, …, E_m) + λ_d · R_d(E₁, …, E_m) + λ_q · R_q(E₀)
/// ```
///
/// The first column holds the queries; all others, positives and negatives together, are documents. With
/// `use_document_regularizer_only` all columns are documents and there is no query term. The weights come from
/// [`EmbeddedBatch::regularizer_weights`], where a schedule puts them, or else from the configuration.
///
/// # Components
///
/// Those of the base loss (`base_loss`), [`DOCUMENT_REGULARIZER_LOSS`] and, with a query weight,
/// [`QUERY_REGULARIZER_LOSS`], both already weighted. A weight of 0 gives exactly 0 and no gradient.
#[derive(Debug)]
pub struct SpladeLoss {
    loss: Box<dyn Loss>,
    document_regularizer: Box<dyn Regularizer>,
    query_regularizer: Box<dyn Regularizer>,
    weights: RegularizerWeights,
    targets: TargetActiveDims,
    use_document_regularizer_only: bool,
    ignored_query_weight: Option<f64>,
    /// What the loss asks for under the name of a cached loss.
    pub(crate) caching: Option<Caching>,
}

/// Texts that are embedded at a time, or tokens instead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caching {
    /// What the loss is called then.
    pub(crate) name: &'static str,
    pub(crate) mini_batch_size: usize,
    pub(crate) mini_batch_num_tokens: Option<usize>,
}

impl SpladeLoss {
    /// A loss from parts of your own, for a base loss or regularizers that no configuration names.
    pub fn from_parts(
        loss: Box<dyn Loss>,
        document_regularizer: Box<dyn Regularizer>,
        query_regularizer: Box<dyn Regularizer>,
        weights: RegularizerWeights,
    ) -> Self {
        Self {
            loss,
            document_regularizer,
            query_regularizer,
            weights,
            targets: TargetActiveDims::default(),
            use_document_regularizer_only: false,
            ignored_query_weight: None,
            caching: None,
        }
    }

    /// Treats every column as documents.
    pub fn with_document_regularizer_only(mut self) -> Self {
        self.use_document_regularizer_only = true;
        self.ignored_query_weight = self.weights.query.take();
        self
    }

    /// Adds the regularizers' terms over `columns`, under the weights and frequencies of `batch`.
    fn regularize(&self, output: &mut LossOutput, columns: &[Tensor<2>], batch: &EmbeddedBatch) {
        let weights = batch.regularizer_weights.unwrap_or(self.weights);
        let weighted = |regularizer: &dyn Regularizer, columns: &[Tensor<2>], weight: f64| {
            if weight == 0.0 {
                // Not a product with 0: the term stays out of the graph, and nothing non-finite can enter.
                return Tensor::zeros([1], &batch.device());
            }
            let input = RegularizerInput {
                columns,
                document_frequencies: batch.document_frequencies.as_ref(),
            };
            regularizer.forward(&input) * weight
        };
        let first_document = usize::from(!self.use_document_regularizer_only);
        let documents = columns.get(first_document..).unwrap_or_default();
        assert!(!documents.is_empty(), "`splade` needs a document column");
        let document_term = weighted(&*self.document_regularizer, documents, weights.document);
        output.push(DOCUMENT_REGULARIZER_LOSS, document_term);
        if let Some(weight) = weights
            .query
            .filter(|_| !self.use_document_regularizer_only)
        {
            let query_term = weighted(&*self.query_regularizer, &columns[..1], weight);
            output.push(QUERY_REGULARIZER_LOSS, query_term);
        }
    }
}

impl Loss for SpladeLoss {
    fn name(&self) -> &str {
        self.caching.map_or(NAME, |caching| caching.name)
    }

    fn forward(&self, batch: &EmbeddedBatch) -> LossOutput {
        let mut output = self.loss.forward(batch);
        self.regularize(&mut output, &batch.columns, batch);
        output
    }

    fn forward_jointly(&self, batches: &[EmbeddedBatch]) -> LossOutput {
        let [first, ..] = batches else {
            panic!("a mean of at least one output");
        };
        let mut output = self.loss.forward_jointly(batches);
        let all_rows = |column: usize| {
            let rows = batches.iter().map(|batch| batch.columns[column].clone());
            Tensor::cat(rows.collect(), 0)
        };
        let columns: Vec<_> = (0..first.columns.len()).map(all_rows).collect();
        self.regularize(&mut output, &columns, first);
        output
    }

    fn check(&self, data: &DataSummary) -> Result<()> {
        self.loss.check(data)?;
        if self.use_document_regularizer_only {
            return Ok(());
        }
        let needed = "a query column and at least one document column (or use_document_regularizer_only = true)";
        data.require_columns(NAME, 2, None, needed)
    }

    fn describe(&self) -> Description {
        let base = self.loss.describe();
        let mut description = Description::new("SpladeLoss")
            .option("loss", json!(base.to_call()))
            .option("document_regularizer_weight", json!(self.weights.document))
            .optional(
                "query_regularizer_weight",
                self.weights.query.map(|weight| json!(weight)),
            )
            .optional(
                "document_target_active_dims",
                self.targets.document.map(|target| json!(target)),
            )
            .optional(
                "query_target_active_dims",
                self.targets.query.map(|target| json!(target)),
            )
            .citation(citation::SPLADE)
            .part(base);
        let sides = [
            ("document_regularizer", Some(&self.document_regularizer)),
            (
                "query_regularizer",
                self.weights.query.map(|_| &self.query_regularizer),
            ),
        ];
        for (option, regularizer) in sides {
            let Some(regularizer) = regularizer else {
                continue;
            };
            let part = regularizer.describe();
            if part.class_name != "FlopsLoss" {
                description = description.option(option, json!(part.to_call()));
            } else if let Some(threshold) = part
                .options
                .get("threshold")
                .filter(|value| !value.is_null())
            {
                description = description.option(&format!("{option}_threshold"), threshold.clone());
            }
            description = description.part(part);
        }
        let Some(caching) = self.caching else {
            return description;
        };
        description.class_name = "CachedSpladeLoss".to_owned();
        description
            .citation(&format!("{}\n\n{}", citation::GRAD_CACHE, citation::SPLADE))
            .option("mini_batch_size", json!(caching.mini_batch_size))
            .option(
                "mini_batch_num_tokens",
                json!(caching.mini_batch_num_tokens),
            )
    }

    fn regularizer_weights(&self) -> Option<RegularizerWeights> {
        Some(self.weights)
    }

    fn target_active_dims(&self) -> TargetActiveDims {
        self.targets
    }

    fn mini_batches(&self) -> Option<MiniBatches> {
        let caching = self.caching?;
        Some(match caching.mini_batch_num_tokens {
            Some(tokens) => MiniBatches::Tokens(tokens),
            None => MiniBatches::Rows(caching.mini_batch_size),
        })
    }

    fn needs_document_frequencies(&self) -> bool {
        self.document_regularizer.needs_document_frequencies()
    }

    fn gathers_across_devices(&self) -> bool {
        self.loss.gathers_across_devices()
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.loss.warnings();
        if let Some(weight) = self.ignored_query_weight {
            warnings.push(format!(
                "`query_regularizer_weight` = {weight} is ignored, since use_document_regularizer_only = true treats \
                 every column as documents"
            ));
        } else if self.weights.query.is_none() && !self.use_document_regularizer_only {
            warnings.push(
                "`query_regularizer_weight` is not set, so queries are not regularized: right for inference-free \
                 models, otherwise queries may stay dense"
                    .to_owned(),
            );
        }
        warnings
    }
}

#[cfg(test)]
#[path = "splade_tests.rs"]
mod tests;
