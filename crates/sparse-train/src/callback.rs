//! What others may do at the turns of a run.

use std::fmt::Debug;
use std::path::Path;

use sparse_losses::RegularizerWeights;

use crate::arguments::TrainingArguments;
use crate::state::TrainerState;

/// Requests of callbacks to the trainer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrainerControl {
    /// Ends the run after this step.
    pub should_training_stop: bool,
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
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Regulariser weights in force.
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
    /// State of the run.
    pub state: &'a TrainerState,
    /// The last update; defaults before the first.
    pub step: &'a StepReport,
}

/// Something that takes part in a run. Every hook does nothing unless it is written.
///
/// Hooks run in the order of the reference; `control` may be changed in each.
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
    /// After each micro-batch but the last of an update.
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
}
