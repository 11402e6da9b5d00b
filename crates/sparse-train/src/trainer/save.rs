//! The start and the end of a run, and everything written to disk between.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use serde_json::json;
use sparse_model::SparseEncoder;

use super::history::History;
use super::{Trainer, TrainerControl};
use crate::callback::{self, StepReport};
use crate::checkpoint::{self, Position};
use crate::curve;
use crate::error::{Error, Result};
use crate::guard::{Guards, Warning, save_batch};
use crate::loss_scaler::LossScaler;
use crate::optimizer::Optimizer;
use crate::plan::{Plan, data_state};
use crate::schedule::LearningRateSchedule;
use crate::state::TrainerState;

impl Trainer {
    pub(super) fn reset_state(&mut self, plan: &Plan) {
        let total = plan.total_steps();
        self.state = TrainerState {
            max_steps: total,
            num_train_epochs: plan.n_epochs(),
            logging_steps: self.arguments.logging_interval(total),
            eval_steps: self.arguments.eval_interval(total),
            save_steps: self.arguments.save_interval(total),
            train_batch_size: self.arguments.per_device_train_batch_size,
            ..TrainerState::new()
        };
        self.regulation
            .reset(&self.train, self.model().embedding_dimension());
        self.guards = Guards::new(self.guards.config);
        self.control = TrainerControl::default();
        self.skipped = 0;
        self.position = Position::default();
        self.report = StepReport::default();
        self.scaler = self.arguments.fp16.then(LossScaler::default);
        self.found_mini_batches = None;
    }

    /// Says before the first step what decides a run: its length, its rate, its weights.
    pub(super) fn announce(&mut self, plan: &Plan, schedule: &LearningRateSchedule) {
        let total = plan.total_steps();
        let warmup = self.arguments.warmup(total);
        tracing::info!(
            "{total} steps in {} epochs, learning rate {:e} after {warmup} warm-up steps, {}",
            plan.n_epochs(),
            self.arguments.learning_rate,
            if self.arguments.lr_scheduler_type.follows_metric() {
                "then as the metric has it".to_owned()
            } else {
                format!("{:e} at the end", schedule.rate(total.saturating_sub(1)))
            },
        );
        let maxima: Vec<_> = self
            .train
            .iter()
            .filter_map(|dataset| dataset.loss.regularizer_weights())
            .collect();
        let ramp = self.regulation.schedule.full_from(total as u64) as usize;
        for weights in &maxima {
            let query = weights
                .query
                .map_or("none".to_owned(), |weight| format!("{weight:e}"));
            tracing::info!(
                "regularizer weights rise for {ramp} steps to {:e} (documents) and {query} (queries)",
                weights.document,
            );
        }
        if self.guards.config.short_run && !maxima.is_empty() && total <= ramp {
            self.warn(&format!(
                "the run of {total} steps ends before the regularizer weights have risen ({ramp} steps): embeddings will stay \
                 denser than the weights promise; shorten `regularizer_schedule`, or train longer"
            ));
        }
        if warmup >= total && self.arguments.lr_scheduler_type.warms_up() {
            self.warn(&format!(
                "the learning rate rises for {warmup} steps, but the run ends after {total}: lower `warmup_steps`"
            ));
        }
    }

    /// Puts the model of a checkpoint in the place of the one at hand.
    pub(super) fn load_model(&mut self, directory: &Path) -> Result<()> {
        let loaded = SparseEncoder::from_pretrained(
            directory.display().to_string(),
            &self.model().device(),
        )?;
        let shapes = |encoder: &SparseEncoder| -> Vec<_> {
            let parameters = encoder.named_parameters().into_iter();
            parameters
                .map(|parameter| (parameter.name, parameter.shape))
                .collect()
        };
        let (ours, theirs) = (shapes(self.model()), shapes(&loaded));
        if let Some((name, shape)) = theirs.iter().find(|parameter| !ours.contains(parameter)) {
            return Err(Error::Checkpoint {
                path: directory.to_path_buf(),
                message: format!(
                    "is of another model than `{}`: `{name}` of shape {shape:?} isn't there",
                    self.model().name()
                ),
            });
        }
        self.encoder = Some(loaded.train());
        Ok(())
    }

