//! Every argument of the reference is known: taken, taken with a warning, or refused.

use sparse_train::{OptimizerType, TrainingArguments, TrainingFile};

/// What becomes of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It changes the arguments of the run.
    Taken,
    /// It is said to have no effect.
    Warned,
    /// It is an error that names it.
    Refused,
}
use Answer::{Refused, Taken, Warned};

/// The fields of `SparseEncoderTrainingArguments` in sentence-transformers 6.2.0 with transformers 5.24.0, each with a value that
/// isn't its default.
const NAMES: &[(&str, &str, Answer)] = &[
    ("output_dir", "x", Taken),
    ("per_device_train_batch_size", "3", Taken),
    ("num_train_epochs", "2", Taken),
    ("max_steps", "7", Taken),
    ("learning_rate", "1e-3", Taken),
    ("lr_scheduler_type", "cosine", Taken),
    ("lr_scheduler_kwargs", "{ num_cycles = 2 }", Refused), // by the default schedule, `linear`
    ("warmup_steps", "5", Taken),
    ("optim", "adafactor", Taken),
    ("optim_args", "momentum=0.9", Refused), // by the default optimizer
    ("weight_decay", "0.1", Taken),
    ("adam_beta1", "0.8", Taken),
    ("adam_beta2", "0.8", Taken),
    ("adam_epsilon", "1e-6", Taken),
    ("optim_target_modules", "all-linear", Refused),
    ("gradient_accumulation_steps", "2", Taken),
    ("average_tokens_across_devices", "false", Warned),
    ("max_grad_norm", "2", Taken),
    ("label_smoothing_factor", "0.1", Warned),
    ("bf16", "true", Taken),
    ("fp16", "true", Taken),
    ("bf16_full_eval", "true", Taken),
    ("fp16_full_eval", "true", Taken),
    ("tf32", "true", Refused),
    ("activation_checkpointing", "true", Taken),
    (
        "activation_checkpointing_kwargs",
        "{ use_reentrant = false }",
        Warned,
    ),
    ("gradient_checkpointing", "true", Taken),
    (
        "gradient_checkpointing_kwargs",
        "{ use_reentrant = false }",
        Warned,
    ),
    ("torch_compile", "true", Warned),
    ("torch_compile_backend", "inductor", Warned),
    ("torch_compile_mode", "default", Warned),
    ("use_liger_kernel", "true", Warned),
    ("liger_kernel_config", "{ rope = true }", Warned),
    ("use_cache", "true", Warned),
    ("neftune_noise_alpha", "5.0", Refused),
    ("torch_empty_cache_steps", "10", Warned),
    ("auto_find_batch_size", "true", Taken),
    ("logging_strategy", "epoch", Taken),
    ("logging_steps", "5", Taken),
    ("logging_first_step", "true", Taken),
    ("log_on_each_node", "false", Warned),
    ("logging_nan_inf_filter", "false", Taken),
    ("include_num_input_tokens_seen", "true", Taken),
    ("log_level", "debug", Warned),
    ("log_level_replica", "debug", Warned),
    ("disable_tqdm", "true", Warned),
    ("eval_strategy", "epoch", Taken),
    ("eval_steps", "5", Taken),
    ("eval_delay", "1", Taken),
    ("per_device_eval_batch_size", "3", Taken),
    ("prediction_loss_only", "true", Warned),
    ("eval_on_start", "true", Taken),
    ("eval_do_concat_batches", "false", Warned),
    ("eval_use_gather_object", "true", Warned),
    ("eval_accumulation_steps", "2", Warned),
    ("include_for_metrics", "[\"loss\"]", Warned),
    ("batch_eval_metrics", "true", Warned),
    ("save_only_model", "true", Taken),
    ("save_strategy", "epoch", Taken),
    ("save_steps", "5", Taken),
    ("save_on_each_node", "true", Warned),
    ("save_total_limit", "2", Taken),
    ("enable_jit_checkpoint", "true", Warned),
    ("load_best_model_at_end", "true", Taken),
    ("metric_for_best_model", "loss", Taken),
    ("greater_is_better", "true", Taken),
    ("ignore_data_skip", "true", Refused),
    ("restore_callback_states_from_checkpoint", "true", Warned),
    ("full_determinism", "true", Warned),
    ("seed", "7", Taken),
    ("data_seed", "7", Taken),
    ("use_cpu", "true", Refused),
    ("accelerator_config", "{ even_batches = false }", Refused),
    ("parallelism_config", "{ tp_size = 2 }", Refused),
    ("dataloader_drop_last", "true", Taken),
    ("dataloader_num_workers", "4", Warned),
    ("dataloader_pin_memory", "false", Warned),
    ("dataloader_persistent_workers", "true", Warned),
    ("dataloader_prefetch_factor", "2", Warned),
    ("dataloader_multiprocessing_context", "spawn", Warned),
    ("dataloader_in_order", "false", Warned),
    ("remove_unused_columns", "false", Warned),
    ("label_names", "[\"label\"]", Warned),
    ("train_sampling_strategy", "group_by_length", Warned),
    ("length_column_name", "n", Warned),
    ("ddp_find_unused_parameters", "true", Warned),
    ("ddp_bucket_cap_mb", "25", Warned),
    ("ddp_broadcast_buffers", "true", Warned),
    ("ddp_static_graph", "true", Warned),
    ("ddp_backend", "gloo", Warned),
    ("ddp_timeout", "60", Warned),
    ("fsdp", "full_shard", Refused),
    ("fsdp_config", "{ min_num_params = 1 }", Refused),
    ("deepspeed", "ds.json", Refused),
    ("debug", "underflow_overflow", Refused),
    ("skip_memory_metrics", "false", Warned),
    ("do_train", "true", Warned),
    ("do_eval", "true", Warned),
    ("do_predict", "true", Warned),
    ("resume_from_checkpoint", "x", Refused),
    ("local_rank", "0", Warned),
    ("prompts", "query: ", Taken),
    ("batch_sampler", "no_duplicates", Taken),
    ("multi_dataset_batch_sampler", "round_robin", Taken),
    ("router_mapping", "{ question = \"query\" }", Taken),
    ("learning_rate_mapping", "{ bias = 1e-3 }", Taken),
    ("warmup_ratio", "0.1", Taken),
    ("report_to", "jsonl", Taken),
    ("run_name", "x", Taken),
    ("project", "x", Warned),
    ("trackio_space_id", "x", Warned),
    ("trackio_bucket_id", "x", Warned),
    ("trackio_static_space_id", "x", Warned),
    ("push_to_hub", "true", Taken),
    ("hub_token", "x", Taken),
    ("hub_private_repo", "true", Taken),
    ("hub_model_id", "me/x", Taken),
    ("hub_strategy", "end", Taken),
    ("hub_always_push", "true", Taken),
    ("hub_revision", "x", Taken),
];

