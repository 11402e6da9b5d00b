//! What the processes of a run must agree on: the same start, the same decisions, one voice.

use serde_json::json;

use super::{Trainer, TrainerControl};
use crate::arguments::TrainingArguments;
use crate::distributed::{check_same, first_decides, same_weights, share_weights};
use crate::error::{Error, Result};
use crate::plan::{Plan, data_state};

impl Trainer {
    /// Whether this process speaks for the run: logs, evaluates, calls the callbacks and writes files.
    pub(crate) fn is_first(&self) -> bool {
        self.communicator.rank() == 0
    }

    fn is_alone(&self) -> bool {
        self.communicator.size() == 1
    }

    /// Whether losses compare the rows of all processes.
    pub(crate) fn gathers_across_devices(&self) -> bool {
        let mut losses = self.train.iter().map(|dataset| &dataset.loss);
        losses.any(|loss| loss.gathers_across_devices())
    }

    /// The arguments of a single process whose run this one is: with as many rows in a batch, or as many micro-batches in
    /// an update, as all processes have together.
    pub(crate) fn arguments_of_all(&self) -> Result<TrainingArguments> {
        let size = self.communicator.size();
        let mut arguments = self.arguments.clone();
        if self.is_alone() {
            return Ok(arguments);
        }
        if !self.gathers_across_devices() {
            arguments.gradient_accumulation_steps =
                arguments.gradient_accumulation_steps.saturating_mul(size);
            return Ok(arguments);
        }
        let stands_apart = self
            .train
            .iter()
            .find(|dataset| !dataset.loss.gathers_across_devices());
        if let Some(dataset) = stands_apart {
            return Err(Error::argument(
                format!("losses.{}.gather_across_devices", dataset.name),
                "is false, and true for another data set: in a run of several processes all batches are gathered, or none",
            ));
        }
        arguments.per_device_train_batch_size =
            arguments.per_device_train_batch_size.saturating_mul(size);
        arguments.token_budget = arguments
            .token_budget
            .map(|tokens| tokens.saturating_mul(size));
        Ok(arguments)
    }

    /// Makes sure that all processes begin the same run with the same weights.
    pub(super) fn meet(&mut self, plan: &Plan) -> Result<()> {
        if self.is_alone() {
            if self.gathers_across_devices() {
                tracing::info!("`gather_across_devices` changes nothing: there is one process");
            }
            return Ok(());
        }
        let size = self.communicator.size();
        tracing::info!(
            "{size} processes, {} micro-batches of {} rows in an update",
            self.arguments
                .gradient_accumulation_steps
                .saturating_mul(size),
            self.arguments.per_device_train_batch_size,
        );
        let run = json!([
            self.arguments,
            data_state(&self.arguments, &self.train),
            plan.total_steps(),
            self.state.global_step,
        ]);
        check_same(
            &*self.communicator,
            run.to_string().as_bytes(),
            "its arguments, its data or its checkpoint: give every process the same training file and the same files",
        )?;
        if let Some(encoder) = self.encoder.take() {
            self.encoder = Some(share_weights(&*self.communicator, encoder));
        }
        Ok(())
    }

    /// Takes over what process 0 decided, and whether any process was asked to stop.
    pub(super) fn agree(&mut self) {
        let asked = self.interrupt.is_requested();
        if self.is_alone() {
            self.stops_here = asked;
            return;
        }
        let TrainerControl {
            should_training_stop,
            should_epoch_stop,
            should_save,
            should_evaluate,
            should_log,
        } = self.control;
        let own = [
            asked,
            should_training_stop,
            should_epoch_stop,
            should_save,
            should_evaluate,
            should_log,
        ];
        let all = self.communicator.all_gather(&own.map(u8::from));
        self.stops_here = all.iter().any(|flags| flags[0] == 1);
        let first = &all[0];
        self.control = TrainerControl {
            should_training_stop: first[1] == 1,
            should_epoch_stop: first[2] == 1,
            should_save: first[3] == 1,
            should_evaluate: first[4] == 1,
            should_log: first[5] == 1,
        };
    }

    /// Evaluates in process 0; all get the metrics.
    pub(super) fn evaluate_for_all(&mut self, prefix: &str) -> Result<Vec<(String, f64)>> {
        let communicator = self.communicator.clone();
        first_decides(&*communicator, || self.evaluate(prefix))
    }

    /// Fails if the processes have drifted apart.
    pub(super) fn compare_weights(&self) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        same_weights(&*self.communicator, self.model(), self.state.global_step)
    }
}
