//! A stretch of documents, stored by dimension.

use crate::buffer::Buffer;
use crate::{SparseMatrix, SparseRow};

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

    /// Dot products of `query` with all documents of the block.
    pub(crate) fn score<'a>(&self, query: SparseRow<'_>, scores: &'a mut Scores) -> &'a [f32] {
        let scores = &mut *scores.0;
        scores[..self.n_documents].fill(0.0);
        let (offsets, documents, values) = (&*self.offsets, &*self.documents, &*self.values);
        for (dimension, weight) in query.iter() {
            let dimension = dimension as usize;
            let list = offsets[dimension] as usize..offsets[dimension + 1] as usize;
            for (&document, &value) in documents[list.clone()].iter().zip(&values[list]) {
                // Every `u16` is an index of the array: no bounds check.
                scores[usize::from(document)] += weight * value;
            }
        }
        &scores[..self.n_documents]
    }

    /// Bytes of the posting lists and their offsets.
    pub(crate) fn n_bytes(&self) -> usize {
        size_of_val(&*self.offsets) + size_of_val(&*self.documents) + size_of_val(&*self.values)
    }
}
