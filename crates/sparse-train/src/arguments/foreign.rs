//! Arguments of the reference that have no field here: accepted with the reason why they change nothing, or refused with what
//! to do instead.

/// What is said of some arguments, and their names, each with the reference's default as TOML (nothing where it has none).
type Group = (&'static str, &'static [(&'static str, &'static str)]);

const NO_TRACKIO: &str =
    "it is for Trackio, which has no writer here: `report_to` takes \"jsonl\" and \"tensorboard\"";

/// Accepted, with a warning unless the value is the reference's default: why it changes nothing here.
pub(crate) const WITHOUT_EFFECT: &[Group] = &[
    (
        NO_TRACKIO,
        &[
            ("project", "\"huggingface\""),
            ("trackio_space_id", "\"trackio\""),
            ("trackio_bucket_id", ""),
            ("trackio_static_space_id", ""),
        ],
    ),
    (
        "evaluation keeps nothing but losses, as in the reference",
        &[("prediction_loss_only", "false")],
    ),
    (
        "it has none in the reference either: choose with `columns` of the data set",
        &[("remove_unused_columns", "true")],
    ),
    (
        "it has none in the reference either: the label is the column `label`, `labels`, `score` or `scores`",
        &[("label_names", "")],
    ),
    (
        "it has none in the reference either: choose with `batch_sampler`",
        &[("train_sampling_strategy", "\"random\"")],
    ),
    (
        "it has none in the reference either: texts aren't padded here",
        &[
            ("group_by_length", "false"),
            ("length_column_name", "\"length\""),
        ],
    ),
    (
        "it has none in the reference either: the losses have their own labels",
        &[("label_smoothing_factor", "0.0")],
    ),
    (
        "it serves `compute_metrics`, which the reference's sparse trainer doesn't take: add an `[[evaluator]]`",
        &[
            ("include_for_metrics", "[]"),
            ("batch_eval_metrics", "false"),
        ],
    ),
    (
        "evaluation keeps nothing but sums",
        &[
            ("eval_do_concat_batches", "true"),
            ("eval_use_gather_object", "false"),
            ("eval_accumulation_steps", ""),
        ],
    ),
    (
        "tokenization uses every core, ahead of the step",
        &[
            ("dataloader_num_workers", "0"),
            ("dataloader_prefetch_factor", ""),
            ("dataloader_persistent_workers", "false"),
        ],
    ),
    (
        "the device set-up decides it",
        &[("dataloader_pin_memory", "true")],
    ),
    (
        "tokenization uses threads, not processes",
        &[("dataloader_multiprocessing_context", "")],
    ),
    (
        "batches always come in order",
        &[("dataloader_in_order", "true")],
    ),
    (
        "it concerns torch: kernels are fused here where the device set-up can",
        &[
            ("torch_compile", "false"),
            ("torch_compile_backend", ""),
            ("torch_compile_mode", ""),
        ],
    ),
    (
        "it concerns torch: memory that is freed goes back by itself",
        &[("torch_empty_cache_steps", "")],
    ),
    (
        "it concerns torch: the fused kernels here are always on",
        &[("use_liger_kernel", "false"), ("liger_kernel_config", "")],
    ),
    (
        "it concerns models that generate text",
        &[("use_cache", "false")],
    ),
    (
        "every run is a function of its seed, without a switch",
        &[("full_determinism", "false")],
    ),
    (
        "it concerns losses by token; these are by text",
        &[("average_tokens_across_devices", "true")],
    ),
    (
        "it chooses between variants of torch",
        &[
            ("gradient_checkpointing_kwargs", ""),
            ("activation_checkpointing_kwargs", ""),
        ],
    ),
    (
        "no memory metrics are taken",
        &[("skip_memory_metrics", "true")],
    ),
    (
        "the command line decides: `--quiet`",
        &[("log_level", "\"passive\"")],
    ),
    (
        "only the first process logs",
        &[("log_level_replica", "\"warning\"")],
    ),
    (
        "the command line decides: `--quiet`",
        &[("disable_tqdm", "")],
    ),
    (
        "only the first process logs",
        &[("log_on_each_node", "true")],
    ),
    (
        "only the first process saves",
        &[("save_on_each_node", "false")],
    ),
    (
        "an interrupted run always saves a checkpoint",
        &[("enable_jit_checkpoint", "false")],
    ),
    (
        "callbacks that keep a state go on from that of the checkpoint",
        &[("restore_callback_states_from_checkpoint", "false")],
    ),
    (
        "gradients are gathered by name",
        &[("ddp_find_unused_parameters", "")],
    ),
    (
        "it concerns torch's way of gathering gradients",
        &[
            ("ddp_bucket_cap_mb", ""),
            ("ddp_broadcast_buffers", ""),
            ("ddp_static_graph", ""),
            ("ddp_backend", ""),
            ("ddp_timeout", "1800"),
        ],
    ),
    (
        "the launcher of the processes says it",
        &[("local_rank", "-1")],
    ),
    (
        "it has none in the reference either: the command decides",
        &[
            ("do_train", "false"),
            ("do_eval", "false"),
            ("do_predict", "false"),
        ],
    ),
    (
        "a checkpoint of the same step is replaced, nothing else is touched",
        &[("overwrite_output_dir", "false")],
    ),
];

