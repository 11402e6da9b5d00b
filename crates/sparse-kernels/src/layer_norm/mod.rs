//! Layer normalization with the residual sum.

mod flex;
#[cfg(test)]
mod tests;

use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, ExtensionType,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, NodeGuard, Ops},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;

use crate::autodiff::track;
use crate::plain::{OptionalTensor, Plain, optional};

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
    let [n, d] = x.dims();
    assert_eq!(weight.dims(), [d], "one weight per column");
    if let Some(residual) = &residual {
        assert_eq!(residual.dims(), [n, d], "a residual of the input's shape");
    }
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [d], "one bias per column");
    }
    let normed = <Dispatch as LayerNorm>::residual_norm(
        x.into_dispatch(),
        optional(residual),
        weight.into_dispatch(),
        optional(bias),
        epsilon,
    );
    Tensor::from_dispatch(normed.output)
}

/// What the forward pass gives.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct Normed<B: Backend> {
    /// `[n, d]`
    pub(crate) output: FloatTensor<B>,
    /// The rows before weight and bias, `[n, d]`.
    pub(crate) normalized: FloatTensor<B>,
    /// `1 / √(var + ε)`, `[n, 1]`.
    pub(crate) inverse_deviation: FloatTensor<B>,
}

/// Gradients: of the sum, which is that of both of its terms, and of the parameters.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct NormGradients<B: Backend> {
    pub(crate) sum: FloatTensor<B>,
    pub(crate) weight: FloatTensor<B>,
    pub(crate) bias: FloatTensor<B>,
}

/// The operation, per backend.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait LayerNorm: Backend {
    /// Forward pass; shapes as in [`layer_norm`].
    fn residual_norm(
        x: FloatTensor<Self>,
        #[extension_type] residual: OptionalTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
        epsilon: f64,
    ) -> Normed<Self> {
        plain_forward::<Self>(x, residual, weight, bias, epsilon)
    }

    /// Gradients from what the forward pass gave.
    fn residual_norm_backward(
        normalized: FloatTensor<Self>,
        inverse_deviation: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> NormGradients<Self> {
        plain_backward::<Self>(normalized, inverse_deviation, weight, gradient)
    }
}

fn plain_forward<B: Backend>(
    x: FloatTensor<B>,
    residual: OptionalTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    epsilon: f64,
) -> Normed<B> {
    let sum = match residual {
        OptionalTensor::Present(residual) => Plain::<B>(x) + Plain(residual),
        OptionalTensor::Absent => Plain(x),
    };
    let [_, d] = sum.dims();
    let centered = sum.clone() - sum.mean_dim(1);
    let inverse_deviation = centered
        .clone()
        .square()
        .mean_dim(1)
        .plus(epsilon)
        .sqrt()
        .recip();
    let normalized = centered * inverse_deviation.clone();
    let scaled = normalized.clone() * Plain(weight).reshape(&[1, d]);
    let output = match bias {
        OptionalTensor::Present(bias) => scaled + Plain(bias).reshape(&[1, d]),
        OptionalTensor::Absent => scaled,
    };
    Normed {
        output: output.0,
        normalized: normalized.0,
        inverse_deviation: inverse_deviation.0,
    }
}

/// With `n` the normalized row and `g = dy ∘ w`: `ds = (g − mean(g) − n ∘ mean(g ∘ n)) / √(var + ε)`.
fn plain_backward<B: Backend>(
    normalized: FloatTensor<B>,
    inverse_deviation: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> NormGradients<B> {
    let (normalized, gradient) = (Plain::<B>(normalized), Plain(gradient));
    let [_, d] = normalized.dims();
    let d_weight = (gradient.clone() * normalized.clone())
        .sum_dim(0)
        .reshape(&[d]);
    let d_bias = gradient.clone().sum_dim(0).reshape(&[d]);
    let scaled = gradient * Plain(weight).reshape(&[1, d]);
    let along = (scaled.clone() * normalized.clone()).mean_dim(1);
    let centered = scaled.clone() - scaled.mean_dim(1) - normalized * along;
    let sum = centered * Plain(inverse_deviation);
    NormGradients {
        sum: sum.0,
        weight: d_weight.0,
        bias: d_bias.0,
    }
}

#[cfg(feature = "cube")]
impl LayerNorm for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl LayerNorm for burn::backend::LibTorch {}

/// The backward pass.
#[derive(Debug)]
struct Step;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    normalized: FloatTensor<B>,
    inverse_deviation: FloatTensor<B>,
    weight: FloatTensor<B>,
    arguments: Arguments,
}

/// Which arguments there are beside input and weight, in the order input, weight, bias, residual.
#[derive(Debug, Clone, Copy)]
struct Arguments {
    bias: bool,
}

impl<B: LayerNorm, const N: usize> Backward<B, N> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State {
            normalized,
            inverse_deviation,
            weight,
            arguments,
        } = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        let found = B::residual_norm_backward(normalized, inverse_deviation, weight, gradient);
        let bias = arguments.bias.then_some(found.bias);
        let found = [Some(found.sum.clone()), Some(found.weight)]
            .into_iter()
            .chain(bias.map(Some))
            .chain([Some(found.sum)]);
        for (argument, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(argument), Some(gradient)) = (argument, gradient) {
                gradients.register::<B>(argument.id, gradient);
            }
        }
    }
}

impl<B: LayerNorm, C: CheckpointStrategy> LayerNorm for Autodiff<B, C> {
    fn residual_norm(
        x: FloatTensor<Self>,
        residual: OptionalTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        epsilon: f64,
    ) -> Normed<Self> {
        let (x, of_x) = x.into_parts();
        let (weight, of_weight) = weight.into_parts();
        let (residual, of_residual) = residual.into_option().map(|r| r.into_parts()).unzip();
        let (bias, of_bias) = bias.into_option().map(|bias| bias.into_parts()).unzip();
        let (residual, bias) = (OptionalTensor::from(residual), OptionalTensor::from(bias));
        let normed = B::residual_norm(x, residual, weight.clone(), bias, epsilon);
        let Normed {
            output,
            normalized,
            inverse_deviation,
        } = normed;
        let kept = [&normalized, &inverse_deviation]
            .map(|kept| <Self as AutodiffBackend>::from_inner(kept.clone()));
        let arguments = Arguments {
            bias: of_bias.is_some(),
        };
        let state = State {
            normalized,
            inverse_deviation,
            weight,
            arguments,
        };
        let output = match (of_bias, of_residual) {
            (None, None) => track::<B, C, _, 2>(Step, [of_x, of_weight], state, output),
            (Some(third), None) | (None, Some(third)) => {
                track::<B, C, _, 3>(Step, [of_x, of_weight, third], state, output)
            }
            (Some(of_bias), Some(of_residual)) => {
                let arguments: [NodeGuard; 4] = [of_x, of_weight, of_bias, of_residual];
                track::<B, C, _, 4>(Step, arguments, state, output)
            }
        };
        let [normalized, inverse_deviation] = kept;
        Normed {
            output,
            normalized,
            inverse_deviation,
        }
    }
}
