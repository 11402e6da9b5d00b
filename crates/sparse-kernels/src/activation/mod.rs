//! Activation functions inside the encoder.

mod flex;

use burn::backend::{
    Autodiff, Backend, Dispatch,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub(crate) use flex::apply_to_rows;

use crate::autodiff::track;
use crate::plain::Plain;

/// Activation function between the layers of an encoder; names as in the models' `hidden_act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenActivation {
    /// `x · Φ(x)` with Φ the normal distribution, by the error function.
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`; also called `gelu_pytorch_tanh` and `gelu_fast`.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast")]
    GeluNew,
    /// `max(0, x)`.
    Relu,
    /// `x · σ(x)`, also called `swish`.
    #[serde(alias = "swish")]
    Silu,
}

impl HiddenActivation {
    /// Applies the function to every element.
    pub fn forward(self, x: Tensor<2>) -> Tensor<2> {
        Tensor::from_dispatch(<Dispatch as Activate>::activate(x.into_dispatch(), self))
    }
}

/// The operation, per backend.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait Activate: Backend {
    /// `f(x)`
    fn activate(x: FloatTensor<Self>, activation: HiddenActivation) -> FloatTensor<Self> {
        plain_forward::<Self>(x, activation)
    }

    /// `dy · f'(x)`
    fn activate_backward(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: HiddenActivation,
    ) -> FloatTensor<Self> {
        plain_backward::<Self>(x, gradient, activation)
    }
}

/// `√(2/π)`
const GELU_NEW_FACTOR: f64 = 0.797_884_560_802_865_4;

/// Weight of the cube in [`HiddenActivation::GeluNew`].
const GELU_NEW_CUBIC: f64 = 0.044_715;

fn plain_forward<B: Backend>(x: FloatTensor<B>, activation: HiddenActivation) -> FloatTensor<B> {
    let x = Plain::<B>(x);
    let y = match activation {
        HiddenActivation::Gelu => x.clone() * normal_distribution(x),
        // (1 + tanh u) / 2 = σ(2u)
        HiddenActivation::GeluNew => x.clone() * gelu_new_inner(x).scale(2.0).sigmoid(),
        HiddenActivation::Relu => x.relu(),
        HiddenActivation::Silu => x.clone() * x.sigmoid(),
    };
    y.0
}

fn plain_backward<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
    activation: HiddenActivation,
) -> FloatTensor<B> {
    let x = Plain::<B>(x);
    let slope = match activation {
        // Φ + x·φ, φ the density
        HiddenActivation::Gelu => {
            let factor = (2.0 * std::f64::consts::PI).sqrt().recip();
            let density = x.clone().square().scale(-0.5).exp().scale(factor);
            normal_distribution(x.clone()) + x * density
        }
        // σ + 2x·σ·(1 − σ)·u'
        HiddenActivation::GeluNew => {
            let sigma = gelu_new_inner(x.clone()).scale(2.0).sigmoid();
            let inner_slope = x
                .clone()
                .square()
                .scale(3.0 * GELU_NEW_CUBIC)
                .plus(1.0)
                .scale(GELU_NEW_FACTOR);
            let rest = sigma.clone().scale(-1.0).plus(1.0);
            sigma.clone() + x.scale(2.0) * sigma * rest * inner_slope
        }
        HiddenActivation::Relu => x.step(),
        // σ + x·σ·(1 − σ)
        HiddenActivation::Silu => {
            let sigma = x.clone().sigmoid();
            sigma.clone() + x * sigma.clone() * sigma.scale(-1.0).plus(1.0)
        }
    };
    (Plain(gradient) * slope).0
}

/// `Φ(x) = (1 + erf(x/√2)) / 2`
fn normal_distribution<B: Backend>(x: Plain<B>) -> Plain<B> {
    x.scale(std::f64::consts::FRAC_1_SQRT_2)
        .erf()
        .plus(1.0)
        .scale(0.5)
}

/// `√(2/π) · (x + 0.044715·x³)`
fn gelu_new_inner<B: Backend>(x: Plain<B>) -> Plain<B> {
    (x.clone() * x.square().scale(GELU_NEW_CUBIC).plus(1.0)).scale(GELU_NEW_FACTOR)
}

