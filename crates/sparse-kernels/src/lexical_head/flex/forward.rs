//! Forward: tiles of the vocabulary, texts by texts.

use std::ops::Range;

use rayon::prelude::*;

use super::screen::{Plan, TILE};
use super::{Head, positive};
use crate::RowOffsets;
use crate::cpu::math::ln_1p;
use crate::cpu::matrix::{Threads, dots};
use crate::cpu::simd::{add, vectorized};
use crate::cpu::{Matrix, MatrixMut, Shared};
use crate::lexical_head::Activation;

/// Tokens that are multiplied with a tile at once, unless one text is longer: enough to pay for packing the tile.
const TOKENS: usize = 512;

/// Logits of a task of open entries, unless one text is very long: 4 MiB.
const OPEN_LOGITS: usize = 1 << 20;

impl Head<'_> {
    /// Vectors and positions of their maxima.
    pub(super) fn forward_max(&self, plan: &Plan) -> (Vec<f32>, Vec<i32>) {
        let mut scores = vec![0.0; self.n_rows * self.vocab_size];
        let mut positions = vec![0_i32; self.n_rows * self.vocab_size];
        let out = Shared::new(&mut scores);
        let positions_out = Shared::new(&mut positions);
        let pool = |logits: &mut [f32],
                    bias: Option<&[f32]>,
                    scores: &mut [f32],
                    positions: &mut [i32]| {
            column_maxima(logits, scores, positions);
            self.activate(scores, bias);
        };
        self.for_each_tile(plan, |row, logits, first, width| {
            let offset = row * self.vocab_size + first;
            #[allow(unsafe_code, reason = "tasks own columns, see `Shared`")]
            // SAFETY: these columns of this row belong to this task alone.
            let (scores, positions) =
                unsafe { (out.slice(offset, width), positions_out.slice(offset, width)) };
            let bias = self.bias.map(|bias| &bias[first..first + width]);
            pool(logits, bias, scores, positions);
        });
        self.for_each_open(plan, |row, logits, entries, bias| {
            let mut scores = vec![0.0; entries.len()];
            let mut positions = vec![0; entries.len()];
            pool(logits, bias, &mut scores, &mut positions);
            self.scatter(out, row, entries, &scores);
            self.scatter(positions_out, row, entries, &positions);
        });
        (scores, positions)
    }

    /// Vectors.
    pub(super) fn forward_sum(&self, plan: &Plan) -> Vec<f32> {
        let mut scores = vec![0.0; self.n_rows * self.vocab_size];
        let out = Shared::new(&mut scores);
        let pool = |logits: &mut [f32], bias: Option<&[f32]>, scores: &mut [f32]| {
            for logits in logits.chunks_exact_mut(scores.len()) {
                self.activate(logits, bias);
                add(scores, logits);
            }
        };
        self.for_each_tile(plan, |row, logits, first, width| {
            #[allow(unsafe_code, reason = "tasks own columns, see `Shared`")]
            // SAFETY: these columns of this row belong to this task alone.
            let scores = unsafe { out.slice(row * self.vocab_size + first, width) };
            let bias = self.bias.map(|bias| &bias[first..first + width]);
            pool(logits, bias, scores);
        });
        self.for_each_open(plan, |row, logits, entries, bias| {
            let mut scores = vec![0.0; entries.len()];
            pool(logits, bias, &mut scores);
            self.scatter(out, row, entries, &scores);
        });
        scores
    }

    /// Logits to weights.
    fn activate(&self, logits: &mut [f32], bias: Option<&[f32]>) {
        if let Some(bias) = bias {
            add(logits, bias);
        }
        match self.activation {
            Activation::Relu => activate_relu(logits),
            Activation::Log1pRelu => activate_log1p_relu(logits),
        }
    }

    /// Writes values to entries of a row, which belong to the calling task alone.
    fn scatter<T: Copy>(&self, out: Shared<'_, T>, row: usize, entries: &[u32], values: &[T]) {
        for (&entry, &value) in entries.iter().zip(values) {
            #[allow(unsafe_code, reason = "tasks own entries, see `Shared`")]
            // SAFETY: an entry is open once, or belongs to a tile that is computed as a whole.
            let place = unsafe { out.slice(row * self.vocab_size + entry as usize, 1) };
            place[0] = value;
        }
    }

    /// Calls `pool(row, logits, first, width)` for every text with tokens and every tile of the vocabulary that is
    /// computed as a whole, with the logits `[length, width]` of that text for the entries `first..first + width`, bias
    /// not added.
    fn for_each_tile(&self, plan: &Plan, pool: impl Fn(usize, &mut [f32], usize, usize) + Sync) {
        let n_tiles = self.vocab_size.div_ceil(TILE);
        (0..n_tiles)
            .into_par_iter()
            .for_each_init(Vec::new, |buffer, tile| {
                let first = tile * TILE;
                let width = TILE.min(self.vocab_size - first);
                let weight = self.weight.rows(first..first + width).transposed();
                let whole = |row| plan.is_whole(tile, row);
                for group in groups_of_texts(self.rows, TOKENS, whole) {
                    let tokens = self.tokens(&group);
                    if buffer.len() < tokens.len() * width {
                        buffer.resize(tokens.len() * width, 0.0);
                    }
                    let logits = &mut buffer[..tokens.len() * width];
                    let hidden = self.hidden.rows(tokens.clone());
                    let mut product = MatrixMut::new(logits, tokens.len(), width);
                    dots(&mut product, hidden, weight, Threads::One, self.precision);
                    for row in group.clone() {
                        let range = self.rows.range(row);
                        let (start, end) = (range.start - tokens.start, range.end - tokens.start);
                        if start < end {
                            pool(row, &mut logits[start * width..end * width], first, width);
                        }
                    }
                }
            });
    }

    /// Calls `pool(row, logits, entries, bias)` for every text and some of its open entries at a time, with the logits
    /// `[length, entries]` of that text, bias not added.
    fn for_each_open(
        &self,
        plan: &Plan,
        pool: impl Fn(usize, &mut [f32], &[u32], Option<&[f32]>) + Sync,
    ) {
        // Enough tasks for all threads also where there is one text.
        let parts = rayon::current_num_threads().div_ceil(plan.open().count().max(1));
        let tasks: Vec<_> = plan
            .open()
            .flat_map(|(row, entries)| {
                let most = OPEN_LOGITS / self.rows.range(row).len();
                let n = entries.len().div_ceil(parts).min(most);
                let chunks = entries.chunks(n.clamp(64, TILE));
                chunks.map(move |entries| (row, entries))
            })
            .collect();
        tasks.into_par_iter().for_each_init(
            <(Vec<f32>, Vec<f32>, Vec<f32>)>::default,
            |(weight, logits, bias), (row, entries)| {
                weight.clear();
                for &entry in entries {
                    let start = entry as usize * self.width;
                    weight.extend_from_slice(&self.weight_values[start..start + self.width]);
                }
                let tokens = self.rows.range(row);
                if logits.len() < tokens.len() * entries.len() {
                    logits.resize(tokens.len() * entries.len(), 0.0);
                }
                let logits = &mut logits[..tokens.len() * entries.len()];
                let mut product = MatrixMut::new(logits, tokens.len(), entries.len());
                let weight = Matrix::new(weight, entries.len(), self.width).transposed();
                let hidden = self.hidden.rows(tokens);
                dots(&mut product, hidden, weight, Threads::One, self.precision);
                if let Some(all) = self.bias {
                    bias.clear();
                    bias.extend(entries.iter().map(|&entry| all[entry as usize]));
                }
                pool(row, logits, entries, self.bias.map(|_| bias.as_slice()));
            },
        );
    }
}

/// Consecutive texts of together at most `n_tokens` tokens, or single longer ones; those that are wanted alone.
fn groups_of_texts(
    rows: &RowOffsets,
    n_tokens: usize,
    is_wanted: impl Fn(usize) -> bool,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (row, length) in rows.lengths().enumerate() {
        if (tokens + length > n_tokens || !is_wanted(row)) && first < row {
            groups.push(first..row);
            (first, tokens) = (row, 0);
        }
        if is_wanted(row) {
            tokens += length;
        } else {
            first = row + 1;
        }
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
