//! Which rows each update sees: a pure function of the seed and the step.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value, json};
use sparse_data::{
    Batch, BatchSampler, BatchSamplerKind, Dataset, MixedBatch, MultiDatasetSampler, SampleOrder,
    SamplerConfig, StreamConfig, StreamingTable,
};

use crate::arguments::TrainingArguments;
use crate::checkpoint::Position;
use crate::dataset::DatasetWithLoss;
use crate::error::{Error, Result};

/// An epoch and its place in the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Counted from 0.
    pub(crate) number: usize,
    /// The update of the run that it begins with, counted from 0.
    pub(crate) first_update: usize,
    /// Updates of the epoch.
    pub(crate) updates: usize,
    /// Micro-batches of the epoch.
    pub(crate) batches: usize,
}

impl Epoch {
    /// What a checkpoint keeps of it.
    pub(crate) fn position(&self) -> Position {
        Position {
            epoch: self.number,
            first_update: self.first_update,
        }
    }

    /// The update of the run with which the next epoch begins.
    pub(crate) fn end(&self) -> usize {
        self.first_update + self.updates
    }
}

/// The batches of an epoch in order, each with the position of its data set.
type Batches = Box<dyn Iterator<Item = Result<(usize, Batch)>> + Send>;

/// Where batches come from.
#[derive(Debug, Clone)]
enum Feed {
    /// One data set in memory, in the order of its sampler.
    One(Source, Arc<dyn BatchSampler>),
    /// Several in memory that take turns.
    Several(Vec<Source>, Arc<MultiDatasetSampler>),
    /// One that is read anew every epoch.
    Stream(StreamingTable, sparse_data::ColumnRoles, StreamConfig),
}

/// A table and what its columns are.
#[derive(Debug, Clone)]
struct Source {
    table: sparse_data::Table,
    roles: sparse_data::ColumnRoles,
}

impl Feed {
    fn new(
        arguments: &TrainingArguments,
        config: &SamplerConfig,
        datasets: &[DatasetWithLoss],
    ) -> Result<Self> {
        // A sampler may make room for a batch: one row more than there are means the same as any number above.
        let rows = datasets.iter().map(|dataset| dataset.data.num_rows());
        let most = rows.max().unwrap_or(0).saturating_add(1);
        let config = &SamplerConfig {
            batch_size: config.batch_size.min(most),
            ..*config
        };
        let mut sources = Vec::new();
        for dataset in datasets {
            match &dataset.data {
                Dataset::Table(table) => sources.push(Source {
                    table: table.clone(),
                    roles: dataset.roles.clone(),
                }),
                Dataset::Stream(stream) if datasets.len() == 1 => {
                    refuse_map_style(config)?;
                    let config = StreamConfig {
                        batch_size: config.batch_size,
                        buffer_rows: stream.buffer_rows(),
                        drop_last: config.drop_last,
                        seed: config.seed,
                    };
                    return Ok(Self::Stream(stream.clone(), dataset.roles.clone(), config));
                }
                Dataset::Stream(_) => {
                    return Err(Error::argument(
                        "train_dataset.streaming",
                        format!(
                            "= true of `{}` can't stand beside other data sets: their turns need random access. Stream one data \
                             set alone, or leave `streaming` out",
                            dataset.name
                        ),
                    ));
                }
            }
        }
        if let [source] = sources.as_slice() {
            let sampler = config.init(&source.table, &source.roles)?;
            return Ok(Self::One(source.clone(), Arc::from(sampler)));
        }
        let tables: Vec<_> = sources
            .iter()
            .map(|source| (&source.table, &source.roles))
            .collect();
        let sampler =
            MultiDatasetSampler::new(arguments.multi_dataset_batch_sampler, config, &tables)?;
        Ok(Self::Several(sources, Arc::new(sampler)))
    }

    /// Batches and rows of an epoch.
    fn length(&self, epoch: u64) -> Result<(usize, usize)> {
        let count = |batches: &[Vec<usize>]| (batches.len(), batches.iter().map(Vec::len).sum());
        Ok(match self {
            Self::One(_, sampler) => count(&sampler.epoch(epoch)?),
            Self::Several(_, sampler) => {
                let batches = sampler.epoch(epoch)?;
                let rows = batches.iter().map(|batch| batch.rows.len()).sum();
                (batches.len(), rows)
            }
            Self::Stream(stream, _, config) => {
                let batches = stream.num_batches(config) as usize;
                let rows = stream.num_rows() as usize;
                let full = batches * config.batch_size;
                (batches, rows.min(full))
            }
        })
    }

    /// Whether every epoch has as many batches as the first.
    fn is_even(&self, config: &SamplerConfig) -> bool {
        matches!(self, Self::Stream(..)) || config.batch_sampler == BatchSamplerKind::BatchSampler
    }

