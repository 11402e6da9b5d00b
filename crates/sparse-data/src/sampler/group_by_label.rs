//! Several rows of each label in every batch, for losses that mine triplets inside of a batch.

use std::collections::BTreeMap;

use super::{BatchSampler, SamplerConfig};
use crate::columns::{ColumnRoles, LABEL_COLUMNS};
use crate::error::{Error, Result, list_names};
use crate::label::number;
use crate::random::RandomStream;
use crate::table::Table;

/// Batches made of pairs of rows of one label, from at least two labels.
///
/// Each epoch the rows of a label are shuffled and paired (an odd one out sits the epoch out, another each time). Then
/// come rounds: the labels that still have pairs, in random order, give one pair each. The rounds end when one label is
/// left, so that no batch is of one label: a label never gives more pairs than the second most frequent one has.
/// A last batch of at least 4 rows is kept unless `drop_last`.
#[derive(Debug, Clone)]
pub struct GroupByLabelSampler {
    /// Rows of each label that has two or more, labels in the order in which they first occur.
    groups: Vec<Vec<usize>>,
    config: SamplerConfig,
    stream: String,
}

impl GroupByLabelSampler {
    /// Groups the rows.
    pub(super) fn new(
        table: &Table,
        roles: &ColumnRoles,
        config: &SamplerConfig,
        stream: &str,
    ) -> Result<Self> {
        let error = |problem: String| Error::Sampler {
            place: table.place().to_owned(),
            sampler: "group_by_label",
            problem,
        };
        let Some(label) = &roles.label else {
            return Err(error(format!(
                "it has no label column: one of {}; it has {}",
                list_names(LABEL_COLUMNS),
                list_names(table.column_names())
            )));
        };
        let column = table.column_index(label)?;
        let mut positions: BTreeMap<u64, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in 0..table.num_rows() {
            let (array, offset) = table.cell(column, row);
            let Some(value) = number(array, offset) else {
                let (file, row) = table.origin(row);
                return Err(Error::value(
                    file,
                    row,
                    label,
                    "is not a number, and the rows are grouped by it",
                ));
            };
            let group = *positions.entry(value.to_bits()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(row);
        }
        groups.retain(|rows| rows.len() > 1);
        if groups.len() < 2 {
            return Err(error(format!(
                "column `{label}` has {} labels of two or more rows; expected at least 2",
                groups.len()
            )));
        }
        Ok(Self {
            groups,
            config: *config,
            stream: stream.to_owned(),
        })
    }
}

impl BatchSampler for GroupByLabelSampler {
    fn epoch(&self, epoch: u64) -> Result<Vec<Vec<usize>>> {
        let mut random = RandomStream::new(self.config.seed, &self.stream, epoch);
        let mut groups = self.groups.clone();
        for rows in &mut groups {
            random.shuffle(rows);
            rows.truncate(rows.len() / 2 * 2);
        }
        let mut active: Vec<usize> = (0..groups.len()).collect();
        let mut batches = Vec::new();
        let mut batch = Vec::with_capacity(self.config.batch_size);
        let mut last = None;
        while active.len() > 1 {
            random.shuffle(&mut active);
            // The same label at the end of a round and at the start of the next would give four rows of it in a batch.
            if !batch.is_empty() && last == Some(active[0]) {
                active.swap(0, 1);
            }
            for &label in &active {
                let rest = groups[label].len() - 2;
                batch.extend(groups[label].drain(rest..));
                if batch.len() == self.config.batch_size {
                    batches.push(std::mem::replace(
                        &mut batch,
                        Vec::with_capacity(self.config.batch_size),
                    ));
                }
            }
            last = active.last().copied();
            active.retain(|&label| !groups[label].is_empty());
        }
        if batch.len() >= 4 && !self.config.drop_last {
            batches.push(batch);
        }
        Ok(batches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Column;

    fn sampler(labels: Vec<i64>, batch_size: usize) -> Result<GroupByLabelSampler> {
        let texts: Vec<String> = (0..labels.len()).map(|i| i.to_string()).collect();
        let table = Table::from_columns([
            ("text", Column::from(texts)),
            ("label", Column::from(labels)),
        ])
        .unwrap();
        let config = SamplerConfig {
            batch_size,
            ..SamplerConfig::default()
        };
        GroupByLabelSampler::new(&table, &table.roles()?, &config, "rows")
    }

    #[test]
    fn every_batch_holds_pairs_of_at_least_two_labels() {
        let labels: Vec<i64> = (0..101).map(|i| i % 5).collect();
        let sampler = sampler(labels.clone(), 8).unwrap();
        // Label 0 has 21 rows, the others 20: 10 pairs each, 2 · 50 rows, 12 batches of 8 and a tail of 4.
        let epoch = sampler.epoch(0).unwrap();
        assert_eq!(epoch.len(), 13);
        for batch in &epoch {
            let mut counts = [0; 5];
            for &row in batch {
                counts[labels[row] as usize] += 1;
            }
            assert!(
                counts.iter().filter(|&&count| count > 0).count() > 1,
                "{counts:?}"
            );
            assert!(counts.iter().all(|count| count % 2 == 0), "{counts:?}");
        }
        assert_ne!(epoch, sampler.epoch(1).unwrap());
    }

    #[test]
    fn a_frequent_label_stops_when_it_is_alone() {
        // 10 pairs of label 0, 3 of label 1, 2 of label 2: 2 · (3 + 3 + 2) rows.
        let labels = [vec![0; 20], vec![1; 6], vec![2; 5]].concat();
        let epoch = sampler(labels, 4).unwrap().epoch(3).unwrap();
        assert_eq!(epoch.concat().len(), 16);
    }

    #[test]
    fn too_few_labels_are_refused() {
        let error = sampler(vec![0, 0, 1], 4).unwrap_err().to_string();
        assert_eq!(
            error,
            "`from_columns` can't be sampled by `group_by_label`: column `label` has 1 labels of two or more rows; expected at least 2"
        );
    }
}
