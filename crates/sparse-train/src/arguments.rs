//! What a training run can be told: `[arguments]` of a training file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_data::{BatchSamplerKind, MultiDatasetKind, SampleOrder};

use crate::callback::Tracker;
use crate::error::{Error, Result};
use crate::hub::{HubStrategy, HubToken};
use crate::schedule::{SchedulerOptions, SchedulerType};

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
#[serde(untagged)]
pub enum Prompts {
    /// In front of every text.
    All(String),
    /// Keyed by column or data set.
    Named(BTreeMap<String, Self>),
}

/// The route of a column, or of the columns of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
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
/// Unknown names are errors. Values are checked by [`TrainingArguments::validate`] before anything is loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingArguments {
    /// Directory of checkpoints, evaluation files and the final model (`final`).
    pub output_dir: PathBuf,
    /// Passes over the data; a fraction stops within the last one.
    pub num_train_epochs: f64,
    /// Update steps; above 0 it overrides `num_train_epochs`.
    pub max_steps: i64,
    /// Rows of a micro-batch.
    pub per_device_train_batch_size: usize,
    /// Rows of a batch of an evaluation data set.
    pub per_device_eval_batch_size: usize,
    /// Micro-batches whose gradients are averaged into one update.
    pub gradient_accumulation_steps: usize,
    /// Texts that are embedded at a time: turns gradient caching on, which trains on a large batch in the memory of a small
    /// one and gives the same gradient, with any loss.
    pub mini_batch_size: Option<usize>,
    /// Tokens that are embedded at a time, instead of a number of texts.
    pub mini_batch_num_tokens: Option<usize>,
    /// Computes regularisers over all micro-batches of an update together, as if they were one batch, instead of averaging
    /// their values. Costs a second forward pass where `gradient_accumulation_steps` is above 1.
    pub exact_regularizer: bool,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub lr_scheduler_type: SchedulerType,
    /// Parameters of that shape.
    pub lr_scheduler_kwargs: SchedulerOptions,
    /// Steps of rising learning rate; below 1 a share of all steps.
    pub warmup_steps: f64,
    /// Share of all steps, rounded up, used where `warmup_steps` is 0.
    pub warmup_ratio: Option<f64>,
    /// Decoupled weight decay, on everything but biases and norms.
    pub weight_decay: f64,
    /// Decay of AdamW's first moment.
    pub adam_beta1: f64,
    /// Decay of AdamW's second moment.
    pub adam_beta2: f64,
    /// Added to AdamW's denominator.
    pub adam_epsilon: f64,
    /// Largest global L2 norm of the gradient; 0 leaves it as it is.
    pub max_grad_norm: f64,
    /// Learning rates of parameters whose name matches a regular expression.
    pub learning_rate_mapping: BTreeMap<String, f64>,
    /// Seed of all randomness.
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
    pub prompts: Option<Prompts>,
    /// Route of each column in a model with routes: by column, or by data set and column.
    pub router_mapping: BTreeMap<String, Routes>,
    /// Megabytes in which the tokens of texts are remembered from one epoch to the next; 0 tokenizes anew.
    pub tokenization_cache_mb: usize,
    /// When to log.
    pub logging_strategy: IntervalStrategy,
    /// Steps between logs; below 1 a share of all steps.
    pub logging_steps: f64,
    /// Logs the first step too.
    pub logging_first_step: bool,
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
    pub save_steps: f64,
    /// Checkpoints kept, the best one always among them.
    pub save_total_limit: Option<usize>,
    /// Leaves optimizer and position out of checkpoints; they can't be resumed.
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
    #[serde(deserialize_with = "crate::callback::deserialize_trackers")]
    pub report_to: Vec<Tracker>,
    /// Name of the run: the folder of its event files.
    pub run_name: Option<String>,
    /// Where event files for TensorBoard go; `runs/NAME` in the output directory by default.
    pub logging_dir: Option<PathBuf>,
    /// Grams of CO2 equivalent for each kWh of electricity; by default the mean over the world (IEA, 2019).
    pub carbon_intensity: f64,
    /// Draws `training_curve.svg` into the output directory at the end.
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

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            output_dir: PathBuf::from("trainer_output"),
            num_train_epochs: 3.0,
            max_steps: -1,
            per_device_train_batch_size: 8,
            per_device_eval_batch_size: 8,
            gradient_accumulation_steps: 1,
            mini_batch_size: None,
            mini_batch_num_tokens: None,
            exact_regularizer: false,
            learning_rate: 5e-5,
            lr_scheduler_type: SchedulerType::Linear,
            lr_scheduler_kwargs: SchedulerOptions::default(),
            warmup_steps: 0.0,
            warmup_ratio: None,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            learning_rate_mapping: BTreeMap::new(),
            seed: 42,
            data_seed: None,
            batch_sampler: BatchSamplerKind::default(),
            order: SampleOrder::default(),
            token_budget: None,
            multi_dataset_batch_sampler: MultiDatasetKind::default(),
            dataloader_drop_last: false,
            prompts: None,
            router_mapping: BTreeMap::new(),
            tokenization_cache_mb: 0,
            logging_strategy: IntervalStrategy::Steps,
            logging_steps: 500.0,
            logging_first_step: false,
            eval_strategy: IntervalStrategy::No,
            eval_steps: None,
            eval_delay: 0.0,
            eval_on_start: false,
            save_strategy: SaveStrategy::Steps,
            save_steps: 500.0,
            save_total_limit: None,
            save_only_model: false,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            early_stopping_patience: None,
            early_stopping_threshold: 0.0,
            report_to: Vec::new(),
            run_name: None,
            logging_dir: None,
            carbon_intensity: 475.0,
            training_curve: true,
            push_to_hub: false,
            hub_model_id: None,
            hub_strategy: HubStrategy::default(),
            hub_private_repo: None,
            hub_token: None,
            hub_always_push: false,
            hub_revision: None,
        }
    }
}