    /// The batches of an epoch but for the first `skip`, and how many they are with those.
    fn epoch(&self, epoch: u64, skip: usize) -> Result<(usize, Batches)> {
        Ok(match self {
            Self::One(source, sampler) => {
                let source = source.clone();
                let batches = sampler.epoch(epoch)?;
                let n_batches = batches.len();
                let batches = batches.into_iter().skip(skip);
                let batches = batches.map(move |rows| Ok((0, source.batch(&rows)?)));
                (n_batches, Box::new(batches))
            }
            Self::Several(sources, sampler) => {
                let sources = sources.clone();
                let batches = sampler.epoch(epoch)?;
                let n_batches = batches.len();
                let batches = batches.into_iter().skip(skip);
                let batches = batches.map(move |MixedBatch { dataset, rows }| {
                    Ok((dataset, sources[dataset].batch(&rows)?))
                });
                (n_batches, Box::new(batches))
            }
            Self::Stream(stream, roles, config) => {
                let n_batches = stream.num_batches(config) as usize;
                let mut batches = stream.batches(roles, config, epoch)?;
                batches.skip_batches(skip as u64)?;
                let batches = batches.map(|batch| Ok((0, batch?)));
                (n_batches, Box::new(batches))
            }
        })
    }
}

impl Source {
    fn batch(&self, rows: &[usize]) -> Result<Batch> {
        Ok(self.table.batch(&self.roles, rows)?)
    }
}

/// What needs all rows at once can't be had from a stream.
fn refuse_map_style(config: &SamplerConfig) -> Result<()> {
    let (value, needs) = match config.batch_sampler {
        BatchSamplerKind::BatchSampler => ("", ""),
        BatchSamplerKind::NoDuplicates => ("no_duplicates", "the texts"),
        BatchSamplerKind::NoDuplicatesHashed => ("no_duplicates_hashed", "the texts"),
        BatchSamplerKind::GroupByLabel => ("group_by_label", "the labels"),
        BatchSamplerKind::TokenBudget => ("token_budget", "the lengths"),
        _ => ("this sampler", "all"),
    };
    if !value.is_empty() {
        return Err(Error::argument(
            "arguments.batch_sampler",
            format!(
                "= \"{value}\" needs {needs} of all rows before the first batch, and `streaming` never has them: leave one of \
                 the two out"
            ),
        ));
    }
    if config.order == SampleOrder::Reference {
        return Err(Error::argument(
            "arguments.order",
            "= \"reference\" needs random access to the rows, and `streaming` reads them in turn: leave one of the two out",
        ));
    }
    Ok(())
}

/// The whole run as a sequence of batches.
///
/// Nothing of it is computed before it is needed: a run may be told to go on for ever.
#[derive(Debug)]
pub(crate) struct Plan {
    feed: Feed,
    /// Whether every epoch is as long as the first.
    is_even: bool,
    first: Epoch,
    /// The last epoch that was asked for.
    current: Epoch,
    accumulation: usize,
    rows_per_step: f64,
    total_steps: usize,
}

/// More updates than anyone waits for, and as many as `max_steps` can say.
const MOST_STEPS: usize = i64::MAX as usize;

