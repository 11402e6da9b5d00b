//! Attention over packed texts.

mod autodiff;
mod flex;
mod plain;
#[cfg(test)]
mod tests;

use burn::backend::{Backend, Dispatch, ExtensionType, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::plain::{OptionalTensor, optional};
use crate::{Dropout, Precision, RowOffsets};

/// Settings of [`packed_attention`].
#[derive(Debug, Clone)]
pub struct AttentionOptions {
    /// Factor on the products of queries and keys, commonly `1 / √d_head`.
    pub scale: f32,
    /// Dropout on the attention probabilities.
    pub dropout: Option<Dropout>,
    /// Tokens see only tokens at a distance of at most this; `None` for the whole text.
    pub local_window: Option<usize>,
    /// Additive scores by relative distance, `[n_heads, 2·reach − 1]`: query `i` of a text adds
    /// `bias[head, j − i + reach − 1]` to its score for key `j`. `reach` is at least the length of the longest text.
    pub relative_bias: Option<Tensor<2>>,
}

impl AttentionOptions {
    /// Plain attention with this factor on the scores.
    pub fn new(scale: f32) -> Self {
        Self {
            scale,
            dropout: None,
            local_window: None,
            relative_bias: None,
        }
    }
}

/// Softmax attention in which every token looks at the tokens of its own text.
///
/// ```text
/// y_i = Σ_j p_ij v_j,   p_i = softmax_j(scale · q_i · k_j + bias[j − i]),   i and j in one text, per head
/// ```
///
/// Nothing is padded, and no more scores than those of a few queries with the keys of their text exist at a time.
///
/// # Shapes
///
/// - `query`, `key`, `value`, output: `[ΣT, n_heads · d_head]`, heads side by side
///
/// # Panics
///
/// If the shapes do not fit, or if the dropout rate is not in `[0, 1)`.
pub fn packed_attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    n_heads: usize,
    rows: &RowOffsets,
    options: &AttentionOptions,
) -> Tensor<2> {
    let dims = query.dims();
    assert_eq!(dims[0], rows.total(), "one query per packed token");
    assert_eq!(
        (key.dims(), value.dims()),
        (dims, dims),
        "queries, keys and values of one shape"
    );
    assert!(
        n_heads > 0 && dims[1].is_multiple_of(n_heads),
        "{} columns in {n_heads} heads",
        dims[1]
    );
    if let Some(bias) = &options.relative_bias {
        let [n_rows, n_distances] = bias.dims();
        assert_eq!(n_rows, n_heads, "one row of relative bias per head");
        let longest = rows.max_length();
        assert!(
            n_distances % 2 == 1 && n_distances.div_ceil(2) >= longest,
            "relative bias reaches {longest} tokens"
        );
    }
    if let Some(dropout) = &options.dropout {
        dropout.assert_valid();
    }
    let attended = <Dispatch as PackedAttention>::packed_attention(
        query.into_dispatch(),
        key.into_dispatch(),
        value.into_dispatch(),
        optional(options.relative_bias.clone()),
        rows.clone(),
        AttentionSettings {
            n_heads,
            scale: options.scale,
            dropout: options.dropout.filter(|dropout| dropout.rate > 0.0),
            local_window: options.local_window,
            precision: Precision::current(),
        },
    );
    Tensor::from_dispatch(attended.output)
}

/// The part of the options that is no tensor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionSettings {
    pub(crate) n_heads: usize,
    pub(crate) scale: f32,
    pub(crate) dropout: Option<Dropout>,
    pub(crate) local_window: Option<usize>,
    /// Not on the CPU, where products of a head are small and stay in f32.
    pub(crate) precision: Precision,
}

impl AttentionSettings {
    /// The dropout of one head of one text: element `i · length + j` is the probability of key `j` for query `i`.
    fn dropout_of(&self, row: usize, head: usize) -> Option<Dropout> {
        self.dropout.map(|dropout| Dropout {
            stream: dropout
                .stream
                .derive_index(((dropout.first_row + row) * self.n_heads + head) as u64),
            ..dropout
        })
    }
}

/// What the forward pass gives.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct Attended<B: Backend> {
    /// `[ΣT, n_heads · d_head]`
    pub(crate) output: FloatTensor<B>,
    /// What the backend's backward pass needs beside the arguments: on the CPU `ln Σ_j e^score`, `[n_heads, ΣT]`.
    pub(crate) saved: FloatTensor<B>,
}

/// Gradients of the arguments, in their shapes.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) struct AttentionGradients<B: Backend> {
    pub(crate) query: FloatTensor<B>,
    pub(crate) key: FloatTensor<B>,
    pub(crate) value: FloatTensor<B>,
    #[extension_type]
    pub(crate) relative_bias: OptionalTensor<B>,
}

/// The operation, per backend.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait PackedAttention: Backend {
    /// Forward pass; shapes as in [`packed_attention`].
    fn packed_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] relative_bias: OptionalTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
    ) -> Attended<Self> {
        plain::forward::<Self>(query, key, value, relative_bias, &rows, settings)
    }

    /// Gradients of the arguments, given what the forward pass gave and the gradient of its output.
    #[allow(
        clippy::too_many_arguments,
        reason = "the arguments of the forward pass, its result and a gradient"
    )]
    fn packed_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        #[extension_type] relative_bias: OptionalTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
        saved: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        let _ = saved;
        plain::backward::<Self>(query, key, value, relative_bias, &rows, settings, gradient)
    }
}

#[cfg(feature = "cube")]
impl PackedAttention for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl PackedAttention for burn::backend::LibTorch {}