    /// Goes on from the state of a checkpoint whose model is loaded.
    pub(super) fn resume_from(
        &mut self,
        directory: &Path,
        optimizer: &mut Optimizer,
        schedule: &mut LearningRateSchedule,
        plan: &mut Plan,
    ) -> Result<()> {
        checkpoint::check_data(
            directory,
            &data_state(&self.arguments_of_all()?, &self.train),
        )?;
        let (state, regulation) =
            checkpoint::restore(directory, optimizer, &self.encoder().device())?;
        let total_steps = plan.total_steps();
        if state.global_step > total_steps {
            return Err(Error::Checkpoint {
                path: directory.to_path_buf(),
                message: format!(
                    "is at step {}, but this run has only {total_steps}; raise `num_train_epochs` or `max_steps`",
                    state.global_step
                ),
            });
        }
        self.regulation
            .restore(regulation)
            .map_err(|message| Error::Checkpoint {
                path: directory.to_path_buf(),
                message,
            })?;
        if self.scaler.is_some() {
            self.scaler = Some(checkpoint::read_scaler(directory)?);
        }
        if let Some(state) = checkpoint::read_schedule(directory)? {
            schedule.restore(state);
        }
        let (skipped, _) = callback::skipped(&state.stateful_callbacks);
        if let Some(position) = checkpoint::position(directory)?
            && position.first_update <= state.global_step + skipped
        {
            plan.go_on_from(position)?;
            self.position = position;
        }
        let fresh = std::mem::replace(&mut self.state, state);
        self.find_best(directory)?;
        self.state.max_steps = fresh.max_steps;
        self.state.num_train_epochs = fresh.num_train_epochs;
        self.state.logging_steps = fresh.logging_steps;
        self.state.eval_steps = fresh.eval_steps;
        self.state.save_steps = fresh.save_steps;
        self.restore_mini_batches();
        self.state.train_batch_size = fresh.train_batch_size;
        tracing::info!(
            "resumed from `{}` at step {}",
            directory.display(),
            self.state.global_step
        );
        Ok(())
    }

