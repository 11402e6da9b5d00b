//! Ranking a corpus that arrives in parts.

use std::time::{Duration, Instant};

use sparse_index::{Hit, InvertedIndex, SimilarityFunction, SparseMatrix, TopK, brute_force};

use super::RetrievalRun;
use crate::Result;

/// Finds the best documents of every query by one similarity, part by part of the corpus; the result does not depend on
/// the parts.
///
/// Dot product and cosine go through an inverted index of the part, the distances compare all pairs.
#[derive(Debug)]
pub struct Ranker {
    function: SimilarityFunction,
    queries: SparseMatrix,
    k: usize,
    best: Vec<TopK>,
    n_documents: u32,
    index_bytes: usize,
    elapsed: Duration,
}

impl Ranker {
    /// Prepares a search for the `k` best documents of every row of `queries`.
    pub fn new(function: SimilarityFunction, queries: &SparseMatrix, k: usize) -> Self {
        let queries = match function {
            SimilarityFunction::Cosine => queries.normalized(),
            _ => queries.clone(),
        };
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
        let found = match self.function {
            SimilarityFunction::Dot => self.search(&InvertedIndex::from_matrix(documents))?,
            SimilarityFunction::Cosine => {
                self.search(&InvertedIndex::from_matrix(&documents.normalized()))?
            }
            SimilarityFunction::Euclidean | SimilarityFunction::Manhattan => {
                let start = Instant::now();
                let found = brute_force(
                    self.function,
                    &self.queries,
                    documents,
                    self.n_documents,
                    self.k,
                )?;
                self.elapsed += start.elapsed();
                found.into_iter().map(TopK::into_hits).collect()
            }
        };
        for (best, hits) in self.best.iter_mut().zip(found) {
            hits.into_iter().for_each(|hit| best.offer(hit));
        }
        self.n_documents += documents.n_rows() as u32;
        Ok(())
    }

    fn search(&mut self, index: &InvertedIndex) -> Result<Vec<Vec<Hit>>> {
        self.index_bytes += index.cost().n_bytes;
        let start = Instant::now();
        let mut found = index.search(&self.queries, self.k)?;
        self.elapsed += start.elapsed();
        found
            .iter_mut()
            .flatten()
            .for_each(|hit| hit.document += self.n_documents);
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