/// Arguments of the reference that this product doesn't take, and what to do instead.
pub(crate) const REFUSED: &[(&str, &str)] = &[
    ("fp16", "isn't supported yet: leave it out to train in f32"),
    ("bf16", "isn't supported yet: leave it out to train in f32"),
    (
        "tf32",
        "is a switch of one vendor's GPUs in the reference; leave it out",
    ),
    ("optim", "isn't needed: AdamW is the optimizer"),
    (
        "use_cpu",
        "isn't needed: choose the device with `--device cpu`",
    ),
    (
        "no_cuda",
        "isn't needed: choose the device with `--device cpu`",
    ),
    (
        "gradient_checkpointing",
        "isn't supported yet: set `mini_batch_size`, which takes less memory and gives the same gradient",
    ),
    (
        "auto_find_batch_size",
        "isn't supported yet: set `mini_batch_size`, which takes less memory and gives the same gradient",
    ),
    (
        "dataloader_num_workers",
        "isn't needed: tokenization uses every core",
    ),
    (
        "dataloader_prefetch_factor",
        "isn't needed: tokenization uses every core",
    ),
    (
        "remove_unused_columns",
        "has no effect in the reference either: choose with `columns` of the data set",
    ),
    ("evaluation_strategy", "is called `eval_strategy`"),
    (
        "train_batch_size",
        "is called `per_device_train_batch_size`",
    ),
    ("batch_size", "is called `per_device_train_batch_size`"),
    (
        "lambda_query",
        "is called `query_regularizer_weight`, in `[loss]`",
    ),
    (
        "lambda_corpus",
        "is called `document_regularizer_weight`, in `[loss]`",
    ),
];

