//! The training loop.

mod agree;
mod best_metric;
mod builder;
mod cache;
mod card;
mod embed;
mod evaluate;
mod history;
mod hub;
mod memory;
mod output;
mod save;
mod step;
mod tally;
mod together;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use sparse_eval::Evaluator;
use sparse_hub::HubOptions;
use sparse_losses::MiniBatches;
use sparse_model::SparseEncoder;

pub use builder::TrainerBuilder;

use crate::arguments::{CountTokens, IntervalStrategy, SaveStrategy, TrainingArguments};
use crate::callback::{self, Callback, CallbackContext, EnergyMeter, StepReport, TrainerControl};
use crate::checkpoint::{self, Position, Reason};
use crate::dataset::DatasetWithLoss;
use crate::distributed::Communicator;
use crate::error::Result;
use crate::guard::Guards;
use crate::hub::Uploader;
use crate::loss_scaler::LossScaler;
use crate::optimizer::Optimizer;
use crate::plan::Plan;
use crate::prefetch::Prefetch;
use crate::regulation::Regulation;
use crate::schedule::LearningRateSchedule;
use crate::state::TrainerState;
use card::{CardRecord, Run};
use history::History;

/// A request to end the run after the current step, shared with a signal handler.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks the run to end.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the run was asked to end.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Where a run starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Resume {
    /// From the beginning.
    #[default]
    No,
    /// From the last checkpoint of the output directory.
    Last,
    /// From this checkpoint.
    From(PathBuf),
}

/// Outcome of [`Trainer::train`].
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOutput {
    /// Update steps in all.
    pub global_step: usize,
    /// Mean loss over the updates of this call.
    pub training_loss: f64,
    /// `train_runtime`, `train_samples_per_second`, `train_steps_per_second`, `total_flos`, `train_loss`, `epoch`.
    pub metrics: Vec<(String, f64)>,
    /// The checkpoint that was saved because the run was interrupted.
    pub interrupted: Option<PathBuf>,
}

/// Trains a [`SparseEncoder`]: the loop between a configuration and a finished model.
///
/// Each update averages the gradients of `gradient_accumulation_steps` micro-batches, clips their global norm, and lets the
/// optimizer take a step at the scheduled rate. All randomness is a pure function of the seed and the step, so the same configuration
/// gives the same bytes on a CPU, and a resumed run the same bytes as one that was never interrupted.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::Device;
/// use sparse_data::{DatasetConfig, Table};
/// use sparse_model::SparseEncoder;
/// use sparse_train::{Trainer, TrainingArguments};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let encoder = SparseEncoder::from_pretrained("splade-tiny-bert", &Device::default())?;
/// let pairs = Table::load(&DatasetConfig::from_path("pairs.tsv"))?;
/// let mut trainer = Trainer::builder(encoder, TrainingArguments::new("runs/pairs"))
///     .train_dataset(pairs)
///     .build()?;
/// trainer.train()?;
/// trainer.encoder().save_pretrained("runs/pairs/final")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer {
    /// `None` only while a step replaces it.
    pub(crate) encoder: Option<SparseEncoder>,
    pub(crate) arguments: TrainingArguments,
    pub(crate) train: Vec<DatasetWithLoss>,
    pub(crate) eval: Vec<DatasetWithLoss>,
    pub(crate) evaluators: Vec<Box<dyn Evaluator>>,
    pub(crate) regulation: Regulation,
    pub(crate) guards: Guards,
    pub(crate) callbacks: Vec<Box<dyn Callback>>,
    /// The one among the callbacks, where there is one.
    pub(crate) energy: Option<EnergyMeter>,
    pub(crate) interrupt: Interrupt,
    pub(crate) communicator: Arc<dyn Communicator>,
    /// Whether a process was asked to end the run, as all agreed after the last step.
    pub(crate) stops_here: bool,
    pub(crate) state: TrainerState,
    pub(crate) control: TrainerControl,
    pub(crate) card: CardRecord,
    /// Updates that `should_epoch_stop` left out: the position in the data is so far ahead of `global_step`.
    pub(crate) skipped: usize,
    /// Where the epoch of the last update begins.
    pub(crate) position: Position,
    pub(crate) report: StepReport,
    /// With `fp16`.
    pub(crate) scaler: Option<LossScaler>,
    pub(crate) before: Option<Vec<(String, f64)>>,
    /// Mini-batches that fit into memory, where larger ones did not.
    pub(crate) found_mini_batches: Option<MiniBatches>,
    /// Texts that fit into the memory of a device in a test.
    #[cfg(test)]
    pub(crate) texts_that_fit: Option<usize>,
    pub(crate) hub: HubOptions,
    pub(crate) uploader: Option<Uploader>,
}

