//! Adafactor ([Shazeer & Stern, 2018](https://arxiv.org/abs/1804.04235)), in the arithmetic of the reference.

use burn::tensor::Tensor;

use super::rule::{Slot, Update, take};

/// Added to the squared gradient.
const EPSILON: f64 = 1e-30;
/// Largest root mean square of an update before the rate.
const CLIP_THRESHOLD: f64 = 1.0;
/// `β₂ = 1 − t^DECAY` in update `t`.
const DECAY: f64 = -0.8;

/// With the external rate η (neither relative steps nor scaling by the parameter), and without a first moment:
///
/// ```text
/// β₂ ← 1 − t^−0.8,  s ← g² + 1e-30
/// matrix:     r ← β₂·r + (1 − β₂)·mean of s over columns
///             c ← β₂·c + (1 − β₂)·mean of s over rows
///             u ← g / √(r / mean(r)) / √c
/// otherwise:  v ← β₂·v + (1 − β₂)·s
///             u ← g / √v
/// u ← u / max(1, RMS(u))
/// θ ← θ − η·λ·θ − η·u
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adafactor;

impl Adafactor {
    /// Row and column means of each matrix of a tensor, or a second moment for each element of a vector.
    pub(super) fn slots(shape: &[usize]) -> Vec<Slot> {
        match matrices(shape) {
            Some([n, rows, columns]) => vec![
                ("exp_avg_sq_row", n * rows),
                ("exp_avg_sq_col", n * columns),
            ],
            None => vec![("exp_avg_sq", shape.iter().product())],
        }
    }

    pub(super) fn update(
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let beta = 1.0 - (update.number as f64).powf(DECAY);
        let [n_elements] = value.dims();
        let square = gradient.clone().square() + EPSILON;
        let (step, slots) = match matrices(update.shape) {
            Some([n, rows, columns]) => {
                let [row, column] = take(slots);
                let square = square.reshape([n, rows, columns]);
                let row =
                    row.reshape([n, rows, 1]) * beta + square.clone().mean_dim(2) * (1.0 - beta);
                let column =
                    column.reshape([n, 1, columns]) * beta + square.mean_dim(1) * (1.0 - beta);
                let by_row = (row.clone() / row.clone().mean_dim(1)).sqrt().recip();
                let by_column = column.clone().sqrt().recip();
                let step = gradient.reshape([n, rows, columns]) * (by_row * by_column);
                (
                    step.reshape([n_elements]),
                    vec![row.reshape([n * rows]), column.reshape([n * columns])],
                )
            }
            None => {
                let [moment] = take(slots);
                let moment = moment * beta + square * (1.0 - beta);
                (gradient * moment.clone().sqrt().recip(), vec![moment])
            }
        };
        let rms = step.clone().square().mean().sqrt();
        let step = step / (rms / CLIP_THRESHOLD).clamp_min(1.0);
        let value = update.decoupled(value) - step * update.learning_rate;
        (value, slots)
    }
}

/// A tensor of two or more axes as so many matrices.
fn matrices(shape: &[usize]) -> Option<[usize; 3]> {
    match shape {
        [outer @ .., rows, columns] => Some([outer.iter().product(), *rows, *columns]),
        _ => None,
    }
}
