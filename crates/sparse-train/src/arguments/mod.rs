//! What a training run can be told: `[arguments]` of a training file.

pub(crate) mod foreign;
mod setters;
mod tokens;
mod tracker;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;
use sparse_data::{BatchSamplerKind, MultiDatasetKind, SampleOrder};
use sparse_kernels::Precision;

pub use tokens::CountTokens;
pub use tracker::Tracker;

use crate::error::Result;
use crate::hub::{HubStrategy, HubToken};
use crate::optimizer::kind::OptimizerType;
use crate::schedule::{LearningRateSchedule, MetricMode, SchedulerOptions, SchedulerType};

/// When something happens during training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalStrategy {
    /// Never.
    #[default]
    No,
    /// Every so many update steps.
    Steps,
    /// At the end of each epoch.
    Epoch,
}

/// When a checkpoint is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    /// Never.
    No,
    /// Every `save_steps` update steps, and after the last one.
    #[default]
    Steps,
    /// At the end of each epoch.
    Epoch,
    /// Whenever `metric_for_best_model` improves.
    Best,
}

/// A text put in front of inputs: for all columns, by column, or by data set and column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, or a table of texts by column or by data set"
)]
pub enum ColumnPrompts {
    /// In front of every text.
    All(String),
    /// Keyed by column or data set.
    Named(BTreeMap<String, Self>),
}

/// The route of a column, or of the columns of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the name of a route, or a table of them by column"
)]
pub enum Routes {
    /// The route of one column.
    Column(String),
    /// The routes of a data set's columns.
    Dataset(BTreeMap<String, String>),
}

impl From<&str> for Routes {
    fn from(route: &str) -> Self {
        Self::Column(route.to_owned())
    }
}

impl From<String> for Routes {
    fn from(route: String) -> Self {
        Self::Column(route)
    }
}

