//! Arguments of the reference that have no field here: accepted with the reason why they change nothing, or refused with what
//! to do instead.

const NO_TRACKIO: &str =
    "it is for Trackio, which has no writer here: `report_to` takes \"jsonl\" and \"tensorboard\"";

/// Accepted, with a warning unless the value is the reference's default, as TOML (nothing where it has none): why it changes
/// nothing here.
pub(crate) const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("project", "\"huggingface\"", NO_TRACKIO),
    ("trackio_space_id", "\"trackio\"", NO_TRACKIO),
    ("trackio_bucket_id", "", NO_TRACKIO),
    ("trackio_static_space_id", "", NO_TRACKIO),
    (
        "prediction_loss_only",
        "false",
        "evaluation keeps nothing but losses, as in the reference",
    ),
    (
        "remove_unused_columns",
        "true",
        "it has none in the reference either: choose with `columns` of the data set",
    ),
    (
        "label_names",
        "",
        "it has none in the reference either: the label is the column `label`, `labels`, `score` or `scores`",
    ),
    (
        "train_sampling_strategy",
        "\"random\"",
        "it has none in the reference either: choose with `batch_sampler`",
    ),
    (
        "group_by_length",
        "false",
        "it has none in the reference either: texts aren't padded here",
    ),
    (
        "length_column_name",
        "\"length\"",
        "it has none in the reference either: texts aren't padded here",
    ),
    (
        "label_smoothing_factor",
        "0.0",
        "it has none in the reference either: the losses have their own labels",
    ),
    (
        "include_for_metrics",
        "[]",
        "it serves `compute_metrics`, which the reference's sparse trainer doesn't take: add an `[[evaluator]]`",
    ),
    (
        "batch_eval_metrics",
        "false",
        "it serves `compute_metrics`, which the reference's sparse trainer doesn't take: add an `[[evaluator]]`",
    ),
    (
        "eval_do_concat_batches",
        "true",
        "evaluation keeps nothing but sums",
    ),
    (
        "eval_use_gather_object",
        "false",
        "evaluation keeps nothing but sums",
    ),
    (
        "eval_accumulation_steps",
        "",
        "evaluation keeps nothing but sums",
    ),
    (
        "dataloader_num_workers",
        "0",
        "tokenization uses every core, ahead of the step",
    ),
    (
        "dataloader_prefetch_factor",
        "",
        "tokenization uses every core, ahead of the step",
    ),
    (
        "dataloader_persistent_workers",
        "false",
        "tokenization uses every core, ahead of the step",
    ),
    (
        "dataloader_pin_memory",
        "true",
        "the device set-up decides it",
    ),
    (
        "dataloader_multiprocessing_context",
        "",
        "tokenization uses threads, not processes",
    ),
    (
        "dataloader_in_order",
        "true",
        "batches always come in order",
    ),
    (
        "torch_compile",
        "false",
        "it concerns torch: kernels are fused here where the device set-up can",
    ),
    (
        "torch_compile_backend",
        "",
        "it concerns torch: kernels are fused here where the device set-up can",
    ),
    (
        "torch_compile_mode",
        "",
        "it concerns torch: kernels are fused here where the device set-up can",
    ),
    (
        "torch_empty_cache_steps",
        "",
        "it concerns torch: memory that is freed goes back by itself",
    ),
    (
        "use_liger_kernel",
        "false",
        "it concerns torch: the fused kernels here are always on",
    ),
    (
        "liger_kernel_config",
        "",
        "it concerns torch: the fused kernels here are always on",
    ),
    (
        "use_cache",
        "false",
        "it concerns models that generate text",
    ),
    (
        "full_determinism",
        "false",
        "every run is a function of its seed, without a switch",
    ),
    (
        "average_tokens_across_devices",
        "true",
        "it concerns losses by token; these are by text",
    ),
    (
        "gradient_checkpointing_kwargs",
        "",
        "it chooses between variants of torch",
    ),
    (
        "activation_checkpointing_kwargs",
        "",
        "it chooses between variants of torch",
    ),
    ("skip_memory_metrics", "true", "no memory metrics are taken"),
    (
        "log_level",
        "\"passive\"",
        "the command line decides: `--quiet`",
    ),
    (
        "log_level_replica",
        "\"warning\"",
        "only the first process logs",
    ),
    ("disable_tqdm", "", "the command line decides: `--quiet`"),
    ("log_on_each_node", "true", "only the first process logs"),
    ("save_on_each_node", "false", "only the first process saves"),
    (
        "enable_jit_checkpoint",
        "false",
        "an interrupted run always saves a checkpoint",
    ),
    (
        "restore_callback_states_from_checkpoint",
        "false",
        "callbacks that keep a state go on from that of the checkpoint",
    ),
    (
        "ddp_find_unused_parameters",
        "",
        "gradients are gathered by name",
    ),
    (
        "ddp_bucket_cap_mb",
        "",
        "it concerns torch's way of gathering gradients",
    ),
    (
        "ddp_broadcast_buffers",
        "",
        "it concerns torch's way of gathering gradients",
    ),
    (
        "ddp_static_graph",
        "",
        "it concerns torch's way of gathering gradients",
    ),
    (
        "ddp_backend",
        "",
        "it concerns torch's way of gathering gradients",
    ),
    (
        "ddp_timeout",
        "1800",
        "it concerns torch's way of gathering gradients",
    ),
    ("local_rank", "-1", "the launcher of the processes says it"),
    (
        "do_train",
        "false",
        "it has none in the reference either: the command decides",
    ),
    (
        "do_eval",
        "false",
        "it has none in the reference either: the command decides",
    ),
    (
        "do_predict",
        "false",
        "it has none in the reference either: the command decides",
    ),
    (
        "overwrite_output_dir",
        "false",
        "a checkpoint of the same step is replaced, nothing else is touched",
    ),
];

