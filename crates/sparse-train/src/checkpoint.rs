//! Checkpoints: a directory `checkpoint-STEP` with the model and everything that a run needs to go on.
//!
//! ```text
//! checkpoint-STEP/
//!   modules.json, model.safetensors, ...   the model, loadable by itself
//!   optimizer.safetensors                  NAME.exp_avg, ... as the optimizer remembers; its name and updates in the metadata
//!   scheduler.json                         step and rate of the learning-rate schedule, state of one that follows a metric
//!   scaler.json                            loss scaling, with `fp16`
//!   regularizer_state.json                 controllers of sparsity targets, document frequencies
//!   rng_state.json                         the seeds: every random number is a function of them and the step
//!   data_state.json                        data sets and what orders their rows, which with the step are the position in the data
//!   training_args.json                     arguments of the run
//!   trainer_state.json                     counters, history, best metric, in the reference's keys
//!   checksums.json                         size and checksum of each of these
//! ```
//!
//! A checkpoint is written beside and renamed when it is complete: a directory of that name is whole or absent, unless the
//! disk lost a part of it. Whoever resumes the last one gets the last one that is whole.

mod checksum;
mod integrity;
mod resume;

pub(crate) use resume::{
    Position, Reason, best, check_data, find, position, read_scaler, read_schedule, restore,
};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use sparse_files::StagedDirectory;
use sparse_model::{SparseEncoder, TensorBytes, write_safetensors};

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};
use crate::loss_scaler::LossScaler;
use crate::optimizer::{Optimizer, ParameterState};
use crate::regulation::RegulationState;
use crate::schedule::LearningRateSchedule;
use crate::state::TrainerState;

const OPTIMIZER: &str = "optimizer.safetensors";
const SCHEDULER: &str = "scheduler.json";
const SCALER: &str = "scaler.json";
const REGULARIZERS: &str = "regularizer_state.json";
const RNG_STATE: &str = "rng_state.json";
const DATA_STATE: &str = "data_state.json";
const ARGUMENTS: &str = "training_args.json";
const STATE: &str = "trainer_state.json";

/// Entry of the metadata of [`OPTIMIZER`].
const METADATA: &str = "optimizer";

/// The highest step of which a directory has a checkpoint.
pub(crate) fn last(output_dir: &Path) -> Option<usize> {
    list(output_dir).into_keys().next_back()
}

/// Where the checkpoint of a step lies.
pub(crate) fn directory(output_dir: &Path, step: usize) -> PathBuf {
    output_dir.join(format!("checkpoint-{step}"))
}

/// Complete checkpoints of an output directory by step.
fn list(output_dir: &Path) -> BTreeMap<usize, PathBuf> {
    let entries = fs::read_dir(output_dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let step = entry
                .file_name()
                .to_str()?
                .strip_prefix("checkpoint-")?
                .parse()
                .ok()?;
            Some((step, entry.path()))
        })
        .collect()
}

/// Tidies up after runs that were killed while they saved: what was not complete goes.
pub(crate) fn remove_leftovers(output_dir: &Path) -> Result<()> {
    crate::hub::remove_leftovers(output_dir)?;
    Ok(sparse_files::remove_leftovers(output_dir)?)
}

/// What a checkpoint is written from.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    pub(crate) encoder: &'a SparseEncoder,
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) state: &'a TrainerState,
    pub(crate) regulation: &'a RegulationState,
    pub(crate) arguments: &'a TrainingArguments,
    /// By which the data are recognized.
    pub(crate) data: &'a Value,
    pub(crate) schedule: &'a LearningRateSchedule,
    /// Its position.
    pub(crate) scheduler_step: usize,
    pub(crate) scaler: Option<&'a LossScaler>,
}

/// Writes a checkpoint.
pub(crate) fn save(directory: &Path, contents: &Contents<'_>) -> Result<()> {
    let written = StagedDirectory::create(directory)
        .map_err(Error::from)
        .and_then(|staged| {
            write(&staged, contents)?;
            Ok(staged.replace(|_| true)?)
        });
    written.map_err(|source| Error::Save {
        path: directory.to_path_buf(),
        last: directory
            .parent()
            .and_then(|parent| list(parent).pop_last())
            .map(|(_, path)| path),
        source: Box::new(source),
    })
}