/// Arguments of a training run, under the names and defaults of the reference.
///
/// Unknown names are errors. Values are checked by [`TrainingArguments::validate`] before anything is loaded. Every argument has
/// a method `with_*`; those that may be left out take the value itself:
///
/// ```
/// use sparse_train::TrainingArguments;
///
/// let arguments = TrainingArguments::new("runs/first")
///     .with_learning_rate(2e-5)
///     .with_warmup_ratio(0.1)
///     .with_run_name("first");
/// arguments.validate()?;
/// # Ok::<(), sparse_train::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingArguments {
    /// Directory of checkpoints, evaluation files and the final model (`final`).
    #[default(PathBuf::from("trainer_output"))]
    pub output_dir: PathBuf,
    /// Passes over the data; a fraction stops within the last one.
    #[default = 3.0]
    pub num_train_epochs: f64,
    /// Update steps; above 0 it overrides `num_train_epochs`.
    #[default(-1)]
    pub max_steps: i64,
    /// Rows of a micro-batch.
    #[default = 8]
    pub per_device_train_batch_size: usize,
    /// Rows of a batch of an evaluation data set.
    #[default = 8]
    pub per_device_eval_batch_size: usize,
    /// Micro-batches whose gradients are averaged into one update.
    #[default = 1]
    pub gradient_accumulation_steps: usize,
    /// Texts that are embedded at a time: turns gradient caching on, which trains on a large batch in the memory of a small
    /// one and gives the same gradient, with any loss.
    pub mini_batch_size: Option<usize>,
    /// Tokens that are embedded at a time, instead of a number of texts.
    pub mini_batch_num_tokens: Option<usize>,
    /// Keeps the activations of a quarter of the batch at a time, and computes the others again: gradient caching with
    /// `mini_batch_size` set to that, unless it is set already.
    #[serde(alias = "activation_checkpointing")]
    pub gradient_checkpointing: bool,
    /// Halves the mini-batches of gradient caching when the device is out of memory, instead of failing. The batch stays.
    pub auto_find_batch_size: bool,
    /// Computes regularizers over all micro-batches of an update together, as if they were one batch, instead of averaging
    /// their values. Costs a second forward pass where `gradient_accumulation_steps` is above 1.
    pub exact_regularizer: bool,
    /// Peak learning rate.
    #[default = 5e-5]
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub lr_scheduler_type: SchedulerType,
    /// Parameters of that shape.
    pub lr_scheduler_kwargs: SchedulerOptions,
    /// Steps of rising learning rate; below 1 a share of all steps.
    pub warmup_steps: f64,
    /// Share of all steps, rounded up, used where `warmup_steps` is 0.
    pub warmup_ratio: Option<f64>,
    /// Rounds the factors of matrix products to bf16. Parameters, gradients, norms and losses stay in f32.
    pub bf16: bool,
    /// Rounds the factors of matrix products to f16, with dynamic loss scaling.
    pub fp16: bool,
    /// Evaluators embed as with `bf16`. Losses on evaluation data are computed as in training anyway.
    pub bf16_full_eval: bool,
    /// Evaluators embed as with `fp16`.
    pub fp16_full_eval: bool,
    /// Rule by which gradients change parameters.
    pub optim: OptimizerType,
    /// Its options, `name=value,name=value`.
    pub optim_args: Option<String>,
    /// Weight decay, on everything but biases and norms.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment, and β₁ of Lion.
    #[default = 0.9]
    pub adam_beta1: f64,
    /// Decay of AdamW's second moment, and β₂ of Lion.
    #[default = 0.999]
    pub adam_beta2: f64,
    /// Added to AdamW's denominator.
    #[default = 1e-8]
    pub adam_epsilon: f64,
    /// Largest global L2 norm of the gradient; 0 leaves it as it is.
    #[default = 1.0]
    pub max_grad_norm: f64,
    /// Learning rates of parameters whose name matches a regular expression; of several that match, the last in
    /// alphabetical order wins.
    pub learning_rate_mapping: BTreeMap<String, f64>,
    /// Seed of all randomness.
    #[default = 42]
    pub seed: u64,
    /// Seed of the order of the data, instead of `seed`.
    pub data_seed: Option<u64>,
    /// How rows become batches.
    pub batch_sampler: BatchSamplerKind,
    /// Whose order of rows: our own, or that of the reference for the same seed.
    pub order: SampleOrder,
    /// Tokens in a batch of the sampler `token_budget`.
    pub token_budget: Option<usize>,
    /// How batches of several data sets follow each other.
    pub multi_dataset_batch_sampler: MultiDatasetKind,
    /// Leaves out a last batch that isn't full.
    pub dataloader_drop_last: bool,
    /// Text in front of the inputs.
    pub prompts: Option<ColumnPrompts>,
    /// Route of each column in a model with routes: by column, or by data set and column.
    pub router_mapping: BTreeMap<String, Routes>,
    /// Megabytes in which the tokens of texts are remembered from one epoch to the next; 0 tokenizes anew.
    pub tokenization_cache_mb: usize,
    /// When to log.
    #[default(IntervalStrategy::Steps)]
    pub logging_strategy: IntervalStrategy,
    /// Steps between logs; below 1 a share of all steps.
    #[default = 500.0]
    pub logging_steps: f64,
    /// Logs the first step too.
    pub logging_first_step: bool,
    /// Lets the mean of the losses since the last log stand for a loss that is no finite number, in logs. Matters only where
    /// the guard `non_finite` is off.
    #[default = true]
    pub logging_nan_inf_filter: bool,
    /// Adds the number of tokens so far, and tokens per second, to the logs.
    pub include_num_input_tokens_seen: CountTokens,
    /// When to evaluate.
    pub eval_strategy: IntervalStrategy,
    /// Steps between evaluations (default `logging_steps`); below 1 a share of all steps.
    pub eval_steps: Option<f64>,
    /// Steps (or epochs) before the first evaluation.
    pub eval_delay: f64,
    /// Evaluates once before the first step.
    pub eval_on_start: bool,
    /// When to save a checkpoint.
    pub save_strategy: SaveStrategy,
    /// Steps between checkpoints; below 1 a share of all steps.
    #[default = 500.0]
    pub save_steps: f64,
    /// Checkpoints kept, the best one always among them.
    pub save_total_limit: Option<usize>,
    /// Leaves optimizer and position out of checkpoints; they cannot be resumed.
    pub save_only_model: bool,
    /// Returns to the best checkpoint at the end.
    pub load_best_model_at_end: bool,
    /// Metric that decides what is best (default `loss`).
    pub metric_for_best_model: Option<String>,
    /// Whether larger is better (default: unless the metric ends in `loss`).
    pub greater_is_better: Option<bool>,
    /// Evaluations in a row without improvement of `metric_for_best_model` that end the run.
    pub early_stopping_patience: Option<usize>,
    /// By how much the metric must beat the best one before to count as improved, in its own units.
    pub early_stopping_threshold: f64,
    /// Where logs go beside `trainer_state.json`: `none`, `all`, a name or a list of names.
    #[serde(deserialize_with = "tracker::deserialize")]
    pub report_to: Vec<Tracker>,
    /// Name of the run: the folder of its event files.
    pub run_name: Option<String>,
    /// Where event files for TensorBoard go; `runs/NAME` in the output directory by default.
    pub logging_dir: Option<PathBuf>,
    /// Grams of CO2 equivalent for each kWh of electricity; by default the mean over the world (IEA, 2019).
    #[default = 475.0]
    pub carbon_intensity: f64,
    /// Draws `training_curve.svg` into the output directory at the end.
    #[default = true]
    pub training_curve: bool,
    /// Uploads the model to the hub.
    pub push_to_hub: bool,
    /// Repository on the hub (default: the name of `output_dir`); without an owner it is the token's.
    pub hub_model_id: Option<String>,
    /// What is uploaded during the run.
    pub hub_strategy: HubStrategy,
    /// Whether a new repository is private (default: as the hub has it).
    pub hub_private_repo: Option<bool>,
    /// Token of the hub; better left to HF_TOKEN.
    pub hub_token: Option<HubToken>,
    /// Uploads each checkpoint, even while an earlier one is still on its way.
    pub hub_always_push: bool,
    /// Branch of the repository, made if it isn't there (default: main).
    pub hub_revision: Option<String>,
}

