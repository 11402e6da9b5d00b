//! Hidden states as small integers, with one scale for all tokens of a text.

use rayon::prelude::*;

use super::Text;
use super::bound;
use super::product::STEP;
use crate::RowOffsets;
use crate::lexical_head::InstructionSet;

/// The hidden states of a batch.
pub(super) struct Hidden {
    /// `[n_tokens, width]`, filled up, the instruction set's offset added.
    values: Vec<u8>,
    padded: usize,
    pub(super) texts: Vec<Text>,
}

impl Hidden {
    pub(super) fn new(
        set: InstructionSet,
        hidden: &[f32],
        width: usize,
        rows: &RowOffsets,
    ) -> Self {
        let padded = width.next_multiple_of(STEP);
        let mut values = vec![0; rows.total() * padded];
        let mut tasks = Vec::with_capacity(rows.n_rows());
        let mut rest = values.as_mut_slice();
        for range in rows.ranges() {
            let (own, others) = rest.split_at_mut(range.len() * padded);
            tasks.push((own, &hidden[range.start * width..range.end * width]));
            rest = others;
        }
        let texts = tasks
            .into_par_iter()
            .map(|(values, hidden)| quantize(set, hidden, width, values, padded))
            .collect();
        Self {
            values,
            padded,
            texts,
        }
    }

    /// The integers of a text.
    pub(super) fn of(&self, rows: &RowOffsets, row: usize) -> &[u8] {
        let range = rows.range(row);
        &self.values[range.start * self.padded..range.end * self.padded]
    }
}

fn quantize(
    set: InstructionSet,
    hidden: &[f32],
    width: usize,
    values: &mut [u8],
    padded: usize,
) -> Text {
    let mut text = Text {
        scale: bound::scale(hidden, set.hidden_levels()),
        norm: 0.0,
        error: 0.0,
    };
    for (values, hidden) in values
        .chunks_exact_mut(padded)
        .zip(hidden.chunks_exact(width))
    {
        let token = bound::quantize(hidden, text.scale, set.offset(), &mut values[..width]);
        text.norm = larger(text.norm, bound::norm_of(hidden));
        text.error = larger(text.error, token.error);
    }
    text
}

/// The larger of two numbers, and what is not a number if one of them is none.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a >= b { a } else { b }
}
