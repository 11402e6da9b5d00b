//! The inverted index.

use std::sync::Arc;

use rayon::prelude::*;

use crate::mapped::MappedFile;
use crate::search::{Block, Hit, Scores, TopK};
use crate::{Error, Result, SparseMatrix};

/// Posting lists of a corpus, for exact search by dot product.
///
/// Documents lie in blocks of at most 65,536. A query adds up the lists of its active dimensions block by block and keeps
/// the best scores in a heap; batches of queries are spread over threads. Scores are those of
/// [`SparseRow::dot`](crate::SparseRow::dot) to the bit, whatever the blocks, batches and threads.
///
/// For cosine similarity, index and ask [normalized](SparseMatrix::normalized) vectors.
#[derive(Debug, Clone)]
pub struct InvertedIndex {
    n_cols: usize,
    n_documents: usize,
    blocks: Vec<Block>,
    /// Where the blocks lie, if not in memory.
    file: Option<Arc<MappedFile>>,
}

impl InvertedIndex {
    /// Indexes the rows of `documents`, blocks on all threads.
    pub fn from_matrix(documents: &SparseMatrix) -> Self {
        let ranges = Block::ranges(documents).into_par_iter();
        let blocks = ranges.map(|range| Block::new(range.start as u32, documents, range));
        Self::from_blocks(documents.n_cols(), blocks.collect())
    }

    pub(crate) fn from_blocks(n_cols: usize, blocks: Vec<Block>) -> Self {
        Self {
            n_cols,
            n_documents: blocks.iter().map(|block| block.n_documents).sum(),
            blocks,
            file: None,
        }
    }

    /// The same, whose blocks lie in `file`.
    pub(crate) fn of_file(self, file: &Arc<MappedFile>) -> Self {
        Self {
            file: Some(Arc::clone(file)),
            ..self
        }
    }

    /// Dimensions of the vectors.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of documents.
    pub fn n_documents(&self) -> usize {
        self.n_documents
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The `k` documents of highest dot product for every row of `queries`, best first; documents of equal score by
    /// ascending position. Documents that share no dimension with the query score 0 and are found too, if there are
    /// fewer than `k` better ones.
    ///
    /// # Errors
    ///
    /// If `queries` has another number of columns than the index; for an index out of a file, also if a posting list is damaged
    /// or the file has changed since it was opened. If a score overflows.
    pub fn search(&self, queries: &SparseMatrix, k: usize) -> Result<Vec<Vec<Hit>>> {
        let best = self.top_k(queries, k)?;
        Ok(best.into_iter().map(TopK::into_hits).collect())
    }

    /// As [`search`](Self::search), before sorting: for merging with the hits of other indexes.
    ///
    /// # Errors
    ///
    /// If `queries` has another number of columns than the index; for an index out of a file, also if a posting list is damaged
    /// or the file has changed since it was opened. If a score overflows.
    pub fn top_k(&self, queries: &SparseMatrix, k: usize) -> Result<Vec<TopK>> {
        if queries.n_cols() != self.n_cols {
            return Err(Error::Mismatch {
                what: "dimensions of queries for this index",
                expected: self.n_cols,
                actual: queries.n_cols(),
            });
        }
        if let Some(file) = &self.file {
            file.check_unchanged()?;
        }
        // Queries of a batch share a block's posting lists while these are in the cache.
        let batch_size = (queries.n_rows() / (4 * rayon::current_num_threads())).clamp(1, 32);
        let mut best = vec![TopK::new(k.min(self.n_documents)); queries.n_rows()];
        best.par_chunks_mut(batch_size)
            .enumerate()
            .try_for_each_init(Scores::new, |scores, (batch, best)| {
                for block in &self.blocks {
                    for (offset, best) in best.iter_mut().enumerate() {
                        let query = queries.row(batch * batch_size + offset);
                        best.offer_block(block.first, block.score(query, scores)?);
                    }
                }
                Ok::<(), Error>(())
            })?;
        TopK::finite(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_without_a_common_dimension_score_zero_and_come_in_order() {
        let documents =
            SparseMatrix::from_dense(&[0.0, 1.0, /**/ 2.0, 0.0, /**/ 0.0, 0.0], 3, 2).unwrap();
        let queries = SparseMatrix::from_dense(&[1.0, 0.0, /**/ 0.0, 0.0], 2, 2).unwrap();
        let hits = InvertedIndex::from_matrix(&documents)
            .search(&queries, 5)
            .unwrap();
        let pairs = |hits: &[Hit]| {
            hits.iter()
                .map(|hit| (hit.document, hit.score))
                .collect::<Vec<_>>()
        };
        assert_eq!(pairs(&hits[0]), [(1, 2.0), (0, 0.0), (2, 0.0)]);
        assert_eq!(pairs(&hits[1]), [(0, 0.0), (1, 0.0), (2, 0.0)]);
    }

    #[test]
    fn scores_that_overflow_are_refused() {
        let documents = SparseMatrix::from_dense(&[1e30, 1e30, /**/ 1.0, 1.0], 2, 2).unwrap();
        let queries = SparseMatrix::from_dense(&[1.0, 1.0, /**/ 1e30, -1e30], 2, 2).unwrap();
        let index = InvertedIndex::from_matrix(&documents);
        let message = index.search(&queries, 1).unwrap_err().to_string();
        assert_eq!(
            message,
            "query 1: its score with a document is not finite; the values of the vectors are too large"
        );
        assert!(index.search(&queries.select(&[0]), 1).is_ok());
    }

    #[test]
    fn an_empty_corpus_has_no_hits() {
        let index = InvertedIndex::from_matrix(&SparseMatrix::new(4));
        let queries = SparseMatrix::from_dense(&[1.0; 4], 1, 4).unwrap();
        assert_eq!(index.search(&queries, 3).unwrap(), [vec![]]);
        assert!(index.search(&SparseMatrix::new(5), 3).is_err());
    }
}
