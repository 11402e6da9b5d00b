//! The lexical head: hidden states to one sparse vector per text.

mod autodiff;
mod flex;
mod plain;
mod screening;
#[cfg(test)]
mod tests;

use burn::backend::{
    Backend, Dispatch, ExtensionType, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::plain::{OptionalTensor, optional};
use crate::{Precision, RowOffsets};

pub use screening::{InstructionSet, Screening, screening};

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
/// The logits `z` never exist as a whole, and on the CPU those that are provably negative are never computed
/// ([`Screening`]). Each row is the same to the last bit whatever other rows are computed with it. The gradient of a maximum goes to its first position. A text without
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
    let [n_tokens, d_model] = hidden.dims();
    let [vocab_size, d_weight] = weight.dims();
    assert_eq!(n_tokens, rows.total(), "one hidden state per packed token");
    assert_eq!(
        d_model, d_weight,
        "hidden states as wide as the weight's rows"
    );
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [vocab_size], "one bias per vocabulary entry");
    }
    let pooled = <Dispatch as LexicalHead>::lexical_head(
        hidden.into_dispatch(),
        weight.into_dispatch(),
        optional(bias),
        rows.clone(),
        HeadOptions {
            pooling,
            activation,
            precision: Precision::current(),
            screening: Screening::current(),
        },
    );
    Tensor::from_dispatch(pooled.scores)
}

/// Settings of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadOptions {
    pub(crate) pooling: PoolingStrategy,
    pub(crate) activation: Activation,
    /// Of the logits; on the CPU the sparse sums of a maximum's gradient stay in f32.
    pub(crate) precision: Precision,
    /// Of the forward pass on the CPU.
    pub(crate) screening: Screening,
}

/// What the forward pass gives: vectors, and what the backward pass needs beside them.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct Pooled<B: Backend> {
    /// `[n_rows, vocab_size]`
    pub(crate) scores: FloatTensor<B>,
    /// `[n_rows, vocab_size]`, for maxima: which token of the text was the first with the largest logit; else `[1]`.
    pub(crate) positions: IntTensor<B>,
}

/// Gradients of a head's arguments, in their shapes.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct HeadGradients<B: Backend> {
    pub(crate) hidden: FloatTensor<B>,
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
pub(crate) trait LexicalHead: Backend {
    /// Forward pass; shapes as in [`lexical_head`].
    fn lexical_head(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
        rows: RowOffsets,
        options: HeadOptions,
    ) -> Pooled<Self> {
        plain::forward::<Self>(hidden, weight, bias, &rows, options)
    }

    /// Gradients of the arguments, given the output, what was saved with it and its gradient. That of the weight is
    /// added to what it has `so_far`.
    #[allow(
        clippy::too_many_arguments,
        reason = "the arguments of the forward pass, its results and a gradient"
    )]
    fn lexical_head_backward(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: OptionalTensor<Self>,
        rows: RowOffsets,
        options: HeadOptions,
        #[extension_type] pooled: Pooled<Self>,
        gradient: FloatTensor<Self>,
        #[extension_type] so_far: OptionalTensor<Self>,
    ) -> HeadGradients<Self> {
        plain::backward::<Self>(
            hidden, weight, bias, &rows, options, pooled, gradient, so_far,
        )
    }
}

#[cfg(feature = "cube")]
impl LexicalHead for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl LexicalHead for burn::backend::LibTorch {}
