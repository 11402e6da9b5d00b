//! What a run remembers: counters, the history of logs, the best metric.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// State of a run, as `trainer_state.json` stores it (the reference's keys).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Step of the best metric.
    pub best_global_step: Option<usize>,
    /// Best value of `metric_for_best_model`.
    pub best_metric: Option<f64>,
    /// Directory of the best checkpoint.
    pub best_model_checkpoint: Option<String>,
    /// Passes over the data so far.
    pub epoch: f64,
    /// Steps between evaluations.
    pub eval_steps: usize,
    /// Update steps so far.
    pub global_step: usize,
    /// Always false: no search for hyperparameters runs here.
    pub is_hyper_param_search: bool,
    /// Whether this process is the first of its machine.
    pub is_local_process_zero: bool,
    /// Whether this process is the first of all.
    pub is_world_process_zero: bool,
    /// Every log so far, each with its `epoch` and `step`.
    pub log_history: Vec<Map<String, Value>>,
    /// Steps between logs.
    pub logging_steps: usize,
    /// Update steps of the whole run.
    pub max_steps: usize,
    /// Tokens trained on so far, without padding (there is none).
    pub num_input_tokens_seen: usize,
    /// Passes over the data of the whole run, rounded up.
    pub num_train_epochs: usize,
    /// Steps between checkpoints.
    pub save_steps: usize,
    /// State of callbacks.
    pub stateful_callbacks: Map<String, Value>,
    /// Always 0, as in the reference.
    pub total_flos: f64,
    /// Rows of a micro-batch.
    pub train_batch_size: usize,
    /// Always null.
    pub trial_name: Option<String>,
    /// Always null.
    pub trial_params: Option<Value>,
}

impl TrainerState {
    /// The state before the first step.
    pub(crate) fn new() -> Self {
        Self {
            best_global_step: None,
            best_metric: None,
            best_model_checkpoint: None,
            epoch: 0.0,
            eval_steps: 500,
            global_step: 0,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: Vec::new(),
            logging_steps: 500,
            max_steps: 0,
            num_input_tokens_seen: 0,
            num_train_epochs: 0,
            save_steps: 500,
            stateful_callbacks: Map::new(),
            total_flos: 0.0,
            train_batch_size: 0,
            trial_name: None,
            trial_params: None,
        }
    }

    /// The state as the reference writes it: keys sorted, indented by 2, a newline at the end.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        // The fields are declared in the order of their names.
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let broken = |message: String| Error::Checkpoint {
            path: path.to_path_buf(),
            message,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|source| broken(format!("can't be read: {source}")))?;
        serde_json::from_str(&text)
            .map_err(|source| broken(format!("isn't a trainer state: {source}")))
    }
}

/// A log entry as JSON; numbers that JSON can't hold become strings.
pub(crate) fn entry(values: &[(String, f64)], epoch: f64, step: usize) -> Map<String, Value> {
    let mut map: Map<String, Value> = values
        .iter()
        .map(|(name, value)| (name.clone(), number(*value)))
        .collect();
    map.insert("epoch".into(), number(epoch));
    map.insert("step".into(), step.into());
    map.sort_keys();
    map
}

fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value)
        .map_or_else(|| Value::String(value.to_string()), Value::Number)
}
