//! What is refused and what is warned of.

use super::*;
use crate::optimizer::OptimizerType;
use crate::schedule::SchedulerType;

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
const REFUSED: &str = r#"
output_dir = "" => `arguments.output_dir` must name a directory; got an empty text
num_train_epochs = 0 => `arguments.num_train_epochs` must be a number above 0; got 0
fp16 = true; bf16 = true => `arguments.fp16` excludes `bf16`: choose one of them
fp16_full_eval = true; bf16_full_eval = true => `arguments.fp16_full_eval` excludes `bf16_full_eval`
max_steps = 0 => `arguments.max_steps` must be at least 1, or -1
max_steps = -5 => got -5
per_device_eval_batch_size = 0 => `arguments.per_device_eval_batch_size` must be at least 1
gradient_accumulation_steps = 0 => `arguments.gradient_accumulation_steps` must be at least 1
mini_batch_num_tokens = 0 => `arguments.mini_batch_num_tokens` must be at least 1
weight_decay = -0.1 => `arguments.weight_decay` must be 0 or above; got -0.1
max_grad_norm = inf => `arguments.max_grad_norm` must be 0 or above; got inf
adam_beta1 = -0.1 => `arguments.adam_beta1` must be in [0, 1); got -0.1
adam_epsilon = 0 => `arguments.adam_epsilon` must be a number above 0
warmup_ratio = 1.5 => `arguments.warmup_ratio` must be in [0, 1]; got 1.5
warmup_steps = -1 => `arguments.warmup_steps` must be 0 or above; got -1
warmup_steps = 2.5 => `arguments.warmup_steps` must be a whole number
logging_steps = 0 => `arguments.logging_steps` must be a whole number of steps
save_steps = 1.5 => `arguments.save_steps` must be a whole number of steps
eval_steps = 0 => `arguments.eval_steps` must be a whole number of steps
eval_delay = nan => `arguments.eval_delay` must be 0 or above; got NaN
save_total_limit = 0 => `arguments.save_total_limit` must be at least 1
learning_rate_mapping = { x = -1 } => `arguments.learning_rate_mapping."x"` must be 0 or above; got -1
optim_args = "momentum=0.9" => `adamw_torch_fused` takes no options
optim = "sgd"; optim_args = "nesterov=true" => must have a `momentum` above 0
max_steps = 10; warmup_steps = 11 => `arguments.warmup_steps` must not be above `max_steps` (10)
lr_scheduler_type = "reduce_lr_on_plateau" => `arguments.lr_scheduler_type` follows a metric: it needs an `eval_strategy`
lr_scheduler_kwargs = { num_cycles = 2 } => `arguments.lr_scheduler_kwargs` holds `num_cycles`, but `linear` takes no options
lr_scheduler_type = "cosine"; lr_scheduler_kwargs = { num_cycles = -1 } => must have a finite number of 0 or above as `num_cycles`; got -1
lr_scheduler_type = "cosine"; lr_scheduler_kwargs = { power = 2 } => holds `power`, but `cosine` takes num_cycles
lr_scheduler_type = "warmup_stable_decay" => must have `num_decay_steps`
lr_scheduler_type = "cosine_with_min_lr" => must have exactly one of `min_lr` and `min_lr_rate`
lr_scheduler_type = "greedy"; eval_strategy = "epoch"; lr_scheduler_kwargs = { factor = 1 } => must have a `factor` between 0 and 1; got 1
load_best_model_at_end = true; eval_strategy = "epoch" => needs `save_strategy` and `eval_strategy` to be the same
"#;

#[test]
fn every_bad_value_has_one_message() {
    for line in REFUSED.trim().lines() {
        let (change, expected) = line.split_once(" => ").unwrap();
        let arguments: TrainingArguments = toml::from_str(&change.replace("; ", "\n")).unwrap();
        let message = arguments.validate().unwrap_err().to_string();
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
