//! Several data sets in one epoch; every batch comes from one of them.

use serde::{Deserialize, Serialize};

use super::no_duplicates::NoDuplicatesSampler;
use super::reference::ReferenceChild;
use super::{BatchSampler, BatchSamplerKind, SampleOrder, SamplerConfig};
use crate::columns::ColumnRoles;
use crate::error::Result;
use crate::random::{Mt19937, RandomStream};
use crate::table::Table;

/// How data sets take turns: `multi_dataset_batch_sampler` in a training file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiDatasetKind {
    /// All batches of all data sets, in random order.
    #[default]
    Proportional,
    /// One batch of each in turn, until the one with the fewest is through.
    RoundRobin,
}

/// A batch, and the data set whose rows it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixedBatch {
    /// Position of the data set.
    pub dataset: usize,
    /// Rows of this data set.
    pub rows: Vec<usize>,
}

/// Cuts an epoch over several data sets into batches, each of one data set.
///
/// As with a [`BatchSampler`], an epoch is announced whole and is a pure function of its number.
#[derive(Debug)]
pub struct MultiDatasetSampler {
    kind: MultiDatasetKind,
    config: SamplerConfig,
    children: Children,
}

#[derive(Debug)]
enum Children {
    Default(Vec<Box<dyn BatchSampler>>),
    /// Numbers of rows.
    ReferenceShuffled(Vec<usize>),
    ReferenceNoDuplicates(Vec<NoDuplicatesSampler>),
}

