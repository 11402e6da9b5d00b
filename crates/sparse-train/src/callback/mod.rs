//! What others may do at the turns of a run.

mod early_stopping;
mod energy;
mod event_file;
mod hooks;
mod json_lines;
mod tensorboard;
mod tracker;

use std::fmt::Debug;
use std::path::Path;

use serde_json::Value;
use sparse_losses::RegularizerWeights;
use sparse_model::SparseEncoder;

use crate::arguments::TrainingArguments;
use crate::state::TrainerState;
pub use early_stopping::EarlyStopping;
pub(crate) use energy::Emissions;
pub use energy::EnergyMeter;
pub(crate) use hooks::{restore, skipped, states};
pub use json_lines::JsonLines;
pub use tensorboard::TensorBoard;

/// Requests of callbacks to the trainer.
///
/// The three requests of a step are cleared before each step and as they are met; the trainer sets those of its strategies
/// before `on_step_end` and `on_epoch_end`, so that a callback may add to them or take them back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrainerControl {
    /// Ends the run after this step, or in `on_substep_end` without finishing the update. The end of the epoch is still told.
    /// The trainer sets it itself after the last step.
    pub should_training_stop: bool,
    /// Ends the epoch after this step, or in `on_substep_end` without finishing the update; the next epoch begins with its first
    /// batch. Cleared before each epoch. Updates that are left out this way are not made up for: the run ends with its last
    /// epoch, short of `max_steps`.
    pub should_epoch_stop: bool,
    /// Writes a checkpoint after this step.
    pub should_save: bool,
    /// Evaluates after this step.
    pub should_evaluate: bool,
    /// Logs after this step.
    pub should_log: bool,
}

/// What is known about the update that just ended.
#[derive(Debug, Clone, Default)]
pub struct StepReport {
    /// Loss, mean over the micro-batches of the update.
    pub loss: f64,
    /// Its parts by name, likewise.
    pub components: Vec<(String, f64)>,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Factor on the loss with `fp16`, and the updates that were left out so far because their gradient overflowed.
    pub loss_scale: Option<(f64, usize)>,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Regularizer weights in force.
    pub weights: Option<RegularizerWeights>,
    /// Active dimensions of the first column, mean over its texts.
    pub query_active_dims: f64,
    /// Active dimensions of all other columns, mean over their texts.
    pub document_active_dims: f64,
    /// Texts of the update.
    pub texts: usize,
    /// Texts per second over the last steps.
    pub texts_per_second: f64,
    /// Expected time to the last step, in seconds, evaluations left out.
    pub seconds_left: f64,
}

/// What a callback sees.
#[derive(Debug)]
pub struct CallbackContext<'a> {
    /// Arguments of the run.
    pub arguments: &'a TrainingArguments,
    /// The model as it is now, on a device with gradients: `encoder.clone().valid()` is the one to encode with.
    pub encoder: &'a SparseEncoder,
    /// State of the run.
    pub state: &'a TrainerState,
    /// The last update; defaults before the first.
    pub step: &'a StepReport,
}

/// Something that takes part in a run. Every hook does nothing unless it is written.
///
/// Hooks run in the order of the reference; `control` may be changed in each:
///
/// ```text
/// on_init_end, on_train_begin
/// each epoch:    on_epoch_begin
///   each update: on_step_begin, on_substep_end (gradient_accumulation_steps - 1 times), on_pre_optimizer_step,
///                on_optimizer_step, on_step_end, then where requested on_log, evaluation, on_save
///   evaluation:  on_evaluation_begin, on_prediction_step (each batch), on_log, on_evaluate
///                on_epoch_end, then where requested on_log, evaluation, on_save
/// on_push_begin (before each upload)
/// on_log (the figures of the whole run), on_train_end
/// ```
///
/// `on_evaluation_begin` and `on_warning` are ours. Callbacks are called in this order: those of `early_stopping_patience` and
/// `report_to`, then those that were added, in the order in which they were.
#[allow(
    unused_variables,
    reason = "the names of hook arguments are their documentation"
)]
pub trait Callback: Debug + Send {
    /// The trainer is built.
    fn on_init_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// Before the first step.
    fn on_train_begin(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After the last step.
    fn on_train_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// Before each epoch.
    fn on_epoch_begin(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After each epoch.
    fn on_epoch_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// Before each update.
    fn on_step_begin(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After the backward pass of each micro-batch but the last of an update.
    fn on_substep_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// Between clipping and the optimizer.
    fn on_pre_optimizer_step(
        &mut self,
        context: &CallbackContext<'_>,
        control: &mut TrainerControl,
    ) {
    }
    /// After the optimizer.
    fn on_optimizer_step(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After each update.
    fn on_step_end(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After each batch of an evaluation data set.
    fn on_prediction_step(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// An evaluation is about to start.
    fn on_evaluation_begin(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {
    }
    /// After each evaluation.
    fn on_evaluate(
        &mut self,
        context: &CallbackContext<'_>,
        control: &mut TrainerControl,
        metrics: &[(String, f64)],
    ) {
    }
    /// After each checkpoint.
    fn on_save(
        &mut self,
        context: &CallbackContext<'_>,
        control: &mut TrainerControl,
        checkpoint: &Path,
    ) {
    }
    /// Before each upload to the hub.
    fn on_push_begin(&mut self, context: &CallbackContext<'_>, control: &mut TrainerControl) {}
    /// After each log.
    fn on_log(
        &mut self,
        context: &CallbackContext<'_>,
        control: &mut TrainerControl,
        logs: &[(String, f64)],
    ) {
    }
    /// Something that the user should know.
    fn on_warning(&mut self, message: &str) {}
    /// What a checkpoint keeps of this callback under [`Self::name`]; `None` keeps nothing. The reference has an object with
    /// `args` and `attributes`.
    fn state(&self) -> Option<Value> {
        None
    }
    /// Takes up what [`Self::state`] gave, after `on_train_begin` of a run that goes on from a checkpoint.
    fn restore(&mut self, state: &Value) {}
    /// Name of this kind of callback in a checkpoint.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }
}
