//! Ranking a corpus that arrives in parts.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sparse_index::{Hit, InvertedIndex, SimilarityFunction, SparseMatrix, TopK, brute_force};

use super::RetrievalRun;
use crate::vector_store::VectorStore;
use crate::{Error, Result};

/// Finds the best documents of every query by one similarity, part by part of the corpus; the result does not depend on
/// the parts.
///
/// Dot product and cosine go through an inverted index of the part, the distances compare all pairs.
#[derive(Debug)]
pub struct Ranker {
    function: SimilarityFunction,
    queries: Arc<VectorStore>,
    k: usize,
    best: Vec<TopK>,
    n_documents: u32,
    index_bytes: usize,
    elapsed: Duration,
}

impl Ranker {
    /// Prepares a search for the `k` best documents of every row of `queries`.
    pub fn new(function: SimilarityFunction, queries: &SparseMatrix, k: usize) -> Self {
        Self::of_stored(function, Arc::new(queries.clone().into()), k)
    }

    pub(crate) fn of_stored(
        function: SimilarityFunction,
        queries: Arc<VectorStore>,
        k: usize,
    ) -> Self {
        let best = vec![TopK::new(k); queries.n_rows()];
        Self {
            function,
            queries,
            k,
            best,
            n_documents: 0,
            index_bytes: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Searches the next documents.
    ///
    /// # Errors
    ///
    /// If their dimension is not that of the queries.
    pub fn add(&mut self, documents: &SparseMatrix) -> Result<()> {
        let index = match self.function {
            SimilarityFunction::Dot => Some(InvertedIndex::from_matrix(documents)),
            SimilarityFunction::Cosine => Some(InvertedIndex::from_matrix(&documents.normalized())),
            SimilarityFunction::Euclidean | SimilarityFunction::Manhattan => None,
        };
        self.index_bytes += index.as_ref().map_or(0, |index| index.cost().n_bytes);
        let queries = Arc::clone(&self.queries);
        for part in queries.parts() {
            let (first, mut part) = part?;
            if self.function == SimilarityFunction::Cosine {
                part = Cow::Owned(part.normalized());
            }
            let start = Instant::now();
            let found = self.search(&part, documents, index.as_ref());
            let found = found.map_err(|error| counted_from(first, error))?;
            self.elapsed += start.elapsed();
            for (best, hits) in self.best[first..].iter_mut().zip(found) {
                hits.into_iter().for_each(|hit| best.offer(hit));
            }
        }
        self.n_documents += documents.n_rows() as u32;
        Ok(())
    }

    /// Searches the next documents, by their index if the similarity works with one.
    fn search(
        &self,
        queries: &SparseMatrix,
        documents: &SparseMatrix,
        index: Option<&InvertedIndex>,
    ) -> sparse_index::Result<Vec<Vec<Hit>>> {
        let Some(index) = index else {
            let found = brute_force(self.function, queries, documents, self.n_documents, self.k)?;
            return Ok(found.into_iter().map(TopK::into_hits).collect());
        };
        let mut found = index.search(queries, self.k)?;
        let hits = found.iter_mut().flatten();
        hits.for_each(|hit| hit.document += self.n_documents);
        Ok(found)
    }

    /// Bytes of all indexes built; 0 for the distances.
    pub fn index_bytes(&self) -> usize {
        self.index_bytes
    }

    /// Time spent searching, indexing excluded.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The rankings.
    pub fn finish(self) -> RetrievalRun {
        let rankings = self.best.into_iter().map(TopK::into_hits).collect();
        RetrievalRun {
            name: self.function.name().to_owned(),
            rankings,
        }
    }
}

/// The error in terms of all queries, where it names one of those after the first `start`.
fn counted_from(start: usize, mut error: sparse_index::Error) -> Error {
    if let sparse_index::Error::Overflow { query } = &mut error {
        *query += start;
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_any_size_give_the_same_rankings() {
        // Values repeat, so that many scores tie.
        let dense = (0..30 * 8)
            .map(|entry| ((entry * 7 % 11) as f32 - 6.0).max(0.0))
            .collect::<Vec<_>>();
        let corpus = SparseMatrix::from_dense(&dense, 30, 8).unwrap();
        let queries = corpus.select(&[3, 8, 21]);
        for function in SimilarityFunction::ALL {
            let run = |size: usize| {
                let mut ranker = Ranker::new(function, &queries, 9);
                for start in (0..30).step_by(size) {
                    let rows = (start..30.min(start + size)).collect::<Vec<_>>();
                    ranker.add(&corpus.select(&rows)).unwrap();
                }
                ranker.finish()
            };
            let whole = run(30);
            assert_eq!(whole.rankings[0].len(), 9);
            for size in [1, 4, 7, 29] {
                assert_eq!(run(size), whole, "{function}, parts of {size}");
            }
        }
    }
}
