//! The lexical head: hidden states to one sparse vector per text.

use burn::tensor::{Tensor, activation::relu};
use serde::{Deserialize, Serialize};

use crate::RowOffsets;

/// How the tokens of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolingStrategy {
    /// The largest weight of any token.
    #[default]
    Max,
    /// The sum of all tokens' weights.
    Sum,
}

/// How a logit becomes a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `f(z) = ln(1 + max(0, z))`.
    #[default]
    Relu,
    /// `f(z) = ln(1 + ln(1 + max(0, z)))`.
    Log1pRelu,
}

/// Sparse vectors of packed texts, as in SPLADE ([Formal et al., 2021](https://arxiv.org/abs/2109.10086)).
///
/// ```text
/// y[b, v] = f(max_t z[t, v])  or  Σ_t f(z[t, v]),   z[t, v] = h_t · E_v + bias_v,   t over the tokens of text b
/// ```
///
/// The logits `z` never exist as a whole. The gradient of a maximum goes to its first position. A text without
/// tokens gets zeros.
///
/// # Shapes
///
/// - `hidden`: `[ΣT, d]`
/// - `weight`: `[vocab_size, d]`
/// - `bias`: `[vocab_size]`
/// - output: `[n_rows, vocab_size]`, never negative
///
/// # Panics
///
/// If the shapes do not fit.
pub fn lexical_head(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    rows: &RowOffsets,
    pooling: PoolingStrategy,
    activation: Activation,
) -> Tensor<2> {
    let device = hidden.device();
    let [vocab_size, _] = weight.dims();
    let weight = weight.transpose();
    let vectors = rows.ranges().map(|range| {
        if range.is_empty() {
            return Tensor::zeros([1, vocab_size], &device);
        }
        let logits = hidden.clone().narrow(0, range.start, range.len()).matmul(weight.clone());
        let logits = match &bias {
            Some(bias) => logits + bias.clone().unsqueeze(),
            None => logits,
        };
        match pooling {
            PoolingStrategy::Max => activate(logits.max_dim(0), activation),
            PoolingStrategy::Sum => activate(logits, activation).sum_dim(0),
        }
    });
    Tensor::cat(vectors.collect(), 0)
}

fn activate(logits: Tensor<2>, activation: Activation) -> Tensor<2> {
    let weights = relu(logits).log1p();
    match activation {
        Activation::Relu => weights,
        Activation::Log1pRelu => weights.log1p(),
    }
}
