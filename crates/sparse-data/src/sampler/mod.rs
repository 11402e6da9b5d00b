//! Samplers: in which batches, and in which order, an epoch sees the rows.

mod config;
mod first_fit;
mod group_by_label;
mod multi_dataset;
mod no_duplicates;
mod reference;
mod shuffled;
mod token_budget;

use std::fmt::Debug;

use crate::error::Result;

pub use config::{BatchSamplerKind, SampleOrder, SamplerConfig};
pub use group_by_label::GroupByLabelSampler;
pub use multi_dataset::{MixedBatch, MultiDatasetKind, MultiDatasetSampler};
pub use no_duplicates::NoDuplicatesSampler;
pub use shuffled::ShuffledSampler;
pub use token_budget::TokenBudgetSampler;

/// Cuts an epoch into batches of rows.
///
/// An epoch is announced whole before it begins, so its length is that of the list and every batch of it comes. It is
/// a pure function of the sampler and the number of the epoch: a run goes on at any batch by skipping those before.
pub trait BatchSampler: Debug + Send + Sync {
    /// The batches of an epoch, as row numbers of the table.
    ///
    /// # Errors
    ///
    /// If the rows can't be cut as the sampler promises.
    fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>>;
}

/// Cuts an order into consecutive batches.
fn cut(order: &[usize], batch_size: usize, drop_last: bool) -> Vec<Vec<usize>> {
    order
        .chunks(batch_size)
        .filter(|batch| !drop_last || batch.len() == batch_size)
        .map(<[usize]>::to_vec)
        .collect()
}
