//! Stochastic gradient descent, in the arithmetic of `torch.optim.SGD`.

use burn::tensor::Tensor;

use super::kind::Options;
use super::rule::{Slot, Update, take};
use crate::error::{Error, Result};

/// ```text
/// g ← g + λ·θ
/// b ← momentum·b + (1 − dampening)·g        (b = g in the first update)
/// θ ← θ − η·b                               (nesterov: θ − η·(g + momentum·b))
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sgd {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
}

impl Sgd {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let rule = Self {
            momentum: options.number("momentum", 0.0)?,
            dampening: options.number("dampening", 0.0)?,
            nesterov: options.switch("nesterov")?,
        };
        if rule.nesterov && (rule.momentum == 0.0 || rule.dampening != 0.0) {
            return Err(Error::argument(
                "arguments.optim_args",
                format!(
                    "with `nesterov` must have a `momentum` above 0 and no `dampening`; got {} and {}",
                    rule.momentum, rule.dampening
                ),
            ));
        }
        Ok(rule)
    }

    pub(super) fn slots(&self, n_elements: usize) -> Vec<Slot> {
        if self.momentum == 0.0 {
            return Vec::new();
        }
        vec![("momentum_buffer", n_elements)]
    }

    pub(super) fn update(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let gradient = update.coupled(gradient, &value);
        if self.momentum == 0.0 {
            return (value - gradient * update.learning_rate, slots);
        }
        let [buffer] = take(slots);
        let buffer = if update.number == 1 {
            gradient.clone()
        } else {
            buffer * self.momentum + gradient.clone() * (1.0 - self.dampening)
        };
        let step = if self.nesterov {
            gradient + buffer.clone() * self.momentum
        } else {
            buffer.clone()
        };
        (value - step * update.learning_rate, vec![buffer])
    }
}
