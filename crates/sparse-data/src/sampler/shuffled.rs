//! The default: rows in random order.

use super::reference::ReferenceChild;
use super::{BatchSampler, SampleOrder, SamplerConfig, cut};
use crate::error::Result;
use crate::random::{Mt19937, RandomStream};

/// Every row once an epoch, in random order, cut into consecutive batches; the last may be short.
#[derive(Debug, Clone)]
pub struct ShuffledSampler {
    num_rows: usize,
    config: SamplerConfig,
    stream: String,
}

impl ShuffledSampler {
    pub(super) fn new(num_rows: usize, config: &SamplerConfig, stream: &str) -> Self {
        Self {
            num_rows,
            config: *config,
            stream: stream.to_owned(),
        }
    }
}

impl BatchSampler for ShuffledSampler {
    fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let order = match self.config.order {
            SampleOrder::Default => {
                RandomStream::new(self.config.seed, &self.stream, epoch).permutation(self.num_rows)
            }
            SampleOrder::Reference => {
                let mut generator = Mt19937::new(self.config.seed.wrapping_add(epoch));
                return Ok(
                    ReferenceChild::shuffled(self.num_rows, &self.config).drain(&mut generator)
                );
            }
        };
        Ok(cut(&order, self.config.batch_size, self.config.drop_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(num_rows: usize, drop_last: bool, order: SampleOrder) -> ShuffledSampler {
        let config = SamplerConfig {
            batch_size: 4,
            drop_last,
            order,
            ..SamplerConfig::default()
        };
        ShuffledSampler::new(num_rows, &config, "rows")
    }

    #[test]
    fn every_row_comes_once_and_the_last_batch_may_be_short() {
        let epoch = sampler(10, false, SampleOrder::Default).epoch(0).unwrap();
        assert_eq!(epoch.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut rows = epoch.concat();
        rows.sort_unstable();
        assert_eq!(rows, (0..10).collect::<Vec<_>>());
        assert_eq!(
            sampler(10, true, SampleOrder::Default)
                .epoch(0)
                .unwrap()
                .len(),
            2
        );
        assert!(
            sampler(0, false, SampleOrder::Default)
                .epoch(0)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn the_reference_order_is_randperm_of_seed_plus_epoch() {
        let sampler = sampler(10, false, SampleOrder::Reference);
        assert_eq!(
            sampler.epoch(0).unwrap(),
            [vec![2, 6, 1, 8], vec![4, 5, 0, 9], vec![3, 7]]
        );
        assert_eq!(
            sampler.epoch(1).unwrap(),
            [vec![8, 4, 9, 0], vec![5, 1, 6, 7], vec![2, 3]]
        );
    }
}