const FILE: &str =
    "[model]\nname_or_path = \"m\"\n[[train_dataset]]\npath = \"a.tsv\"\n[arguments]\n";

fn read(name: &str, value: &str) -> sparse_train::Result<TrainingFile> {
    // `load_best_model_at_end` wants an evaluation.
    let overrides = [
        "eval_strategy=\"steps\"".to_owned(),
        format!("{name}={value}"),
    ];
    let overrides = overrides.map(|text| format!("arguments.{text}"));
    TrainingFile::parse(FILE, &overrides)
}

#[test]
fn every_argument_of_the_reference_is_answered() {
    assert_eq!(NAMES.len(), 120);
    let plain = read("eval_strategy", "steps").unwrap();
    for &(name, value, expected) in NAMES {
        let answer = match read(name, value) {
            Ok(file) if file.warnings.is_empty() => {
                assert_ne!(
                    file.arguments, plain.arguments,
                    "`{name}` is dropped in silence"
                );
                Taken
            }
            Ok(file) => {
                let warning = &file.warnings[0];
                let start = format!("`arguments.{name}` has no effect: ");
                assert!(warning.starts_with(&start), "{name}: {warning}");
                assert!(warning.len() > start.len() + 10, "{name}: {warning}");
                assert_eq!(file.arguments, plain.arguments, "{name}");
                Warned
            }
            Err(error) => {
                let message = error.to_string();
                assert!(
                    message.contains(&format!("`arguments.{name}`")),
                    "{message}"
                );
                assert!(!message.contains("unknown key"), "{message}");
                Refused
            }
        };
        assert_eq!(answer, expected, "{name}");
    }
}

