//! Checkpoints that are missing a file, are damaged, edited or moved.

use std::fs;
use std::path::{Path, PathBuf};

use sparse_train::{
    IntervalStrategy, Resume, SaveStrategy, Trainer, TrainerBuilder, TrainingArguments,
};

use crate::support::{arguments, splade_run, table};

/// 12 steps with checkpoints 4, 8 and 12.
fn short(output_dir: &Path) -> TrainingArguments {
    TrainingArguments {
        max_steps: 12,
        save_strategy: SaveStrategy::Steps,
        save_steps: 4.0,
        ..arguments(output_dir)
    }
}

fn trained(builder: TrainerBuilder) -> Trainer {
    let mut trainer = builder.build().unwrap();
    trainer.train().unwrap();
    trainer
}

/// Every file below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

type Damage = fn(&Path);

const DAMAGES: [(&str, Damage); 5] = [
    ("deleted", |path| fs::remove_file(path).unwrap()),
    ("cut", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("emptied", |path| fs::write(path, "").unwrap()),
    ("a list", |path| fs::write(path, "[]").unwrap()),
    ("with a bit that turned", |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
];

#[test]
fn whatever_happens_to_a_file_the_run_ends_with_the_same_bytes() {
    let whole = tempfile::tempdir().unwrap();
    trained(splade_run(short(whole.path())));
    let newest = whole.path().join("checkpoint-12");
    let expected = fs::read(newest.join("model.safetensors")).unwrap();
    let names = files(&newest);
    assert!(names.len() > 14, "{names:?}");
    for name in names {
        let name = name.strip_prefix(&newest).unwrap();
        for (what, damage) in DAMAGES {
            let folder = tempfile::tempdir().unwrap();
            let at = |step: usize| folder.path().join(format!("checkpoint-{step}"));
            copy(&whole.path().join("checkpoint-4"), &at(4));
            copy(&whole.path().join("checkpoint-8"), &at(8));
            damage(&at(8).join(name));
            let mut trainer = splade_run(short(folder.path())).build().unwrap();
            trainer.train_from(&Resume::Last).unwrap();
            assert!(
                fs::read(at(12).join("model.safetensors")).unwrap() == expected,
                "{} {what}: other weights",
                name.display()
            );
            // Without its checksums a checkpoint is one from before there were any. With one file less it can't be resumed.
            if name == Path::new("checksums.json") && what == "deleted" {
                continue;
            }
            // Step 8 is saved again by a run that went on from step 4.
            let again = fs::read(at(8).join(name)).unwrap();
            assert!(
                name.ends_with("trainer_state.json")
                    || name.ends_with("README.md")
                    || name.ends_with("training_args.json")
                    || name.ends_with("checksums.json")
                    || again == fs::read(whole.path().join("checkpoint-8").join(name)).unwrap(),
                "{} {what}: it was resumed",
                name.display()
            );
        }
    }
}

/// A run of which every checkpoint is from before there were checksums.
#[test]
fn without_checksums_what_resuming_reads_is_looked_at_all_the_same() {
    let whole = tempfile::tempdir().unwrap();
    trained(splade_run(short(whole.path())));
    let expected = fs::read(whole.path().join("checkpoint-12/model.safetensors")).unwrap();
    let read = [
        "config.json",
        "model.safetensors",
        "modules.json",
        "optimizer.safetensors",
        "scheduler.json",
        "tokenizer.json",
        "trainer_state.json",
    ];
    for name in read {
        for (what, damage) in &DAMAGES[..4] {
            let folder = tempfile::tempdir().unwrap();
            let at = |step: usize| folder.path().join(format!("checkpoint-{step}"));
            for step in [4, 8] {
                copy(&whole.path().join(format!("checkpoint-{step}")), &at(step));
                fs::remove_file(at(step).join("checksums.json")).unwrap();
            }
            damage(&at(8).join(name));
            let mut trainer = splade_run(short(folder.path())).build().unwrap();
            trainer
                .train_from(&Resume::Last)
                .unwrap_or_else(|error| panic!("{name} {what}: {error}"));
            assert!(
                fs::read(at(12).join("model.safetensors")).unwrap() == expected,
                "{name} {what}: other weights"
            );
        }
    }
}

#[test]
fn an_edited_step_is_refused_by_name_and_passed_over_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    trained(splade_run(short(folder.path())));
    let expected = fs::read(folder.path().join("checkpoint-12/model.safetensors")).unwrap();
    fs::remove_dir_all(folder.path().join("checkpoint-12")).unwrap();
    let edited = folder.path().join("checkpoint-8");
    let path = edited.join("trainer_state.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"global_step\": 8", "\"global_step\": 2"),
    )
    .unwrap();

    let resume = |resume: &Resume| {
        let mut trainer = splade_run(short(folder.path())).build().unwrap();
        trainer.train_from(resume)
    };
    let error = resume(&Resume::From(edited.clone())).unwrap_err();
    assert!(error.is_user_error());
    let text = error.to_string();
    assert!(
        text.ends_with(
            "checkpoint-8`: is broken: `trainer_state.json` was changed after it was written. To start a new run from its model, \
             set `name_or_path` of `[model]` to this directory and leave `--resume` out"
        ),
        "{text}"
    );
    resume(&Resume::Last).unwrap();
    assert_eq!(
        fs::read(folder.path().join("checkpoint-12/model.safetensors")).unwrap(),
        expected
    );
}

/// The best model is that of an early step, because the rate is so high.
fn with_best(output_dir: &Path) -> TrainerBuilder {
    splade_run(TrainingArguments {
        eval_strategy: IntervalStrategy::Steps,
        eval_steps: Some(4.0),
        load_best_model_at_end: true,
        metric_for_best_model: Some("loss".to_owned()),
        greater_is_better: Some(true),
        ..short(output_dir)
    })
    .eval_dataset(table("a_splade_mnrl"))
}

#[test]
fn a_run_that_was_moved_finds_its_best_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let old = home.path().join("old");
    let best = trained(with_best(&old)).state().best_global_step.unwrap();
    assert_eq!(best, 4, "a larger loss is taken for better, and it falls");
    let new = home.path().join("new");
    fs::rename(&old, &new).unwrap();
    fs::remove_dir_all(new.join("checkpoint-12")).unwrap();

    let mut trainer = with_best(&new).build().unwrap();
    trainer.train_from(&Resume::Last).unwrap();
    assert_eq!(trainer.state().global_step, 12);
    let recorded = trainer.state().best_model_checkpoint.clone().unwrap();
    assert_eq!(PathBuf::from(recorded), new.join("checkpoint-4"));
    let saved = home.path().join("saved");
    trainer.encoder().save_pretrained(&saved).unwrap();
    let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(weights(&saved) == weights(&new.join("checkpoint-4")));

    // It is gone for good: said before the first step, not after the last.
    fs::remove_dir_all(new.join("checkpoint-4")).unwrap();
    fs::remove_dir_all(new.join("checkpoint-12")).unwrap();
    let mut trainer = with_best(&new).build().unwrap();
    let text = trainer.train_from(&Resume::Last).unwrap_err().to_string();
    assert!(
        text.contains("new/checkpoint-4`: holds the best model of the run so far, and isn't there"),
        "{text}"
    );
    assert!(
        text.ends_with("or set `load_best_model_at_end = false`"),
        "{text}"
    );
    assert!(!new.join("checkpoint-12").exists());
}
