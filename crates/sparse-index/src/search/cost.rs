//! What an index costs.

use serde::Serialize;

use crate::InvertedIndex;
use crate::search::Block;

/// Size of an index, and the lengths of its posting lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IndexCost {
    /// Documents in the index.
    pub n_documents: usize,
    /// Dimensions that are active in at least one document.
    pub n_lists: usize,
    /// Entries of all lists.
    pub n_postings: usize,
    /// Bytes of lists and offsets, in memory and on disk.
    pub n_bytes: usize,
    /// Mean length of the lists that are not empty.
    pub mean_list_length: f64,
    /// Lengths that 50, 90 and 99 percent of the lists that are not empty do not exceed.
    pub list_length_percentiles: [usize; 3],
    /// Length of the longest list.
    pub longest_list: usize,
}

impl InvertedIndex {
    /// In how many documents each dimension is active.
    pub fn list_lengths(&self) -> Vec<usize> {
        let mut lengths = vec![0; self.n_cols()];
        for block in self.blocks() {
            for (length, bounds) in lengths.iter_mut().zip(block.offsets.windows(2)) {
                *length += (bounds[1] - bounds[0]) as usize;
            }
        }
        lengths
    }

    /// Size of the index, and the lengths of its posting lists.
    pub fn cost(&self) -> IndexCost {
        let n_bytes = self.blocks().iter().map(Block::n_bytes).sum();
        IndexCost::new(self.n_documents(), &self.list_lengths(), n_bytes)
    }
}

impl IndexCost {
    /// Puts the figures together from the length of every posting list.
    pub fn new(n_documents: usize, list_lengths: &[usize], n_bytes: usize) -> Self {
        let mut lengths = list_lengths.to_vec();
        lengths.retain(|&length| length > 0);
        lengths.sort_unstable();
        let n_postings = lengths.iter().sum::<usize>();
        let at = |percent: usize| match lengths.len() {
            0 => 0,
            n_lists => lengths[(n_lists * percent).div_ceil(100) - 1],
        };
        Self {
            n_documents,
            n_lists: lengths.len(),
            n_postings,
            n_bytes,
            mean_list_length: n_postings as f64 / lengths.len().max(1) as f64,
            list_length_percentiles: [at(50), at(90), at(99)],
            longest_list: at(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SparseMatrix;

    #[test]
    fn lists_are_counted_by_hand() {
        let rows = [
            1.0, 1.0, 0.0, 0.0, /**/ 1.0, 0.0, 0.0, 2.0, /**/ 1.0, 0.0, 0.0, 0.0,
        ];
        let index = InvertedIndex::from_matrix(&SparseMatrix::from_dense(&rows, 3, 4).unwrap());
        assert_eq!(index.list_lengths(), [3, 1, 0, 1]);
        let cost = index.cost();
        assert_eq!((cost.n_documents, cost.n_lists, cost.n_postings), (3, 3, 5));
        assert_eq!(
            (cost.list_length_percentiles, cost.longest_list),
            ([1, 3, 3], 3)
        );
        assert_eq!(cost.n_bytes, 5 * 4 + 5 * 2 + 5 * 4); // 4 + 1 offsets; 5 documents; 5 values
    }

    #[test]
    fn an_empty_index_costs_nothing() {
        let cost = InvertedIndex::from_matrix(&SparseMatrix::new(4)).cost();
        assert_eq!(
            (cost.n_bytes, cost.longest_list, cost.mean_list_length),
            (0, 0, 0.0)
        );
    }
}
