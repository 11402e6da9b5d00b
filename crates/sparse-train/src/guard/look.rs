//! A closer look at the documents of an update: whether one dimension or one vector took over.

use burn::tensor::Tensor;
use sparse_losses::EmbeddedBatch;

use super::Warning;

/// Fewer documents than this say nothing about a collapse.
const LEAST_ROWS: usize = 8;

/// Share of the documents' squared weight that one dimension may carry. Scores are sums of products, so that beyond this
/// the other dimensions together decide less than it.
const LARGEST_SHARE: f64 = 0.5;

/// Mean cosine between two documents beyond which all of them are taken for one.
const LARGEST_COSINE: f64 = 0.95;

/// Sums over documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// Squared weight by dimension.
    squares: Vec<f64>,
    /// Sum of the vectors, each of length 1.
    directions: Vec<f64>,
    /// Documents that aren't empty.
    n_rows: usize,
    /// The token that the largest dimension stands for, if dimensions are tokens.
    pub(crate) token: Option<String>,
}

impl Look {
    /// Adds the documents of a micro-batch: all columns but the first, or the only one. Two reductions a column.
    pub(crate) fn add(&mut self, embedded: &EmbeddedBatch) {
        let documents = match embedded.documents() {
            [] => &embedded.columns[..],
            documents => documents,
        };
        for column in documents {
            let column = column.clone().inner();
            let squares = column.clone().square();
            let lengths = squares.clone().sum_dim(1).sqrt();
            let present = lengths.clone().greater_elem(0.0).float().sum();
            self.n_rows += present.into_scalar::<f32>() as usize;
            let directions = column / lengths.clamp_min(1e-12);
            add(&mut self.squares, squares.sum_dim(0));
            add(&mut self.directions, directions.sum_dim(0));
        }
    }

    /// The dimension with the largest share of the squared weight, and that share.
    pub(crate) fn largest(&self) -> Option<(usize, f64)> {
        let total: f64 = self.squares.iter().sum();
        let largest = self
            .squares
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| a.total_cmp(b));
        let (dimension, square) = largest.filter(|_| total > 0.0)?;
        Some((dimension, square / total))
    }

    /// Mean cosine over all pairs of documents: `(‖Σ d‖² − n) / (n² − n)` for vectors of length 1.
    fn mean_cosine(&self) -> f64 {
        let n = self.n_rows as f64;
        let square: f64 = self.directions.iter().map(|value| value * value).sum();
        (square - n) / (n * n - n)
    }

    /// What took over. Vectors that are all alike count only once the weights have risen: an untrained head makes such.
    pub(crate) fn collapse(&self, after_ramp: bool) -> Vec<Warning> {
        if self.n_rows < LEAST_ROWS {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        if let Some((dimension, share)) = self.largest().filter(|(_, share)| *share > LARGEST_SHARE)
        {
            let token = self
                .token
                .as_ref()
                .map_or_else(String::new, |token| format!(" (`{token}`)"));
            warnings.push(Warning::new(
                "one dimension",
                format!(
                    "dimension {dimension}{token} carries {:.0} % of the documents' squared weight, so that it decides most scores. \
                     Usual causes: a text or prompt that all documents share, a learning rate that is too high, or an `l1` \
                     regularizer, which doesn't spread activity; use `flops` or `df_flops`, or lower `learning_rate`",
                    share * 100.0
                ),
            ));
        }
        let cosine = self.mean_cosine();
        if after_ramp && cosine > LARGEST_COSINE {
            warnings.push(Warning::new(
                "one vector",
                format!(
                    "all documents have nearly the same vector (mean cosine {cosine:.2}). Usual causes: a token position that \
                     wins every maximum (`sparse-encoder inspect` shows it), a learning rate that is too high, or texts that \
                     are nearly equal; lower `learning_rate`, check the prompts, or start from another backbone",
                ),
            ));
        }
        warnings
    }
}

fn add(sums: &mut Vec<f64>, row: Tensor<2>) {
    let data = row.into_data_as::<f32>();
    let values = data.as_slice::<f32>().unwrap_or_default();
    sums.resize(values.len().max(sums.len()), 0.0);
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += f64::from(*value);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn look(rows: &[[f32; 4]]) -> Look {
        let device = Device::flex().autodiff();
        let data = TensorData::new(rows.concat(), [rows.len(), 4]);
        let documents = Tensor::<2>::from_data(data, &device);
        let queries = Tensor::ones([rows.len(), 4], &device);
        let mut look = Look::default();
        look.add(&EmbeddedBatch::new(vec![queries, documents]));
        look
    }

    #[test]
    fn a_dimension_that_decides_is_named() {
        let mut rows = [[0.0, 1.0, 3.0, 0.0]; 8];
        for (row, values) in rows.iter_mut().enumerate() {
            values[if row % 2 == 0 { 0 } else { 3 }] = 1.0;
        }
        // squares 9 of 1 + 1 + 9
        let look = look(&rows);
        let (dimension, share) = look.largest().unwrap();
        assert_eq!(dimension, 2);
        assert!((share - 9.0 / 11.0).abs() < 1e-6);
        let warnings = look.collapse(false);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].message.starts_with("dimension 2 carries 82 %"),
            "{warnings:?}"
        );
    }

    #[test]
    fn equal_vectors_are_found_after_the_ramp() {
        let look = look(&[[1.0, 2.0, 2.0, 2.0]; 9]);
        assert!((look.mean_cosine() - 1.0).abs() < 1e-6);
        assert!(look.collapse(false).is_empty());
        assert!(
            look.collapse(true)[0]
                .message
                .contains("nearly the same vector")
        );
    }

    #[test]
    fn different_or_few_documents_are_nothing_to_speak_of() {
        let mut rows = [[0.0; 4]; 8];
        for (row, values) in rows.iter_mut().enumerate() {
            values[row % 4] = 1.0;
        }
        // two documents of each of four directions: (4 · 2² − 8) / 56
        let diverse = look(&rows);
        assert!((diverse.mean_cosine() - 1.0 / 7.0).abs() < 1e-6);
        assert!(diverse.collapse(true).is_empty());
        assert!(look(&rows[..1].repeat(7)).collapse(true).is_empty());
        // empty documents count for nothing
        assert!(look(&[[0.0; 4]; 9]).collapse(true).is_empty());
    }
}
