//! Which checkpoint a run goes on from, and what is read from it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    DATA_STATE, METADATA, OPTIMIZER, REGULARIZERS, SCALER, SCHEDULER, STATE, checksum, integrity,
    list,
};
use crate::error::{Error, Result};
use crate::loss_scaler::LossScaler;
use crate::optimizer::{Optimizer, ParameterState, Slot};
use crate::regulation::RegulationState;
use crate::schedule::MetricState;
use crate::state::TrainerState;
use crate::trainer::Resume;

/// What the metadata of [`OPTIMIZER`] say: the optimizer, and the updates of each parameter.
#[derive(Debug, Deserialize)]
struct AboutOptimizer {
    optim: String,
    steps: BTreeMap<String, u64>,
}

/// What is read of [`SCHEDULER`].
#[derive(Debug, Deserialize)]
pub(super) struct SchedulerState {
    pub(super) last_epoch: usize,
    #[serde(default)]
    metric: Option<MetricState>,
}

/// What [`DATA_STATE`] says.
#[derive(Debug, Deserialize)]
pub(super) struct DataState {
    datasets: Vec<Value>,
    arguments: Map<String, Value>,
    #[serde(default)]
    position: Option<Position>,
}

/// An epoch and the update of the run with which it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) epoch: usize,
    pub(crate) first_update: usize,
}

/// Where a run resumes.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) directory: Option<PathBuf>,
    /// Later checkpoints that can't be resumed, each with the reason.
    pub(crate) skipped: Vec<(PathBuf, Reason)>,
}

/// Why a checkpoint can't be resumed.
#[derive(Debug)]
pub(crate) enum Reason {
    /// A file of it is missing, or isn't what was written.
    Broken(String),
    /// It never held more than a model.
    OnlyModel,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(message) => write!(formatter, "is broken: {message}"),
            Self::OnlyModel => formatter.write_str(
                "was written with `save_only_model` and can't be resumed; start from it as a model instead",
            ),
        }
    }
}

/// The directory to resume from, whose model `load` has taken. The last one that is whole and whose model can be loaded, where
/// none is named.
pub(crate) fn find(
    resume: &Resume,
    output_dir: &Path,
    mut load: impl FnMut(&Path) -> Result<()>,
) -> Result<Found> {
    match resume {
        Resume::No => Ok(Found::default()),
        Resume::From(path) if path.is_dir() => {
            if let Some(reason) = try_out(path, &mut load)? {
                let hint = match reason {
                    Reason::Broken(_) => {
                        ". To start a new run from its model, set `name_or_path` of `[model]` to this directory and leave \
                         `--resume` out"
                    }
                    Reason::OnlyModel => "",
                };
                return Err(refused(path, format!("{reason}{hint}")));
            }
            Ok(Found {
                directory: Some(path.clone()),
                skipped: Vec::new(),
            })
        }
        Resume::From(path) => Err(refused(path, "is no directory".to_owned())),
        Resume::Last => {
            let mut skipped = Vec::new();
            for path in list(output_dir).into_values().rev() {
                match try_out(&path, &mut load)? {
                    None => {
                        return Ok(Found {
                            directory: Some(path),
                            skipped,
                        });
                    }
                    Some(reason) => skipped.push((path, reason)),
                }
            }
            Err(match skipped.first() {
                Some((path, reason)) => refused(
                    path,
                    format!("{reason}; there is no earlier one that is whole"),
                ),
                None => refused(output_dir, "holds no checkpoint to resume from".to_owned()),
            })
        }
    }
}

fn refused(path: &Path, message: String) -> Error {
    Error::Checkpoint {
        path: path.to_path_buf(),
        message,
    }
}

