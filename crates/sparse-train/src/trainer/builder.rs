//! Everything a run needs, checked before step 0.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::Module;
use sparse_data::{ColumnRoles, Dataset};
use sparse_eval::Evaluator;
use sparse_hub::HubOptions;
use sparse_kernels::Precision;
use sparse_losses::{
    DataSummary, LabelShape, LabelSummary, LossConfig, RegularizerScheduleConfig,
    TopKScheduleConfig,
};
use sparse_model::SparseEncoder;

use super::card::CardRecord;
use super::{Interrupt, Trainer, TrainerControl};
use crate::arguments::{IntervalStrategy, TrainingArguments};
use crate::callback::{Callback, StepReport};
use crate::checkpoint::Position;
use crate::collator::Collator;
use crate::config::{ModelCardConfig, is_hub_id};
use crate::dataset::DatasetWithLoss;
use crate::distributed::{self, Communicator};
use crate::error::{Error, Result};
use crate::guard::{GuardConfig, Guards};
use crate::names;
use crate::regulation::Regulation;
use crate::state::TrainerState;

/// Puts a [`Trainer`] together.
#[derive(Debug)]
pub struct TrainerBuilder {
    encoder: SparseEncoder,
    arguments: TrainingArguments,
    train: Vec<Dataset>,
    eval: Vec<Dataset>,
    loss: Option<LossConfig>,
    losses: BTreeMap<String, LossConfig>,
    evaluators: Vec<Box<dyn Evaluator>>,
    regularizer_schedule: RegularizerScheduleConfig,
    top_k_schedule: Option<TopKScheduleConfig>,
    model_card: ModelCardConfig,
    guards: GuardConfig,
    callbacks: Vec<Box<dyn Callback>>,
    interrupt: Interrupt,
    communicator: Option<Arc<dyn Communicator>>,
    warnings: Vec<String>,
    hub: HubOptions,
}

impl TrainerBuilder {
    pub(super) fn new(encoder: SparseEncoder, arguments: TrainingArguments) -> Self {
        Self {
            encoder,
            arguments,
            train: Vec::new(),
            eval: Vec::new(),
            loss: None,
            losses: BTreeMap::new(),
            evaluators: Vec::new(),
            regularizer_schedule: RegularizerScheduleConfig::default(),
            top_k_schedule: None,
            model_card: ModelCardConfig::default(),
            guards: GuardConfig::default(),
            callbacks: Vec::new(),
            interrupt: Interrupt::default(),
            communicator: None,
            warnings: Vec::new(),
            hub: HubOptions::default(),
        }
    }

