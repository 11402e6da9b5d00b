//! No text twice in a batch, so that no in-batch negative is a positive in disguise.

use xxhash_rust::xxh64::xxh64;

use super::first_fit::{Contested, first_fit};
use super::reference::ReferenceChild;
use super::{BatchSampler, SampleOrder, SamplerConfig};
use crate::columns::ColumnRoles;
use crate::error::{Error, Result};
use crate::random::{Mt19937, RandomStream};
use crate::table::Table;

/// Batches in which no text occurs in two rows, whichever input columns it stands in.
///
/// Texts are compared by their xxHash64; labels do not count. Rows are taken in random order and each goes to the
/// first batch that has room and none of its texts; so every row comes once an epoch, and where a text occurs in more
/// rows than there are full batches, some batches stay short. With `drop_last` these are left out, and a warning says
/// how many rows that is.
///
/// In the order of the reference ([`SampleOrder::Reference`]) an epoch has the length that the reference claims
/// (`⌈N/B⌉`, or `⌊N/B⌋` with `drop_last`): surplus short batches are cut off, a shortfall is made good by up to two more passes.
#[derive(Debug, Clone)]
pub struct NoDuplicatesSampler {
    num_rows: usize,
    contested: Contested,
    config: SamplerConfig,
    stream: String,
    place: String,
}

impl NoDuplicatesSampler {
    /// Hashes the texts.
    pub(super) fn new(
        table: &Table,
        roles: &ColumnRoles,
        config: &SamplerConfig,
        stream: &str,
    ) -> Result<Self> {
        let num_rows = table.num_rows();
        let mut pairs = Vec::with_capacity(num_rows * roles.inputs.len());
        for column in &roles.inputs {
            table.for_each_text(column, |row, text| {
                // A null text is reported, with its place, by the check of the table.
                pairs.push((xxh64(text.unwrap_or_default().as_bytes(), 0), row as u32));
                Ok(())
            })?;
        }
        let contested = Contested::new(num_rows, pairs);
        if config.batch_size > 1 && contested.common_to_all() {
            return Err(Error::Sampler {
                place: table.place().to_owned(),
                sampler: "no_duplicates",
                problem: format!(
                    "all {num_rows} rows share a text, so no batch could hold two of them; remove the duplicates, or use \
                     `batch_sampler = \"batch_sampler\"`"
                ),
            });
        }
        Ok(Self {
            num_rows,
            contested,
            config: *config,
            stream: stream.to_owned(),
            place: table.place().to_owned(),
        })
    }

    /// One pass in an order: all batches, or only the full ones.
    pub(super) fn pass(&self, order: &[usize]) -> Vec<Vec<usize>> {
        let mut batches = first_fit(order, &self.contested, self.config.batch_size);
        if self.config.drop_last {
            batches.retain(|batch| batch.len() == self.config.batch_size);
        }
        batches
    }

    pub(super) fn num_rows(&self) -> usize {
        self.num_rows
    }
}

impl BatchSampler for NoDuplicatesSampler {
    fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        if self.config.order == SampleOrder::Reference {
            let mut generator = Mt19937::new(self.config.seed.wrapping_add(epoch));
            return Ok(
                ReferenceChild::no_duplicates(self, &self.config, epoch).drain(&mut generator)
            );
        }
        let order =
            RandomStream::new(self.config.seed, &self.stream, epoch).permutation(self.num_rows);
        let batches = self.pass(&order);
        let delivered: usize = batches.iter().map(Vec::len).sum();
        if self.num_rows - delivered >= self.config.batch_size {
            tracing::warn!(
                "`no_duplicates` with `drop_last` leaves out {} of {} rows of `{}` in epoch {epoch}: their texts repeat too often",
                self.num_rows - delivered,
                self.num_rows,
                self.place
            );
        }
        let needed = self.num_rows.div_ceil(self.config.batch_size);
        if batches.len() > needed + needed / 10 + 1 {
            tracing::warn!(
                "`no_duplicates` needs {} batches for `{}` where {needed} would hold its rows: some texts repeat very often",
                batches.len(),
                self.place
            );
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Column;

    fn table(n: usize, distinct: usize) -> Table {
        let queries: Vec<String> = (0..n).map(|i| format!("q{}", i % distinct)).collect();
        let answers: Vec<String> = (0..n).map(|i| format!("a{i}")).collect();
        Table::from_columns([
            ("query", Column::from(queries)),
            ("answer", Column::from(answers)),
        ])
        .unwrap()
    }

    fn sampler(
        table: &Table,
        batch_size: usize,
        drop_last: bool,
        order: SampleOrder,
    ) -> Result<NoDuplicatesSampler> {
        let config = SamplerConfig {
            batch_size,
            drop_last,
            order,
            ..SamplerConfig::default()
        };
        NoDuplicatesSampler::new(table, &table.roles()?, &config, "rows")
    }

    #[test]
    fn a_thousand_rows_of_ten_queries_all_come() {
        let table = table(1000, 10);
        let epoch = sampler(&table, 32, false, SampleOrder::Default)
            .unwrap()
            .epoch(0)
            .unwrap();
        // At most one row of each query in a batch, so 100 batches of 10.
        assert_eq!(epoch.len(), 100);
        assert!(epoch.iter().all(|batch| batch.len() == 10));
    }

    #[test]
    fn a_text_conflicts_whichever_column_it_stands_in() {
        let table = Table::from_columns([
            ("query", Column::from(["x", "y", "w"])),
            ("answer", Column::from(["y", "z", "v"])),
            ("score", Column::from([1.0, 1.0, 1.0])),
        ])
        .unwrap();
        let epoch = sampler(&table, 3, false, SampleOrder::Default)
            .unwrap()
            .epoch(0)
            .unwrap();
        assert_eq!(epoch.len(), 2);
        assert!(
            !epoch
                .iter()
                .any(|batch| batch.contains(&0) && batch.contains(&1))
        );
    }

    #[test]
    fn rows_that_all_share_a_text_are_refused() {
        let error = sampler(&table(5, 1), 2, false, SampleOrder::Default)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(
                "`from_columns` can't be sampled by `no_duplicates`: all 5 rows share a text"
            ),
            "{error}"
        );
    }

    #[test]
    fn the_reference_makes_good_a_short_pass() {
        // 40 rows of 2 queries, batches of 4, none can be full: with `drop_last` three passes give nothing.
        let none = sampler(&table(40, 2), 4, true, SampleOrder::Reference).unwrap();
        assert!(none.epoch(0).unwrap().is_empty());
        // 16 rows of 5 queries: a pass gives 3 full batches (one query has 4 rows) of 4 claimed; a second pass the fourth.
        let epoch = sampler(&table(16, 5), 4, true, SampleOrder::Reference)
            .unwrap()
            .epoch(0)
            .unwrap();
        assert_eq!(epoch.len(), 4);
        assert!(epoch.iter().all(|batch| batch.len() == 4));
        // Without duplicates the batches are those of the default sampler.
        let epoch = sampler(&table(10, 10), 4, false, SampleOrder::Reference)
            .unwrap()
            .epoch(0)
            .unwrap();
        assert_eq!(epoch, [vec![2, 6, 1, 8], vec![4, 5, 0, 9], vec![3, 7]]);
    }
}
