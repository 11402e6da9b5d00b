//! Every optimizer, and rates that follow a metric, in runs that are resumed.

use std::path::Path;

use sparse_train::{
    IntervalStrategy, OptimizerType, Resume, SaveStrategy, SchedulerOptions, SchedulerType,
    ThresholdMode, Trainer, TrainingArguments,
};

use crate::support::{arguments, splade_run, table, weights};

/// 8 steps with a checkpoint after the third and the sixth.
fn short(output_dir: &Path) -> TrainingArguments {
    TrainingArguments {
        max_steps: 8,
        save_strategy: SaveStrategy::Steps,
        save_steps: 3.0,
        weight_decay: 0.01,
        ..arguments(output_dir)
    }
}

fn logged(trainer: &Trainer, key: &str) -> Vec<f64> {
    let logs = &trainer.state().log_history;
    logs.iter()
        .filter_map(|log| log.get(key)?.as_f64())
        .collect()
}

#[test]
fn every_optimizer_resumes_to_the_same_bytes() {
    let cases = [
        (OptimizerType::AdamwTorch, "", 5e-4),
        (OptimizerType::Adafactor, "", 5e-4),
        (OptimizerType::Sgd, "", 1e-2),
        (OptimizerType::Sgd, "momentum=0.9,nesterov=true", 5e-3),
        (OptimizerType::Adagrad, "lr_decay=0.01", 5e-4),
        (OptimizerType::Rmsprop, "", 5e-4),
        (OptimizerType::Rmsprop, "centered=true,momentum=0.5", 2e-4),
        (OptimizerType::Lion, "", 1e-4),
    ];
    for (optim, options, learning_rate) in cases {
        let what = format!("{optim:?} {options}");
        let folder = tempfile::tempdir().unwrap();
        let arguments = TrainingArguments {
            optim,
            optim_args: Some(options.to_owned()),
            learning_rate,
            ..short(folder.path())
        };
        let mut whole = splade_run(arguments.clone()).build().unwrap();
        let before = weights(&whole.encoder());
        whole.train().unwrap();
        let expected = weights(&whole.encoder());
        assert_ne!(before, expected, "{what}");
        let mut values = expected.iter().flat_map(|(_, values)| values);
        assert!(values.all(|value| value.is_finite()), "{what}");
        assert_eq!(logged(&whole, "loss").len(), 8, "{what}");

        let resume = Resume::From(folder.path().join("checkpoint-3"));
        let mut resumed = splade_run(arguments).build().unwrap();
        resumed.train_from(&resume).unwrap();
        assert_eq!(weights(&resumed.encoder()), expected, "{what}");
    }
}

#[test]
fn a_checkpoint_knows_its_optimizer() {
    let folder = tempfile::tempdir().unwrap();
    let with = |optim, options: &str| TrainingArguments {
        optim,
        optim_args: Some(options.to_owned()),
        ..short(folder.path())
    };
    let mut trainer = splade_run(with(OptimizerType::Sgd, "")).build().unwrap();
    trainer.train().unwrap();
    let resume = Resume::From(folder.path().join("checkpoint-3"));
    for (arguments, expected) in [
        (
            with(OptimizerType::Lion, ""),
            "holds the state of `optim` = \"sgd\", now it is \"lion_32bit\"",
        ),
        (
            with(OptimizerType::Sgd, "momentum=0.9"),
            "was it written with other `optim_args`?",
        ),
    ] {
        let mut trainer = splade_run(arguments).build().unwrap();
        let error = trainer.train_from(&resume).unwrap_err();
        assert!(error.is_user_error());
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// Nothing is better by a billion than the first evaluation: each of the others halves the rate.
#[test]
fn a_rate_that_follows_a_metric_falls_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = TrainingArguments {
        lr_scheduler_type: SchedulerType::ReduceLrOnPlateau,
        lr_scheduler_kwargs: SchedulerOptions {
            patience: Some(0),
            factor: Some(0.5),
            threshold: Some(1e9),
            threshold_mode: Some(ThresholdMode::Abs),
            ..SchedulerOptions::default()
        },
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(2.0),
        learning_rate_mapping: [("embeddings".to_owned(), 2e-4)].into(),
        ..short(folder.path())
    };
    let run = |resume: &Resume| {
        let mut trainer = splade_run(arguments.clone())
            .eval_dataset(table("a_splade_mnrl"))
            .build()
            .unwrap();
        trainer.train_from(resume).unwrap();
        trainer
    };
    let whole = run(&Resume::No);
    assert_eq!(logged(&whole, "eval_loss").len(), 4);
    let rate = 5e-4;
    assert_eq!(
        logged(&whole, "learning_rate"),
        [
            rate,
            rate,
            rate,
            rate,
            rate / 2.0,
            rate / 2.0,
            rate / 4.0,
            rate / 4.0
        ]
    );
    let resumed = run(&Resume::From(folder.path().join("checkpoint-6")));
    assert_eq!(weights(&resumed.encoder()), weights(&whole.encoder()));
    assert_eq!(
        logged(&resumed, "learning_rate"),
        logged(&whole, "learning_rate")
    );
}

#[test]
fn tokens_are_logged_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = splade_run(TrainingArguments {
        max_steps: 3,
        include_num_input_tokens_seen: sparse_train::CountTokens::All,
        ..arguments(folder.path())
    })
    .build()
    .unwrap();
    trainer.train().unwrap();
    let seen = logged(&trainer, "num_input_tokens_seen");
    // Three steps and the last log of the run.
    assert_eq!(seen.len(), 4);
    assert!(seen[0] > 0.0 && seen[0] < seen[1] && seen[1] < seen[2] && seen[2] == seen[3]);
    assert_eq!(seen[3], trainer.state().num_input_tokens_seen as f64);
    assert_eq!(logged(&trainer, "train_tokens_per_second").len(), 3);
}