    /// Adds what the trainer warns of when it is built.
    pub(crate) fn warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings.extend(warnings);
        self
    }

    /// Adds a data set to train on. With several, each needs a name.
    pub fn train_dataset(mut self, data: impl Into<Dataset>) -> Self {
        self.train.push(data.into());
        self
    }

    /// Adds a data set on which the loss is evaluated.
    pub fn eval_dataset(mut self, data: impl Into<Dataset>) -> Self {
        self.eval.push(data.into());
        self
    }

    /// Sets the loss of every data set.
    ///
    /// Without one it is the reference's default: `splade` over `multiple_negatives_ranking` with weights 5e-5 (queries) and
    /// 3e-5 (documents).
    pub fn loss(mut self, loss: LossConfig) -> Self {
        self.loss = Some(loss);
        self
    }

    /// Sets the loss of one data set.
    pub fn dataset_loss(mut self, name: impl Into<String>, loss: LossConfig) -> Self {
        self.losses.insert(name.into(), loss);
        self
    }

    /// Adds an evaluator.
    pub fn evaluator(mut self, evaluator: Box<dyn Evaluator>) -> Self {
        self.evaluators.push(evaluator);
        self
    }

    /// Sets how the weights of the regularizers grow.
    pub fn regularizer_schedule(mut self, schedule: RegularizerScheduleConfig) -> Self {
        self.regularizer_schedule = schedule;
        self
    }

    /// Lets each vector keep only its largest dimensions, fewer and fewer. The model gets the final number as its
    /// `max_active_dims`, unless it has a limit.
    pub fn top_k_schedule(mut self, schedule: TopKScheduleConfig) -> Self {
        self.top_k_schedule = Some(schedule);
        self
    }

    /// Sets what the model's card says beside what the run gives.
    pub fn model_card(mut self, model_card: ModelCardConfig) -> Self {
        self.model_card = model_card;
        self
    }

    /// Sets which checks run; all do by default.
    pub fn guards(mut self, guards: GuardConfig) -> Self {
        self.guards = guards;
        self
    }

    /// Adds a callback; they are called in the order in which they were added.
    pub fn callback(mut self, callback: impl Callback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Sets what ends the run early.
    pub fn interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupt = interrupt;
        self
    }

    /// Sets the processes that train together; [`distributed::start`](crate::distributed::start) finds them by default.
    pub fn communicator(mut self, communicator: Arc<dyn Communicator>) -> Self {
        self.communicator = Some(communicator);
        self
    }

    /// Sets address and token of the hub for `push_to_hub`, instead of those of the environment.
    pub fn hub(mut self, options: HubOptions) -> Self {
        self.hub = options;
        self
    }

    /// Checks everything against everything else. Nothing is written.
    ///
    /// # Errors
    ///
    /// If an argument is outside its domain, there is nothing to train on, the data doesn't fit the loss, or the output
    /// directory can't be one.
    pub fn build(mut self) -> Result<Trainer> {
        let communicator = match self.communicator.take() {
            Some(communicator) => communicator,
            None => distributed::start()?,
        };
        let built = self.build_with(communicator.clone());
        if built.is_err() {
            communicator.fail();
        }
        built
    }

    fn build_with(mut self, communicator: Arc<dyn Communicator>) -> Result<Trainer> {
        self.arguments.validate()?;
        self.regularizer_schedule.validate()?;
        if let Some(schedule) = &self.top_k_schedule {
            schedule.validate()?;
            if self.encoder.max_active_dims().is_none() {
                self.encoder.set_max_active_dims(Some(schedule.final_k))?;
            }
        }
        self.check_output_dir()?;
        self.check_precision()?;
        if self.train.is_empty() {
            return Err(Error::Nothing {
                purpose: "train on",
                parts: "a `[[train_dataset]]`",
            });
        }
        if self.arguments.eval_strategy != IntervalStrategy::No
            && self.eval.is_empty()
            && self.evaluators.is_empty()
        {
            return Err(Error::argument(
                "arguments.eval_strategy",
                "needs something to evaluate: add an `[[eval_dataset]]` or an `[[evaluator]]`, or set it to \"no\"",
            ));
        }
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(self.arguments.warnings());
        warnings.extend(self.arguments.hub_warnings());
        let train = self.with_losses(&self.train, "train_dataset", &mut warnings)?;
        let eval = self.with_losses(&self.eval, "eval_dataset", &mut warnings)?;
        for name in self.losses.keys() {
            if !train.iter().any(|dataset| dataset.name == *name) {
                let known: Vec<&str> = train.iter().map(|dataset| dataset.name.as_str()).collect();
                return Err(Error::argument(
                    format!("losses.{name}"),
                    format!(
                        "belongs to no training data set; they are {}",
                        known.join(", ")
                    ),
                ));
            }
        }
        if self.arguments.auto_find_batch_size && communicator.size() > 1 {
            return Err(Error::argument(
                "arguments.auto_find_batch_size",
                "doesn't go with several processes, which would have to run out of memory together; set `mini_batch_size`",
            ));
        }
        if self.arguments.auto_find_batch_size
            && let Some(dataset) = train
                .iter()
                .find(|dataset| dataset.loss.needs_autoencoder())
        {
            return Err(Error::argument(
                "arguments.auto_find_batch_size",
                format!(
                    "doesn't go with `{}`, the loss of `{}`: the autoencoder counts each batch once; set `mini_batch_size`",
                    dataset.loss.name(),
                    dataset.name
                ),
            ));
        }
        self.model_card.validate()?;
        if self.model_card.model_id.is_none() {
            let id = self.arguments.hub_model_id.clone();
            self.model_card.model_id = id.filter(|id| is_hub_id(id));
        }
        let collator = Collator::new(
            self.encoder.preprocessor()?,
            self.arguments.prompts.clone(),
            self.arguments.router_mapping.clone(),
        );
        let card = CardRecord::new(
            self.model_card,
            &self.encoder,
            &collator,
            &train,
            &eval,
            &self.regularizer_schedule,
        )?;
        names::check_evaluators(self.evaluators.iter().map(AsRef::as_ref))?;
        super::best_metric::check(&self.arguments, &self.encoder, &eval, &self.evaluators)?;
        let (mut callbacks, energy) = self.arguments.callbacks();
        callbacks.append(&mut self.callbacks);
        let regulation = Regulation::new(
            self.regularizer_schedule,
            self.top_k_schedule,
            &train,
            self.encoder.embedding_dimension(),
        );
        let mut trainer = Trainer {
            encoder: Some(self.encoder.train()),
            arguments: self.arguments,
            train,
            eval,
            evaluators: self.evaluators,
            regulation,
            guards: Guards::new(self.guards),
            callbacks,
            energy,
            interrupt: self.interrupt,
            communicator,
            stops_here: false,
            state: TrainerState::new(),
            control: TrainerControl::default(),
            card,
            skipped: 0,
            position: Position::default(),
            report: StepReport::default(),
            scaler: None,
            before: None,
            found_mini_batches: None,
            #[cfg(test)]
            texts_that_fit: None,
            hub: self.hub,
            uploader: None,
        };
        for warning in warnings {
            trainer.warn(&warning);
        }
        trainer.write_card();
        trainer.notify(|callback, context, control| callback.on_init_end(context, control));
        Ok(trainer)
    }

    fn check_output_dir(&self) -> Result<()> {
        let path = &self.arguments.output_dir;
        let mut ancestor = path.as_path();
        loop {
            if ancestor.is_dir() {
                return Ok(());
            }
            // A link to nothing doesn't exist, and no directory can be made in its place.
            if ancestor.exists() || ancestor.is_symlink() {
                let what = if ancestor.is_file() {
                    "a file"
                } else if ancestor.is_symlink() {
                    "a link to nothing"
                } else {
                    "no directory"
                };
                return Err(Error::argument(
                    "arguments.output_dir",
                    format!("must be a directory; `{}` is {what}", ancestor.display()),
                ));
            }
            match ancestor.parent() {
                Some(parent) => ancestor = parent,
                None => return Ok(()),
            }
        }
    }

    /// Fails where the device can't compute in the precision that is asked for, and warns where it gains nothing.
    fn check_precision(&mut self) -> Result<()> {
        let device = self.encoder.device();
        let arguments = &self.arguments;
        for (name, asked, precision) in [
            ("bf16", arguments.bf16, Precision::Bf16),
            ("fp16", arguments.fp16, Precision::F16),
            ("bf16_full_eval", arguments.bf16_full_eval, Precision::Bf16),
            ("fp16_full_eval", arguments.fp16_full_eval, Precision::F16),
        ] {
            if !asked {
                continue;
            }
            if !precision.is_supported(&device) {
                return Err(Error::argument(
                    format!("arguments.{name}"),
                    format!(
                        "can't be had on {device:?}: leave it out, or choose another `--device`"
                    ),
                ));
            }
            if !precision.is_fast(&device) {
                let better = if precision == Precision::F16 && Precision::Bf16.is_fast(&device) {
                    "; `bf16 = true` is"
                } else {
                    ""
                };
                self.warnings.push(format!(
                    "`arguments.{name}` gives the results of that precision, but on this processor it isn't faster than f32{better}"
                ));
            }
        }
        Ok(())
    }

    /// Gives each data set its roles and its loss, and checks one against the other.
    fn with_losses(
        &self,
        sets: &[Dataset],
        key: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<DatasetWithLoss>> {
        let mut datasets: Vec<DatasetWithLoss> = Vec::new();
        for (index, data) in sets.iter().enumerate() {
            let name = match data.name() {
                Some(name) => name.to_owned(),
                None if sets.len() == 1 => "default".to_owned(),
                None => {
                    return Err(Error::argument(
                        format!("{key}.{index}.name"),
                        "is missing: with several data sets each needs a name",
                    ));
                }
            };
            names::check_data_set(&format!("{key}.{index}.name"), &name)?;
            if datasets.iter().any(|other| other.name == name) {
                return Err(Error::argument(
                    format!("{key}.{index}.name"),
                    format!("= \"{name}\" is taken"),
                ));
            }
            let config = match (self.losses.get(&name), &self.loss) {
                (Some(loss), _) | (None, Some(loss)) => loss.clone(),
                (None, None) if self.losses.is_empty() => LossConfig::default(),
                (None, None) => {
                    let known: Vec<&str> = self.losses.keys().map(String::as_str).collect();
                    return Err(Error::argument(
                        format!("losses.{name}"),
                        format!(
                            "is missing: every data set needs a loss; there are losses for {}",
                            known.join(", ")
                        ),
                    ));
                }
            };
            if self.guards.missing_wrapper {
                config.check_stands_alone()?;
            }
            let loss = config.init()?;
            let roles = data.roles()?;
            let report = data.check(&roles)?;
            warnings.extend(
                report
                    .warnings
                    .into_iter()
                    .map(|warning| format!("data set `{name}`: {warning}")),
            );
            let summary = summary(data, &roles, self.encoder.embedding_dimension())?;
            loss.check(&summary)?;
            warnings.extend(
                loss.warnings()
                    .into_iter()
                    .map(|warning| format!("data set `{name}`: {warning}")),
            );
            if loss.regularizer_weights().is_none()
                && !loss.needs_autoencoder()
                && self.encoder.is_splade()
            {
                warnings.push(format!(
                    "data set `{name}`: the loss `{}` has no regularizer, so nothing keeps the embeddings sparse; wrap it: \
                     [loss] type = \"splade\", loss = {{ type = \"{0}\" }}",
                    loss.name()
                ));
            }
            datasets.push(DatasetWithLoss {
                name,
                data: data.clone(),
                roles,
                loss: Arc::from(loss),
            });
        }
        Ok(datasets)
    }
}

/// Rows whose labels are checked before the first step.
const CHECKED_ROWS: usize = 1000;

/// What a loss may know of the data before the first step.
fn summary(data: &Dataset, roles: &ColumnRoles, n_dims: usize) -> Result<DataSummary> {
    let table = data.head(CHECKED_ROWS)?;
    let rows: Vec<usize> = (0..table.num_rows()).collect();
    let labels = table.batch(roles, &rows)?.labels;
    Ok(DataSummary {
        columns: roles.inputs.clone(),
        embedding_dimension: Some(n_dims),
        labels: labels
            .zip(roles.label.clone())
            .map(|(labels, column)| LabelSummary {
                column,
                shape: if labels.lists > 0 {
                    LabelShape::Matrix(labels.lists, labels.width / labels.lists)
                } else if labels.per_row_list {
                    LabelShape::List(labels.width)
                } else {
                    LabelShape::Scalar
                },
                integer: labels.integer,
                values: labels.values,
            }),
    })
}