impl TrainingArguments {
    /// Arguments that write to `output_dir`, everything else at its default.
    pub fn new(output_dir: impl Into<PathBuf>) -> Self {
        Self {
            output_dir: output_dir.into(),
            ..Self::default()
        }
    }

    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] naming the first argument outside its domain.
    pub fn validate(&self) -> Result<()> {
        let positive = [
            ("num_train_epochs", self.num_train_epochs),
            ("adam_epsilon", self.adam_epsilon),
        ];
        for (name, value) in positive {
            check(
                name,
                value,
                value.is_finite() && value > 0.0,
                "must be a number above 0",
            )?;
        }
        let not_negative = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("warmup_steps", self.warmup_steps),
            ("eval_delay", self.eval_delay),
        ];
        for (name, value) in not_negative {
            check(
                name,
                value,
                value.is_finite() && value >= 0.0,
                "must be 0 or above",
            )?;
        }
        for (name, value) in [
            ("adam_beta1", self.adam_beta1),
            ("adam_beta2", self.adam_beta2),
        ] {
            check(
                name,
                value,
                (0.0..1.0).contains(&value),
                "must be in [0, 1)",
            )?;
        }
        if let Some(ratio) = self.warmup_ratio {
            check(
                "warmup_ratio",
                ratio,
                (0.0..=1.0).contains(&ratio),
                "must be in [0, 1]",
            )?;
        }
        for (pattern, rate) in &self.learning_rate_mapping {
            let key = format!("learning_rate_mapping.\"{pattern}\"");
            check(
                &key,
                *rate,
                rate.is_finite() && *rate >= 0.0,
                "must be 0 or above",
            )?;
        }
        let counts = [
            (
                "per_device_train_batch_size",
                self.per_device_train_batch_size,
            ),
            (
                "per_device_eval_batch_size",
                self.per_device_eval_batch_size,
            ),
            (
                "gradient_accumulation_steps",
                self.gradient_accumulation_steps,
            ),
            ("mini_batch_size", self.mini_batch_size.unwrap_or(1)),
            (
                "mini_batch_num_tokens",
                self.mini_batch_num_tokens.unwrap_or(1),
            ),
        ];
        for (name, value) in counts {
            check(name, value as f64, value > 0, "must be at least 1")?;
        }
        let intervals = [
            ("logging_steps", Some(self.logging_steps)),
            ("save_steps", Some(self.save_steps)),
            ("eval_steps", self.eval_steps),
        ];
        for (name, value) in intervals {
            let Some(value) = value else { continue };
            let whole = value < 1.0 || value.fract() == 0.0;
            check(
                name,
                value,
                value.is_finite() && value > 0.0 && whole,
                "must be a whole number of steps, or a share of all steps below 1",
            )?;
        }
        self.validate_reports()?;
        self.validate_best_model()
    }

    fn validate_best_model(&self) -> Result<()> {
        let refuse = |name: &str, message: String| {
            Err(Error::argument(format!("arguments.{name}"), message))
        };
        if self.save_strategy == SaveStrategy::Best && self.metric_for_best_model.is_none() {
            return refuse(
                "save_strategy",
                "= \"best\" needs `metric_for_best_model`".into(),
            );
        }
        if self.save_total_limit == Some(0) {
            return refuse(
                "save_total_limit",
                "must be at least 1; leave it out to keep every checkpoint".into(),
            );
        }
        if !self.load_best_model_at_end {
            return Ok(());
        }
        if self.eval_strategy == IntervalStrategy::No {
            return refuse(
                "load_best_model_at_end",
                "needs an `eval_strategy` of \"steps\" or \"epoch\"".into(),
            );
        }
        let same = match self.save_strategy {
            SaveStrategy::Best => return Ok(()),
            SaveStrategy::No => false,
            SaveStrategy::Steps => self.eval_strategy == IntervalStrategy::Steps,
            SaveStrategy::Epoch => self.eval_strategy == IntervalStrategy::Epoch,
        };
        if !same {
            return refuse(
                "load_best_model_at_end",
                "needs `save_strategy` and `eval_strategy` to be the same, or `save_strategy = \"best\"`".into(),
            );
        }
        if self.save_strategy == SaveStrategy::Steps {
            let eval_steps = self.eval_steps.unwrap_or(self.logging_steps);
            let both_shares = eval_steps < 1.0 && self.save_steps < 1.0;
            let ratio = self.save_steps / eval_steps;
            if (eval_steps < 1.0) != (self.save_steps < 1.0)
                || (!both_shares && ratio.fract() != 0.0)
                || (both_shares && (ratio - ratio.round()).abs() > 1e-9)
            {
                return refuse(
                    "save_steps",
                    format!(
                        "must be a multiple of `eval_steps` ({eval_steps}) with `load_best_model_at_end`; got {}",
                        self.save_steps
                    ),
                );
            }
        }
        Ok(())
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

    /// The metric that decides what is best, with its prefix, where one is asked for.
    pub fn best_metric(&self) -> Option<String> {
        let name = match (&self.metric_for_best_model, self.load_best_model_at_end) {
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

fn check(name: &str, value: f64, holds: bool, expected: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::argument(
        format!("arguments.{name}"),
        format!("{expected}; got {value}"),
    ))
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

    fn refusal(change: impl FnOnce(&mut TrainingArguments)) -> String {
        let mut arguments = TrainingArguments::default();
        change(&mut arguments);
        arguments.validate().unwrap_err().to_string()
    }

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
    fn values_outside_their_domain_are_named() {
        assert_eq!(
            refusal(|a| a.learning_rate = -1.0),
            "`arguments.learning_rate` must be 0 or above; got -1"
        );
        assert_eq!(
            refusal(|a| a.learning_rate = f64::NAN),
            "`arguments.learning_rate` must be 0 or above; got NaN"
        );
        assert_eq!(
            refusal(|a| a.per_device_train_batch_size = 0),
            "`arguments.per_device_train_batch_size` must be at least 1; got 0"
        );
        assert_eq!(
            refusal(|a| a.mini_batch_size = Some(0)),
            "`arguments.mini_batch_size` must be at least 1; got 0"
        );
        assert_eq!(
            refusal(|a| a.eval_steps = Some(2.5)),
            "`arguments.eval_steps` must be a whole number of steps, or a share of all steps below 1; got 2.5"
        );
        assert_eq!(
            refusal(|a| a.adam_beta2 = 1.0),
            "`arguments.adam_beta2` must be in [0, 1); got 1"
        );
    }

    #[test]
    fn contradictions_are_named() {
        let message = refusal(|a| a.load_best_model_at_end = true);
        assert!(message.contains("needs an `eval_strategy`"), "{message}");
        let message = refusal(|a| {
            a.load_best_model_at_end = true;
            a.eval_strategy = IntervalStrategy::Steps;
            a.eval_steps = Some(3.0);
            a.save_steps = 10.0;
        });
        assert!(
            message.contains("multiple of `eval_steps` (3)"),
            "{message}"
        );
        let message = refusal(|a| a.save_strategy = SaveStrategy::Best);
        assert!(message.contains("metric_for_best_model"), "{message}");
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
}