    /// Finds the best checkpoint again, which may have been moved with the run: a run that can't return to it at the end should
    /// not begin.
    fn find_best(&mut self, resumed: &Path) -> Result<()> {
        match checkpoint::best(&self.state, resumed, &self.arguments.output_dir) {
            Ok(Some(best)) => {
                self.state.best_model_checkpoint = Some(best.display().to_string());
                Ok(())
            }
            Err(error) if self.arguments.load_best_model_at_end => Err(error),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// Writes `checkpoint-STEP`: complete under its name, or not there at all.
    pub(super) fn save_checkpoint(
        &mut self,
        optimizer: &Optimizer,
        schedule: &LearningRateSchedule,
    ) -> Result<PathBuf> {
        let directory = checkpoint::directory(&self.arguments.output_dir, self.state.global_step);
        if self.state.best_global_step == Some(self.state.global_step) {
            self.state.best_model_checkpoint = Some(directory.display().to_string());
        }
        self.compare_weights()?;
        self.state.stateful_callbacks =
            callback::states(&self.callbacks, &self.control, self.skipped);
        self.note_mini_batches();
        if !self.is_first() {
            return Ok(directory);
        }
        self.write_card();
        let mut data = data_state(&self.arguments_of_all()?, &self.train);
        data["position"] = json!(self.position);
        checkpoint::save(
            &directory,
            &checkpoint::Contents {
                encoder: &self.encoder(),
                optimizer,
                state: &self.state,
                regulation: self.regulation.state(),
                arguments: &self.arguments,
                data: &data,
                schedule,
                scheduler_step: self.scheduler_step(),
                scaler: self.scaler.as_ref(),
            },
        )?;
        self.upload_checkpoint(&directory);
        checkpoint::rotate(&self.arguments, &self.state)?;
        self.notify(|callback, context, control| callback.on_save(context, control, &directory));
        Ok(directory)
    }

    /// Remembers the best metric and shows it to the schedule; true if it just improved.
    pub(super) fn track_best(
        &mut self,
        metrics: &[(String, f64)],
        schedule: &mut LearningRateSchedule,
    ) -> Result<bool> {
        let Some(name) = self.arguments.best_metric() else {
            return Ok(false);
        };
        let Some((_, value)) = metrics.iter().find(|(key, _)| *key == name) else {
            let known: Vec<&str> = metrics.iter().map(|(key, _)| key.as_str()).collect();
            return Err(Error::argument(
                "arguments.metric_for_best_model",
                format!("= \"{name}\" isn't among the metrics: {}", known.join(", ")),
            ));
        };
        schedule.observe(*value);
        let improved = match self.state.best_metric {
            None => !value.is_nan(),
            Some(best) if self.arguments.larger_is_better() => *value > best,
            Some(best) => *value < best,
        };
        if improved {
            self.state.best_metric = Some(*value);
            self.state.best_global_step = Some(self.state.global_step);
        }
        Ok(improved)
    }

    /// Logs the metrics of the call and returns to the best model where that was asked for.
    pub(super) fn finish(
        &mut self,
        history: &History,
        rows_per_step: f64,
        started: Instant,
        interrupted: bool,
    ) -> Result<Vec<(String, f64)>> {
        let seconds = started.elapsed().as_secs_f64().max(1e-9);
        let updates = history.updates() as f64;
        let metrics = vec![
            ("train_runtime".to_owned(), seconds),
            (
                "train_samples_per_second".to_owned(),
                updates * rows_per_step / seconds,
            ),
            ("train_steps_per_second".to_owned(), updates / seconds),
            ("total_flos".to_owned(), 0.0),
            ("train_loss".to_owned(), history.mean_loss()),
        ];
        self.log(metrics.clone());
        if !interrupted {
            for message in self.regulation.missed_targets() {
                self.warn(&message);
            }
            self.check_positions()?;
        }
        if self.arguments.load_best_model_at_end && !interrupted {
            self.load_best()?;
        }
        self.notify(|callback, context, control| callback.on_train_end(context, control));
        self.draw_curve();
        if !interrupted {
            let encoder = self.encoder();
            if let Err(error) = self.card.run_example(&encoder) {
                self.warn(&format!("the model card shows no scores: {error}"));
            }
        }
        self.write_card();
        Ok(metrics
            .into_iter()
            .chain([("epoch".to_owned(), self.state.epoch)])
            .collect())
    }

    /// Draws the history beside the model; a picture that can't be written doesn't fail a run.
    fn draw_curve(&mut self) {
        if !self.is_first() || !self.arguments.training_curve {
            return;
        }
        let primaries = self.evaluators.iter();
        let primaries = primaries.filter_map(|evaluator| evaluator.primary_metric());
        let mut metrics: Vec<String> = primaries.map(|name| format!("eval_{name}")).collect();
        metrics.extend(
            self.arguments
                .best_metric()
                .filter(|name| !metrics.contains(name)),
        );
        let path = self.arguments.output_dir.join("training_curve.svg");
        let drawn = sparse_files::create_dir_all(&self.arguments.output_dir)
            .map_err(Error::from)
            .and_then(|()| curve::draw(&path, &self.state.log_history, &metrics));
        if let Err(error) = drawn {
            self.warn(&format!("there is no training curve: {error}"));
        }
    }

    /// Looks at the model before the first step.
    pub(super) fn check_model(&mut self) -> Result<()> {
        let warnings = self.guards.check_head_bias(&self.encoder())?;
        self.say(warnings);
        self.check_positions()
    }

    /// Looks which token positions win the maxima of a few training documents.
    fn check_positions(&mut self) -> Result<()> {
        const TEXTS: usize = 4;
        const LEAST_LENGTH: usize = 40;
        if !self.guards.config.collapse || !self.model().is_splade() {
            return Ok(());
        }
        let Some(dataset) = self.train.first() else {
            return Ok(());
        };
        let table = dataset.data.head(8 * TEXTS)?;
        let rows: Vec<usize> = (0..table.num_rows()).collect();
        let batch = table.batch(&dataset.roles, &rows)?;
        let documents = batch.columns.into_iter().last();
        // In a text of few tokens each of them wins many maxima.
        let texts = documents
            .into_iter()
            .flat_map(|column| column.texts)
            .filter(|text| text.len() >= LEAST_LENGTH);
        let texts: Vec<String> = texts.take(TEXTS).collect();
        let warnings = self.guards.check_positions(&self.encoder(), &texts)?;
        self.say(warnings);
        Ok(())
    }

    fn say(&mut self, warnings: Vec<Warning>) {
        for message in self.guards.news(warnings, self.state.global_step) {
            self.warn(&message);
        }
    }

    /// Saves the rows of the step that made something no number, beside the checkpoints.
    pub(super) fn with_batch(
        &self,
        error: Error,
        plan: &mut Plan,
        n_micro_batches: usize,
    ) -> Error {
        let Error::NonFinite {
            step,
            what,
            value,
            learning_rate,
            ..
        } = error
        else {
            return error;
        };
        if !self.is_first() {
            return Error::NonFinite {
                step,
                what,
                value,
                learning_rate,
                batch: None,
            };
        }
        let batches = plan.batches_from(step - 1 + self.skipped);
        let batches: Result<Vec<_>> = batches.and_then(|batches| {
            let batches = batches.take(n_micro_batches);
            batches.map(|batch| Ok(batch?.1)).collect()
        });
        let output_dir = &self.arguments.output_dir;
        let batch = batches.and_then(|batches| save_batch(output_dir, step, &batches));
        if let Err(error) = &batch {
            // The first cause matters more.
            tracing::warn!("the rows of step {step} can't be saved: {error}");
        }
        Error::NonFinite {
            step,
            what,
            value,
            learning_rate,
            batch: batch.ok(),
        }
    }

    fn load_best(&mut self) -> Result<()> {
        let Some(best) = self.state.best_model_checkpoint.clone() else {
            self.warn("no checkpoint of the best model was saved: the last model stays");
            return Ok(());
        };
        self.load_model(Path::new(&best))
    }
}