fn write(staged: &StagedDirectory, contents: &Contents<'_>) -> Result<()> {
    let Contents {
        encoder,
        optimizer,
        state,
        regulation,
        arguments,
        data,
        schedule,
        scheduler_step,
        scaler,
    } = *contents;
    encoder.save_into(staged)?;
    if !arguments.save_only_model {
        save_optimizer(staged, optimizer)?;
        let rate = schedule.rate(scheduler_step);
        let mut scheduler = json!({ "last_epoch": scheduler_step, "_last_lr": [rate] });
        if let Some(metric) = schedule.state() {
            scheduler["metric"] = json!(metric);
        }
        write_json(staged, SCHEDULER, &scheduler)?;
        let seeds = json!({ "seed": arguments.seed, "data_seed": arguments.data_seed });
        write_json(staged, RNG_STATE, &seeds)?;
        if let Some(scaler) = scaler {
            write_json(staged, SCALER, scaler)?;
        }
        if *regulation != RegulationState::default() {
            write_json(staged, REGULARIZERS, regulation)?;
        }
        write_json(staged, DATA_STATE, data)?;
    }
    write_json(staged, ARGUMENTS, arguments)?;
    let state = state
        .to_json()
        .map_err(|source| unwritable(STATE, source))?;
    staged.write(STATE, state)?;
    write_json(staged, checksum::FILE, &checksum::of(staged.path())?)
}

fn write_json(staged: &StagedDirectory, name: &str, value: &impl Serialize) -> Result<()> {
    let value = serde_json::to_value(value).map_err(|source| unwritable(name, source))?;
    Ok(staged.write(name, format!("{value:#}\n"))?)
}

fn unwritable(name: &str, source: serde_json::Error) -> Error {
    Error::io("write", name, source.into())
}

fn save_optimizer(staged: &StagedDirectory, optimizer: &Optimizer) -> Result<()> {
    let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    for (options, state) in optimizer.parameters.iter().zip(&optimizer.states) {
        let Some(ParameterState { step, slots }) = state else {
            continue;
        };
        for ((suffix, _), values) in optimizer.rule.slots(&options.shape).iter().zip(slots) {
            let data = values.to_data().convert::<f32>();
            tensors.push((
                format!("{}.{suffix}", options.name),
                data.as_bytes().to_vec(),
            ));
        }
        steps.insert(&options.name, *step);
    }
    // A single entry: several would stand in an order that changes from run to run.
    let about = json!({ "optim": optimizer.rule.name(), "steps": steps }).to_string();
    let tensors = tensors
        .into_iter()
        .map(|(name, bytes)| TensorBytes::f32(name, vec![bytes.len() / 4], bytes))
        .collect();
    let written = staged.write_with(OPTIMIZER, |file| {
        write_safetensors(file, tensors, &[(METADATA, &about)])
    });
    Ok(written?)
}

/// Deletes the oldest checkpoints beyond `save_total_limit`; the last one and the best one stay.
pub(crate) fn rotate(arguments: &TrainingArguments, state: &TrainerState) -> Result<()> {
    let Some(limit) = arguments.save_total_limit else {
        return Ok(());
    };
    let checkpoints = list(&arguments.output_dir);
    // By its name: the directory may have been written another way when the run began.
    let best = state.best_model_checkpoint.as_deref();
    let best = best.and_then(|path| Path::new(path).file_name());
    let protected: Vec<&PathBuf> = checkpoints
        .values()
        .filter(|path| best.is_some() && path.file_name() == best)
        .chain(checkpoints.get(&state.global_step))
        .collect();
    let surplus = checkpoints.len().saturating_sub(limit);
    let candidates: Vec<&PathBuf> = checkpoints
        .values()
        .filter(|path| !protected.contains(path))
        .take(surplus)
        .collect();
    for path in candidates {
        sparse_files::remove_directory(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_spares_the_best_and_the_newest() {
        let remaining = |limit: usize, best: Option<&str>| -> Vec<usize> {
            let folder = tempfile::tempdir().unwrap();
            for step in [4, 8, 12] {
                fs::create_dir(directory(folder.path(), step)).unwrap();
            }
            let arguments = TrainingArguments {
                save_total_limit: Some(limit),
                ..TrainingArguments::new(folder.path())
            };
            let state = TrainerState {
                global_step: 12,
                best_model_checkpoint: best.map(str::to_owned),
                ..TrainerState::new()
            };
            rotate(&arguments, &state).unwrap();
            list(folder.path()).into_keys().collect()
        };
        assert_eq!(remaining(3, None), [4, 8, 12]);
        assert_eq!(remaining(2, None), [8, 12]);
        assert_eq!(remaining(1, None), [12]);
        // The best one counts, under whatever path it was written.
        assert_eq!(remaining(2, Some("elsewhere/checkpoint-4")), [4, 12]);
        assert_eq!(remaining(1, Some("./out/checkpoint-4")), [4, 12]);
    }
}
