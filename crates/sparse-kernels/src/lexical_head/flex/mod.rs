//! The head on the CPU.
//!
//! Forward, a task takes a tile of the vocabulary and some whole texts at a time: one product into a buffer of its
//! cache, then the maximum (or sum) over the tokens of each text. Backward, every weight row and every text has one
//! owner, and the work is that of the active entries; both are gathered so that the rows that are added up stay in
//! the cache.

mod backward_max;
mod backward_sum;
mod forward;

use std::ops::Range;

use burn::backend::{Flex, tensor::FloatTensor};

use super::{Activation, HeadGradients, HeadOptions, LexicalHead, Pooled, PoolingStrategy, plain};
use crate::cpu::{self, Floats, Matrix};
use crate::plain::OptionalTensor;
use crate::{Precision, RowOffsets};

impl LexicalHead for Flex {
    fn lexical_head(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        rows: RowOffsets,
        options: HeadOptions,
    ) -> Pooled<Self> {
        if !cpu::all_f32(&[&hidden, &weight]) {
            return plain::forward::<Self>(hidden, weight, bias, &rows, options);
        }
        let (hidden, weight) = (Floats::of(&hidden), Floats::of(&weight));
        let bias = bias.as_ref().map(Floats::of);
        let head = Head::new(&hidden, &weight, bias.as_deref(), &rows, options);
        match options.pooling {
            PoolingStrategy::Max => head.forward_max(),
            PoolingStrategy::Sum => head.forward_sum(),
        }
    }

    fn lexical_head_backward(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        rows: RowOffsets,
        options: HeadOptions,
        pooled: Pooled<Self>,
        gradient: FloatTensor<Self>,
        so_far: OptionalTensor<Self>,
    ) -> HeadGradients<Self> {
        if !cpu::all_f32(&[&hidden, &weight, &gradient]) {
            return plain::backward::<Self>(
                hidden, weight, bias, &rows, options, pooled, gradient, so_far,
            );
        }
        let (hidden, weight) = (Floats::of(&hidden), Floats::of(&weight));
        let bias = bias.as_ref().map(Floats::of);
        let head = Head::new(&hidden, &weight, bias.as_deref(), &rows, options);
        match options.pooling {
            PoolingStrategy::Max => head.backward_max(&pooled, &Floats::of(&gradient), so_far),
            PoolingStrategy::Sum => head.backward_sum(&Floats::of(&gradient), so_far),
        }
    }
}

/// The arguments of a head, as slices.
struct Head<'a> {
    hidden: Matrix<'a>,
    hidden_values: &'a [f32],
    weight: Matrix<'a>,
    weight_values: &'a [f32],
    bias: Option<&'a [f32]>,
    rows: &'a RowOffsets,
    activation: Activation,
    precision: Precision,
    n_tokens: usize,
    width: usize,
    vocab_size: usize,
    n_rows: usize,
}

impl<'a> Head<'a> {
    fn new(
        hidden: &'a Floats,
        weight: &'a Floats,
        bias: Option<&'a [f32]>,
        rows: &'a RowOffsets,
        options: HeadOptions,
    ) -> Self {
        let ([n_tokens, width], [vocab_size, _]) = (hidden.dims2(), weight.dims2());
        Self {
            hidden: hidden.matrix(),
            hidden_values: hidden,
            weight: weight.matrix(),
            weight_values: weight,
            bias,
            rows,
            activation: options.activation,
            precision: options.precision,
            n_tokens,
            width,
            vocab_size,
            n_rows: rows.n_rows(),
        }
    }

    /// The tokens of consecutive texts.
    fn tokens(&self, rows: &Range<usize>) -> Range<usize> {
        let offsets = self.rows.as_slice();
        offsets[rows.start]..offsets[rows.end]
    }
}

/// `max(0, x)`, but NaN stays NaN, so that a broken model shows.
#[inline(always)]
fn positive(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}
