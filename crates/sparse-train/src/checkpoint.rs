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
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::Serialize;
use serde_json::{Value, json};
use sparse_model::SparseEncoder;

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

/// How a model's directory begins while it is written.
const SAVING: &str = ".saving-";

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

/// Tidies up after runs that were killed while they saved: a checkpoint that was being replaced gets its name back, and what
/// was not complete goes.
pub(crate) fn remove_leftovers(output_dir: &Path) -> Result<()> {
    crate::hub::remove_leftovers(output_dir)?;
    let entries = fs::read_dir(output_dir).into_iter().flatten().flatten();
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with(SAVING) {
            fs::remove_dir_all(&path).map_err(|source| Error::io("remove", &path, source))?;
            continue;
        }
        let Some(rest) = name.strip_prefix(".checkpoint-") else {
            continue;
        };
        let step = rest.split('.').next().unwrap_or_default();
        let named = output_dir.join(format!("checkpoint-{step}"));
        if rest.ends_with(".old") && !named.exists() {
            fs::rename(&path, &named).map_err(|source| Error::io("rename", &path, source))?;
        } else {
            fs::remove_dir_all(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
    }
    Ok(())
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
    let parent = directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|source| Error::io("create", parent, source))?;
    let name = directory
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("checkpoint");
    let staging = parent.join(format!(".{name}.{}", std::process::id()));
    let written = write(&staging, contents).and_then(|()| publish(&staging, directory));
    if written.is_err() {
        // The cause is reported; what is left of the attempt is of no use.
        let _ = fs::remove_dir_all(&staging);
    }
    written.map_err(|source| Error::Save {
        path: directory.to_path_buf(),
        last: list(parent).pop_last().map(|(_, path)| path),
        source: Box::new(source),
    })
}

fn write(staging: &Path, contents: &Contents<'_>) -> Result<()> {
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
    encoder.save_pretrained(staging)?;
    if !arguments.save_only_model {
        save_optimizer(&staging.join(OPTIMIZER), optimizer)?;
        let rate = schedule.rate(scheduler_step);
        let mut scheduler = json!({ "last_epoch": scheduler_step, "_last_lr": [rate] });
        if let Some(metric) = schedule.state() {
            scheduler["metric"] = json!(metric);
        }
        write_json(&staging.join(SCHEDULER), &scheduler)?;
        let seeds = json!({ "seed": arguments.seed, "data_seed": arguments.data_seed });
        write_json(&staging.join(RNG_STATE), &seeds)?;
        if let Some(scaler) = scaler {
            write_json(&staging.join(SCALER), scaler)?;
        }
        if *regulation != RegulationState::default() {
            write_json(&staging.join(REGULARIZERS), regulation)?;
        }
        write_json(&staging.join(DATA_STATE), data)?;
    }
    write_json(&staging.join(ARGUMENTS), arguments)?;
    state.save(&staging.join(STATE))?;
    checksum::write(staging)
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let value =
        serde_json::to_value(value).map_err(|source| Error::io("write", path, source.into()))?;
    let text = format!("{value:#}\n");
    fs::write(path, text).map_err(|source| Error::io("write", path, source))
}

/// Gives a complete directory its name, after its files have reached the disk.
fn publish(staging: &Path, directory: &Path) -> Result<()> {
    sync(staging)?;
    if directory.exists() {
        // A checkpoint of the same step from an earlier run: replaced as a whole.
        let mut old = staging.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        fs::rename(directory, &old).map_err(|source| Error::io("replace", directory, source))?;
        fs::rename(staging, directory).map_err(|source| Error::io("rename", staging, source))?;
        return fs::remove_dir_all(&old).map_err(|source| Error::io("remove", &old, source));
    }
    fs::rename(staging, directory).map_err(|source| Error::io("rename", staging, source))
}

fn sync(path: &Path) -> Result<()> {
    let failed = |source| Error::io("write to disk", path, source);
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            sync(&entry.map_err(failed)?.path())?;
        }
    }
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed)
}

fn save_optimizer(path: &Path, optimizer: &Optimizer) -> Result<()> {
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
    let failed = |message: String| Error::Checkpoint {
        path: path.to_path_buf(),
        message,
    };
    let views: Result<BTreeMap<&str, TensorView<'_>>> = tensors
        .iter()
        .map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
            Ok((
                name.as_str(),
                view.map_err(|source| failed(source.to_string()))?,
            ))
        })
        .collect();
    // A single entry: several would stand in an order that changes from run to run.
    let about = json!({ "optim": optimizer.rule.name(), "steps": steps }).to_string();
    let metadata = [(METADATA.to_owned(), about)].into_iter().collect();
    serialize_to_file(views?, Some(metadata), path)
        .map_err(|source| failed(format!("can't be written: {source}")))
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
        fs::remove_dir_all(path).map_err(|source| Error::io("remove", path, source))?;
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