impl Trainer {
    /// Starts to put a run together.
    pub fn builder(encoder: SparseEncoder, arguments: TrainingArguments) -> TrainerBuilder {
        TrainerBuilder::new(encoder, arguments)
    }

    /// The model as it is now, ready for inference.
    ///
    /// # Panics
    ///
    /// Never: the model is absent only within a step.
    pub fn encoder(&self) -> SparseEncoder {
        self.model().clone().valid()
    }

    /// The evaluators of the run.
    pub fn evaluators(&self) -> &[Box<dyn Evaluator>] {
        &self.evaluators
    }

    /// Name, number of rows and columns of each training data set.
    pub fn datasets(&self) -> impl Iterator<Item = (&str, usize, Vec<&str>)> {
        self.train.iter().map(|dataset| {
            let columns = dataset
                .roles
                .inputs
                .iter()
                .chain(&dataset.roles.label)
                .map(String::as_str);
            (
                dataset.name.as_str(),
                dataset.data.num_rows(),
                columns.collect(),
            )
        })
    }

    /// The first texts of the first column of the first evaluation or training data set.
    ///
    /// # Errors
    ///
    /// If the texts can't be read.
    pub fn sample_texts(&self, n: usize) -> Result<Vec<String>> {
        let Some(dataset) = self.eval.first().or(self.train.first()) else {
            return Ok(Vec::new());
        };
        let table = dataset.data.head(n)?;
        let rows: Vec<usize> = (0..table.num_rows()).collect();
        let batch = table.batch(&dataset.roles, &rows)?;
        Ok(batch
            .columns
            .into_iter()
            .next()
            .map(|column| column.texts)
            .unwrap_or_default())
    }

    /// The model card as the run stands: what is saved as `README.md`. `None` where `model_card.generate` is off.
    pub fn model_card(&self) -> Option<String> {
        let run = Run {
            encoder: self.model(),
            arguments: &self.arguments,
            state: &self.state,
            before: self.before.as_deref(),
            emissions: self.energy.as_ref().and_then(EnergyMeter::measured),
        };
        self.card.config.generate.then(|| self.card.render(&run))
    }

    /// Takes the figures of an evaluation of the final model, by the evaluator at `index`, into the model card.
    pub fn record_evaluation(&mut self, index: usize, metrics: &sparse_eval::Metrics) {
        let own = self.model().similarity_fn();
        let figures: Vec<(String, f64)> = metrics
            .iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        if let Some(evaluator) = self.evaluators.get(index) {
            self.card.record(index, evaluator.as_ref(), own, &figures);
            self.write_card();
        }
    }

    /// Gives the model its card.
    fn write_card(&mut self) {
        if let (Some(card), Some(encoder)) = (self.model_card(), &mut self.encoder) {
            encoder.set_model_card(card);
        }
    }

    /// What `eval_on_start` measured before the first step.
    pub fn metrics_before(&self) -> Option<&[(String, f64)]> {
        self.before.as_deref()
    }

    /// State of the run.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// Runs the training from the beginning.
    ///
    /// # Errors
    ///
    /// If a guard ends the run (the loss or a gradient is no number, the model is dead), an evaluator fails, or a file can't
    /// be written.
    pub fn train(&mut self) -> Result<TrainOutput> {
        self.train_from(&Resume::No)
    }

    /// Runs the training from a checkpoint to the end.
    ///
    /// # Errors
    ///
    /// As [`Self::train`], and if the checkpoint is missing, incomplete or of another model.
    pub fn train_from(&mut self, resume: &Resume) -> Result<TrainOutput> {
        let result = self.run_from(resume);
        if result.is_err() {
            self.communicator.fail();
        }
        result
    }

