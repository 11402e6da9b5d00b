//! The samplers of sentence-transformers 6.2 as they draw from PyTorch's generator, which several may share.

use std::collections::VecDeque;

use super::no_duplicates::NoDuplicatesSampler;
use super::{SamplerConfig, cut};
use crate::random::Mt19937;

/// Passes over the rows that `no_duplicates` adds when it falls short of the length it claimed.
const EXTRA_PASSES: usize = 2;

/// What a child draws from, and how it makes batches of it.
#[derive(Debug)]
enum Kind<'a> {
    Shuffled {
        num_rows: usize,
    },
    NoDuplicates {
        sampler: &'a NoDuplicatesSampler,
        epoch: u64,
    },
}

/// The running iterator of one sampler: it draws when it is first asked, and again whenever it runs out.
#[derive(Debug)]
pub(super) struct ReferenceChild<'a> {
    kind: Kind<'a>,
    config: SamplerConfig,
    queue: VecDeque<Vec<usize>>,
    delivered: usize,
    passes: usize,
}

impl<'a> ReferenceChild<'a> {
    pub(super) fn shuffled(num_rows: usize, config: &SamplerConfig) -> Self {
        Self::new(Kind::Shuffled { num_rows }, config)
    }

    pub(super) fn no_duplicates(
        sampler: &'a NoDuplicatesSampler,
        config: &SamplerConfig,
        epoch: u64,
    ) -> Self {
        Self::new(Kind::NoDuplicates { sampler, epoch }, config)
    }

    fn new(kind: Kind<'a>, config: &SamplerConfig) -> Self {
        Self {
            kind,
            config: *config,
            queue: VecDeque::new(),
            delivered: 0,
            passes: 0,
        }
    }

    /// The number of batches that the reference claims to give.
    pub(super) fn claimed(&self) -> usize {
        let num_rows = match &self.kind {
            Kind::Shuffled { num_rows } => *num_rows,
            Kind::NoDuplicates { sampler, .. } => sampler.num_rows(),
        };
        if self.config.drop_last {
            num_rows / self.config.batch_size
        } else {
            num_rows.div_ceil(self.config.batch_size)
        }
    }

    /// The next batch, up to the claimed number.
    pub(super) fn next(&mut self, generator: &mut Mt19937) -> Option<Vec<usize>> {
        if self.delivered == self.claimed() {
            return None;
        }
        let batch = match self.kind {
            Kind::Shuffled { num_rows } => self.next_shuffled(num_rows, generator),
            Kind::NoDuplicates { sampler, epoch } => {
                self.next_without_duplicates(sampler, epoch, generator)
            }
        }?;
        self.delivered += 1;
        Some(batch)
    }

    fn next_shuffled(&mut self, num_rows: usize, generator: &mut Mt19937) -> Option<Vec<usize>> {
        if self.passes == 0 {
            self.passes = 1;
            let order = generator.permutation(num_rows);
            self.queue = cut(&order, self.config.batch_size, self.config.drop_last).into();
        }
        let batch = self.queue.pop_front()?;
        // PyTorch's sampler draws one more permutation, and uses nothing of it, on reaching the end of its rows.
        if batch.len() < self.config.batch_size {
            generator.permutation(num_rows);
        }
        Some(batch)
    }

    fn next_without_duplicates(
        &mut self,
        sampler: &NoDuplicatesSampler,
        epoch: u64,
        generator: &mut Mt19937,
    ) -> Option<Vec<usize>> {
        if self.passes == 0 {
            *generator = Mt19937::new(self.config.seed.wrapping_add(epoch));
        }
        while self.queue.is_empty() && self.passes <= EXTRA_PASSES {
            if self.passes == 1 {
                tracing::warn!(
                    "`no_duplicates` starts over: one pass gave fewer batches than announced, since texts repeat"
                );
            }
            self.passes += 1;
            self.queue = sampler
                .pass(&generator.permutation(sampler.num_rows()))
                .into();
        }
        self.queue.pop_front()
    }

    /// All batches, for a sampler that has the generator to itself.
    pub(super) fn drain(mut self, generator: &mut Mt19937) -> Vec<Vec<usize>> {
        std::iter::from_fn(|| self.next(generator)).collect()
    }
}