impl TrainingArguments {
    /// Arguments that write to `output_dir`, everything else at its default.
    pub fn new(output_dir: impl Into<PathBuf>) -> Self {
        Self {
            output_dir: output_dir.into(),
            ..Self::default()
        }
    }

    /// What of the hub's arguments has no effect.
    pub(crate) fn hub_warnings(&self) -> Vec<String> {
        if self.push_to_hub {
            return Vec::new();
        }
        let defaults = Self::default();
        let given = [
            ("hub_model_id", self.hub_model_id.is_some()),
            ("hub_strategy", self.hub_strategy != defaults.hub_strategy),
            ("hub_private_repo", self.hub_private_repo.is_some()),
            ("hub_token", self.hub_token.is_some()),
            ("hub_always_push", self.hub_always_push),
            ("hub_revision", self.hub_revision.is_some()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| {
                format!("`arguments.{name}` has no effect without `push_to_hub = true`")
            })
            .collect()
    }

    /// Precision of the training's matrix products.
    pub(crate) fn precision(&self) -> Precision {
        precision(self.bf16, self.fp16)
    }

    /// Precision of the evaluators' matrix products.
    pub(crate) fn evaluation_precision(&self) -> Precision {
        precision(self.bf16_full_eval, self.fp16_full_eval)
    }

    /// The metric that decides what is best, with its prefix, where one is asked for.
    pub fn best_metric(&self) -> Option<String> {
        let needed = self.load_best_model_at_end || self.lr_scheduler_type.follows_metric();
        let name = match (&self.metric_for_best_model, needed) {
            (Some(name), _) => name.as_str(),
            (None, true) => "loss",
            (None, false) => return None,
        };
        Some(if name.starts_with("eval_") {
            name.to_owned()
        } else {
            format!("eval_{name}")
        })
    }

    /// Whether a larger value of [`Self::best_metric`] is better.
    pub fn larger_is_better(&self) -> bool {
        self.greater_is_better.unwrap_or_else(|| {
            !self
                .best_metric()
                .is_some_and(|name| name.ends_with("loss"))
        })
    }

    /// Learning rates of a run of `total_steps`.
    pub(crate) fn schedule(&self, total_steps: usize) -> Result<LearningRateSchedule> {
        let mut options = self.lr_scheduler_kwargs.clone();
        if self.lr_scheduler_type.follows_metric()
            && options.mode.is_none()
            && self.larger_is_better()
        {
            options.mode = Some(MetricMode::Max);
        }
        LearningRateSchedule::new(
            self.lr_scheduler_type,
            options,
            self.learning_rate,
            self.warmup(total_steps),
            total_steps,
        )
    }

    /// Texts embedded at a time, where the arguments ask for gradient caching by texts.
    pub(crate) fn cached_rows(&self) -> Option<usize> {
        self.mini_batch_size.or_else(|| {
            self.gradient_checkpointing
                .then(|| self.per_device_train_batch_size.div_ceil(4))
        })
    }

    /// Warm-up steps of a run of `total_steps`.
    pub fn warmup(&self, total_steps: usize) -> usize {
        match (self.warmup_steps, self.warmup_ratio) {
            (steps, _) if steps >= 1.0 => steps as usize,
            (steps, _) if steps > 0.0 => share(steps, total_steps),
            (_, Some(ratio)) => share(ratio, total_steps),
            _ => 0,
        }
    }

    /// Steps between evaluations in a run of `total_steps`.
    pub(crate) fn eval_interval(&self, total_steps: usize) -> usize {
        interval(self.eval_steps.unwrap_or(self.logging_steps), total_steps)
    }

    /// Steps between logs in a run of `total_steps`.
    pub(crate) fn logging_interval(&self, total_steps: usize) -> usize {
        interval(self.logging_steps, total_steps)
    }

    /// Steps between checkpoints in a run of `total_steps`.
    pub(crate) fn save_interval(&self, total_steps: usize) -> usize {
        interval(self.save_steps, total_steps)
    }
}

fn precision(bf16: bool, fp16: bool) -> Precision {
    match (bf16, fp16) {
        (true, _) => Precision::Bf16,
        (_, true) => Precision::F16,
        _ => Precision::F32,
    }
}

/// `ceil(total · ratio)`, as the reference rounds shares of a run.
fn share(ratio: f64, total_steps: usize) -> usize {
    (total_steps as f64 * ratio).ceil() as usize
}

fn interval(steps: f64, total_steps: usize) -> usize {
    if steps < 1.0 {
        share(steps, total_steps).max(1)
    } else {
        steps as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference() {
        let arguments = TrainingArguments::default();
        arguments.validate().unwrap();
        assert_eq!(
            (arguments.learning_rate, arguments.num_train_epochs),
            (5e-5, 3.0)
        );
        assert_eq!(
            (arguments.logging_steps, arguments.save_steps),
            (500.0, 500.0)
        );
        assert_eq!(arguments.best_metric(), None);
    }

    #[test]
    fn warm_up_is_counted_as_the_reference_counts_it() {
        let mut arguments = TrainingArguments::default();
        assert_eq!(arguments.warmup(331), 0);
        arguments.warmup_ratio = Some(0.1);
        assert_eq!(arguments.warmup(331), 34); // ceil(33.1)
        arguments.warmup_steps = 0.5;
        assert_eq!(arguments.warmup(331), 166); // the steps win over the ratio
        arguments.warmup_steps = 7.0;
        assert_eq!(arguments.warmup(331), 7);
    }

    #[test]
    fn a_plateau_is_one_of_the_metric_that_decides_what_is_best() {
        let rate = |metric: &str, values: [f64; 2]| {
            let mut arguments = TrainingArguments {
                lr_scheduler_type: SchedulerType::ReduceLrOnPlateau,
                metric_for_best_model: Some(metric.to_owned()),
                learning_rate: 1.0,
                ..TrainingArguments::default()
            };
            arguments.lr_scheduler_kwargs.patience = Some(0);
            let mut schedule = arguments.schedule(10).unwrap();
            for value in values {
                schedule.observe(value);
            }
            schedule.rate(5)
        };
        assert_eq!(rate("loss", [2.0, 1.0]), 1.0);
        assert_eq!(rate("loss", [1.0, 2.0]), 0.1);
        assert_eq!(rate("x_dot_ndcg@10", [0.1, 0.2]), 1.0);
        assert_eq!(rate("x_dot_ndcg@10", [0.2, 0.1]), 0.1);
    }
}
