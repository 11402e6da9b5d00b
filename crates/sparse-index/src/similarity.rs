//! The four similarities of sparse vectors.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, SparseMatrix, SparseRow};

/// How alike two vectors are; larger is more alike, so distances are negated.
///
/// ```text
/// dot        Σ aᵢ·bᵢ
/// cosine     a·b / (‖a‖·‖b‖), 0 if either vector is zero
/// euclidean  −√Σ (aᵢ − bᵢ)²
/// manhattan  −Σ |aᵢ − bᵢ|
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimilarityFunction {
    /// Cosine of the angle.
    Cosine,
    /// Dot product, what sparse encoders are trained for.
    #[default]
    #[serde(alias = "dot_product")]
    Dot,
    /// Negated Euclidean distance.
    Euclidean,
    /// Negated Manhattan distance.
    Manhattan,
}

impl SimilarityFunction {
    /// All of them, by name.
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Dot, Self::Euclidean, Self::Manhattan];

    /// The name in keys and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }

    /// Similarity of every row of `a` with every row of `b`: row-major `[a.n_rows(), b.n_rows()]`.
    ///
    /// # Errors
    ///
    /// If the matrices differ in their number of columns.
    pub fn matrix(self, a: &SparseMatrix, b: &SparseMatrix) -> Result<Vec<f32>> {
        check_dims(a, b)?;
        if self == Self::Cosine {
            return Self::Dot.matrix(&a.normalized(), &b.normalized());
        }
        let mut scores = vec![0.0; a.n_rows() * b.n_rows()];
        let width = b.n_rows().max(1);
        scores.par_chunks_mut(width).enumerate().for_each_init(
            || vec![0.0; a.n_cols()],
            |dense, (row, scores)| {
                let query = SpreadRow::new(a.row(row), dense);
                for (score, other) in scores.iter_mut().zip(b.rows()) {
                    *score = query.score(self, other);
                }
                query.clear();
            },
        );
        Ok(scores)
    }

    /// Similarity of row `i` of `a` with row `i` of `b`.
    ///
    /// # Errors
    ///
    /// If the matrices differ in shape.
    pub fn pairwise(self, a: &SparseMatrix, b: &SparseMatrix) -> Result<Vec<f32>> {
        check_dims(a, b)?;
        if a.n_rows() != b.n_rows() {
            return Err(Error::Mismatch {
                what: "rows to compare",
                expected: a.n_rows(),
                actual: b.n_rows(),
            });
        }
        if self == Self::Cosine {
            return Self::Dot.pairwise(&a.normalized(), &b.normalized());
        }
        let mut dense = vec![0.0; a.n_cols()];
        let mut scores = Vec::with_capacity(a.n_rows());
        for (query, other) in a.rows().zip(b.rows()) {
            let query = SpreadRow::new(query, &mut dense);
            scores.push(query.score(self, other));
            query.clear();
        }
        Ok(scores)
    }
}

impl fmt::Display for SimilarityFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for SimilarityFunction {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|function| function.name() == name);
        found
            .or((name == "dot_product").then_some(Self::Dot))
            .ok_or_else(|| Error::UnknownSimilarity {
                name: name.to_owned(),
            })
    }
}

/// A row written out densely, so that comparing it takes time in the other row's entries only.
pub(crate) struct SpreadRow<'a> {
    row: SparseRow<'a>,
    dense: &'a mut [f32],
    absolute_sum: f64,
    square_sum: f64,
}

impl<'a> SpreadRow<'a> {
    /// Writes `row` into `dense`, which must be all zero.
    pub(crate) fn new(row: SparseRow<'a>, dense: &'a mut [f32]) -> Self {
        for (index, value) in row.iter() {
            dense[index as usize] = value;
        }
        let values = row.values().iter().map(|&value| f64::from(value));
        Self {
            row,
            dense,
            absolute_sum: values.clone().map(f64::abs).sum(),
            square_sum: values.map(|v| v * v).sum(),
        }
    }

    /// Leaves the buffer all zero.
    pub(crate) fn clear(self) {
        for &index in self.row.indices() {
            self.dense[index as usize] = 0.0;
        }
    }

