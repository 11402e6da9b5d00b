//! The AdamW update.

use burn::tensor::Tensor;

/// Settings of one [`adamw`] update of one tensor; the formula is at [`adamw`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWStep {
    /// Learning rate η in force at this step.
    pub learning_rate: f64,
    /// Decay rate β₁ of the first moment.
    pub beta_1: f64,
    /// Decay rate β₂ of the second moment.
    pub beta_2: f64,
    /// ε, added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay λ.
    pub weight_decay: f64,
    /// Number of this update, from 1.
    pub step: u64,
    /// Factor on the gradient before everything else: 1, or what clipping asks for.
    pub gradient_scale: f64,
}

/// Moments of one tensor.
#[derive(Debug, Clone)]
pub struct AdamWState<const D: usize> {
    /// First moment m.
    pub first_moment: Tensor<D>,
    /// Second moment v.
    pub second_moment: Tensor<D>,
}

impl<const D: usize> AdamWState<D> {
    /// The moments before the first update: zeros of the parameter's shape.
    pub fn zeros_like(parameter: &Tensor<D>) -> Self {
        Self {
            first_moment: parameter.zeros_like(),
            second_moment: parameter.zeros_like(),
        }
    }
}

/// One AdamW update ([Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101)), in the arithmetic of
/// `torch.optim.AdamW`.
///
/// ```text
/// g ← gradient_scale · g
/// p ← p − η·λ·p
/// m ← β₁·m + (1 − β₁)·g
/// v ← β₂·v + (1 − β₂)·g²
/// p ← p − η/(1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε)
/// ```
///
/// All tensors are plain ones (`inner()` of an autodiff tensor). On the CPU the update is one pass, in place where
/// the caller gives its only handles away.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    settings: &AdamWStep,
) -> (Tensor<D>, AdamWState<D>) {
    let AdamWStep {
        learning_rate,
        beta_1,
        beta_2,
        epsilon,
        weight_decay,
        step,
        gradient_scale,
    } = *settings;
    let gradient = gradient * gradient_scale;
    let first_moment = state.first_moment * beta_1 + gradient.clone() * (1.0 - beta_1);
    let second_moment = state.second_moment * beta_2 + gradient.square() * (1.0 - beta_2);
    let step = step as f64;
    let step_size = learning_rate / (1.0 - beta_1.powf(step));
    let root = second_moment.clone().sqrt() / (1.0 - beta_2.powf(step)).sqrt() + epsilon;
    let parameter =
        parameter * (1.0 - learning_rate * weight_decay) - first_moment.clone() / root * step_size;
    (
        parameter,
        AdamWState {
            first_moment,
            second_moment,
        },
    )
}

/// Sum of the squares of all elements, for the gradient norm. Reads back.
pub fn squared_norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    tensor.clone().square().sum().into_scalar()
}
