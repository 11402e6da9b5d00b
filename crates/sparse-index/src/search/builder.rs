//! Building an index while documents arrive.

use crate::search::{Block, InvertedIndex};
use crate::{Result, SparseMatrix, SparseRow};

/// Builds an [`InvertedIndex`] from rows that arrive in pieces; beyond the index itself it holds one block of rows.
#[derive(Debug)]
pub struct IndexBuilder {
    n_cols: usize,
    blocks: Vec<Block>,
    n_documents: usize,
    pending: SparseMatrix,
}

impl IndexBuilder {
    /// An empty index over vectors of `n_cols` dimensions.
    pub fn new(n_cols: usize) -> Self {
        Self {
            n_cols,
            blocks: Vec::new(),
            n_documents: 0,
            pending: SparseMatrix::new(n_cols),
        }
    }

    /// Adds the next document.
    ///
    /// # Errors
    ///
    /// If it has another dimension than the index.
    pub fn push_row(&mut self, row: SparseRow<'_>) -> Result<()> {
        self.pending.push_row(row)?;
        self.flush_if_full();
        Ok(())
    }

    /// Adds the next documents.
    ///
    /// # Errors
    ///
    /// If they have another dimension than the index.
    pub fn push(&mut self, rows: &SparseMatrix) -> Result<()> {
        rows.rows().try_for_each(|row| self.push_row(row))
    }

    fn flush_if_full(&mut self) {
        let full = self.pending.n_rows() == Block::MAX_DOCUMENTS;
        if full || self.pending.nnz() >= Block::MAX_POSTINGS {
            self.flush();
        }
    }

    /// Number of documents added.
    pub fn n_documents(&self) -> usize {
        self.n_documents + self.pending.n_rows()
    }

    /// The index of all documents added.
    pub fn finish(mut self) -> InvertedIndex {
        self.flush();
        InvertedIndex::from_blocks(self.n_cols, self.blocks)
    }

    fn flush(&mut self) {
        let rows = std::mem::replace(&mut self.pending, SparseMatrix::new(self.n_cols));
        if rows.n_rows() > 0 {
            let first = self.n_documents as u32;
            self.blocks.push(Block::new(first, &rows, 0..rows.n_rows()));
            self.n_documents += rows.n_rows();
        }
    }
}
