//! Boundaries of packed sequences.

use std::ops::Range;
use std::sync::Arc;

/// Boundaries of the texts of a batch that lie packed end to end.
///
/// Row `r` occupies the positions [`range(r)`](Self::range) of a `[ΣT, …]` tensor. Cloning copies a handle.
///
/// ```
/// use sparse_kernels::RowOffsets;
///
/// let rows = RowOffsets::from_lengths(&[2, 0, 3]);
/// assert_eq!(rows.n_rows(), 3);
/// assert_eq!(rows.total(), 5);
/// assert_eq!(rows.range(2), 2..5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOffsets(Arc<[usize]>);

impl RowOffsets {
    /// Boundaries of rows of these lengths, which may be zero.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        Self(std::iter::once(0).chain(ends).collect())
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.0.len() - 1
    }

    /// Number of positions of all rows together, ΣT.
    pub fn total(&self) -> usize {
        self.0[self.n_rows()]
    }

    /// Positions of row `row`.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn range(&self, row: usize) -> Range<usize> {
        self.0[row]..self.0[row + 1]
    }

    /// Positions of every row, in order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.0.windows(2).map(|bounds| bounds[0]..bounds[1])
    }

    /// Length of every row, in order.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.ranges().map(|range| range.len())
    }

    /// Length of the longest row, 0 without rows.
    pub fn max_length(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }

    /// The `n_rows + 1` boundaries themselves: 0, ..., ΣT.
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_end_to_end() {
        let rows = RowOffsets::from_lengths(&[3, 0, 2]);
        assert_eq!(rows.as_slice(), [0, 3, 3, 5]);
        assert_eq!(rows.ranges().collect::<Vec<_>>(), [0..3, 3..3, 3..5]);
        assert_eq!(rows.lengths().collect::<Vec<_>>(), [3, 0, 2]);
        assert_eq!((rows.total(), rows.max_length()), (5, 3));
    }

    #[test]
    fn a_batch_may_be_empty() {
        let rows = RowOffsets::from_lengths(&[]);
        assert_eq!((rows.n_rows(), rows.total(), rows.max_length()), (0, 0, 0));
    }
}
