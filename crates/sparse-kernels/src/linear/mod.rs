//! Linear layers.

use burn::tensor::Tensor;

use crate::HiddenActivation;

/// `y = x · Wᵀ + b`, with the weight as model files hold it.
///
/// # Shapes
///
/// - `x`: `[n, d_in]`
/// - `weight`: `[d_out, d_in]`
/// - `bias`: `[d_out]`
/// - output: `[n, d_out]`
///
/// # Panics
///
/// If the shapes do not fit.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let y = x.matmul(weight.transpose());
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// [`linear`] followed by an activation function, in one operation.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn linear_activation(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: HiddenActivation,
) -> Tensor<2> {
    activation.forward(linear(x, weight, bias))
}
