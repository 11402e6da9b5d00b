//! Adagrad, in the arithmetic of `torch.optim.Adagrad`.

use burn::tensor::Tensor;

use super::kind::Options;
use super::rule::{Update, take};
use crate::error::Result;

/// ```text
/// g ← g + λ·θ
/// s ← s + g²
/// θ ← θ − η / (1 + (t − 1)·lr_decay) · g / (√s + eps)
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adagrad {
    lr_decay: f64,
    epsilon: f64,
}

impl Adagrad {
    pub(super) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            lr_decay: options.number("lr_decay", 0.0)?,
            epsilon: options.number("eps", 1e-10)?,
        })
    }

    pub(super) fn update(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let gradient = update.coupled(gradient, &value);
        let [sum] = take(slots);
        let sum = sum + gradient.clone().square();
        let rate = update.learning_rate / (1.0 + (update.number - 1) as f64 * self.lr_decay);
        let step = gradient / (sum.clone().sqrt() + self.epsilon) * rate;
        (value - step, vec![sum])
    }
}