/// Why a checkpoint can't be resumed; `None` if it can, and its model is loaded.
fn try_out(path: &Path, load: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Option<Reason>> {
    if integrity::has_only_model(path) {
        return Ok(Some(Reason::OnlyModel));
    }
    if let Err(message) = integrity::check(path) {
        return Ok(Some(Reason::Broken(message)));
    }
    match load(path) {
        // Its files are those of no model; whatever else fails would fail with an earlier one, too.
        Err(Error::Model(error)) => Ok(Some(Reason::Broken(in_full(&error)))),
        Err(error) => Err(error),
        Ok(()) => Ok(None),
    }
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Where the checkpoint of the best metric lies that a run knows of which goes on from `resumed`: by its name in the output
/// directory, beside the resumed one, or where it was written. The run may have been moved since.
pub(crate) fn best(
    state: &TrainerState,
    resumed: &Path,
    output_dir: &Path,
) -> Result<Option<PathBuf>> {
    let Some(written) = state.best_model_checkpoint.as_deref().map(Path::new) else {
        return Ok(None);
    };
    let name = written.file_name().unwrap_or_default();
    let mut places = vec![output_dir.join(name)];
    if state.best_global_step == Some(state.global_step) {
        places.push(resumed.to_path_buf());
    }
    places.extend(resumed.parent().map(|parent| parent.join(name)));
    places.push(written.to_path_buf());
    let mut reason = None;
    for place in places {
        if !place.join("modules.json").is_file() {
            continue;
        }
        match checksum::verify(&place) {
            Ok(()) => return Ok(Some(place)),
            Err(message) => reason = reason.or(Some(format!("is broken: {message}"))),
        }
    }
    Err(Error::Checkpoint {
        path: output_dir.join(name),
        message: format!(
            "holds the best model of the run so far, and {}{}: copy it there, or set `load_best_model_at_end = false`",
            reason.unwrap_or_else(|| "isn't there".to_owned()),
            if written == output_dir.join(name) {
                String::new()
            } else {
                format!(" (it was written as `{}`)", written.display())
            }
        ),
    })
}

/// What a file of a checkpoint says, which must be an object; `None` where there is no such file.
pub(super) fn object<T: DeserializeOwned>(
    directory: &Path,
    name: &str,
) -> Result<Option<T>, String> {
    let path = directory.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(|error| format!("`{name}` can't be read: {error}"))?;
    // A struct would also be read from a list, and a list without entries as the default.
    let parsed: serde_json::Result<Map<String, Value>> = serde_json::from_slice(&text);
    parsed
        .and_then(|map| serde_json::from_value(Value::Object(map)))
        .map(Some)
        .map_err(|error| format!("`{name}` isn't what it must be: {error}"))
}

/// The same as an error of the checkpoint.
fn part<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Option<T>> {
    object(directory, name).map_err(|message| Error::Checkpoint {
        path: directory.to_path_buf(),
        message,
    })
}

/// The factor on the loss; that of the beginning where a checkpoint has none, as when it was written without `fp16`.
pub(crate) fn read_scaler(directory: &Path) -> Result<LossScaler> {
    Ok(part(directory, SCALER)?.unwrap_or_default())
}

/// State of a schedule that follows a metric; `None` where the checkpoint has another.
pub(crate) fn read_schedule(directory: &Path) -> Result<Option<MetricState>> {
    let state: Option<SchedulerState> = part(directory, SCHEDULER)?;
    Ok(state.and_then(|state| state.metric))
}

/// The epoch in which the checkpoint was written; `None` in one from before it was written down.
pub(crate) fn position(directory: &Path) -> Result<Option<Position>> {
    let state: Option<DataState> = part(directory, DATA_STATE)?;
    Ok(state.and_then(|state| state.position))
}

/// Fails unless data sets and arguments put the rows in the order that the checkpoint was written with; one that says nothing
/// came before they were written down.
pub(crate) fn check_data(directory: &Path, data: &Value) -> Result<()> {
    let Some(before) = part::<DataState>(directory, DATA_STATE)? else {
        return Ok(());
    };
    let broken = |message: String| Error::Checkpoint {
        path: directory.join(DATA_STATE),
        message,
    };
    const OTHERWISE: &str = "the position in the data would be another";
    let datasets = Value::Array(before.datasets);
    let now = &data["datasets"];
    if datasets != *now {
        return Err(broken(format!(
            "the run began with the data sets {datasets}, and now they are {now}: {OTHERWISE}"
        )));
    }
    let now = data["arguments"].as_object().into_iter().flatten();
    for (name, now) in now {
        let before = before.arguments.get(name).unwrap_or(&Value::Null);
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
    for (options, kept) in optimizer.parameters.iter().zip(&mut optimizer.states) {
        let Some(&step) = steps.get(&options.name) else {
            continue;
        };
        if step > state.global_step as u64 {
            return Err(broken(format!(
                "counts {step} updates of `{}` at step {}",
                options.name, state.global_step
            )));
        }
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
        *kept = Some(ParameterState {
            step,
            slots: slots.collect::<Result<_>>()?,
        });
    }
    Ok((state, part(directory, REGULARIZERS)?.unwrap_or_default()))
}
