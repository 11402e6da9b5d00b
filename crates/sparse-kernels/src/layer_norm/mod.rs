//! Layer normalization with the residual sum.

use burn::tensor::Tensor;

/// `y = (s − mean(s)) / √(var(s) + ε) · w + b` over each row of `s = x + residual`.
///
/// The variance is the biased one. Both additions of a post-norm encoder layer and its normalization are one pass.
///
/// # Shapes
///
/// - `x`, `residual`, output: `[n, d]`
/// - `weight`, `bias`: `[d]`
///
/// # Panics
///
/// If the shapes do not fit.
pub fn layer_norm(
    x: Tensor<2>,
    residual: Option<Tensor<2>>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<2> {
    let sum = match residual {
        Some(residual) => x + residual,
        None => x,
    };
    let centered = sum.clone() - sum.mean_dim(1);
    let variance = centered.clone().square().mean_dim(1);
    let y = centered / (variance + epsilon).sqrt() * weight.unsqueeze();
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}
