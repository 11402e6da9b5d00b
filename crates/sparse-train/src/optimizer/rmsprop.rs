//! RMSprop, in the arithmetic of `torch.optim.RMSprop`.

use burn::tensor::Tensor;

use super::kind::Options;
use super::rule::{Slot, Update};
use crate::error::Result;

/// ```text
/// g ← g + λ·θ
/// v ← alpha·v + (1 − alpha)·g²
/// a ← a + (1 − alpha)·(g − a)               (centered; then √(v − a²) below)
/// u ← g / (√v + eps)
/// b ← momentum·b + u                        (with momentum; then b below)
/// θ ← θ − η·u
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct RmsProp {
    alpha: f64,
    epsilon: f64,
    momentum: f64,
    centered: bool,
}

impl RmsProp {
    pub(super) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            alpha: options.number("alpha", 0.99)?,
            epsilon: options.number("eps", 1e-8)?,
            momentum: options.number("momentum", 0.0)?,
            centered: options.switch("centered")?,
        })
    }

    pub(super) fn slots(&self, n_elements: usize) -> Vec<Slot> {
        let mut slots = vec![("square_avg", n_elements)];
        if self.centered {
            slots.push(("grad_avg", n_elements));
        }
        if self.momentum > 0.0 {
            slots.push(("momentum_buffer", n_elements));
        }
        slots
    }

    pub(super) fn update(
        &self,
        value: Tensor<1>,
        gradient: Tensor<1>,
        slots: Vec<Tensor<1>>,
        update: &Update<'_>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        const MADE: &str = "slots are made by the rule that takes them";
        let gradient = update.coupled(gradient, &value);
        let mut slots = slots.into_iter();
        let square =
            slots.next().expect(MADE) * self.alpha + gradient.clone().square() * (1.0 - self.alpha);
        let mut kept = vec![square.clone()];
        let root = if self.centered {
            let mean = slots.next().expect(MADE);
            let mean = mean.clone() + (gradient.clone() - mean) * (1.0 - self.alpha);
            kept.push(mean.clone());
            (square - mean.square()).sqrt()
        } else {
            square.sqrt()
        };
        let mut step = gradient / (root + self.epsilon);
        if self.momentum > 0.0 {
            step = slots.next().expect(MADE) * self.momentum + step;
            kept.push(step.clone());
        }
        (value - step * update.learning_rate, kept)
    }
}
