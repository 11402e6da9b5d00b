//! Attention out of plain tensor operations, for every backend: texts are padded to the longest inside.

use burn::backend::{Backend, tensor::FloatTensor};

use super::{Attended, AttentionGradients, AttentionSettings};
use crate::RowOffsets;
use crate::plain::{OptionalTensor, Plain};

/// Added to the scores of keys that a query must not see. Finite, so that a text without tokens gives no NaN.
const BLOCKED: f32 = -1e30;

pub(super) fn forward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    relative_bias: OptionalTensor<B>,
    rows: &RowOffsets,
    settings: AttentionSettings,
) -> Attended<B> {
    let query = Plain::<B>(query);
    let saved = query.zeros(&[1]);
    let layout = Layout::new(query.dims(), rows, settings);
    let (query, key) = (layout.split(query), layout.split(Plain(key)));
    let probabilities = layout.probabilities(query, key, relative_bias.into_option());
    let kept = match layout.dropout_factors(&probabilities) {
        Some(factors) => probabilities * factors,
        None => probabilities,
    };
    let output = layout.merge(kept.matmul(layout.split(Plain(value)), settings.precision));
    Attended {
        output: output.0,
        saved: saved.0,
    }
}

/// With `m` the dropout factors, `P` the probabilities and `K = P ∘ m`:
///
/// ```text
/// dV = Kᵀ dY,   dP = (dY Vᵀ) ∘ m,   dS = P ∘ (dP − rowsum(P ∘ dP)),   dQ = scale · dS K,   dK = scale · dSᵀ Q
/// ```
pub(super) fn backward<B: Backend>(
    query: FloatTensor<B>,
    key: FloatTensor<B>,
    value: FloatTensor<B>,
    relative_bias: OptionalTensor<B>,
    rows: &RowOffsets,
    settings: AttentionSettings,
    gradient: FloatTensor<B>,
) -> AttentionGradients<B> {
    let query = Plain::<B>(query);
    let layout = Layout::new(query.dims(), rows, settings);
    let (query, key) = (layout.split(query), layout.split(Plain(key)));
    let (value, gradient) = (layout.split(Plain(value)), layout.split(Plain(gradient)));
    let bias = relative_bias.into_option();
    let probabilities = layout.probabilities(query.clone(), key.clone(), bias.clone());
    let d_kept = gradient
        .clone()
        .matmul(value.transposed(), settings.precision);
    let (kept, d_probabilities) = match layout.dropout_factors(&probabilities) {
        Some(factors) => (probabilities.clone() * factors.clone(), d_kept * factors),
        None => (probabilities.clone(), d_kept),
    };
    let d_value = kept.transposed().matmul(gradient, settings.precision);
    let mean = (probabilities.clone() * d_probabilities.clone()).sum_dim(3);
    let d_scores = probabilities * (d_probabilities - mean);
    let relative_bias = bias.map(|bias| layout.d_relative_bias(Plain(bias), d_scores.clone()).0);
    let d_scores = d_scores.scale(f64::from(settings.scale));
    let d_query = d_scores.clone().matmul(key, settings.precision);
    let d_key = d_scores.transposed().matmul(query, settings.precision);
    AttentionGradients {
        query: layout.merge(d_query).0,
        key: layout.merge(d_key).0,
        value: layout.merge(d_value).0,
        relative_bias: relative_bias.into(),
    }
}

/// Sizes of padded attention.
struct Layout<'a> {
    rows: &'a RowOffsets,
    settings: AttentionSettings,
    n_rows: usize,
    length: usize,
    width: usize,
}

impl<'a> Layout<'a> {
    fn new([_, width]: [usize; 2], rows: &'a RowOffsets, settings: AttentionSettings) -> Self {
        Self {
            rows,
            settings,
            n_rows: rows.n_rows(),
            length: rows.max_length().max(1),
            width,
        }
    }

