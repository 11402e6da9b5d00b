//! Similarities of embeddings, as matrices and row by row, safe at zero vectors.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How two embeddings are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `a · b`, what an inverted index computes.
    #[default]
    #[serde(alias = "dot_score", alias = "pairwise_dot_score")]
    Dot,
    /// `a · b / (‖a‖ ‖b‖)`, norms at least 1e-12: a zero vector has similarity 0 to everything.
    ///
    /// The gradient at an exactly zero vector is finite but of the order 1e12, as in the reference. It never reaches
    /// a SPLADE model's weights, since the activation's derivative is 0 there.
    #[serde(alias = "cos_sim", alias = "pairwise_cos_sim")]
    Cosine,
}

/// The smallest norm by which [`Similarity::Cosine`] divides.
const COSINE_EPSILON: f64 = 1e-12;

impl Similarity {
    /// Similarities of all rows of `a [n, d]` with all rows of `b [m, d]`: `[n, m]`.
    pub(crate) fn matrix(self, a: &Rows, b: &Rows) -> Tensor<2> {
        let dots = a.rows.clone().matmul(b.rows.clone().transpose());
        match self {
            Self::Dot => dots,
            // Dividing the small matrix costs less than normalising the wide ones.
            Self::Cosine => dots / a.norms() / b.norms().transpose(),
        }
    }

    /// Similarities of row i of `a` with row i of `b`: `[n, 1]`.
    pub(crate) fn pairwise(self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dot => (a * b).sum_dim(1),
            Self::Cosine => pairwise_cosine(a, b, COSINE_EPSILON),
        }
    }

    /// The reference's name of the matrix form.
    pub(crate) fn matrix_name(self) -> &'static str {
        match self {
            Self::Dot => "dot_score",
            Self::Cosine => "cos_sim",
        }
    }

    /// The reference's name of the pairwise form.
    pub(crate) fn pairwise_name(self) -> &'static str {
        match self {
            Self::Dot => "pairwise_dot_score",
            Self::Cosine => "pairwise_cos_sim",
        }
    }
}

/// Rows to compare, whose norms are computed once however often they are needed.
#[derive(Debug)]
pub(crate) struct Rows {
    rows: Tensor<2>,
    norms: Option<Tensor<2>>,
}

impl Rows {
    /// Prepares `rows` for `similarity`.
    pub(crate) fn new(rows: Tensor<2>, similarity: Similarity) -> Self {
        let norms =
            (similarity == Similarity::Cosine).then(|| row_norms(rows.clone(), COSINE_EPSILON));
        Self { rows, norms }
    }

    fn norms(&self) -> Tensor<2> {
        self.norms
            .clone()
            .expect("norms are there when the similarity is cosine")
    }
}

/// `max(‖row‖₂, epsilon)` of each row: `[n, 1]`. A row shorter than `epsilon` gets no gradient.
pub(crate) fn row_norms(rows: Tensor<2>, epsilon: f64) -> Tensor<2> {
    // The clamp is inside the root, whose derivative at 0 is infinite.
    rows.square().sum_dim(1).clamp_min(epsilon * epsilon).sqrt()
}

/// Cosine of row i of `a` with row i of `b`, norms at least `epsilon`: `[n, 1]`.
pub(crate) fn pairwise_cosine(a: Tensor<2>, b: Tensor<2>, epsilon: f64) -> Tensor<2> {
    let norms = (row_norms(a.clone(), epsilon), row_norms(b.clone(), epsilon));
    (a * b).sum_dim(1) / norms.0 / norms.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, device, values};

    #[test]
    fn cosine_of_zero_vectors_is_zero_without_nan_in_value_or_gradient() {
        let device = device();
        let a = Tensor::<2>::from_floats([[0.0, 0.0], [3.0, 4.0]], &device).require_grad();
        let b = Tensor::<2>::from_floats([[3.0, 4.0], [4.0, 3.0]], &device);
        let rows = |tensor: &Tensor<2>| Rows::new(tensor.clone(), Similarity::Cosine);
        let matrix = Similarity::Cosine.matrix(&rows(&a), &rows(&b));
        // (3·3 + 4·4) / 25 = 1 and (3·4 + 4·3) / 25 = 0.96
        assert_close(&values(matrix.clone()), &[0.0, 0.0, 1.0, 0.96], 1e-6);
        let gradients = matrix.sum().backward();
        assert!(
            values(a.grad(&gradients).unwrap())
                .iter()
                .all(|value| value.is_finite())
        );
        assert_close(
            &values(Similarity::Cosine.pairwise(a, b)),
            &[0.0, 0.96],
            1e-6,
        );
    }

    #[test]
    fn the_reference_s_function_names_are_understood() {
        for (text, similarity) in [
            ("\"dot\"", Similarity::Dot),
            ("\"cos_sim\"", Similarity::Cosine),
        ] {
            assert_eq!(
                serde_json::from_str::<Similarity>(text).unwrap(),
                similarity
            );
        }
    }
}
