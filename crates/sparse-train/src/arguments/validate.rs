//! Values outside their domain, contradictions between arguments, and arguments that others leave without effect.

use super::{IntervalStrategy, SaveStrategy, TrainingArguments};
use crate::error::{Error, Result};
use crate::optimizer::Rule;

impl TrainingArguments {
    /// Checks every value by itself and against the others.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] naming the first argument outside its domain.
    pub fn validate(&self) -> Result<()> {
        if self.output_dir.as_os_str().is_empty() {
            return Err(Error::argument(
                "arguments.output_dir",
                "must name a directory; got an empty text",
            ));
        }
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
        self.validate_together()?;
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

    /// Checks arguments that have a say in each other.
    fn validate_together(&self) -> Result<()> {
        let refuse = |name: &str, message: String| {
            Err(Error::argument(format!("arguments.{name}"), message))
        };
        if self.max_steps == 0 || self.max_steps < -1 {
            return refuse(
                "max_steps",
                format!(
                    "must be at least 1, or -1 to let `num_train_epochs` decide; got {}",
                    self.max_steps
                ),
            );
        }
        if self.warmup_steps >= 1.0 && self.warmup_steps.fract() != 0.0 {
            return refuse(
                "warmup_steps",
                format!(
                    "must be a whole number of steps, or a share of all steps below 1; got {}",
                    self.warmup_steps
                ),
            );
        }
        if self.max_steps > 0
            && self.lr_scheduler_type.warms_up()
            && self.warmup_steps > self.max_steps as f64
        {
            return refuse(
                "warmup_steps",
                format!(
                    "must not be above `max_steps` ({}): the rate would never reach its peak; got {}",
                    self.max_steps, self.warmup_steps
                ),
            );
        }
        if self.lr_scheduler_type.follows_metric() && self.eval_strategy == IntervalStrategy::No {
            return refuse(
                "lr_scheduler_type",
                "follows a metric: it needs an `eval_strategy` of \"steps\" or \"epoch\""
                    .to_owned(),
            );
        }
        for (name, both) in [
            ("fp16", self.fp16 && self.bf16),
            ("fp16_full_eval", self.fp16_full_eval && self.bf16_full_eval),
        ] {
            if both {
                let other = name.replace("fp16", "bf16");
                return refuse(name, format!("excludes `{other}`: choose one of them"));
            }
        }
        // Options of the schedule and of the optimizer, before anything is loaded.
        self.schedule(usize::MAX >> 12)?;
        Rule::new(self).map(|_| ())
    }

    /// Arguments that have no effect because of others.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let default = Self::default();
        let mut warnings = Vec::new();
        let mut without_effect = |name: &str, reason: String| {
            warnings.push(format!("`arguments.{name}` has no effect: {reason}"));
        };
        let optim = || {
            let name = serde_json::to_value(self.optim).unwrap_or_default();
            format!("`optim` is {name}")
        };
        let (reads_betas, reads_epsilon) = self.optim.reads_adam();
        for (name, value, default, read) in [
            (
                "adam_beta1",
                self.adam_beta1,
                default.adam_beta1,
                reads_betas,
            ),
            (
                "adam_beta2",
                self.adam_beta2,
                default.adam_beta2,
                reads_betas,
            ),
            (
                "adam_epsilon",
                self.adam_epsilon,
                default.adam_epsilon,
                reads_epsilon,
            ),
        ] {
            if value != default && !read {
                without_effect(name, optim());
            }
        }
        if !self.lr_scheduler_type.warms_up() {
            let given = [
                ("warmup_steps", self.warmup_steps > 0.0),
                (
                    "warmup_ratio",
                    self.warmup_ratio.is_some_and(|ratio| ratio > 0.0),
                ),
            ];
            for (name, _) in given.into_iter().filter(|(_, given)| *given) {
                let name_of = serde_json::to_value(self.lr_scheduler_type).unwrap_or_default();
                without_effect(
                    name,
                    format!("`lr_scheduler_type` {name_of} has no warm-up"),
                );
            }
        } else if self.warmup_steps > 0.0 && self.warmup_ratio.is_some() {
            without_effect("warmup_ratio", "`warmup_steps` is given too".to_owned());
        }
        if self.max_steps > 0 && self.num_train_epochs != default.num_train_epochs {
            without_effect("num_train_epochs", "`max_steps` is given too".to_owned());
        }
        if self.greater_is_better.is_some() && self.best_metric().is_none() {
            without_effect(
                "greater_is_better",
                "there is no `metric_for_best_model`".to_owned(),
            );
        }
        if self.metric_for_best_model.is_some() && self.eval_strategy == IntervalStrategy::No {
            without_effect(
                "metric_for_best_model",
                "nothing is evaluated while `eval_strategy` is \"no\"".to_owned(),
            );
        }
        if self.eval_strategy != IntervalStrategy::Steps && self.eval_steps.is_some() {
            without_effect("eval_steps", "`eval_strategy` isn't \"steps\"".to_owned());
        }
        if self.save_strategy != SaveStrategy::Steps && self.save_steps != default.save_steps {
            without_effect("save_steps", "`save_strategy` isn't \"steps\"".to_owned());
        }
        if self.exact_regularizer && self.gradient_accumulation_steps == 1 {
            without_effect(
                "exact_regularizer",
                "`gradient_accumulation_steps` is 1, which is exact already".to_owned(),
            );
        }
        if self.mini_batch_size.is_some() && self.mini_batch_num_tokens.is_some() {
            without_effect(
                "mini_batch_size",
                "`mini_batch_num_tokens` is given too".to_owned(),
            );
        }
        if self.gradient_checkpointing
            && (self.mini_batch_size.is_some() || self.mini_batch_num_tokens.is_some())
        {
            without_effect(
                "gradient_checkpointing",
                "mini-batches are given, which do the same".to_owned(),
            );
        }
        warnings
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::OptimizerType;
    use crate::schedule::{SchedulerOptions, SchedulerType};

    fn refusal(change: impl FnOnce(&mut TrainingArguments)) -> String {
        let mut arguments = TrainingArguments::default();
        change(&mut arguments);
        arguments.validate().unwrap_err().to_string()
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

    /// Each change of a good configuration, and what must be said about it.
    #[test]
    fn every_bad_value_has_one_message() {
        type Change = fn(&mut TrainingArguments);
        let cases: &[(Change, &str)] = &[
            (
                |a| a.output_dir = "".into(),
                "`arguments.output_dir` must name a directory; got an empty text",
            ),
            (
                |a| a.num_train_epochs = 0.0,
                "`arguments.num_train_epochs` must be a number above 0; got 0",
            ),
            (
                |a| (a.fp16, a.bf16) = (true, true),
                "`arguments.fp16` excludes `bf16`: choose one of them",
            ),
            (
                |a| (a.fp16_full_eval, a.bf16_full_eval) = (true, true),
                "`arguments.fp16_full_eval` excludes `bf16_full_eval`",
            ),
            (
                |a| a.max_steps = 0,
                "`arguments.max_steps` must be at least 1, or -1",
            ),
            (|a| a.max_steps = -5, "got -5"),
            (
                |a| a.per_device_eval_batch_size = 0,
                "`arguments.per_device_eval_batch_size` must be at least 1",
            ),
            (
                |a| a.gradient_accumulation_steps = 0,
                "`arguments.gradient_accumulation_steps` must be at least 1",
            ),
            (
                |a| a.mini_batch_num_tokens = Some(0),
                "`arguments.mini_batch_num_tokens` must be at least 1",
            ),
            (
                |a| a.weight_decay = -0.1,
                "`arguments.weight_decay` must be 0 or above; got -0.1",
            ),
            (
                |a| a.max_grad_norm = f64::INFINITY,
                "`arguments.max_grad_norm` must be 0 or above; got inf",
            ),
            (
                |a| a.adam_beta1 = -0.1,
                "`arguments.adam_beta1` must be in [0, 1); got -0.1",
            ),
            (
                |a| a.adam_epsilon = 0.0,
                "`arguments.adam_epsilon` must be a number above 0",
            ),
            (
                |a| a.warmup_ratio = Some(1.5),
                "`arguments.warmup_ratio` must be in [0, 1]; got 1.5",
            ),
            (
                |a| a.warmup_steps = -1.0,
                "`arguments.warmup_steps` must be 0 or above; got -1",
            ),
            (
                |a| a.warmup_steps = 2.5,
                "`arguments.warmup_steps` must be a whole number",
            ),
            (
                |a| a.logging_steps = 0.0,
                "`arguments.logging_steps` must be a whole number of steps",
            ),
            (
                |a| a.save_steps = 1.5,
                "`arguments.save_steps` must be a whole number of steps",
            ),
            (
                |a| a.eval_steps = Some(0.0),
                "`arguments.eval_steps` must be a whole number of steps",
            ),
            (
                |a| a.eval_delay = f64::NAN,
                "`arguments.eval_delay` must be 0 or above; got NaN",
            ),
            (
                |a| a.save_total_limit = Some(0),
                "`arguments.save_total_limit` must be at least 1",
            ),
            (
                |a| a.learning_rate_mapping = [("x".to_owned(), -1.0)].into(),
                "`arguments.learning_rate_mapping.\"x\"` must be 0 or above; got -1",
            ),
            (
                |a| a.optim_args = Some("momentum=0.9".into()),
                "`adamw_torch_fused` takes no options",
            ),
            (
                |a| {
                    a.optim = OptimizerType::Sgd;
                    a.optim_args = Some("nesterov=true".into());
                },
                "must have a `momentum` above 0",
            ),
            (
                |a| {
                    a.max_steps = 10;
                    a.warmup_steps = 11.0;
                },
                "`arguments.warmup_steps` must not be above `max_steps` (10)",
            ),
            (
                |a| a.lr_scheduler_type = SchedulerType::ReduceLrOnPlateau,
                "`arguments.lr_scheduler_type` follows a metric: it needs an `eval_strategy`",
            ),
            (
                |a| {
                    a.lr_scheduler_kwargs = SchedulerOptions {
                        num_cycles: Some(2.0),
                        ..SchedulerOptions::default()
                    }
                },
                "`arguments.lr_scheduler_kwargs` holds `num_cycles`, but `linear` takes no options",
            ),
            (
                |a| {
                    a.lr_scheduler_type = SchedulerType::Cosine;
                    a.lr_scheduler_kwargs.num_cycles = Some(-1.0);
                },
                "must have a finite number of 0 or above as `num_cycles`; got -1",
            ),
            (
                |a| {
                    a.lr_scheduler_type = SchedulerType::Cosine;
                    a.lr_scheduler_kwargs.power = Some(2.0);
                },
                "holds `power`, but `cosine` takes num_cycles",
            ),
            (
                |a| a.lr_scheduler_type = SchedulerType::WarmupStableDecay,
                "must have `num_decay_steps`",
            ),
            (
                |a| a.lr_scheduler_type = SchedulerType::CosineWithMinLr,
                "must have exactly one of `min_lr` and `min_lr_rate`",
            ),
            (
                |a| {
                    a.lr_scheduler_type = SchedulerType::Greedy;
                    a.eval_strategy = IntervalStrategy::Epoch;
                    a.lr_scheduler_kwargs.factor = Some(1.0);
                },
                "must have a `factor` between 0 and 1; got 1",
            ),
            (
                |a| {
                    a.load_best_model_at_end = true;
                    a.eval_strategy = IntervalStrategy::Epoch;
                },
                "needs `save_strategy` and `eval_strategy` to be the same",
            ),
        ];
        for (change, expected) in cases {
            let message = refusal(change);
            assert!(message.contains(expected), "{message}\n  lacks {expected}");
            assert!(message.starts_with("`arguments."), "{message}");
        }
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let quiet = TrainingArguments::default();
        assert_eq!(quiet.warnings(), [""; 0]);
        let arguments = TrainingArguments {
            optim: OptimizerType::Lion,
            adam_beta1: 0.95,
            adam_epsilon: 1e-6,
            lr_scheduler_type: SchedulerType::Constant,
            warmup_ratio: Some(0.1),
            max_steps: 5,
            num_train_epochs: 1.0,
            greater_is_better: Some(true),
            eval_steps: Some(5.0),
            ..TrainingArguments::default()
        };
        assert_eq!(
            arguments.warnings(),
            [
                "`arguments.adam_epsilon` has no effect: `optim` is \"lion_32bit\"",
                "`arguments.warmup_ratio` has no effect: `lr_scheduler_type` \"constant\" has no warm-up",
                "`arguments.num_train_epochs` has no effect: `max_steps` is given too",
                "`arguments.greater_is_better` has no effect: there is no `metric_for_best_model`",
                "`arguments.eval_steps` has no effect: `eval_strategy` isn't \"steps\"",
            ]
        );
    }
}
