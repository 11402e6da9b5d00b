//! Which rows each update sees: a pure function of the seed and the step.

use std::ops::Range;
use std::sync::Arc;

use sparse_data::{BatchSampler, MixedBatch, MultiDatasetSampler, SamplerConfig};

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};
use crate::trainer::DatasetWithLoss;

/// Length of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EpochPlan {
    /// Updates of the epoch.
    pub(crate) updates: usize,
    /// Micro-batches of the epoch.
    pub(crate) batches: usize,
}

/// The order of batches: one data set by itself, or several that take turns.
#[derive(Debug)]
enum Sampler {
    One(Box<dyn BatchSampler>),
    Several(MultiDatasetSampler),
}

impl Sampler {
    fn new(
        arguments: &TrainingArguments,
        config: &SamplerConfig,
        datasets: &[DatasetWithLoss],
    ) -> Result<Self> {
        if let [dataset] = datasets {
            return Ok(Self::One(config.init(&dataset.table, &dataset.roles)?));
        }
        let tables: Vec<_> = datasets
            .iter()
            .map(|dataset| (&dataset.table, &dataset.roles))
            .collect();
        Ok(Self::Several(MultiDatasetSampler::new(
            arguments.multi_dataset_batch_sampler,
            config,
            &tables,
        )?))
    }

    fn epoch(&self, epoch: u64) -> Result<Vec<MixedBatch>> {
        match self {
            Self::One(sampler) => {
                let batches = sampler.epoch(epoch)?.into_iter();
                Ok(batches
                    .map(|rows| MixedBatch { dataset: 0, rows })
                    .collect())
            }
            Self::Several(sampler) => Ok(sampler.epoch(epoch)?),
        }
    }
}

/// The whole run as a sequence of batches.
#[derive(Debug)]
pub(crate) struct Plan {
    sampler: Arc<Sampler>,
    lengths: Vec<EpochPlan>,
    accumulation: usize,
    rows_per_step: f64,
    total_steps: usize,
    first_steps: Vec<usize>,
}

impl Plan {
    pub(crate) fn new(arguments: &TrainingArguments, datasets: &[DatasetWithLoss]) -> Result<Self> {
        let config = sampler_config(arguments, arguments.per_device_train_batch_size);
        let config = SamplerConfig {
            seed: arguments.data_seed.unwrap_or(arguments.seed),
            ..config
        };
        let sampler = Sampler::new(arguments, &config, datasets)?;
        let accumulation = arguments.gradient_accumulation_steps;
        let length = |epoch: usize| -> Result<EpochPlan> {
            let batches = sampler.epoch(epoch as u64)?.len();
            if batches == 0 {
                return Err(Error::Incomplete(format!(
                    "the training data gives no batch of {} rows; lower `per_device_train_batch_size` or unset `dataloader_drop_last`",
                    arguments.per_device_train_batch_size
                )));
            }
            Ok(EpochPlan {
                updates: batches.div_ceil(accumulation),
                batches,
            })
        };
        let first = length(0)?;
        let total_steps = if arguments.max_steps > 0 {
            arguments.max_steps as usize
        } else {
            (arguments.num_train_epochs * first.updates as f64).ceil() as usize
        };
        // Epochs may differ in length (batches without duplicates); the run ends after `total_steps` all the same.
        let (mut lengths, mut first_steps, mut planned) = (Vec::new(), Vec::new(), 0);
        while planned < total_steps {
            let next = if lengths.is_empty() {
                first
            } else {
                length(lengths.len())?
            };
            lengths.push(next);
            first_steps.push(planned);
            planned += next.updates;
        }
        first_steps.push(planned);
        let rows: usize = sampler.epoch(0)?.iter().map(|batch| batch.rows.len()).sum();
        Ok(Self {
            sampler: Arc::new(sampler),
            rows_per_step: rows as f64 / first.updates as f64,
            lengths,
            accumulation,
            total_steps,
            first_steps,
        })
    }

    /// Updates of the whole run.
    pub(crate) fn total_steps(&self) -> usize {
        self.total_steps
    }

    /// Rows of an update, on average over the first epoch.
    pub(crate) fn rows_per_step(&self) -> f64 {
        self.rows_per_step
    }

    /// Epochs of the whole run, the last one possibly cut short.
    pub(crate) fn n_epochs(&self) -> usize {
        self.lengths.len()
    }

    /// Epoch and update within it of a step.
    pub(crate) fn position(&self, step: usize) -> (usize, usize) {
        let epoch = self.first_steps.partition_point(|&first| first <= step) - 1;
        (epoch, step - self.first_steps[epoch])
    }

    pub(crate) fn epoch_length(&self, epoch: usize) -> EpochPlan {
        self.lengths[epoch]
    }

    /// Micro-batches of an update: the last update of an epoch may have fewer.
    pub(crate) fn micro_batches(&self, epoch: usize, update: usize) -> Range<usize> {
        let start = update * self.accumulation;
        start..(start + self.accumulation).min(self.lengths[epoch].batches)
    }

    /// The batches from update `step` on to the end of the run.
    pub(crate) fn batches_from(
        &self,
        step: usize,
    ) -> impl Iterator<Item = Result<MixedBatch>> + use<> {
        let (epoch, update) = self.position(step);
        let sampler = Arc::clone(&self.sampler);
        let mut skip = update * self.accumulation;
        let mut left = self.batches_up_to(self.total_steps) - self.batches_up_to(step);
        let n_epochs = self.lengths.len();
        (epoch..n_epochs)
            .flat_map(move |epoch| match sampler.epoch(epoch as u64) {
                Ok(batches) => batches
                    .into_iter()
                    .skip(std::mem::take(&mut skip))
                    .map(Ok)
                    .collect(),
                Err(error) => vec![Err(error)],
            })
            .take_while(move |_| {
                let more = left > 0;
                left = left.saturating_sub(1);
                more
            })
    }

    fn batches_up_to(&self, step: usize) -> usize {
        if step == 0 {
            return 0;
        }
        let (epoch, update) = self.position(step - 1);
        let before: usize = self.lengths[..epoch]
            .iter()
            .map(|length| length.batches)
            .sum();
        before + self.micro_batches(epoch, update).end
    }
}

fn sampler_config(arguments: &TrainingArguments, batch_size: usize) -> SamplerConfig {
    SamplerConfig {
        batch_sampler: arguments.batch_sampler,
        batch_size,
        drop_last: arguments.dataloader_drop_last,
        seed: arguments.seed,
        order: arguments.order,
        token_budget: arguments.token_budget,
        max_seq_length: None,
    }
}

/// Batches of an evaluation data set: the same sampler, always epoch 0, so that every evaluation sees the same batches.
pub(crate) fn evaluation_batches(
    arguments: &TrainingArguments,
    dataset: &DatasetWithLoss,
) -> Result<Vec<Vec<usize>>> {
    let config = sampler_config(arguments, arguments.per_device_eval_batch_size);
    Ok(config.init(&dataset.table, &dataset.roles)?.epoch(0)?)
}