    pub(crate) fn score(&self, function: SimilarityFunction, other: SparseRow<'_>) -> f32 {
        let pairs = other
            .iter()
            .map(|(index, b)| (self.dense[index as usize], b));
        let wide = pairs.clone().map(|(a, b)| (f64::from(a), f64::from(b)));
        match function {
            SimilarityFunction::Dot | SimilarityFunction::Cosine => {
                pairs.fold(0.0, |sum, (a, b)| sum + a * b)
            }
            // The part of `a` outside of `b` is the whole less the part inside; both are added up in the same order in
            // f64, so equal rows give exactly 0.
            SimilarityFunction::Euclidean => {
                let (difference, inside) = wide.fold((0.0, 0.0), |(d, i), (a, b)| {
                    (d + (a - b).powi(2), i + a * a)
                });
                0.0 - (difference + (self.square_sum - inside).max(0.0)).sqrt() as f32
            }
            SimilarityFunction::Manhattan => {
                let (difference, inside) = wide.fold((0.0, 0.0), |(d, i), (a, b)| {
                    (d + (a - b).abs(), i + a.abs())
                });
                0.0 - (difference + (self.absolute_sum - inside).max(0.0)) as f32
            }
        }
    }
}

pub(crate) fn check_dims(a: &SparseMatrix, b: &SparseMatrix) -> Result<()> {
    if a.n_cols() == b.n_cols() {
        return Ok(());
    }
    Err(Error::Mismatch {
        what: "dimensions of vectors to compare",
        expected: a.n_cols(),
        actual: b.n_cols(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(dense: &[f32]) -> SparseMatrix {
        SparseMatrix::from_dense(dense, dense.len() / 3, 3).unwrap()
    }

    #[test]
    fn all_four_by_hand() {
        let a = rows(&[3.0, 0.0, 4.0]);
        let b = rows(&[
            0.0, 2.0, 0.0, /**/ 3.0, 0.0, 4.0, /**/ 0.0, 0.0, 1.0, /**/ 0.0, 0.0,
            0.0,
        ]);
        let scores = |function: SimilarityFunction| function.matrix(&a, &b).unwrap();
        assert_eq!(scores(SimilarityFunction::Dot), [0.0, 25.0, 4.0, 0.0]);
        let cosine = scores(SimilarityFunction::Cosine);
        for (got, expected) in cosine.iter().zip([0.0, 1.0, 0.8, 0.0]) {
            assert!((got - expected).abs() < 1e-6, "{cosine:?}");
        }
        // √(9 + 4 + 16), 0, √(9 + 9), 5
        let euclidean = [-29f32.sqrt(), 0.0, -18f32.sqrt(), -5.0];
        assert_eq!(scores(SimilarityFunction::Euclidean), euclidean);
        assert_eq!(
            scores(SimilarityFunction::Manhattan),
            [-9.0, 0.0, -6.0, -7.0]
        );
    }

    #[test]
    fn pairwise_is_the_diagonal() {
        let a = rows(&[
            3.0, 0.5, 4.0, /**/ 0.0, 0.0, 0.0, /**/ 1.0, -2.0, 0.0,
        ]);
        let b = rows(&[
            0.0, 2.0, 0.1, /**/ 3.0, 0.0, 4.0, /**/ 1.0, 1.0, 1.0,
        ]);
        for function in SimilarityFunction::ALL {
            let matrix = function.matrix(&a, &b).unwrap();
            assert_eq!(
                function.pairwise(&a, &b).unwrap(),
                [matrix[0], matrix[4], matrix[8]]
            );
        }
    }

    #[test]
    fn names_are_read_and_written() {
        for function in SimilarityFunction::ALL {
            assert_eq!(
                function.to_string().parse::<SimilarityFunction>().unwrap(),
                function
            );
            assert_eq!(
                serde_json::to_string(&function).unwrap(),
                format!("\"{function}\"")
            );
        }
        assert_eq!(
            "dot_product".parse::<SimilarityFunction>().unwrap(),
            SimilarityFunction::Dot
        );
        let error = "jaccard"
            .parse::<SimilarityFunction>()
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "unknown similarity function `jaccard`, expected one of cosine, dot, euclidean, manhattan"
        );
    }

    #[test]
    fn different_dimensions_are_refused() {
        let error = SimilarityFunction::Dot
            .matrix(&rows(&[1.0; 3]), &SparseMatrix::new(4))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "dimensions of vectors to compare: expected 3, got 4"
        );
    }
}
