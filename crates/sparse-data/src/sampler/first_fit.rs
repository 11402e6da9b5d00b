//! Rows into batches so that rows which share a value do not meet.

/// Values that occur in more than one row, by row. A value that occurs in one row can't conflict and is not kept.
#[derive(Debug, Clone)]
pub(super) struct Contested {
    /// Boundaries of the rows in `values`.
    starts: Vec<u32>,
    values: Vec<u32>,
    num_values: usize,
}

impl Contested {
    /// Finds the contested among the hashed values of rows; `pairs` holds (hash, row).
    pub(super) fn new(num_rows: usize, mut pairs: Vec<(u64, u32)>) -> Self {
        pairs.sort_unstable();
        // A value twice in one row does not conflict with itself.
        pairs.dedup();
        let mut contested: Vec<(u32, u32)> = Vec::new();
        let mut num_values = 0;
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            if group.len() > 1 {
                contested.extend(group.iter().map(|&(_, row)| (row, num_values)));
                num_values += 1;
            }
        }
        drop(pairs);
        contested.sort_unstable();
        let mut starts = vec![0; num_rows + 1];
        for &(row, _) in &contested {
            starts[row as usize + 1] += 1;
        }
        for row in 0..num_rows {
            starts[row + 1] += starts[row];
        }
        Self {
            starts,
            values: contested.into_iter().map(|(_, value)| value).collect(),
            num_values: num_values as usize,
        }
    }

    /// The contested values of a row.
    pub(super) fn of(&self, row: usize) -> &[u32] {
        &self.values[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// A row that holds a value which every row holds, if there is one.
    pub(super) fn common_to_all(&self) -> bool {
        let num_rows = self.starts.len() - 1;
        let mut counts = vec![0_usize; self.num_values];
        for &value in &self.values {
            counts[value as usize] += 1;
        }
        num_rows > 1 && counts.contains(&num_rows)
    }
}

/// Puts each row, in the order given, in the first batch that has room and shares no value with it.
///
/// That is what the reference does batch by batch (take the next row that does not conflict until the batch is full,
/// skipped rows keep their place), found row by row: the same batches in near-linear time, also when every
/// value repeats. All rows are placed; batches that nothing more fits into stay short.
pub(super) fn first_fit(
    order: &[usize],
    contested: &Contested,
    batch_size: usize,
) -> Vec<Vec<usize>> {
    let mut open = OpenBatches::new();
    // For each value the batches that hold it, as sorted runs. Full batches between two runs are swallowed, so that a
    // value that is in every batch is passed in one step.
    let mut occupied: Vec<Vec<(u32, u32)>> = vec![Vec::new(); contested.num_values];
    let mut batches: Vec<Vec<usize>> = Vec::with_capacity(order.len() / batch_size + 1);
    for &row in order {
        let values = contested.of(row);
        let mut batch = open.from(0);
        while let Some(end) = values
            .iter()
            .find_map(|&value| run_end(&occupied[value as usize], batch))
        {
            batch = open.from(end);
        }
        for &value in values {
            occupy(&mut occupied[value as usize], batch, &mut open);
        }
        if batch as usize == batches.len() {
            batches.push(Vec::with_capacity(batch_size));
            open.grow();
        }
        batches[batch as usize].push(row);
        if batches[batch as usize].len() == batch_size {
            open.close(batch);
        }
    }
    batches
}

/// End of the run that holds a batch.
fn run_end(runs: &[(u32, u32)], batch: u32) -> Option<u32> {
    let after = runs.partition_point(|&(start, _)| start <= batch);
    let (_, end) = *runs.get(after.checked_sub(1)?)?;
    (batch < end).then_some(end)
}

/// Adds a batch to the runs, joining runs between which no batch is open.
fn occupy(runs: &mut Vec<(u32, u32)>, batch: u32, open: &mut OpenBatches) {
    let after = runs.partition_point(|&(start, _)| start <= batch);
    let joins_previous = after > 0 && open.from(runs[after - 1].1) >= batch;
    let joins_next = after < runs.len() && open.from(batch + 1) >= runs[after].0;
    match (joins_previous, joins_next) {
        (true, true) => {
            runs[after - 1].1 = runs[after].1;
            runs.remove(after);
        }
        (true, false) => runs[after - 1].1 = batch + 1,
        (false, true) => runs[after].0 = batch,
        (false, false) => runs.insert(after, (batch, batch + 1)),
    }
}

/// Which batches have room: a union-find in which a full batch points behind itself. One batch more than exists is
/// always open.
struct OpenBatches {
    next: Vec<u32>,
}

impl OpenBatches {
    fn new() -> Self {
        Self { next: vec![0, 1] }
    }

    /// The first open batch at or after `batch`.
    fn from(&mut self, mut batch: u32) -> u32 {
        while self.next[batch as usize] != batch {
            let parent = self.next[batch as usize];
            self.next[batch as usize] = self.next[parent as usize];
            batch = parent;
        }
        batch
    }

    fn grow(&mut self) {
        self.next.push(self.next.len() as u32);
    }

    fn close(&mut self, batch: u32) {
        self.next[batch as usize] = batch + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contested(rows: &[&[u64]]) -> Contested {
        let pairs = rows
            .iter()
            .enumerate()
            .flat_map(|(row, values)| values.iter().map(move |&value| (value, row as u32)))
            .collect();
        Contested::new(rows.len(), pairs)
    }

    /// The reference's way: batch by batch over the rows that remain.
    fn batch_by_batch(
        order: &[usize],
        contested: &Contested,
        batch_size: usize,
    ) -> Vec<Vec<usize>> {
        let mut remaining = order.to_vec();
        let mut batches = Vec::new();
        while !remaining.is_empty() {
            let mut batch: Vec<usize> = Vec::new();
            remaining.retain(|&row| {
                let conflicts = |other: &usize| {
                    contested
                        .of(*other)
                        .iter()
                        .any(|value| contested.of(row).contains(value))
                };
                let taken = batch.len() < batch_size && !batch.iter().any(conflicts);
                if taken {
                    batch.push(row);
                }
                !taken
            });
            batches.push(batch);
        }
        batches
    }

    #[test]
    fn a_value_twice_in_one_row_is_no_conflict() {
        let contested = contested(&[&[1, 1], &[2, 3], &[3, 4]]);
        assert!(contested.of(0).is_empty());
        assert_eq!(first_fit(&[0, 1, 2], &contested, 3), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn six_equal_and_ten_distinct_rows_leave_short_batches() {
        // Batch size 4: the six equal rows need six batches, sixteen rows would fill four.
        let rows: Vec<Vec<u64>> = (0..16).map(|i| vec![if i < 6 { 0 } else { i }]).collect();
        let rows: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
        let order: Vec<usize> = (0..16).collect();
        let sizes: Vec<usize> = first_fit(&order, &contested(&rows), 4)
            .iter()
            .map(Vec::len)
            .collect();
        assert_eq!(sizes, [4, 4, 4, 2, 1, 1]);
    }

    #[test]
    fn equal_rows_take_linear_time() {
        let contested = Contested::new(200_000, (0..200_000).map(|row| (0, row)).collect());
        assert!(contested.common_to_all());
        let order: Vec<usize> = (0..200_000).collect();
        assert_eq!(first_fit(&order, &contested, 32).len(), 200_000);
    }

    proptest::proptest! {
        #[test]
        fn the_batches_are_those_of_the_reference(
            rows in proptest::collection::vec(proptest::collection::vec(0_u64..40, 1..4), 1..120),
            batch_size in 1_usize..9,
            seed in 0_u64..1000,
        ) {
            let rows: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
            let contested = contested(&rows);
            let order = crate::random::Mt19937::new(seed).permutation(rows.len());
            proptest::prop_assert_eq!(
                first_fit(&order, &contested, batch_size),
                batch_by_batch(&order, &contested, batch_size)
            );
        }
    }
}
