//! Forward: tiles of the vocabulary, texts by texts.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{Head, positive};
use crate::RowOffsets;
use crate::cpu::math::ln_1p;
use crate::cpu::matrix::Threads;
use crate::cpu::simd::{add, vectorized};
use crate::cpu::{self, MatrixMut, Shared, gemm};
use crate::lexical_head::{Activation, Pooled};

/// Vocabulary entries of a forward tile. With the tokens below, the buffer of logits takes 1 MiB, and the tile of a
/// weight of up to 768 columns stays in the cache beside it.
const TILE: usize = 512;

/// Tokens that are multiplied with a tile at once, unless one text is longer: enough to pay for packing the tile.
const TOKENS: usize = 512;

impl Head<'_> {
    pub(super) fn forward_max(&self) -> Pooled<Flex> {
        let mut scores = vec![0.0; self.n_rows * self.vocab_size];
        let mut positions = vec![0_i32; self.n_rows * self.vocab_size];
        let (shared_scores, shared_positions) =
            (Shared::new(&mut scores), Shared::new(&mut positions));
        self.for_each_tile(|row, logits, first, width| {
            let offset = row * self.vocab_size + first;
            #[allow(unsafe_code, reason = "tasks own columns, see `Shared`")]
            // SAFETY: these columns of this row belong to this task alone.
            let (scores, positions) = unsafe {
                (
                    shared_scores.slice(offset, width),
                    shared_positions.slice(offset, width),
                )
            };
            column_maxima(logits, scores, positions);
            if let Some(bias) = self.bias {
                add(scores, &bias[first..first + width]);
            }
            match self.activation {
                Activation::Relu => activate_relu(scores),
                Activation::Log1pRelu => activate_log1p_relu(scores),
            }
        });
        let shape = [self.n_rows, self.vocab_size];
        Pooled {
            scores: cpu::tensor(scores, &shape),
            positions: cpu::tensor(positions, &shape),
        }
    }

    pub(super) fn forward_sum(&self) -> Pooled<Flex> {
        let mut scores = vec![0.0; self.n_rows * self.vocab_size];
        let shared_scores = Shared::new(&mut scores);
        self.for_each_tile(|row, logits, first, width| {
            let offset = row * self.vocab_size + first;
            #[allow(unsafe_code, reason = "tasks own columns, see `Shared`")]
            // SAFETY: these columns of this row belong to this task alone.
            let scores = unsafe { shared_scores.slice(offset, width) };
            for logits in logits.chunks_exact_mut(width) {
                if let Some(bias) = self.bias {
                    add(logits, &bias[first..first + width]);
                }
                match self.activation {
                    Activation::Relu => activate_relu(logits),
                    Activation::Log1pRelu => activate_log1p_relu(logits),
                }
                add(scores, logits);
            }
        });
        Pooled {
            scores: cpu::tensor(scores, &[self.n_rows, self.vocab_size]),
            positions: cpu::tensor(vec![0_i32], &[1]),
        }
    }

    /// Calls `pool(row, logits, first, width)` for every text with tokens and every tile of the vocabulary, with the
    /// logits `[length, width]` of that text for the entries `first..first + width`, bias not added.
    fn for_each_tile(&self, pool: impl Fn(usize, &mut [f32], usize, usize) + Sync) {
        let groups = groups_of_texts(self.rows, TOKENS);
        let largest = groups
            .iter()
            .map(|rows| self.tokens(rows).len())
            .max()
            .unwrap_or(0);
        let n_tiles = self.vocab_size.div_ceil(TILE);
        (0..n_tiles).into_par_iter().for_each_init(
            || vec![0.0; largest * TILE],
            |buffer, tile| {
                let first = tile * TILE;
                let width = TILE.min(self.vocab_size - first);
                let weight = self.weight.rows(first..first + width).transposed();
                for group in &groups {
                    let tokens = self.tokens(group);
                    let logits = &mut buffer[..tokens.len() * width];
                    let hidden = self.hidden.rows(tokens.clone());
                    let mut product = MatrixMut::new(logits, tokens.len(), width);
                    gemm(
                        &mut product,
                        false,
                        hidden,
                        weight,
                        Threads::One,
                        self.precision,
                    );
                    for row in group.clone() {
                        let range = self.rows.range(row);
                        let (start, end) = (range.start - tokens.start, range.end - tokens.start);
                        if start < end {
                            pool(row, &mut logits[start * width..end * width], first, width);
                        }
                    }
                }
            },
        );
    }
}

/// Consecutive texts of together at most `n_tokens` tokens, or single longer ones.
fn groups_of_texts(rows: &RowOffsets, n_tokens: usize) -> Vec<std::ops::Range<usize>> {
    let mut groups = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (row, length) in rows.lengths().enumerate() {
        if tokens + length > n_tokens && first < row {
            groups.push(first..row);
            (first, tokens) = (row, 0);
        }
        tokens += length;
    }
    if first < rows.n_rows() {
        groups.push(first..rows.n_rows());
    }
    groups
}

vectorized! {
    /// Largest logit of each column and the first row where it is; a NaN counts as larger than everything.
    fn column_maxima<FMA>(logits: &[f32], maxima: &mut [f32], positions: &mut [i32]) {
        let width = maxima.len();
        maxima.copy_from_slice(&logits[..width]);
        positions.fill(0);
        for (row, logits) in logits.chunks_exact(width).enumerate().skip(1) {
            for ((largest, position), &logit) in maxima.iter_mut().zip(positions.iter_mut()).zip(logits) {
                let larger = (logit > *largest) | logit.is_nan();
                *largest = if larger { logit } else { *largest };
                *position = if larger { row as i32 } else { *position };
            }
        }
    }
}

vectorized! {
    fn activate_relu<FMA>(values: &mut [f32]) {
        for value in values {
            *value = ln_1p::<FMA>(positive(*value));
        }
    }
}

vectorized! {
    fn activate_log1p_relu<FMA>(values: &mut [f32]) {
        for value in values {
            *value = ln_1p::<FMA>(ln_1p::<FMA>(positive(*value)));
        }
    }
}