/// A file written for the reference that spells its defaults out is no reason for a warning.
#[test]
fn defaults_of_the_reference_are_taken_in_silence() {
    let defaults = [
        ("fp16", "false"),
        ("bf16", "false"),
        ("dataloader_num_workers", "0"),
        ("dataloader_pin_memory", "true"),
        ("label_smoothing_factor", "0"),
        ("remove_unused_columns", "true"),
        ("use_cpu", "false"),
        ("debug", "\"\""),
        ("local_rank", "-1"),
        ("log_level", "passive"),
    ];
    for (name, value) in defaults {
        let file = read(name, value).unwrap();
        assert!(file.warnings.is_empty(), "{name}: {:?}", file.warnings);
    }
}

#[test]
fn values_of_the_wrong_type_are_named() {
    let names = [
        "per_device_train_batch_size",
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "warmup_steps",
        "warmup_ratio",
        "weight_decay",
        "adam_beta1",
        "max_grad_norm",
        "gradient_accumulation_steps",
        "mini_batch_size",
        "logging_steps",
        "eval_steps",
        "eval_delay",
        "save_steps",
        "save_total_limit",
        "seed",
        "data_seed",
        "optim",
        "optim_args",
        "lr_scheduler_type",
        "lr_scheduler_kwargs",
        "logging_strategy",
        "eval_strategy",
        "save_strategy",
        "batch_sampler",
        "multi_dataset_batch_sampler",
        "learning_rate_mapping",
        "router_mapping",
        "output_dir",
        "metric_for_best_model",
        "greater_is_better",
        "load_best_model_at_end",
        "bf16",
        "fp16",
        "bf16_full_eval",
        "fp16_full_eval",
        "gradient_checkpointing",
        "auto_find_batch_size",
        "include_num_input_tokens_seen",
        "logging_nan_inf_filter",
    ];
    for name in names {
        // A list is the wrong type of every one of them.
        let message = read(name, "[[1]]").unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("`arguments.{name}")),
            "{message}"
        );
        assert!(!message.contains("unknown key"), "{message}");
    }
    for (name, value) in [
        ("per_device_train_batch_size", "-1"),
        ("seed", "-1"),
        ("save_total_limit", "-1"),
        ("eval_strategy", "sometimes"),
        ("optim", "adam"),
        ("lr_scheduler_kwargs", "{ cycles = 2 }"),
        ("lr_scheduler_kwargs", "{ mode = \"up\" }"),
    ] {
        let message = read(name, value).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("`arguments.{name}")),
            "{message}"
        );
    }
    assert_eq!(TrainingArguments::default().max_steps, -1);
}

#[test]
fn arguments_are_set_by_methods_as_by_a_file() {
    let set = TrainingArguments::new("runs/x")
        .with_num_train_epochs(2.0)
        .with_max_steps(7)
        .with_mini_batch_size(4)
        .with_warmup_ratio(0.1)
        .with_optim(OptimizerType::Adafactor)
        .with_run_name("first")
        .with_logging_dir("events")
        .with_greater_is_better(true)
        .with_bf16(true);
    let read = r#"
        output_dir = "runs/x"
        num_train_epochs = 2
        max_steps = 7
        mini_batch_size = 4
        warmup_ratio = 0.1
        optim = "adafactor"
        run_name = "first"
        logging_dir = "events"
        greater_is_better = true
        bf16 = true
    "#;
    let file = format!("[model]\nname_or_path = \"m\"\n[arguments]\n{read}");
    assert_eq!(set, TrainingFile::parse(&file, &[]).unwrap().arguments);
    assert_ne!(set, TrainingArguments::new("runs/x"));
}