#[cfg(feature = "cube")]
impl Activate for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl Activate for burn::backend::LibTorch {}

/// The backward pass.
#[derive(Debug)]
struct Step;

impl<B: Activate> Backward<B, 1> for Step {
    type State = (FloatTensor<B>, HiddenActivation);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (x, activation) = ops.state;
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(argument)] = ops.parents {
            let found = B::activate_backward(x, gradient, activation);
            gradients.register::<B>(argument.id, found);
        }
    }
}

impl<B: Activate, C: CheckpointStrategy> Activate for Autodiff<B, C> {
    fn activate(x: FloatTensor<Self>, activation: HiddenActivation) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        let output = B::activate(x.clone(), activation);
        track::<B, C, _, 1>(Step, [of_x], (x, activation), output)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::cpu::{self, Floats};

    const ALL: [HiddenActivation; 4] = [
        HiddenActivation::Gelu,
        HiddenActivation::GeluNew,
        HiddenActivation::Relu,
        HiddenActivation::Silu,
    ];

    #[test]
    fn values_are_those_of_torch() {
        let x = Tensor::<2>::from_data([[-3.0, -1.0, -0.1, 0.0, 0.5, 2.0]], &Device::default());
        // torch.nn.functional.gelu(x), gelu(x, approximate="tanh"), relu(x), silu(x)
        let expected = [
            [
                -0.004_049_7,
                -0.158_655_26,
                -0.046_017_22,
                0.0,
                0.345_731_23,
                1.954_499_7,
            ],
            [
                -0.003_637_4,
                -0.158_808,
                -0.046_017_066,
                0.0,
                0.345_714,
                1.954_597_7,
            ],
            [0.0, 0.0, 0.0, 0.0, 0.5, 2.0],
            [
                -0.142_277_62,
                -0.268_941_43,
                -0.047_502_08,
                0.0,
                0.311_229_67,
                1.761_594_2,
            ],
        ];
        for (activation, expected) in ALL.into_iter().zip(expected) {
            let y = activation.forward(x.clone());
            let expected = TensorData::new(expected.map(|y: f32| y).to_vec(), [1, 6]);
            y.to_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        }
    }

    #[test]
    fn fast_bodies_agree_with_the_default_body_and_finite_differences() {
        let values: Vec<f32> = (0..2001)
            .map(|i| (i as f32 - 1000.0) / 150.0 + 1e-4)
            .collect();
        let n = values.len();
        let x = || cpu::tensor(values.clone(), &[3, n / 3]);
        let ones = || cpu::tensor(vec![1.0_f32; n], &[3, n / 3]);
        for activation in ALL {
            let fast = Floats::of(&Flex::activate(x(), activation)).to_vec();
            let slow = Floats::of(&plain_forward::<Flex>(x(), activation)).to_vec();
            let fast_slope = Floats::of(&Flex::activate_backward(x(), ones(), activation)).to_vec();
            let slow_slope = Floats::of(&plain_backward::<Flex>(x(), ones(), activation)).to_vec();
            for i in 0..n {
                assert!(
                    (fast[i] - slow[i]).abs() < 2e-6,
                    "{activation:?}({})",
                    values[i]
                );
                assert!(
                    (fast_slope[i] - slow_slope[i]).abs() < 2e-6,
                    "{activation:?}'({})",
                    values[i]
                );
            }
            for i in 1..n - 1 {
                let difference = (slow[i + 1] - slow[i - 1]) / (values[i + 1] - values[i - 1]);
                let kink = activation == HiddenActivation::Relu && values[i].abs() < 0.02;
                assert!(
                    kink || (fast_slope[i] - difference).abs() < 2e-3,
                    "{activation:?}'({})",
                    values[i]
                );
            }
        }
    }

    #[test]
    fn names_are_those_of_model_files() {
        for (name, activation) in [
            ("gelu", HiddenActivation::Gelu),
            ("gelu_new", HiddenActivation::GeluNew),
            ("gelu_pytorch_tanh", HiddenActivation::GeluNew),
            ("relu", HiddenActivation::Relu),
            ("silu", HiddenActivation::Silu),
            ("swish", HiddenActivation::Silu),
        ] {
            let deserializer =
                serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name);
            assert_eq!(HiddenActivation::deserialize(deserializer), Ok(activation));
        }
    }
}
