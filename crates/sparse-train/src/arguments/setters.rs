//! The methods `with_*` of the arguments, one for each field.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sparse_data::{BatchSamplerKind, MultiDatasetKind, SampleOrder};

use super::{
    ColumnPrompts, CountTokens, IntervalStrategy, Routes, SaveStrategy, Tracker, TrainingArguments,
};
use crate::hub::{HubStrategy, HubToken};
use crate::optimizer::OptimizerType;
use crate::schedule::{SchedulerOptions, SchedulerType};

/// A method for each field: `plain` takes its value, `optional` what it holds when it is given, `text` what becomes one.
macro_rules! setters {
    (
        plain { $($plain:ident: $plain_type:ty,)+ }
        optional { $($optional:ident: $optional_type:ty,)+ }
        text { $($text:ident: $text_type:ty,)+ }
    ) => {
        pastey::paste! {
            impl TrainingArguments {
                $(
                    #[doc = concat!("Sets [`", stringify!($plain), "`](Self::", stringify!($plain), ").")]
                    pub fn [<with_ $plain>](mut self, $plain: $plain_type) -> Self {
                        self.$plain = $plain;
                        self
                    }
                )+
                $(
                    #[doc = concat!("Sets [`", stringify!($optional), "`](Self::", stringify!($optional), ").")]
                    pub fn [<with_ $optional>](mut self, $optional: $optional_type) -> Self {
                        self.$optional = Some($optional);
                        self
                    }
                )+
                $(
                    #[doc = concat!("Sets [`", stringify!($text), "`](Self::", stringify!($text), ").")]
                    pub fn [<with_ $text>](mut self, $text: impl Into<$text_type>) -> Self {
                        self.$text = Some($text.into());
                        self
                    }
                )+
            }

            #[cfg(test)]
            const NAMES: &[&str] = &[$(stringify!($plain),)+ $(stringify!($optional),)+ $(stringify!($text),)+];
        }
    };
}

setters! {
plain {
    num_train_epochs: f64,
    max_steps: i64,
    per_device_train_batch_size: usize,
    per_device_eval_batch_size: usize,
    gradient_accumulation_steps: usize,
    gradient_checkpointing: bool,
    auto_find_batch_size: bool,
    exact_regularizer: bool,
    learning_rate: f64,
    lr_scheduler_type: SchedulerType,
    lr_scheduler_kwargs: SchedulerOptions,
    warmup_steps: f64,
    bf16: bool,
    fp16: bool,
    bf16_full_eval: bool,
    fp16_full_eval: bool,
    optim: OptimizerType,
    weight_decay: f64,
    adam_beta1: f64,
    adam_beta2: f64,
    adam_epsilon: f64,
    max_grad_norm: f64,
    learning_rate_mapping: BTreeMap<String, f64>,
    seed: u64,
    batch_sampler: BatchSamplerKind,
    order: SampleOrder,
    multi_dataset_batch_sampler: MultiDatasetKind,
    dataloader_drop_last: bool,
    router_mapping: BTreeMap<String, Routes>,
    tokenization_cache_mb: usize,
    logging_strategy: IntervalStrategy,
    logging_steps: f64,
    logging_first_step: bool,
    logging_nan_inf_filter: bool,
    include_num_input_tokens_seen: CountTokens,
    eval_strategy: IntervalStrategy,
    eval_delay: f64,
    eval_on_start: bool,
    save_strategy: SaveStrategy,
    save_steps: f64,
    save_only_model: bool,
    load_best_model_at_end: bool,
    early_stopping_threshold: f64,
    report_to: Vec<Tracker>,
    carbon_intensity: f64,
    training_curve: bool,
    push_to_hub: bool,
    hub_strategy: HubStrategy,
    hub_always_push: bool,
}
optional {
    mini_batch_size: usize,
    mini_batch_num_tokens: usize,
    warmup_ratio: f64,
    data_seed: u64,
    token_budget: usize,
    eval_steps: f64,
    save_total_limit: usize,
    greater_is_better: bool,
    early_stopping_patience: usize,
    hub_private_repo: bool,
}
text {
    optim_args: String,
    prompts: ColumnPrompts,
    metric_for_best_model: String,
    run_name: String,
    logging_dir: PathBuf,
    hub_model_id: String,
    hub_token: HubToken,
    hub_revision: String,
}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_has_a_method() {
        let fields = serde_json::to_value(TrainingArguments::default()).unwrap();
        for name in fields.as_object().unwrap().keys() {
            // `new` takes the directory.
            assert!(
                NAMES.contains(&name.as_str()) || name == "output_dir",
                "{name}"
            );
        }
        assert_eq!(NAMES.len() + 1, fields.as_object().unwrap().len());
    }
}