    fn run_from(&mut self, resume: &Resume) -> Result<TrainOutput> {
        let mut plan = Plan::new(&self.arguments_of_all()?, &self.train)?;
        let total_steps = plan.total_steps();
        let mut schedule = self.arguments.schedule(total_steps)?;
        self.announce(&plan, &schedule);
        let mut lock = None;
        if self.is_first() {
            lock = output::lock_existing(&self.arguments.output_dir)?;
            self.prepare_uploads()?;
            checkpoint::remove_leftovers(&self.arguments.output_dir)?;
        }
        self.communicator.wait_for_all();
        let output_dir = self.arguments.output_dir.clone();
        let found = checkpoint::find(resume, &output_dir, |directory| self.load_model(directory))?;
        if let (Resume::No, Some(step)) = (resume, checkpoint::last(&self.arguments.output_dir)) {
            self.warn(&format!(
                "`{}` holds checkpoints of an earlier run, up to step {step}: resuming takes the one of the highest step, whichever \
                 run it is of",
                self.arguments.output_dir.display()
            ));
        }
        for (path, reason) in &found.skipped {
            let path = path.display();
            self.warn(&match reason {
                Reason::Broken(message) => format!("`{path}` is broken and left out: {message}"),
                Reason::OnlyModel => format!("`{path}` is left out: it {reason}"),
            });
        }
        let checkpoint = found.directory;
        let mut optimizer = Optimizer::new(self.model(), &self.arguments)?;
        schedule.start(optimizer.rates());
        if let Some(rates) = optimizer.describe_rates(&self.arguments) {
            tracing::info!("{rates}");
        }
        self.reset_state(&plan);
        if let Some(directory) = &checkpoint {
            self.resume_from(directory, &mut optimizer, &mut schedule, &mut plan)?;
        }
        self.meet(&plan)?;
        self.check_model()?;
        self.skip_stopped_epoch(&mut plan)?;
        // Only now: a run that was refused leaves no directory behind.
        let _lock = match lock {
            None if self.is_first() => output::create_and_lock(&self.arguments.output_dir)?,
            held => held,
        };
        if self.is_first() && checkpoint.is_some() {
            // A kill between saving and rotating left one too many, and there may be nothing more to save.
            checkpoint::rotate(&self.arguments, &self.state)?;
        }
        let first_step = self.state.global_step;
        let started = Instant::now();
        let mut history = History::new(&self.arguments, self.state.num_input_tokens_seen);

        self.notify(|callback, context, control| callback.on_train_begin(context, control));
        if checkpoint.is_some() {
            callback::restore(&mut self.callbacks, &self.state.stateful_callbacks);
        }
        self.agree();
        if self.arguments.eval_on_start && first_step == 0 {
            self.before = Some(self.evaluate_and_log("eval")?);
            history.restart_clock();
        }
        let mut interrupted = None;
        if first_step < total_steps {
            let mut feed = self.feed(&mut plan)?;
            interrupted = self.run_epochs(
                &mut plan,
                &mut schedule,
                &mut optimizer,
                &mut history,
                &mut feed,
            )?;
            feed.report();
        }
        self.finish_uploads();
        let rows_per_step = plan.rows_per_step();
        let metrics = self.finish(&history, rows_per_step, started, interrupted.is_some())?;
        Ok(TrainOutput {
            global_step: self.state.global_step,
            training_loss: history.mean_loss(),
            metrics,
            interrupted,
        })
    }

    /// The batches from here on.
    fn feed(&self, plan: &mut Plan) -> Result<Prefetch> {
        let cache_bytes = self.arguments.tokenization_cache_mb.saturating_mul(1 << 20);
        let collator = self.collator()?.with_cache(cache_bytes);
        Prefetch::start(collator, plan, self.state.global_step + self.skipped)
    }

    /// Counts what is left of an epoch as skipped, where a checkpoint was written while `should_epoch_stop` ended it.
    fn skip_stopped_epoch(&mut self, plan: &mut Plan) -> Result<()> {
        let (skipped, stopping) = callback::skipped(&self.state.stateful_callbacks);
        self.skipped = skipped;
        let position = self.state.global_step + skipped;
        if stopping
            && let Some(epoch) = plan.epoch_of(position)?
            && position > epoch.first_update
        {
            self.skipped += epoch.end() - position;
        }
        Ok(())
    }

