//! A stretch of documents, stored by dimension.

use crate::buffer::Buffer;
use crate::{SparseMatrix, SparseRow};

/// Posting lists of consecutive documents: for every dimension the documents in which it is active, with the values.
///
/// A block is small enough for its scores to stay in the processor's nearest caches while lists are added up.
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
}

impl Block {
    /// Most documents of a block: 16,384 scores are 64 KiB.
    pub(crate) const MAX_DOCUMENTS: usize = 1 << 14;

    /// Transposes `rows`, the documents from position `first` on.
    pub(crate) fn new(first: u32, rows: &SparseMatrix) -> Self {
        let mut offsets = vec![0u32; rows.n_cols() + 1];
        for &dimension in rows.indices() {
            offsets[dimension as usize + 1] += 1;
        }
        for dimension in 0..rows.n_cols() {
            offsets[dimension + 1] += offsets[dimension];
        }
        let mut next = offsets.clone();
        let mut documents = vec![0u16; rows.nnz()];
        let mut values = vec![0f32; rows.nnz()];
        for (document, row) in rows.rows().enumerate() {
            for (dimension, value) in row.iter() {
                let slot = &mut next[dimension as usize];
                documents[*slot as usize] = document as u16;
                values[*slot as usize] = value;
                *slot += 1;
            }
        }
        Self {
            first,
            n_documents: rows.n_rows(),
            offsets: offsets.into(),
            documents: documents.into(),
            values: values.into(),
        }
    }

    /// Dot products of `query` with all documents of the block, in `scores[..n_documents]`.
    pub(crate) fn score<'a>(&self, query: SparseRow<'_>, scores: &'a mut Vec<f32>) -> &'a [f32] {
        scores.clear();
        scores.resize(self.n_documents, 0.0);
        let (offsets, documents, values) = (&*self.offsets, &*self.documents, &*self.values);
        for (dimension, weight) in query.iter() {
            let list =
                offsets[dimension as usize] as usize..offsets[dimension as usize + 1] as usize;
            for (&document, &value) in documents[list.clone()].iter().zip(&values[list]) {
                scores[usize::from(document)] += weight * value;
            }
        }
        scores
    }

    /// Bytes of the posting lists and their offsets.
    pub(crate) fn n_bytes(&self) -> usize {
        size_of_val(&*self.offsets) + size_of_val(&*self.documents) + size_of_val(&*self.values)
    }
}
