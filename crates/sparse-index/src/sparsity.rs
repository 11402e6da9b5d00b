//! How sparse vectors are, and what that costs.

use crate::SparseMatrix;

/// Mean number of active dimensions per vector, and the share of dimensions that is zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sparsity {
    /// Non-zero entries per vector; 0 for no vectors.
    pub active_dims: f64,
    /// `1 − active_dims / dim`; 1 for no vectors.
    pub sparsity_ratio: f64,
}

impl Sparsity {
    /// Statistics of the rows of `matrix`.
    pub fn of(matrix: &SparseMatrix) -> Self {
        Self::from_counts(matrix.nnz(), matrix.n_rows(), matrix.n_cols())
    }

    /// Statistics of `n_rows` vectors of `dim` dimensions with `nnz` entries in all.
    pub fn from_counts(nnz: usize, n_rows: usize, dim: usize) -> Self {
        if n_rows == 0 || dim == 0 {
            return Self {
                active_dims: 0.0,
                sparsity_ratio: 1.0,
            };
        }
        let active_dims = nnz as f64 / n_rows as f64;
        Self {
            active_dims,
            sparsity_ratio: 1.0 - active_dims / dim as f64,
        }
    }
}

/// In how many vectors each dimension is active; grows by chunks of a corpus.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ActiveCounts {
    n_rows: usize,
    nnz: usize,
    counts: Vec<usize>,
}

impl ActiveCounts {
    /// Counts of no vectors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the rows of `matrix` in.
    pub fn add(&mut self, matrix: &SparseMatrix) {
        self.counts
            .resize(self.counts.len().max(matrix.n_cols()), 0);
        self.n_rows += matrix.n_rows();
        self.nnz += matrix.nnz();
        for &index in matrix.indices() {
            self.counts[index as usize] += 1;
        }
    }

    /// Counts in what `other` counted.
    pub fn merge(&mut self, other: &Self) {
        self.counts
            .resize(self.counts.len().max(other.counts.len()), 0);
        self.n_rows += other.n_rows;
        self.nnz += other.nnz;
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(sum, count)| *sum += count);
    }

    /// Number of vectors counted.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// In how many vectors each dimension is active.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Statistics of all vectors counted.
    pub fn sparsity(&self) -> Sparsity {
        Sparsity::from_counts(self.nnz, self.n_rows, self.counts.len())
    }

    /// Expected multiply-adds per pair of a query counted here and a document counted in `corpus`:
    /// `Σⱼ (qⱼ / n_queries) · (dⱼ / n_documents)`, `qⱼ` and `dⱼ` the number of vectors active in dimension `j`
    /// ([Paria et al., 2020](https://arxiv.org/abs/2004.05665)).
    pub fn avg_flops(&self, corpus: &Self) -> f64 {
        if self.n_rows == 0 || corpus.n_rows == 0 {
            return 0.0;
        }
        let shares = self.counts.iter().zip(&corpus.counts);
        let sum: f64 = shares
            .map(|(&query, &document)| query as f64 * document as f64)
            .sum();
        sum / self.n_rows as f64 / corpus.n_rows as f64
    }
}

/// Expected multiply-adds per pair of query and document; see [`ActiveCounts::avg_flops`].
pub fn avg_flops(queries: &SparseMatrix, corpus: &SparseMatrix) -> f64 {
    let [mut query_counts, mut corpus_counts] = [ActiveCounts::new(), ActiveCounts::new()];
    query_counts.add(queries);
    corpus_counts.add(corpus);
    query_counts.avg_flops(&corpus_counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_dims_and_flops_by_hand() {
        let queries = SparseMatrix::from_dense(&[1.0, 0.0, 2.0, 0.0], 1, 4).unwrap();
        let corpus =
            SparseMatrix::from_dense(&[1.0, 1.0, 0.0, 0.0, /**/ 0.0, 0.5, 3.0, 1.0], 2, 4).unwrap();
        // 5 entries in 2 rows of 4
        assert_eq!(
            Sparsity::of(&corpus),
            Sparsity {
                active_dims: 2.5,
                sparsity_ratio: 0.375
            }
        );
        assert_eq!(avg_flops(&queries, &corpus), 1.0); // 1/1 · 1/2 + 1/1 · 1/2
    }

    #[test]
    fn counts_do_not_depend_on_chunks() {
        let corpus =
            SparseMatrix::from_dense(&[1.0, 1.0, 0.0, 0.0, /**/ 0.0, 0.5, 3.0, 1.0], 2, 4).unwrap();
        let mut whole = ActiveCounts::new();
        whole.add(&corpus);
        let mut parts = ActiveCounts::new();
        parts.add(&corpus.select(&[1]));
        let mut other = ActiveCounts::new();
        other.add(&corpus.select(&[0]));
        parts.merge(&other);
        assert_eq!(parts, whole);
        assert_eq!(whole.sparsity(), Sparsity::of(&corpus));
    }

    #[test]
    fn nothing_is_entirely_sparse() {
        let empty = Sparsity::of(&SparseMatrix::new(10));
        assert_eq!((empty.active_dims, empty.sparsity_ratio), (0.0, 1.0));
        assert_eq!(
            avg_flops(&SparseMatrix::new(10), &SparseMatrix::new(10)),
            0.0
        );
    }
}