    fn run_epochs(
        &mut self,
        plan: &mut Plan,
        schedule: &mut LearningRateSchedule,
        optimizer: &mut Optimizer,
        history: &mut History,
        feed: &mut Prefetch,
    ) -> Result<Option<PathBuf>> {
        let total_steps = plan.total_steps();
        let position = |trainer: &Self| trainer.state.global_step + trainer.skipped;
        while self.state.global_step < total_steps
            && !self.control.should_training_stop
            && let Some(epoch) = plan.epoch_of(position(self))?
        {
            self.control.should_epoch_stop = false;
            self.notify(|callback, context, control| callback.on_epoch_begin(context, control));
            self.position = epoch.position();
            for update in position(self) - epoch.first_update..epoch.updates {
                if self.state.global_step >= total_steps {
                    break;
                }
                let micro_batches = plan.micro_batches(&epoch, update);
                self.control.should_log = false;
                self.control.should_evaluate = false;
                self.control.should_save = false;
                self.notify(|callback, context, control| callback.on_step_begin(context, control));
                let finished = self
                    .update(schedule, optimizer, micro_batches.len(), feed)
                    .map_err(|error| self.with_batch(error, plan, micro_batches.len()))?;
                if !finished {
                    break;
                }
                history.record(&self.report);
                self.state.global_step += 1;
                self.state.epoch =
                    epoch.number as f64 + micro_batches.end as f64 / epoch.batches as f64;
                history.pace(&mut self.report, total_steps - self.state.global_step);
                self.request_by_step(total_steps);
                self.notify(|callback, context, control| callback.on_step_end(context, control));
                self.log_evaluate_save(optimizer, schedule, history)?;
                if self.stops_here {
                    return self.save_checkpoint(optimizer, schedule).map(Some);
                }
                if self.control.should_training_stop || self.control.should_epoch_stop {
                    break;
                }
            }
            if self.control.should_epoch_stop && !self.control.should_training_stop {
                let left = epoch.end() - position(self);
                self.skipped += left;
                if left > 0 && plan.epoch_of(position(self))?.is_some() {
                    *feed = self.feed(plan)?;
                }
            }
            self.control.should_log |= self.arguments.logging_strategy == IntervalStrategy::Epoch;
            self.control.should_evaluate |= self.arguments.eval_strategy == IntervalStrategy::Epoch
                && self.state.epoch >= self.arguments.eval_delay;
            self.control.should_save |= self.arguments.save_strategy == SaveStrategy::Epoch;
            self.notify(|callback, context, control| callback.on_epoch_end(context, control));
            self.log_evaluate_save(optimizer, schedule, history)?;
        }
        Ok(None)
    }

    /// Requests what the strategies ask for after a step.
    fn request_by_step(&mut self, total_steps: usize) {
        let step = self.state.global_step;
        let last = step >= total_steps;
        let arguments = &self.arguments;
        let every = |strategy: IntervalStrategy, interval: usize| {
            strategy == IntervalStrategy::Steps && step.is_multiple_of(interval)
        };
        self.control.should_log |= every(arguments.logging_strategy, self.state.logging_steps)
            || (step == 1 && arguments.logging_first_step);
        let evaluates = every(arguments.eval_strategy, self.state.eval_steps)
            || (last && arguments.eval_strategy == IntervalStrategy::Steps);
        self.control.should_evaluate |= evaluates && step as f64 >= arguments.eval_delay;
        self.control.should_save |= arguments.save_strategy == SaveStrategy::Steps
            && (step.is_multiple_of(self.state.save_steps) || last);
        self.control.should_training_stop |= last;
    }

    fn log_evaluate_save(
        &mut self,
        optimizer: &Optimizer,
        schedule: &mut LearningRateSchedule,
        history: &mut History,
    ) -> Result<()> {
        self.agree();
        if std::mem::take(&mut self.control.should_log)
            && let Some(mut logs) = history.take_logs(&self.report)
        {
            if self.arguments.include_num_input_tokens_seen != CountTokens::No {
                logs.extend(history.token_speed(self.state.num_input_tokens_seen));
            }
            self.log(logs);
            self.agree();
        }
        if std::mem::take(&mut self.control.should_evaluate) {
            let metrics = self.evaluate_and_log("eval")?;
            history.restart_clock();
            let improved = self.track_best(&metrics, schedule)?;
            self.control.should_save |=
                improved && self.arguments.save_strategy == SaveStrategy::Best;
            self.agree();
        }
        if self.control.should_save {
            self.save_checkpoint(optimizer, schedule)?;
            self.control.should_save = false;
            self.agree();
        }
        Ok(())
    }

    /// Updates that moved the learning rate on: those that weren't left out because their gradient overflowed.
    pub(crate) fn scheduler_step(&self) -> usize {
        self.state
            .global_step
            .saturating_sub(self.scaler.map_or(0, |scaler| scaler.skipped))
    }

    pub(crate) fn model(&self) -> &SparseEncoder {
        self.encoder
            .as_ref()
            .expect("the model is absent only within a step")
    }

    /// Calls a hook of every callback, in the process that speaks for the run.
    pub(crate) fn notify(
        &mut self,
        mut hook: impl FnMut(&mut dyn Callback, &CallbackContext<'_>, &mut TrainerControl),
    ) {
        if !self.is_first() {
            return;
        }
        let context = CallbackContext {
            arguments: &self.arguments,
            encoder: self
                .encoder
                .as_ref()
                .expect("the model is absent only within a step"),
            state: &self.state,
            step: &self.report,
        };
        for callback in &mut self.callbacks {
            hook(callback.as_mut(), &context, &mut self.control);
        }
    }

    pub(crate) fn warn(&mut self, message: &str) {
        if !self.is_first() {
            return;
        }
        tracing::warn!("{message}");
        for callback in &mut self.callbacks {
            callback.on_warning(message);
        }
    }
}