impl Plan {
    pub(crate) fn new(arguments: &TrainingArguments, datasets: &[DatasetWithLoss]) -> Result<Self> {
        let config = sampler_config(arguments, arguments.per_device_train_batch_size);
        let config = SamplerConfig {
            seed: arguments.data_seed.unwrap_or(arguments.seed),
            ..config
        };
        let feed = Feed::new(arguments, &config, datasets)?;
        let accumulation = arguments.gradient_accumulation_steps;
        let (batches, rows) = feed.length(0)?;
        if batches == 0 {
            return Err(Error::NoBatch {
                batch_size: arguments.per_device_train_batch_size,
            });
        }
        let first = Epoch {
            number: 0,
            first_update: 0,
            updates: batches.div_ceil(accumulation),
            batches,
        };
        // Epochs may differ in length (batches without duplicates); the run ends after `total_steps` all the same.
        let total_steps = if arguments.max_steps > 0 {
            arguments.max_steps as usize
        } else {
            (arguments.num_train_epochs * first.updates as f64).ceil() as usize
        };
        Ok(Self {
            is_even: feed.is_even(&config),
            feed,
            rows_per_step: rows as f64 / first.updates as f64,
            first,
            current: first,
            accumulation,
            total_steps: total_steps.min(MOST_STEPS),
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

    /// Epochs of the whole run if all are as long as the first, the last one possibly cut short.
    pub(crate) fn n_epochs(&self) -> usize {
        self.total_steps.div_ceil(self.first.updates)
    }

    /// Says where an epoch begins, so that those before it needn't be looked at.
    pub(crate) fn go_on_from(&mut self, position: Position) -> Result<()> {
        if !self.is_even {
            self.current = self.epoch(position.epoch, position.first_update)?;
        }
        Ok(())
    }

    /// The epoch of an update, and `None` past the last epoch: an epoch that has begun belongs to the run to its end.
    pub(crate) fn epoch_of(&mut self, update: usize) -> Result<Option<Epoch>> {
        if self.is_even {
            let number = update / self.first.updates;
            let first_update = number * self.first.updates;
            return Ok((first_update < self.total_steps).then_some(Epoch {
                number,
                first_update,
                ..self.first
            }));
        }
        if update < self.current.first_update {
            self.current = self.first;
        }
        while self.current.end() <= update {
            if self.current.end() >= self.total_steps {
                return Ok(None);
            }
            self.current = self.epoch(self.current.number + 1, self.current.end())?;
        }
        Ok(Some(self.current))
    }

    fn epoch(&self, number: usize, first_update: usize) -> Result<Epoch> {
        let (batches, _) = self.feed.length(number as u64)?;
        require_batches(batches, number)?;
        Ok(Epoch {
            number,
            first_update,
            updates: batches.div_ceil(self.accumulation),
            batches,
        })
    }

    /// Micro-batches of an update of an epoch: the last one may have fewer.
    pub(crate) fn micro_batches(&self, epoch: &Epoch, update: usize) -> Range<usize> {
        let start = update * self.accumulation;
        start..start.saturating_add(self.accumulation).min(epoch.batches)
    }

    /// The batches from an update of the run on to the end of the last epoch, each with the position of its data set.
    pub(crate) fn batches_from(
        &mut self,
        update: usize,
    ) -> Result<impl Iterator<Item = Result<(usize, Batch)>> + Send + use<>> {
        let epoch = self.epoch_of(update)?;
        let mut skip = epoch.map_or(0, |epoch| (update - epoch.first_update) * self.accumulation);
        let mut next = epoch.map(|epoch| (epoch.number, epoch.first_update));
        let (feed, accumulation, total_steps) =
            (self.feed.clone(), self.accumulation, self.total_steps);
        let epochs = std::iter::from_fn(move || {
            let (number, first_update) = next.take()?;
            let batches = feed
                .epoch(number as u64, std::mem::take(&mut skip))
                .and_then(|(n_batches, batches)| {
                    require_batches(n_batches, number)?;
                    let end = first_update + n_batches.div_ceil(accumulation);
                    next = (end < total_steps).then_some((number + 1, end));
                    Ok(batches)
                });
            Some(batches.unwrap_or_else(|error| Box::new(std::iter::once(Err(error)))))
        });
        Ok(epochs.flatten())
    }
}

/// An epoch without a batch would have no end.
fn require_batches(n_batches: usize, epoch: usize) -> Result<()> {
    if n_batches > 0 {
        return Ok(());
    }
    Err(Error::EmptyEpoch { epoch })
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
/// What is streamed comes in its own order.
pub(crate) fn evaluation_batches(
    arguments: &TrainingArguments,
    dataset: &DatasetWithLoss,
) -> Result<impl Iterator<Item = Result<Batch>> + use<>> {
    let mut config = sampler_config(arguments, arguments.per_device_eval_batch_size);
    if let Dataset::Stream(_) = &dataset.data {
        config.batch_sampler = BatchSamplerKind::BatchSampler;
        config.order = SampleOrder::Default;
    }
    let feed = Feed::new(arguments, &config, std::slice::from_ref(dataset))?;
    Ok(feed.epoch(0, 0)?.1.map(|batch| Ok(batch?.1)))
}

/// What decides the order of the data: a run that goes on must find the same. `arguments` are those of the single process
/// whose run this is, so that another number of processes may go on where the updates stay the same.
pub(crate) fn data_state(arguments: &TrainingArguments, datasets: &[DatasetWithLoss]) -> Value {
    let dataset = |dataset: &DatasetWithLoss| {
        let buffer_rows = match &dataset.data {
            Dataset::Stream(stream) => Some(stream.buffer_rows()),
            Dataset::Table(_) => None,
        };
        json!({
            "name": dataset.name,
            "num_rows": dataset.data.num_rows(),
            "columns": dataset.data.column_names(),
            "streaming": buffer_rows.is_some(),
            "buffer_rows": buffer_rows,
        })
    };
    json!({
        "datasets": datasets.iter().map(dataset).collect::<Vec<_>>(),
        "arguments": {
            "per_device_train_batch_size": arguments.per_device_train_batch_size,
            "gradient_accumulation_steps": arguments.gradient_accumulation_steps,
            "seed": arguments.seed,
            "data_seed": arguments.data_seed,
            "batch_sampler": arguments.batch_sampler,
            "order": arguments.order,
            "token_budget": arguments.token_budget,
            "multi_dataset_batch_sampler": arguments.multi_dataset_batch_sampler,
            "dataloader_drop_last": arguments.dataloader_drop_last,
        },
    })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
