//! Interrupted, resumed and repeated runs.

use std::fs;
use std::path::Path;

use sparse_data::BatchSamplerKind;
use sparse_train::{
    Callback, CallbackContext, Interrupt, IntervalStrategy, Resume, SaveStrategy, TrainerControl,
    TrainingArguments,
};

use crate::support::{arguments, encoder, golden, loss, on_threads, splade_run, table, weights};

/// 12 steps with a checkpoint every 5.
fn short(output_dir: &Path) -> TrainingArguments {
    TrainingArguments {
        max_steps: 12,
        save_strategy: SaveStrategy::Steps,
        save_steps: 5.0,
        warmup_steps: 3.0,
        ..arguments(output_dir)
    }
}

/// Interrupts after a step.
#[derive(Debug)]
struct StopAfter(usize, Interrupt);

impl Callback for StopAfter {
    fn on_step_end(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        if context.state.global_step == self.0 {
            self.1.request();
        }
    }
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    let mut trainer = splade_run(short(whole.path())).build().unwrap();
    trainer.train().unwrap();
    let expected = weights(&trainer.encoder());

    // Stopped within the first epoch, again after its end, then run to the end, each time by a new process as it were.
    let folder = tempfile::tempdir().unwrap();
    for (stop, resume) in [(4, Resume::No), (9, Resume::Last), (12, Resume::Last)] {
        let interrupt = Interrupt::default();
        let mut trainer = splade_run(short(folder.path()))
            .interrupt(interrupt.clone())
            .callback(StopAfter(stop, interrupt))
            .build()
            .unwrap();
        let output = trainer.train_from(&resume).unwrap();
        assert_eq!(output.global_step, stop);
        assert_eq!(
            output.interrupted,
            Some(folder.path().join(format!("checkpoint-{stop}")))
        );
        if stop == 12 {
            assert_eq!(weights(&trainer.encoder()), expected);
        }
    }
    let bytes = |folder: &Path| fs::read(folder.join("checkpoint-12/model.safetensors")).unwrap();
    assert_eq!(bytes(whole.path()), bytes(folder.path()));
}

#[test]
fn a_run_without_an_end_begins_and_goes_on_at_once() {
    for batch_sampler in [
        BatchSamplerKind::BatchSampler,
        BatchSamplerKind::NoDuplicates,
    ] {
        for (max_steps, num_train_epochs) in [(1_000_000_000, 3.0), (i64::MAX, 3.0), (-1, 1e18)] {
            let folder = tempfile::tempdir().unwrap();
            for (stop, resume) in [(3, Resume::No), (15, Resume::Last), (17, Resume::Last)] {
                let interrupt = Interrupt::default();
                let arguments = TrainingArguments {
                    max_steps,
                    num_train_epochs,
                    batch_sampler,
                    save_steps: 1e6,
                    ..short(folder.path())
                };
                let mut trainer = splade_run(arguments)
                    .interrupt(interrupt.clone())
                    .callback(StopAfter(stop, interrupt))
                    .build()
                    .unwrap();
                let output = trainer.train_from(&resume).unwrap();
                assert_eq!(output.global_step, stop);
                assert!(trainer.state().max_steps >= 1_000_000_000);
            }
        }
    }
}

#[test]
fn an_interrupted_run_leaves_its_curve_and_its_card() {
    let folder = tempfile::tempdir().unwrap();
    let interrupt = Interrupt::default();
    let arguments = TrainingArguments {
        logging_steps: 1.0,
        training_curve: true,
        ..short(folder.path())
    };
    let mut trainer = splade_run(arguments)
        .interrupt(interrupt.clone())
        .callback(StopAfter(3, interrupt))
        .build()
        .unwrap();
    let output = trainer.train().unwrap();
    let curve = fs::read_to_string(folder.path().join("training_curve.svg")).unwrap();
    for title in ["Loss", "Learning rate", "Active dimensions"] {
        assert!(curve.contains(title), "{title}");
    }
    let card = fs::read_to_string(output.interrupted.unwrap().join("README.md")).unwrap();
    assert!(card.contains("| 3    |"), "{card}");
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let train = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        on_threads(threads, || {
            let arguments = TrainingArguments {
                max_steps: 4,
                ..arguments(folder.path())
            };
            let mut trainer = splade_run(arguments).build().unwrap();
            trainer.train().unwrap();
            weights(&trainer.encoder())
        })
    };
    let one = train(1);
    assert_eq!(one, train(2));
    assert_eq!(one, train(3));
}

