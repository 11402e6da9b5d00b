//! Checkpoints and training files.

use std::fs;
use std::path::Path;

use sparse_encoder::train::{Resume, Trainer, TrainingFile};

use super::{Reading, Target, cpu};
use crate::Result;
use crate::files::{self, Files};
use crate::seeds;

pub(super) const CHECKPOINT: Target = Target {
    name: "checkpoint",
    batch: 100,
    seeds: two_steps,
    may_change: |name| name.starts_with("out/checkpoint-2/"),
    read: resume,
};

pub(super) const FILE: Target = Target {
    name: "training",
    batch: 500,
    seeds: || {
        Ok(vec![
            seeds::workshop(seeds::TRAINING)?,
            seeds::workshop(seeds::SHORT_TRAINING)?,
        ])
    },
    may_change: |name| name == "train.toml",
    read: build,
};

/// Weights after the third step of a run that was not interrupted.
const EXPECTED: &str = "expected/model.safetensors";
const RESULT: &str = "out/checkpoint-3/model.safetensors";

/// A run of three steps without its last checkpoint, whose weights are kept for comparison.
fn two_steps() -> Result<Vec<Files>> {
    files::write(Path::new("run"), &seeds::workshop(seeds::SHORT_TRAINING)?)?;
    std::env::set_current_dir("run")?;
    trainer()?.train()?;
    let mut files = files::read(Path::new("."))?;
    let expected = files
        .remove(RESULT)
        .ok_or("the run left no third checkpoint")?;
    files.retain(|name, _| !name.starts_with("out/checkpoint-3/"));
    files.insert(EXPECTED.to_owned(), expected);
    std::env::set_current_dir("..")?;
    Ok(vec![files])
}

fn trainer() -> sparse_encoder::train::Result<Trainer> {
    let file = TrainingFile::load(Path::new("train.toml"), &[])?;
    file.trainer(&cpu())?.build()
}

/// Goes on to the third step, from the checkpoint by its name and then from the last whole one. The result is that of an
/// uninterrupted run, or there is none. By name comes first: what is refused leaves the damaged checkpoint as it is.
fn resume(reading: &mut Reading) {
    for from in [Resume::From("out/checkpoint-2".into()), Resume::Last] {
        let Some(mut trainer) = reading.read(trainer()) else {
            return;
        };
        if reading.read(trainer.train_from(&from)).is_some() {
            let (found, expected) = (fs::read(RESULT).ok(), fs::read(EXPECTED).ok());
            reading.require(found.is_some() && found == expected, || {
                format!("a damaged checkpoint was resumed ({from:?}), and other weights came out")
            });
        }
        let _ = fs::remove_dir_all("out/checkpoint-3");
    }
}

/// Everything up to the first step.
fn build(reading: &mut Reading) {
    let Some(file) = reading.read(TrainingFile::load(Path::new("train.toml"), &[])) else {
        return;
    };
    // What is wrong now is the place of something else, or a key.
    let built = file.trainer(&cpu()).and_then(|builder| builder.build());
    reading.used(built);
    let silent = reading
        .unusable
        .iter()
        .find(|message| !message.contains('`'))
        .cloned();
    reading.require(silent.is_none(), || {
        format!(
            "a message names neither file nor key: {}",
            silent.unwrap_or_default()
        )
    });
}
