//! Attention over packed texts.

use burn::tensor::{Int, Tensor, TensorData, activation::softmax};

use crate::{Dropout, RowOffsets, dropout};

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
/// y_i = Σ_j softmax_j(scale · q_i · k_j + bias[j − i]) v_j,   i and j in one text, per head
/// ```
///
/// # Shapes
///
/// - `query`, `key`, `value`, output: `[ΣT, n_heads · d_head]`, heads side by side
///
/// # Panics
///
/// If the shapes do not fit.
pub fn packed_attention(
    query: Tensor<2>,
    key: Tensor<2>,
    value: Tensor<2>,
    n_heads: usize,
    rows: &RowOffsets,
    options: &AttentionOptions,
) -> Tensor<2> {
    let device = query.device();
    let [_, width] = query.dims();
    let d_head = width / n_heads;
    let mut outputs = Vec::new();
    for (row, range) in rows
        .ranges()
        .enumerate()
        .filter(|(_, range)| !range.is_empty())
    {
        let length = range.len();
        let heads = |x: &Tensor<2>| {
            x.clone()
                .narrow(0, range.start, length)
                .reshape([length, n_heads, d_head])
                .swap_dims(0, 1)
        };
        let mut scores = heads(&query).matmul(heads(&key).swap_dims(1, 2)) * options.scale;
        if let Some(bias) = &options.relative_bias {
            let reach = bias.dims()[1].div_ceil(2);
            let distances: Vec<i32> = (0..length)
                .flat_map(|i| (0..length).map(move |j| (j + reach - 1 - i) as i32))
                .collect();
            let distances =
                Tensor::<1, Int>::from_data(TensorData::new(distances, [length * length]), &device);
            scores = scores
                + bias
                    .clone()
                    .select(1, distances)
                    .reshape([n_heads, length, length]);
        }
        if let Some(window) = options.local_window {
            let blocked: Vec<f32> = (0..length)
                .flat_map(|i| {
                    (0..length).map(move |j| {
                        if i.abs_diff(j) <= window {
                            0.0
                        } else {
                            f32::NEG_INFINITY
                        }
                    })
                })
                .collect();
            scores = scores
                + Tensor::<3>::from_data(TensorData::new(blocked, [1, length, length]), &device);
        }
        let probabilities = softmax(scores, 2);
        let mask = options.dropout.map(|dropout| Dropout {
            stream: dropout.stream.derive_index(row as u64),
            ..dropout
        });
        let probabilities = dropout(
            probabilities.reshape([n_heads * length, length]),
            mask.as_ref(),
        );
        let y = probabilities
            .reshape([n_heads, length, length])
            .matmul(heads(&value));
        outputs.push(y.swap_dims(0, 1).reshape([length, width]));
    }
    if outputs.is_empty() {
        query
    } else {
        Tensor::cat(outputs, 0)
    }
}
