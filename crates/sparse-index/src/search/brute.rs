//! Comparing every query with every document.

use rayon::prelude::*;

use crate::similarity::{SpreadRow, check_dims};
use crate::{Hit, Result, SimilarityFunction, SparseMatrix, TopK};

/// The `k` most similar rows of `documents` for every row of `queries`, by comparing all pairs: for similarities to which
/// dimensions add that only one side has (Euclidean, Manhattan), and to check the index against.
///
/// Positions are counted from `first`, so that parts of a corpus can be searched one by one and
/// [merged](TopK::merge).
///
/// # Errors
///
/// If the matrices differ in their number of columns, or a score overflows.
pub fn brute_force(
    function: SimilarityFunction,
    queries: &SparseMatrix,
    documents: &SparseMatrix,
    first: u32,
    k: usize,
) -> Result<Vec<TopK>> {
    check_dims(queries, documents)?;
    if function == SimilarityFunction::Cosine {
        let (queries, documents) = (queries.normalized(), documents.normalized());
        return brute_force(SimilarityFunction::Dot, &queries, &documents, first, k);
    }
    let search = |dense: &mut Vec<f32>, row: usize| {
        let query = SpreadRow::new(queries.row(row), dense);
        let mut best = TopK::new(k);
        for (document, other) in (first..).zip(documents.rows()) {
            best.offer(Hit {
                document,
                score: query.score(function, other),
            });
        }
        query.clear();
        best
    };
    let rows = (0..queries.n_rows()).into_par_iter();
    let best = rows.map_init(|| vec![0.0; queries.n_cols()], search);
    TopK::finite(best.collect())
}