#[test]
fn a_checkpoint_holds_what_the_reference_holds() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        save_total_limit: Some(1),
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(12.0),
        save_strategy: SaveStrategy::Steps,
        save_steps: 12.0,
        metric_for_best_model: Some("loss".to_owned()),
        ..short(folder.path())
    };
    let mut trainer = splade_run(arguments)
        .eval_dataset(table("a_splade_mnrl"))
        .build()
        .unwrap();
    trainer.train().unwrap();
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["checkpoint-12"],
        "the limit of one keeps the last, and nothing half-written stays"
    );

    // Ours by the names of the reference's; the position in the data is a function of the seed there, too, and isn't checked.
    let checkpoint = folder.path().join("checkpoint-12");
    let reference: Vec<String> =
        serde_json::from_str(&fs::read_to_string(golden("files/checkpoint.json")).unwrap())
            .unwrap();
    let ours = |name: &str| match name {
        "optimizer.pt" => "optimizer.safetensors".to_owned(),
        "scheduler.pt" => "scheduler.json".to_owned(),
        "rng_state.pth" => "rng_state.json".to_owned(),
        "training_args.bin" => "training_args.json".to_owned(),
        name => name.to_owned(),
    };
    let mut expected: Vec<String> = reference.iter().map(|name| ours(name)).collect();
    expected.extend(["checksums.json", "data_state.json"].map(str::to_owned));
    expected.sort();
    assert_eq!(files(&checkpoint), expected);

    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    };
    let state = read(&checkpoint.join("trainer_state.json"));
    let reference = read(&golden("files/trainer_state.json"));
    for (key, value) in reference.as_object().unwrap() {
        let same = std::mem::discriminant(value) == std::mem::discriminant(&state[key]);
        assert!(same, "{key}: {value} and {}", state[key]);
        let is_whole = |value: &serde_json::Value| value.is_u64();
        assert_eq!(is_whole(value), is_whole(&state[key]), "{key}");
    }
    let flags = |state: &serde_json::Value| -> Vec<String> {
        let flags = &state["stateful_callbacks"]["TrainerControl"]["args"];
        flags.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(flags(&state), flags(&reference));
    // A training log, an evaluation, the end of the run.
    for kind in ["learning_rate", "eval_loss"] {
        let of_kind = |state: &serde_json::Value| {
            let logs = state["log_history"].as_array().unwrap();
            logs.iter().find(|log| log.get(kind).is_some()).cloned()
        };
        let (theirs, ours) = (of_kind(&reference).unwrap(), of_kind(&state).unwrap());
        for key in theirs.as_object().unwrap().keys() {
            let of_evaluator = key.contains("snli") || key.contains("sequential");
            assert!(of_evaluator || ours[key].is_number(), "{key} of {ours}");
        }
    }
    let keys: Vec<&str> = state
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "best_global_step",
        "best_metric",
        "best_model_checkpoint",
        "epoch",
        "eval_steps",
        "global_step",
        "is_hyper_param_search",
        "is_local_process_zero",
        "is_world_process_zero",
        "log_history",
        "logging_steps",
        "max_steps",
        "num_input_tokens_seen",
        "num_train_epochs",
        "save_steps",
        "stateful_callbacks",
        "total_flos",
        "train_batch_size",
        "trial_name",
        "trial_params",
    ];
    assert_eq!(keys, expected);
    assert_eq!(state["global_step"], 12);
    assert_eq!(state["log_history"][0]["step"], 1);
}

