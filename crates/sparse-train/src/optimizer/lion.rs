//! Lion ([Chen et al., 2023](https://arxiv.org/abs/2302.06675)).

use burn::tensor::Tensor;

use super::rule::{Update, take};

/// ```text
/// θ ← θ·(1 − η·λ)
/// θ ← θ − η·sign(β₁·m + (1 − β₁)·g)
/// m ← β₂·m + (1 − β₂)·g
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lion {
    pub(super) beta_1: f64,
    pub(super) beta_2: f64,
}

impl Lion {
    pub(super) fn update(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let [moment] = take(slots);
        let direction = moment.clone() * self.beta_1 + gradient.clone() * (1.0 - self.beta_1);
        let moment = moment * self.beta_2 + gradient * (1.0 - self.beta_2);
        let value = update.decoupled(value) - direction.sign() * update.learning_rate;
        (value, vec![moment])
    }
}
