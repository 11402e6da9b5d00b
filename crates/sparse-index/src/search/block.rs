//! A stretch of documents, stored by dimension.

use std::ops::Range;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::search::{ListChecks, checksum};
use crate::{Result, SparseMatrix, SparseRow};

/// Posting lists of consecutive documents: for every dimension the documents in which it is active, with the values.
///
/// A block is small enough for its scores to stay in a cache while lists are added up, and large enough for the lists to be
/// read in long runs.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// Position of the first document in the index.
    pub(crate) first: u32,
    pub(crate) n_documents: usize,
    /// Dimension `j` owns the postings `offsets[j]..offsets[j + 1]`.
    pub(crate) offsets: Buffer<u32>,
    /// Documents of the postings, counted from `first`.
    pub(crate) documents: Buffer<u16>,
    pub(crate) values: Buffer<f32>,
    /// What the lists must be like, if they come from a file.
    pub(crate) checks: Option<Arc<ListChecks>>,
}

/// Room for the scores of a block.
#[derive(Debug)]
pub(crate) struct Scores(Box<[f32; Block::MAX_DOCUMENTS]>);

impl Scores {
    pub(crate) fn new() -> Self {
        let zeros = vec![0.0; Block::MAX_DOCUMENTS].into_boxed_slice();
        Self(
            zeros
                .try_into()
                .expect("the slice has the length of the array"),
        )
    }
}

impl Block {
    /// Most documents of a block: as many as a `u16` tells apart. Their scores take 256 KiB.
    pub(crate) const MAX_DOCUMENTS: usize = 1 << 16;
    /// A block that has as many entries takes no more rows, so that a corpus of dense vectors is cut into small ones.
    pub(crate) const MAX_POSTINGS: usize = 1 << 24;

    /// Cuts rows into blocks: each takes rows until it is full.
    pub(crate) fn ranges(rows: &SparseMatrix) -> Vec<Range<usize>> {
        let offsets = rows.offsets();
        let mut ranges = Vec::new();
        let mut start = 0;
        while start < rows.n_rows() {
            let limit = offsets[start] + Self::MAX_POSTINGS;
            // The row that reaches the limit is the last one.
            let reached = offsets[start + 1..].partition_point(|&end| end < limit) + 1;
            let end = (start + reached.min(Self::MAX_DOCUMENTS)).min(rows.n_rows());
            ranges.push(start..end);
            start = end;
        }
        ranges
    }

    /// Transposes the rows `range` of `rows`, the documents from position `first` on.
    pub(crate) fn new(first: u32, rows: &SparseMatrix, range: Range<usize>) -> Self {
        let entries = rows.offsets()[range.start]..rows.offsets()[range.end];
        let mut offsets = vec![0u32; rows.n_cols() + 1];
        for &dimension in &rows.indices()[entries.clone()] {
            offsets[dimension as usize + 1] += 1;
        }
        for dimension in 0..rows.n_cols() {
            offsets[dimension + 1] += offsets[dimension];
        }
        let mut next = offsets.clone();
        let mut documents = vec![0u16; entries.len()];
        let mut values = vec![0f32; entries.len()];
        for (document, row) in range.clone().enumerate() {
            for (dimension, value) in rows.row(row).iter() {
                let slot = &mut next[dimension as usize];
                documents[*slot as usize] = document as u16;
                values[*slot as usize] = value;
                *slot += 1;
            }
        }
        Self {
            first,
            n_documents: range.len(),
            offsets: offsets.into(),
            documents: documents.into(),
            values: values.into(),
            checks: None,
        }
    }

    /// Dot products of `query` with all documents of the block.
    ///
    /// # Errors
    ///
    /// If a list that the query needs is damaged.
    pub(crate) fn score<'a>(
        &self,
        query: SparseRow<'_>,
        scores: &'a mut Scores,
    ) -> Result<&'a [f32]> {
        let scores = &mut *scores.0;
        scores[..self.n_documents].fill(0.0);
        let (offsets, documents, values) = (&*self.offsets, &*self.documents, &*self.values);
        for (dimension, weight) in query.iter() {
            let dimension = dimension as usize;
            let list = offsets[dimension] as usize..offsets[dimension + 1] as usize;
            let (documents, values) = (&documents[list.clone()], &values[list]);
            if let Some(checks) = &self.checks {
                checks.check(dimension, self.n_documents, documents, values)?;
            }
            for (&document, &value) in documents.iter().zip(values) {
                // Every `u16` is an index of the array: no bounds check.
                scores[usize::from(document)] += weight * value;
            }
        }
        Ok(&scores[..self.n_documents])
    }

    /// A checksum of every posting list.
    pub(crate) fn list_checksums(&self) -> Vec<u32> {
        let (documents, values) = (&*self.documents, &*self.values);
        let lists = self
            .offsets
            .windows(2)
            .map(|bounds| bounds[0] as usize..bounds[1] as usize);
        lists
            .map(|list| checksum(&documents[list.clone()], &values[list]))
            .collect()
    }

    /// Bytes of the posting lists and their offsets.
    pub(crate) fn n_bytes(&self) -> usize {
        size_of_val(&*self.offsets) + size_of_val(&*self.documents) + size_of_val(&*self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_cut_by_documents_and_by_entries() {
        let rows = |n_rows: usize, active: usize| {
            let offsets = (0..=n_rows).map(|row| row * active).collect();
            let indices = (0..n_rows).flat_map(|_| 0..active as u32).collect();
            SparseMatrix::from_csr(active, offsets, indices, vec![1.0; n_rows * active]).unwrap()
        };
        assert_eq!(Block::ranges(&rows(0, 1)), []);
        assert_eq!(
            Block::ranges(&rows(150_000, 1)),
            [0..65_536, 65_536..131_072, 131_072..150_000]
        );
        // 2²⁴ entries are reached by the 5th row of 2²² − 1.
        assert_eq!(Block::ranges(&rows(6, (1 << 22) - 1)), [0..5, 5..6]);
    }
}