/// Refused unless the value is the reference's default: what to do instead.
pub(crate) const REFUSED: &[(&str, &str, &str)] = &[
    (
        "tf32",
        "",
        "is a switch of one vendor's GPUs in the reference; leave it out",
    ),
    (
        "optim_target_modules",
        "",
        "belongs to GaLore and Apollo, which aren't here: `optim = \"adafactor\"` needs little memory too",
    ),
    (
        "neftune_noise_alpha",
        "",
        "isn't supported: it concerns models that generate text. Dropout in the model's `config.json` is noise as well",
    ),
    (
        "use_cpu",
        "false",
        "isn't needed: choose the device with `--device cpu`",
    ),
    (
        "no_cuda",
        "false",
        "isn't needed: choose the device with `--device cpu`",
    ),
    (
        "use_mps_device",
        "false",
        "isn't needed: choose the device with `--device`",
    ),
    (
        "ignore_data_skip",
        "false",
        "isn't supported: a resumed run goes on where it stopped, and getting there costs next to nothing; to begin the data anew, start from the checkpoint as `model.name_or_path`",
    ),
    (
        "resume_from_checkpoint",
        "",
        "has no effect in the reference either: resume with `--resume` or `Trainer::train_from`",
    ),
    (
        "fsdp",
        "",
        "isn't supported: a model isn't split over devices; `mini_batch_size` lets large batches fit into one",
    ),
    (
        "fsdp_config",
        "",
        "isn't supported: a model isn't split over devices; `mini_batch_size` lets large batches fit into one",
    ),
    (
        "deepspeed",
        "",
        "isn't supported: a model isn't split over devices; `mini_batch_size` lets large batches fit into one",
    ),
    (
        "parallelism_config",
        "",
        "isn't supported: a model isn't split over devices; `mini_batch_size` lets large batches fit into one",
    ),
    (
        "accelerator_config",
        "",
        "belongs to a package of the reference; leave it out: its defaults are what happens here",
    ),
    (
        "debug",
        "\"\"",
        "belongs to torch; `[guards]` finds the first tensor that is no number, and `RUST_LOG=debug` says more",
    ),
    ("evaluation_strategy", "", "is called `eval_strategy`"),
    (
        "train_batch_size",
        "",
        "is called `per_device_train_batch_size`",
    ),
    (
        "eval_batch_size",
        "",
        "is called `per_device_eval_batch_size`",
    ),
    ("batch_size", "", "is called `per_device_train_batch_size`"),
    ("epochs", "", "is called `num_train_epochs`"),
    (
        "lambda_query",
        "",
        "is called `query_regularizer_weight`, in `[loss]`",
    ),
    (
        "lambda_corpus",
        "",
        "is called `document_regularizer_weight`, in `[loss]`",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_toml_and_names_stand_once() {
        let all: Vec<_> = WITHOUT_EFFECT.iter().chain(REFUSED).collect();
        for (name, default, _) in &all {
            assert_eq!(
                all.iter().filter(|other| other.0 == *name).count(),
                1,
                "{name}"
            );
            if !default.is_empty() {
                format!("x = {default}").parse::<toml::Table>().unwrap();
            }
        }
    }
}
