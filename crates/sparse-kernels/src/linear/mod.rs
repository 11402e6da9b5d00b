//! Linear layers.

mod flex;
#[cfg(test)]
mod tests;

use burn::backend::{
    Autodiff, Backend, Dispatch, ExtensionType,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;

use crate::activation::Activate;
use crate::autodiff::track;
use crate::plain::{OptionalTensor, Plain, optional};
use crate::{HiddenActivation, Precision};

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
    dispatch(x, weight, bias, None, None)
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
    dispatch(x, weight, bias, None, Some(activation))
}

/// [`linear`] of an activation function's values, `y = f(x) · Wᵀ + b`, that keeps `x` and not `f(x)` for the backward pass.
///
/// `f(x)` is computed again there. In the feed-forward part of an encoder layer, four times as wide as the rest, that is a
/// quarter of all that a step keeps, for about a hundredth of its time.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn activation_linear(
    x: Tensor<2>,
    activation: HiddenActivation,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<2> {
    dispatch(x, weight, bias, Some(activation), None)
}

fn dispatch(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    before: Option<HiddenActivation>,
    after: Option<HiddenActivation>,
) -> Tensor<2> {
    let [_, d_in] = x.dims();
    let [d_out, d_weight] = weight.dims();
    assert_eq!(d_in, d_weight, "inputs as wide as the weight's rows");
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [d_out], "one bias per output");
    }
    Tensor::from_dispatch(<Dispatch as Linear>::affine(
        x.into_dispatch(),
        weight.into_dispatch(),
        optional(bias),
        LinearOptions {
            before,
            after,
            precision: Precision::current(),
        },
    ))
}

/// Settings of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LinearOptions {
    /// On the input.
    pub(crate) before: Option<HiddenActivation>,
    /// On the output.
    pub(crate) after: Option<HiddenActivation>,
    pub(crate) precision: Precision,
}

/// Which gradients a backward pass has to find.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) x: bool,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

/// Gradients of the arguments, as far as they were wanted.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct LinearGradients<B: Backend> {
    #[extension_type]
    pub(crate) x: OptionalTensor<B>,
    #[extension_type]
    pub(crate) weight: OptionalTensor<B>,
    #[extension_type]
    pub(crate) bias: OptionalTensor<B>,
}

/// The operation, per backend.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait Linear: Activate {
    /// Forward pass; shapes as in [`linear`].
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
        options: LinearOptions,
    ) -> FloatTensor<Self> {
        plain_forward::<Self>(x, weight, bias, options)
    }

    /// Gradients of the linear part.
    fn affine_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        wanted: Wanted,
        precision: Precision,
    ) -> LinearGradients<Self> {
        plain_backward::<Self>(x, weight, gradient, wanted, precision)
    }
}

fn plain_forward<B: Activate>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: OptionalTensor<B>,
    options: LinearOptions,
) -> FloatTensor<B> {
    let x = activated::<B>(x, options.before);
    let y = Plain::<B>(x).matmul(Plain(weight).transposed(), options.precision);
    let y = match bias {
        OptionalTensor::Present(bias) => {
            let bias = Plain(bias);
            let [d_out] = bias.dims();
            y + bias.reshape(&[1, d_out])
        }
        OptionalTensor::Absent => y,
    };
    activated::<B>(y.0, options.after)
}

fn activated<B: Activate>(
    x: FloatTensor<B>,
    activation: Option<HiddenActivation>,
) -> FloatTensor<B> {
    match activation {
        Some(activation) => B::activate(x, activation),
        None => x,
    }
}

fn plain_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    wanted: Wanted,
    precision: Precision,
) -> LinearGradients<B> {
    let gradient = Plain::<B>(gradient);
    let [_, d_out] = gradient.dims();
    let d_weight = wanted
        .weight
        .then(|| gradient.clone().transposed().matmul(Plain(x), precision).0);
    let d_bias = wanted
        .bias
        .then(|| gradient.clone().sum_dim(0).reshape(&[d_out]).0);
    let d_x = wanted
        .x
        .then(|| gradient.matmul(Plain(weight), precision).0);
    LinearGradients {
        x: d_x.into(),
        weight: d_weight.into(),
        bias: d_bias.into(),
    }
}

#[cfg(feature = "cube")]
impl Linear for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl Linear for burn::backend::LibTorch {}

/// The backward pass; the arguments are input, weight and, with `N = 3`, bias.
#[derive(Debug)]
struct Step;

#[derive(Debug, Clone)]
struct State<B: Backend> {
    /// Before its activation.
    x: FloatTensor<B>,
    before: Option<HiddenActivation>,
    weight: FloatTensor<B>,
    /// The activation of the output and its input.
    after: Option<(HiddenActivation, FloatTensor<B>)>,
    precision: Precision,
}

impl<B: Linear, const N: usize> Backward<B, N> for Step {
    type State = State<B>;

    fn backward(self, ops: Ops<State<B>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let State {
            x,
            before,
            weight,
            after,
            precision,
        } = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        let gradient = match after {
            Some((activation, input)) => B::activate_backward(input, gradient, activation),
            None => gradient,
        };
        let wants = |argument: usize| ops.parents.get(argument).is_some_and(Option::is_some);
        let wanted = Wanted {
            x: wants(0),
            weight: wants(1),
            bias: wants(2),
        };
        let activated = activated::<B>(x.clone(), before);
        let mut found = B::affine_backward(activated, weight, gradient, wanted, precision);
        if let Some(before) = before {
            found.x = found
                .x
                .into_option()
                .map(|gradient| B::activate_backward(x, gradient, before))
                .into();
        }
        let found = [found.x, found.weight, found.bias].map(OptionalTensor::into_option);
        for (argument, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(argument), Some(gradient)) = (argument, gradient) {
                gradients.register::<B>(argument.id, gradient);
            }
        }
    }
}

impl<B: Linear, C: CheckpointStrategy> Linear for Autodiff<B, C> {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        options: LinearOptions,
    ) -> FloatTensor<Self> {
        let LinearOptions {
            before,
            after,
            precision,
        } = options;
        let (x, of_x) = x.into_parts();
        let (weight, of_weight) = weight.into_parts();
        let (bias, of_bias) = bias.into_option().map(|bias| bias.into_parts()).unzip();
        let linear = LinearOptions {
            after: None,
            ..options
        };
        let input = B::affine(x.clone(), weight.clone(), bias.into(), linear);
        let (output, after) = match after {
            Some(activation) => (
                B::activate(input.clone(), activation),
                Some((activation, input)),
            ),
            None => (input, None),
        };
        let state = State {
            x,
            before,
            weight,
            after,
            precision,
        };
        match of_bias {
            Some(of_bias) => track::<B, C, _, 3>(Step, [of_x, of_weight, of_bias], state, output),
            None => track::<B, C, _, 2>(Step, [of_x, of_weight], state, output),
        }
    }
}