/// Refused unless the value is the reference's default: what to do instead.
pub(crate) const REFUSED: &[Group] = &[
    (
        "is a switch of one vendor's GPUs in the reference; leave it out",
        &[("tf32", "")],
    ),
    (
        "belongs to GaLore and Apollo, which aren't here: `optim = \"adafactor\"` needs little memory too",
        &[("optim_target_modules", "")],
    ),
    (
        "isn't supported: it concerns models that generate text. Dropout in the model's `config.json` is noise as well",
        &[("neftune_noise_alpha", "")],
    ),
    (
        "isn't needed: choose the device with `--device cpu`",
        &[("use_cpu", "false"), ("no_cuda", "false")],
    ),
    (
        "isn't needed: choose the device with `--device`",
        &[("use_mps_device", "false")],
    ),
    (
        "isn't supported: a resumed run goes on where it stopped, and getting there costs next to nothing; to begin the data anew, start from the checkpoint as `model.name_or_path`",
        &[("ignore_data_skip", "false")],
    ),
    (
        "has no effect in the reference either: resume with `--resume` or `Trainer::train_from`",
        &[("resume_from_checkpoint", "")],
    ),
    (
        "isn't supported: a model isn't split over devices; `mini_batch_size` lets large batches fit into one",
        &[
            ("fsdp", ""),
            ("fsdp_config", ""),
            ("deepspeed", ""),
            ("parallelism_config", ""),
        ],
    ),
    (
        "belongs to a package of the reference; leave it out: its defaults are what happens here",
        &[("accelerator_config", "")],
    ),
    (
        "belongs to torch; `[guards]` finds the first tensor that is no number, and `RUST_LOG=debug` says more",
        &[("debug", "\"\"")],
    ),
    ("is called `eval_strategy`", &[("evaluation_strategy", "")]),
    (
        "is called `per_device_train_batch_size`",
        &[("train_batch_size", "")],
    ),
    (
        "is called `per_device_eval_batch_size`",
        &[("eval_batch_size", "")],
    ),
    (
        "is called `per_device_train_batch_size`",
        &[("batch_size", "")],
    ),
    ("is called `num_train_epochs`", &[("epochs", "")]),
    (
        "is called `query_regularizer_weight`, in `[loss]`",
        &[("lambda_query", "")],
    ),
    (
        "is called `document_regularizer_weight`, in `[loss]`",
        &[("lambda_corpus", "")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_toml_and_names_stand_once() {
        let groups = WITHOUT_EFFECT.iter().chain(REFUSED);
        let all: Vec<_> = groups.flat_map(|(_, names)| *names).collect();
        for (name, default) in &all {
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
