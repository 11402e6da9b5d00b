//! Activation functions inside the encoder.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// Activation function between the layers of an encoder; names as in the models' `hidden_act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenActivation {
    /// `x · Φ(x)`, with the error function.
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
        match self {
            Self::Gelu => activation::gelu(x),
            Self::GeluNew => {
                let inner = (x.clone().powi_scalar(3) * 0.044715 + x.clone())
                    * (2.0 / std::f64::consts::PI).sqrt();
                x * 0.5 * (inner.tanh() + 1.0)
            }
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
        }
    }
}