impl MultiDatasetSampler {
    /// Builds a sampler for data sets, all with the same settings.
    ///
    /// # Errors
    ///
    /// If a setting is not allowed or a table does not suit the sampler.
    pub fn new(
        kind: MultiDatasetKind,
        config: &SamplerConfig,
        datasets: &[(&Table, &ColumnRoles)],
    ) -> Result<Self> {
        config.validate()?;
        let children = match (config.order, config.batch_sampler) {
            (SampleOrder::Reference, BatchSamplerKind::BatchSampler) => {
                Children::ReferenceShuffled(
                    datasets.iter().map(|(table, _)| table.num_rows()).collect(),
                )
            }
            (SampleOrder::Reference, _) => Children::ReferenceNoDuplicates(
                datasets
                    .iter()
                    .map(|(table, roles)| NoDuplicatesSampler::new(table, roles, config, "rows"))
                    .collect::<Result<_>>()?,
            ),
            (SampleOrder::Default, _) => Children::Default(
                datasets
                    .iter()
                    .enumerate()
                    .map(|(i, (table, roles))| {
                        config.init_named(table, roles, &format!("rows/{i}"))
                    })
                    .collect::<Result<_>>()?,
            ),
        };
        Ok(Self {
            kind,
            config: *config,
            children,
        })
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    ///
    /// If the rows of a data set can't be cut as its sampler promises.
    pub fn epoch(&self, epoch: u64) -> Result<Vec<MixedBatch>> {
        match &self.children {
            Children::Default(samplers) => self.default_epoch(samplers, epoch),
            Children::ReferenceShuffled(sizes) => {
                let children = sizes
                    .iter()
                    .map(|&rows| ReferenceChild::shuffled(rows, &self.config))
                    .collect();
                Ok(self.reference_epoch(children, epoch))
            }
            Children::ReferenceNoDuplicates(samplers) => {
                let child = |sampler| ReferenceChild::no_duplicates(sampler, &self.config, epoch);
                Ok(self.reference_epoch(samplers.iter().map(child).collect(), epoch))
            }
        }
    }

    fn default_epoch(
        &self,
        samplers: &[Box<dyn BatchSampler>],
        epoch: u64,
    ) -> Result<Vec<MixedBatch>> {
        let epochs = samplers
            .iter()
            .map(|sampler| sampler.epoch(epoch))
            .collect::<Result<Vec<_>>>()?;
        let lengths: Vec<usize> = epochs.iter().map(Vec::len).collect();
        let turns = self.turns(&lengths, |turns| {
            RandomStream::new(self.config.seed, "datasets", epoch).shuffle(turns);
        });
        let mut epochs: Vec<_> = epochs.into_iter().map(Vec::into_iter).collect();
        Ok(turns
            .into_iter()
            .filter_map(|dataset| {
                let rows = epochs[dataset].next()?;
                Some(MixedBatch { dataset, rows })
            })
            .collect())
    }

    /// All children draw from one generator, each when its first batch is asked for.
    fn reference_epoch(
        &self,
        mut children: Vec<ReferenceChild<'_>>,
        epoch: u64,
    ) -> Vec<MixedBatch> {
        let mut generator = Mt19937::new(self.config.seed.wrapping_add(epoch));
        let lengths: Vec<usize> = children.iter().map(ReferenceChild::claimed).collect();
        let turns = self.turns(&lengths, |turns| {
            let order = generator.permutation(turns.len());
            let unordered = turns.to_vec();
            for (turn, position) in turns.iter_mut().zip(order) {
                *turn = unordered[position];
            }
        });
        let mut batches = Vec::with_capacity(turns.len());
        for dataset in turns {
            match children[dataset].next(&mut generator) {
                Some(rows) => batches.push(MixedBatch { dataset, rows }),
                None if self.kind == MultiDatasetKind::Proportional => {}
                None => {
                    // Only complete rounds count.
                    batches.truncate(batches.len() / lengths.len() * lengths.len());
                    break;
                }
            }
        }
        batches
    }

    /// Which data set each batch comes from.
    fn turns(&self, lengths: &[usize], shuffle: impl FnOnce(&mut [usize])) -> Vec<usize> {
        match self.kind {
            MultiDatasetKind::Proportional => {
                let mut turns: Vec<usize> = lengths
                    .iter()
                    .enumerate()
                    .flat_map(|(dataset, &length)| std::iter::repeat_n(dataset, length))
                    .collect();
                shuffle(&mut turns);
                turns
            }
            MultiDatasetKind::RoundRobin => {
                let rounds = lengths.iter().copied().min().unwrap_or(0);
                (0..rounds).flat_map(|_| 0..lengths.len()).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Column;

    fn epochs(kind: MultiDatasetKind, order: SampleOrder) -> MultiDatasetSampler {
        let numbered = |n: usize, name: &str| {
            let texts: Vec<String> = (0..n).map(|i| format!("{name}{i}")).collect();
            Table::from_columns([("text", Column::from(texts))]).unwrap()
        };
        let (a, b) = (numbered(10, "a"), numbered(5, "b"));
        let config = SamplerConfig {
            batch_size: 4,
            order,
            ..SamplerConfig::default()
        };
        MultiDatasetSampler::new(
            kind,
            &config,
            &[(&a, &a.roles().unwrap()), (&b, &b.roles().unwrap())],
        )
        .unwrap()
    }

    fn show(batches: &[MixedBatch]) -> String {
        let batches: Vec<String> = batches
            .iter()
            .map(|batch| {
                let rows: Vec<String> = batch.rows.iter().map(usize::to_string).collect();
                format!("{} {}", ["A", "B"][batch.dataset], rows.join(" "))
            })
            .collect();
        batches.join(" | ")
    }

    // Recorded from sentence-transformers 6.2: A has 10 rows, B 5, batches of 4, seed 42.
    #[test]
    fn the_reference_orders_are_reproduced() {
        let proportional = epochs(MultiDatasetKind::Proportional, SampleOrder::Reference);
        assert_eq!(
            show(&proportional.epoch(0).unwrap()),
            "A 6 3 0 8 | B 4 0 3 1 | B 2 | A 1 4 5 2 | A 7 9"
        );
        assert_eq!(
            show(&proportional.epoch(1).unwrap()),
            "B 0 3 2 4 | A 7 2 5 4 | B 1 | A 3 9 1 8 | A 6 0"
        );
        let round_robin = epochs(MultiDatasetKind::RoundRobin, SampleOrder::Reference);
        assert_eq!(
            show(&round_robin.epoch(0).unwrap()),
            "A 2 6 1 8 | B 3 0 1 2 | A 4 5 0 9 | B 4"
        );
        assert_eq!(
            show(&round_robin.epoch(1).unwrap()),
            "A 8 4 9 0 | B 4 0 3 2 | A 5 1 6 7 | B 1"
        );
    }

    #[test]
    fn all_batches_come_in_proportion_and_in_turn() {
        let batches = epochs(MultiDatasetKind::Proportional, SampleOrder::Default)
            .epoch(0)
            .unwrap();
        let count = |dataset| {
            batches
                .iter()
                .filter(|batch| batch.dataset == dataset)
                .count()
        };
        assert_eq!((count(0), count(1)), (3, 2));
        let batches = epochs(MultiDatasetKind::RoundRobin, SampleOrder::Default)
            .epoch(0)
            .unwrap();
        assert_eq!(
            batches
                .iter()
                .map(|batch| batch.dataset)
                .collect::<Vec<_>>(),
            [0, 1, 0, 1]
        );
    }
}