/// Every file below a directory, sorted.
fn files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            names.extend(
                files(&path)
                    .into_iter()
                    .map(|inner| format!("{name}/{inner}")),
            );
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn a_checkpoint_of_another_model_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    splade_run(short(folder.path()))
        .build()
        .unwrap()
        .train()
        .unwrap();
    let csr = serde_json::json!({
        "type": "csr",
        "loss": { "type": "multiple_negatives_ranking" },
    });
    let mut trainer = sparse_train::Trainer::builder(encoder("csr"), short(folder.path()))
        .train_dataset(table("a_splade_mnrl"))
        .loss(loss(csr))
        .build()
        .unwrap();
    let error = trainer.train_from(&Resume::Last).unwrap_err();
    assert!(error.is_user_error());
    let text = error.to_string();
    assert!(text.contains("is of another model than"), "{text}");
    assert_eq!(trainer.state().global_step, 0);
}

#[test]
fn checkpoints_that_cant_be_resumed_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let message = |arguments: TrainingArguments, resume: &Resume| {
        let error = splade_run(arguments)
            .build()
            .unwrap()
            .train_from(resume)
            .unwrap_err();
        assert!(error.is_user_error(), "{error}");
        error.to_string()
    };
    let text = message(short(folder.path()), &Resume::Last);
    assert!(
        text.contains("holds no checkpoint to resume from"),
        "{text}"
    );

    splade_run(short(folder.path()))
        .build()
        .unwrap()
        .train()
        .unwrap();
    let text = message(
        TrainingArguments {
            max_steps: 3,
            ..short(folder.path())
        },
        &Resume::Last,
    );
    assert!(
        text.contains("is at step 12, but this run has only 3"),
        "{text}"
    );
    // Whatever would put other rows into the next step.
    type Change = fn(&mut TrainingArguments);
    let changes: [(&str, Change); 4] = [
        (
            "`per_device_train_batch_size` = 8 in all processes together, now it is 4",
            |a| {
                a.per_device_train_batch_size = 4;
            },
        ),
        (
            "`gradient_accumulation_steps` = 1 in all processes together, now it is 2",
            |a| {
                a.gradient_accumulation_steps = 2;
                a.max_steps = 20;
            },
        ),
        (
            "now it is 7: the position in the data would be another",
            |a| a.seed = 7,
        ),
        ("`dataloader_drop_last` = false", |a| {
            a.dataloader_drop_last = true
        }),
    ];
    for (expected, change) in changes {
        let mut arguments = short(folder.path());
        change(&mut arguments);
        let text = message(arguments, &Resume::Last);
        assert!(text.contains(expected), "{text}");
    }

    let path = folder.path().join("checkpoint-12/optimizer.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let last = Resume::From(folder.path().join("checkpoint-12"));
    let text = message(short(folder.path()), &last);
    assert!(
        text.contains("optimizer.safetensors") && text.contains("isn't whole"),
        "{text}"
    );
    // The checkpoint before it is still good.
    for resume in [
        Resume::From(folder.path().join("checkpoint-10")),
        Resume::Last,
    ] {
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let mut trainer = splade_run(short(folder.path())).build().unwrap();
        assert_eq!(trainer.train_from(&resume).unwrap().global_step, 12);
    }

    let folder = tempfile::tempdir().unwrap();
    let only_model = TrainingArguments {
        save_only_model: true,
        ..short(folder.path())
    };
    splade_run(only_model).build().unwrap().train().unwrap();
    let text = message(short(folder.path()), &Resume::Last);
    assert!(
        text.ends_with(
            "checkpoint-12`: was written with `save_only_model` and can't be resumed; start from it as a model instead; there is no \
             earlier one that is whole"
        ),
        "{text}"
    );
}
