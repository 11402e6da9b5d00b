//! Values outside their domain, and contradictions between arguments.

use super::{IntervalStrategy, SaveStrategy, TrainingArguments};
use crate::error::{Error, Result};
use crate::optimizer::Rule;

/// What an argument must be, and whether a number is.
type Domain = (&'static str, fn(f64) -> bool);

const POSITIVE: Domain = ("must be a number above 0", |x| x.is_finite() && x > 0.0);
const NOT_NEGATIVE: Domain = ("must be 0 or above", |x| x.is_finite() && x >= 0.0);
const DECAY: Domain = ("must be in [0, 1)", |x| (0.0..1.0).contains(&x));
const SHARE: Domain = ("must be in [0, 1]", |x| (0.0..=1.0).contains(&x));
const COUNT: Domain = ("must be at least 1", |x| x >= 1.0);
const INTERVAL: Domain = (
    "must be a whole number of steps, or a share of all steps below 1",
    |x| x.is_finite() && x > 0.0 && (x < 1.0 || x.fract() == 0.0),
);

/// A number, or none, of an argument.
trait Number: Copy {
    fn number(self) -> Option<f64>;
}

impl Number for f64 {
    fn number(self) -> Option<f64> {
        Some(self)
    }
}

impl Number for usize {
    fn number(self) -> Option<f64> {
        Some(self as f64)
    }
}

impl<T: Number> Number for Option<T> {
    fn number(self) -> Option<f64> {
        self.and_then(T::number)
    }
}

/// Fails unless every argument that is given lies in its domain.
macro_rules! require {
    ($self:ident; $($domain:ident: $($name:ident),+;)+) => {
        $($(check(stringify!($name), $self.$name, $domain)?;)+)+
    };
}

impl TrainingArguments {
    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] naming the first argument outside its domain.
    pub fn validate(&self) -> Result<()> {
        if self.output_dir.as_os_str().is_empty() {
            return refuse("output_dir", "must name a directory; got an empty text");
        }
        require!(self;
            POSITIVE: num_train_epochs, adam_epsilon;
            NOT_NEGATIVE: learning_rate, weight_decay, max_grad_norm, warmup_steps, eval_delay;
            DECAY: adam_beta1, adam_beta2;
            SHARE: warmup_ratio;
            COUNT: per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps, mini_batch_size,
                mini_batch_num_tokens;
            INTERVAL: logging_steps, save_steps, eval_steps;
        );
        for (pattern, rate) in &self.learning_rate_mapping {
            let name = format!("learning_rate_mapping.\"{pattern}\"");
            check(&name, *rate, NOT_NEGATIVE)?;
        }
        self.check_steps()?;
        self.check_precision()?;
        // Options of the schedule and of the optimizer, before anything is loaded.
        self.schedule(usize::MAX >> 12)?;
        Rule::new(self)?;
        self.validate_reports()?;
        self.check_saving()?;
        self.check_best_model()
    }

    /// Checks the length of the run against that of the warm-up, and a schedule that follows a metric.
    fn check_steps(&self) -> Result<()> {
        let (max, warmup) = (self.max_steps, self.warmup_steps);
        if max == 0 || max < -1 {
            let expected = "must be at least 1, or -1 to let `num_train_epochs` decide";
            return refuse("max_steps", format!("{expected}; got {max}"));
        }
        if warmup >= 1.0 {
            check("warmup_steps", warmup, INTERVAL)?;
        }
        let kind = self.lr_scheduler_type;
        if max > 0 && kind.warms_up() && warmup > max as f64 {
            return refuse(
                "warmup_steps",
                format!(
                    "must not be above `max_steps` ({max}): the rate would never reach its peak; got {warmup}"
                ),
            );
        }
        if kind.follows_metric() && self.eval_strategy == IntervalStrategy::No {
            let needed = "follows a metric: it needs an `eval_strategy` of \"steps\" or \"epoch\"";
            return refuse("lr_scheduler_type", needed);
        }
        Ok(())
    }

    fn check_precision(&self) -> Result<()> {
        for (name, both) in [
            ("fp16", self.fp16 && self.bf16),
            ("fp16_full_eval", self.fp16_full_eval && self.bf16_full_eval),
        ] {
            if both {
                let other = name.replace("fp16", "bf16");
                return refuse(name, format!("excludes `{other}`: choose one of them"));
            }
        }
        Ok(())
    }

    fn check_saving(&self) -> Result<()> {
        if self.save_strategy == SaveStrategy::Best && self.metric_for_best_model.is_none() {
            return refuse("save_strategy", "= \"best\" needs `metric_for_best_model`");
        }
        if self.save_total_limit == Some(0) {
            let expected = "must be at least 1; leave it out to keep every checkpoint";
            return refuse("save_total_limit", expected);
        }
        Ok(())
    }

    /// Checks that every evaluation that may be the best has a checkpoint.
    fn check_best_model(&self) -> Result<()> {
        const NAME: &str = "load_best_model_at_end";
        if !self.load_best_model_at_end {
            return Ok(());
        }
        let same = match (self.save_strategy, self.eval_strategy) {
            (_, IntervalStrategy::No) => {
                return refuse(NAME, "needs an `eval_strategy` of \"steps\" or \"epoch\"");
            }
            (SaveStrategy::Best, _) => return Ok(()),
            (SaveStrategy::Steps, evaluated) => evaluated == IntervalStrategy::Steps,
            (SaveStrategy::Epoch, evaluated) => evaluated == IntervalStrategy::Epoch,
            (SaveStrategy::No, _) => false,
        };
        if !same {
            return refuse(
                NAME,
                "needs `save_strategy` and `eval_strategy` to be the same, or `save_strategy = \"best\"`",
            );
        }
        if self.save_strategy != SaveStrategy::Steps {
            return Ok(());
        }
        let (save, eval) = (
            self.save_steps,
            self.eval_steps.unwrap_or(self.logging_steps),
        );
        let ratio = save / eval;
        let fits = match (save < 1.0, eval < 1.0) {
            (true, true) => (ratio - ratio.round()).abs() <= 1e-9,
            (false, false) => ratio.fract() == 0.0,
            _ => false,
        };
        if !fits {
            return refuse(
                "save_steps",
                format!(
                    "must be a multiple of `eval_steps` ({eval}) with `load_best_model_at_end`; got {save}"
                ),
            );
        }
        Ok(())
    }

    /// Arguments that have no effect because of others.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.without_effect_on_weights();
        warnings.extend(self.without_effect_on_the_course());
        warnings
    }

    fn without_effect_on_weights(&self) -> Vec<String> {
        let default = Self::default();
        let name_of = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
        let optim = format!("`optim` is {}", name_of(serde_json::to_value(self.optim)));
        let schedule = format!(
            "`lr_scheduler_type` {} has no warm-up",
            name_of(serde_json::to_value(self.lr_scheduler_type))
        );
        let (reads_betas, reads_epsilon) = self.optim.reads_adam();
        let warms_up = self.lr_scheduler_type.warms_up();
        let warmup_ratio = self.warmup_ratio.is_some();
        ineffective(&[
            (
                "adam_beta1",
                self.adam_beta1 != default.adam_beta1 && !reads_betas,
                &optim,
            ),
            (
                "adam_beta2",
                self.adam_beta2 != default.adam_beta2 && !reads_betas,
                &optim,
            ),
            (
                "adam_epsilon",
                self.adam_epsilon != default.adam_epsilon && !reads_epsilon,
                &optim,
            ),
            (
                "warmup_steps",
                !warms_up && self.warmup_steps > 0.0,
                &schedule,
            ),
            (
                "warmup_ratio",
                !warms_up && self.warmup_ratio > Some(0.0),
                &schedule,
            ),
            (
                "warmup_ratio",
                warms_up && warmup_ratio && self.warmup_steps > 0.0,
                "`warmup_steps` is given too",
            ),
        ])
    }

    fn without_effect_on_the_course(&self) -> Vec<String> {
        let default = Self::default();
        let not_evaluated = self.eval_strategy == IntervalStrategy::No;
        let rows = self.mini_batch_size.is_some();
        let tokens = self.mini_batch_num_tokens.is_some();
        ineffective(&[
            (
                "num_train_epochs",
                self.max_steps > 0 && self.num_train_epochs != default.num_train_epochs,
                "`max_steps` is given too",
            ),
            (
                "greater_is_better",
                self.greater_is_better.is_some() && self.best_metric().is_none(),
                "there is no `metric_for_best_model`",
            ),
            (
                "metric_for_best_model",
                self.metric_for_best_model.is_some() && not_evaluated,
                "nothing is evaluated while `eval_strategy` is \"no\"",
            ),
            (
                "eval_steps",
                self.eval_strategy != IntervalStrategy::Steps && self.eval_steps.is_some(),
                "`eval_strategy` isn't \"steps\"",
            ),
            (
                "save_steps",
                self.save_strategy != SaveStrategy::Steps && self.save_steps != default.save_steps,
                "`save_strategy` isn't \"steps\"",
            ),
            (
                "exact_regularizer",
                self.exact_regularizer && self.gradient_accumulation_steps == 1,
                "`gradient_accumulation_steps` is 1, which is exact already",
            ),
            (
                "mini_batch_size",
                rows && tokens,
                "`mini_batch_num_tokens` is given too",
            ),
            (
                "gradient_checkpointing",
                self.gradient_checkpointing && (rows || tokens),
                "mini-batches are given, which do the same",
            ),
        ])
    }
}

/// A warning of each argument that is given in vain, with the reason.
fn ineffective(arguments: &[(&str, bool, &str)]) -> Vec<String> {
    let given = arguments.iter().filter(|(_, given, _)| *given);
    given
        .map(|(name, _, reason)| format!("`arguments.{name}` has no effect: {reason}"))
        .collect()
}

fn refuse(name: &str, message: impl Into<String>) -> Result<()> {
    Err(Error::argument(format!("arguments.{name}"), message))
}

fn check(name: &str, value: impl Number, (expected, holds): Domain) -> Result<()> {
    match value.number() {
        Some(value) if !holds(value) => refuse(name, format!("{expected}; got {value}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
