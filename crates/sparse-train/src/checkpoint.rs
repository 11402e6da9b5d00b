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
//! ```
//!
//! A checkpoint is written beside and renamed when it is complete: a directory of that name is whole or absent, unless the
//! disk lost a part of it. Whoever resumes the last one gets the last one that is whole.

mod integrity;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sparse_files::StagedDirectory;
use sparse_model::{SparseEncoder, TensorBytes, write_safetensors};

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};
use crate::loss_scaler::LossScaler;
use crate::optimizer::{Optimizer, ParameterState, Slot};
use crate::regulation::RegulationState;
use crate::schedule::{LearningRateSchedule, MetricState};
use crate::state::TrainerState;
use crate::trainer::Resume;

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

/// What that entry says: the optimizer, and the updates of each parameter.
#[derive(Debug, Deserialize)]
struct AboutOptimizer {
    optim: String,
    steps: BTreeMap<String, u64>,
}

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

/// Where a run resumes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) directory: Option<PathBuf>,
    /// Later checkpoints that are broken, each with what is wrong.
    pub(crate) skipped: Vec<(PathBuf, String)>,
}

/// The directory to resume from.
pub(crate) fn find(resume: &Resume, output_dir: &Path) -> Result<Found> {
    let broken = |path: &Path, message: &str| Error::Checkpoint {
        path: path.to_path_buf(),
        message: message.to_owned(),
    };
    match resume {
        Resume::No => Ok(Found::default()),
        Resume::From(path) if path.is_dir() => {
            integrity::check(path)
                .map_err(|message| broken(path, &format!("is broken: {message}")))?;
            Ok(Found {
                directory: Some(path.clone()),
                skipped: Vec::new(),
            })
        }
        Resume::From(path) => Err(broken(path, "is no directory")),
        Resume::Last => {
            let mut skipped = Vec::new();
            for path in list(output_dir).into_values().rev() {
                match integrity::check(&path) {
                    Ok(()) => {
                        return Ok(Found {
                            directory: Some(path),
                            skipped,
                        });
                    }
                    Err(message) => skipped.push((path, message)),
                }
            }
            Err(match skipped.first() {
                Some((path, message)) => broken(
                    path,
                    &format!("is broken: {message}; there is no earlier one that is whole"),
                ),
                None => broken(output_dir, "holds no checkpoint to resume from"),
            })
        }
    }
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
    Ok(staged.write(STATE, state)?)
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

/// The factor on the loss; that of the beginning where a checkpoint has none, as when it was written without `fp16`.
pub(crate) fn read_scaler(directory: &Path) -> Result<LossScaler> {
    read_or_default(directory, SCALER)
}

/// What a file of a checkpoint says; the default where there is none.
fn read_or_default<T: DeserializeOwned + Default>(directory: &Path, name: &str) -> Result<T> {
    let path = directory.join(name);
    if !path.exists() {
        return Ok(T::default());
    }
    let text = fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    serde_json::from_str(&text).map_err(|source| Error::Checkpoint {
        path,
        message: format!("isn't whole: {source}"),
    })
}

/// State of a schedule that follows a metric; `None` where the checkpoint has another.
pub(crate) fn read_schedule(directory: &Path) -> Result<Option<MetricState>> {
    let path = directory.join(SCHEDULER);
    let text = fs::read_to_string(&path).map_err(|source| Error::io("read", &path, source))?;
    let broken = |source: serde_json::Error| Error::Checkpoint {
        path: path.clone(),
        message: format!("isn't whole: {source}"),
    };
    let mut scheduler: Value = serde_json::from_str(&text).map_err(broken)?;
    match scheduler["metric"].take() {
        Value::Null => Ok(None),
        state => serde_json::from_value(state).map(Some).map_err(broken),
    }
}

/// Fails unless data sets and arguments put the rows in the order that the checkpoint was written with; one that says nothing
/// came before they were written down.
pub(crate) fn check_data(directory: &Path, data: &Value) -> Result<()> {
    let path = directory.join(DATA_STATE);
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let broken = |message: String| Error::Checkpoint {
        path: path.clone(),
        message,
    };
    let before: Value =
        serde_json::from_str(&text).map_err(|source| broken(format!("is no JSON: {source}")))?;
    const OTHERWISE: &str = "the position in the data would be another";
    let (datasets, now) = (&before["datasets"], &data["datasets"]);
    if datasets != now {
        return Err(broken(format!(
            "the run began with the data sets {datasets}, and now they are {now}: {OTHERWISE}"
        )));
    }
    let now = data["arguments"].as_object().into_iter().flatten();
    for (name, now) in now {
        let before = &before["arguments"][name];
        if before != now {
            return Err(broken(format!(
                "the run began with `{name}` = {before} in all processes together, now it is {now}: {OTHERWISE}"
            )));
        }
    }
    Ok(())
}

/// Reads the optimizer's state into `optimizer` and returns the state of the run.
pub(crate) fn restore(
    directory: &Path,
    optimizer: &mut Optimizer,
    device: &Device,
) -> Result<(TrainerState, RegulationState)> {
    let state = TrainerState::load(&directory.join(STATE))?;
    let path = directory.join(OPTIMIZER);
    let broken = |message: String| Error::Checkpoint {
        path: path.clone(),
        message,
    };
    if !path.exists() {
        return Err(broken(
            "is missing: the checkpoint was written with `save_only_model` and can't be resumed; start from it as a model instead"
                .to_owned(),
        ));
    }
    let bytes = fs::read(&path).map_err(|source| Error::io("read", &path, source))?;
    let unreadable =
        |source: safetensors::SafeTensorError| broken(format!("isn't whole: {source}"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(unreadable)?;
    let metadata = header.metadata().as_ref();
    let AboutOptimizer {
        optim: before,
        steps,
    } = metadata
        .and_then(|metadata| serde_json::from_str(metadata.get(METADATA)?).ok())
        .ok_or_else(|| broken("lacks the number of updates".to_owned()))?;
    let now = optimizer.rule.name();
    if before != now {
        return Err(broken(format!(
            "holds the state of `optim` = \"{before}\", now it is \"{now}\": start from the checkpoint as a model instead"
        )));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(unreadable)?;
    for (options, state) in optimizer.parameters.iter().zip(&mut optimizer.states) {
        let Some(&step) = steps.get(&options.name) else {
            continue;
        };
        let read = |(suffix, length): Slot| -> Result<Tensor<1>> {
            let name = format!("{}.{suffix}", options.name);
            let view = tensors.tensor(&name).map_err(|_| {
                broken(format!(
                    "lacks `{name}`: was it written with other `optim_args`?"
                ))
            })?;
            if view.dtype() != Dtype::F32 || view.data().len() != length * 4 {
                return Err(broken(format!(
                    "`{name}` has {} bytes instead of the {} of {length} f32 values",
                    view.data().len(),
                    length * 4,
                )));
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            Ok(Tensor::from_data(TensorData::new(values, [length]), device))
        };
        let slots = optimizer.rule.slots(&options.shape).into_iter().map(read);
        *state = Some(ParameterState {
            step,
            slots: slots.collect::<Result<_>>()?,
        });
    }
    Ok((state, read_or_default(directory, REGULARIZERS)?))
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
