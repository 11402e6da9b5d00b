//! Gradients of every loss against finite differences, at random sparse embeddings of uneven length.

use burn::tensor::Tensor;
use sparse_losses::Loss;

use crate::catalogue::{batch, every_loss, matrix, sparse_rows};
use crate::reader::{device, values};

const ROWS: usize = 4;
const STEP: f32 = 1e-2;

/// The loss of three columns given as numbers.
fn value(loss: &dyn Loss, columns: &[Vec<f32>]) -> f32 {
    let columns: Vec<_> = columns
        .iter()
        .map(|values| matrix(values, &device()))
        .collect();
    values(loss.forward(&batch(loss, &columns)).total())[0]
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for (name, loss) in every_loss() {
        let columns = [1, 2, 3].map(|seed| sparse_rows(ROWS, seed));
        let tensors: Vec<Tensor<2>> = columns
            .iter()
            .map(|values| matrix(values, &device()).require_grad())
            .collect();
        let gradients = loss.forward(&batch(&*loss, &tensors)).total().backward();
        let mut entries = Vec::new();
        for (index, tensor) in tensors.iter().enumerate() {
            let found = tensor.grad(&gradients).map(values);
            // Every active entry: at 0, ReLU, absolute values and row counts have kinks.
            for entry in (0..columns[index].len()).filter(|entry| columns[index][*entry] != 0.0) {
                let moved = |by: f32| {
                    let mut columns = columns.clone();
                    columns[index][entry] += by;
                    value(&*loss, &columns)
                };
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                entries.push((
                    index,
                    entry,
                    found.as_ref().map_or(0.0, |found| found[entry]),
                    expected,
                ));
            }
        }
        let largest = entries
            .iter()
            .fold(0f32, |largest, (.., expected)| largest.max(expected.abs()));
        assert!(largest > 1e-3, "{name} has no gradient to compare");
        for (column, entry, found, expected) in entries {
            assert!(
                (found - expected).abs() <= 5e-3 * largest + 1e-2 * expected.abs(),
                "{name}: column {column}, entry {entry}: {found} against {expected}, largest {largest}"
            );
        }
    }
}