    /// `[ΣT, heads · d_head]` to `[n_rows, heads, length, d_head]`, padding filled with zeros.
    fn split<B: Backend>(&self, packed: Plain<B>) -> Plain<B> {
        let blank = self.rows.total() as i32;
        let sources = self.rows.ranges().flat_map(|range| {
            let n_padding = self.length - range.len();
            range
                .map(|t| t as i32)
                .chain(std::iter::repeat_n(blank, n_padding))
        });
        let sources = packed.indices(sources.collect(), &[self.n_rows * self.length]);
        let zero = packed.zeros(&[1, self.width]);
        let n_heads = self.settings.n_heads;
        Plain::cat(vec![packed, zero], 0)
            .select(0, sources)
            .reshape(&[self.n_rows, self.length, n_heads, self.width / n_heads])
            .swap_dims(1, 2)
    }

    /// The inverse of [`split`](Self::split).
    fn merge<B: Backend>(&self, padded: Plain<B>) -> Plain<B> {
        let tokens: Vec<i32> = self
            .rows
            .lengths()
            .enumerate()
            .flat_map(|(row, length)| (0..length).map(move |t| (row * self.length + t) as i32))
            .collect();
        let n_tokens = tokens.len();
        let flat = padded
            .swap_dims(1, 2)
            .reshape(&[self.n_rows * self.length, self.width]);
        let tokens = flat.indices(tokens, &[n_tokens]);
        flat.select(0, tokens)
    }

    /// `[n_rows, heads, length, length]`
    fn probabilities<B: Backend>(
        &self,
        query: Plain<B>,
        key: Plain<B>,
        relative_bias: Option<FloatTensor<B>>,
    ) -> Plain<B> {
        let scores = query
            .matmul(key.transposed(), self.settings.precision)
            .scale(f64::from(self.settings.scale));
        let padding = self.rows.lengths().flat_map(|length| {
            (0..self.length).map(move |j| if j < length { 0.0 } else { BLOCKED })
        });
        let padding = scores.like(padding.collect(), &[self.n_rows, 1, 1, self.length]);
        let mut scores = scores + padding;
        if let Some(window) = self.settings.local_window {
            let outside = (0..self.length).flat_map(|i| {
                (0..self.length).map(move |j| {
                    if i.abs_diff(j) <= window {
                        0.0
                    } else {
                        BLOCKED
                    }
                })
            });
            scores =
                scores.clone() + scores.like(outside.collect(), &[1, 1, self.length, self.length]);
        }
        if let Some(bias) = relative_bias {
            let bias = Plain::<B>(bias);
            let distances = self.distances(&bias);
            let shape = [1, self.settings.n_heads, self.length, self.length];
            scores = scores + bias.select(1, distances).reshape(&shape);
        }
        scores.softmax(3)
    }

    /// Column of the relative bias for every pair of positions.
    fn distances<B: Backend>(&self, bias: &Plain<B>) -> burn::backend::tensor::IntTensor<B> {
        let [_, n_distances] = bias.dims();
        let reach = n_distances.div_ceil(2);
        let distances = (0..self.length)
            .flat_map(|i| (0..self.length).map(move |j| (j + reach - 1 - i) as i32));
        bias.indices(distances.collect(), &[self.length * self.length])
    }

    fn d_relative_bias<B: Backend>(&self, bias: Plain<B>, d_scores: Plain<B>) -> Plain<B> {
        let [n_heads, n_distances] = bias.dims();
        let values = d_scores
            .sum_dim(0)
            .reshape(&[n_heads, self.length * self.length]);
        let distances = self.distances(&bias);
        bias.zeros(&[n_heads, n_distances])
            .select_add(1, distances, values)
    }

    fn dropout_factors<B: Backend>(&self, like: &Plain<B>) -> Option<Plain<B>> {
        self.settings.dropout?;
        let (n_heads, length) = (self.settings.n_heads, self.length);
        let mut factors = vec![0.0; self.n_rows * n_heads * length * length];
        for (row, n_tokens) in self.rows.lengths().enumerate() {
            for head in 0..n_heads {
                let dropout = self.settings.dropout_of(row, head)?;
                let start = (row * n_heads + head) * length * length;
                for i in 0..n_tokens {
                    let of_query = &mut factors[start + i * length..][..n_tokens];
                    of_query.fill(1.0);
                    dropout.apply(of_query, i * n_tokens);
                }
            }
        }
        Some(like.like(factors, &[self.n_rows, n_heads, length, length]))
    }
}
