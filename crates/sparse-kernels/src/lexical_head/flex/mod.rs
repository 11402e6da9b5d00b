//! The head on the CPU.
//!
//! Forward, a product of small integers tells which entries of the vectors can be anything but zero ([`screen`]). Of those
//! that can, a task takes some of one text, or a tile of the vocabulary and some whole texts at a time: one product into a
//! buffer of its cache, then the maximum (or sum) over the tokens of each text. Backward, every weight row and every text has one
//! owner, and the work is that of the active entries; both are gathered so that the rows that are added up stay in
//! the cache.

mod backward_max;
mod backward_sum;
mod forward;
mod screen;
#[cfg(test)]
mod tests;

use std::ops::Range;

use burn::backend::{Flex, tensor::FloatTensor};

use burn_flex::FlexTensor;

use super::{
    Activation, HeadGradients, HeadOptions, LexicalHead, Pooled, PoolingStrategy, Screening, plain,
};
use crate::cpu::{self, Floats, Matrix};
use crate::plain::OptionalTensor;
use crate::{Precision, RowOffsets};
use screen::Plan;

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
        let (hidden, weight_tensor) = (Floats::of(&hidden), weight.to_contiguous());
        let weight = Floats::of(&weight_tensor);
        let bias = bias.as_ref().map(Floats::of);
        let head = Head::new(&hidden, &weight, bias.as_deref(), &rows, options);
        let plan = head.plan(&weight_tensor, options.screening);
        let shape = [head.n_rows, head.vocab_size];
        let (scores, positions) = match options.pooling {
            PoolingStrategy::Max => {
                let (scores, positions) = head.forward_max(&plan);
                (scores, cpu::tensor(positions, &shape))
            }
            PoolingStrategy::Sum => (head.forward_sum(&plan), cpu::tensor(vec![0_i32], &[1])),
        };
        Pooled {
            scores: cpu::tensor(scores, &shape),
            positions,
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
        // This is training: the next step has another weight, and the memory is wanted now.
        screen::forget(&weight);
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

    /// What to compute in f32: without screening, or in another precision, everything.
    fn plan(&self, weight: &FlexTensor, screening: Screening) -> Plan {
        match screening.instruction_set() {
            Some(set) if self.precision == Precision::F32 => {
                let (plan, quantized) = Plan::screened(self, set, &screen::known(weight));
                if let Some(quantized) = quantized {
                    screen::keep(weight, quantized);
                }
                plan
            }
            _ => Plan::everything(self),
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
