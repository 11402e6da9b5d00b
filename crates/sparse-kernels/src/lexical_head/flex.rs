//! The head on the CPU.
//!
//! Forward, a task takes a tile of the vocabulary and some whole texts at a time: one product into a buffer of its
//! cache, then the maximum (or sum) over the tokens of each text. Backward, every weight row and every text has one
//! owner, and the work is that of the active entries; both are gathered so that the rows that are added up stay in
//! the cache.

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{Activation, HeadGradients, HeadOptions, LexicalHead, Pooled, PoolingStrategy, plain};
use crate::RowOffsets;
use crate::cpu::math::{exp, ln_1p};
use crate::cpu::matrix::Threads;
use crate::cpu::rowsum::{COLUMNS, Term, add_rows};
use crate::cpu::simd::{add, vectorized};
use crate::cpu::{self, Floats, Matrix, MatrixMut, Shared, gemm};
use crate::plain::OptionalTensor;

/// Vocabulary entries of a forward tile. With the tokens below, the buffer of logits takes 1 MiB, and the tile of a
/// weight of up to 768 columns stays in the cache beside it.
const TILE: usize = 512;

/// Tokens that are multiplied with a tile at once, unless one text is longer: enough to pay for packing the tile.
const TOKENS: usize = 512;

/// Weight rows that a backward task owns.
const OWNED_ROWS: usize = 256;

/// Texts that a backward task owns: they share what the cache holds of the weight.
const OWNED_TEXTS: usize = 8;

/// Floats of the weight that backward tasks keep in the cache while going through their texts (512 KiB).
const CACHED_WEIGHT: usize = 1 << 17;

/// Logits that the backward pass of sum pooling computes again at a time (16 MiB).
const RECOMPUTED_LOGITS: usize = 1 << 22;

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
    ) -> HeadGradients<Self> {
        if !cpu::all_f32(&[&hidden, &weight, &gradient]) {
            return plain::backward::<Self>(hidden, weight, bias, &rows, options, pooled, gradient);
        }
        let (hidden, weight) = (Floats::of(&hidden), Floats::of(&weight));
        let bias = bias.as_ref().map(Floats::of);
        let head = Head::new(&hidden, &weight, bias.as_deref(), &rows, options);
        match options.pooling {
            PoolingStrategy::Max => head.backward_max(&pooled, &Floats::of(&gradient)),
            PoolingStrategy::Sum => head.backward_sum(&Floats::of(&gradient)),
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
            n_tokens,
            width,
            vocab_size,
            n_rows: rows.n_rows(),
        }
    }

    fn forward_max(&self) -> Pooled<Flex> {
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

    fn forward_sum(&self) -> Pooled<Flex> {
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
                    gemm(&mut product, false, hidden, weight, Threads::One);
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

    /// The tokens of consecutive texts.
    fn tokens(&self, rows: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let offsets = self.rows.as_slice();
        offsets[rows.start]..offsets[rows.end]
    }

    fn backward_max(&self, pooled: &Pooled<Flex>, gradient: &[f32]) -> HeadGradients<Flex> {
        let (scores, positions) = (Floats::of(&pooled.scores), pooled.positions.to_contiguous());
        let positions = positions.storage::<i32>();
        // The gradient of the largest logits: dy · f'(z), zero at inactive entries.
        let mut slopes = vec![0.0; scores.len()];
        slopes
            .par_chunks_mut(cpu::TASK_ELEMENTS)
            .zip(scores.par_chunks(cpu::TASK_ELEMENTS))
            .zip(gradient.par_chunks(cpu::TASK_ELEMENTS))
            .for_each(|((slopes, scores), gradient)| match self.activation {
                Activation::Relu => slope_relu(slopes, scores, gradient),
                Activation::Log1pRelu => slope_log1p_relu(slopes, scores, gradient),
            });
        let (d_weight, d_bias) = self.d_weight(&slopes, positions);
        HeadGradients {
            hidden: cpu::tensor(
                self.d_hidden(&slopes, positions),
                &[self.n_tokens, self.width],
            ),
            weight: cpu::tensor(d_weight, &[self.vocab_size, self.width]),
            bias: cpu::tensor(d_bias, &[self.vocab_size]),
        }
    }

    /// `dE_v = Σ_b slope[b, v] · h[position of (b, v)]` and `dbias_v = Σ_b slope[b, v]`.
    fn d_weight(&self, slopes: &[f32], positions: &[i32]) -> (Vec<f32>, Vec<f32>) {
        let mut d_weight = vec![0.0; self.vocab_size * self.width];
        let mut d_bias = vec![0.0; self.vocab_size];
        d_weight
            .par_chunks_mut(OWNED_ROWS * self.width.max(1))
            .zip(d_bias.par_chunks_mut(OWNED_ROWS))
            .enumerate()
            .for_each_init(Vec::new, |terms, (block, (d_weight, d_bias))| {
                // The active texts of each entry, one list behind the other.
                terms.clear();
                let mut ends = [0; OWNED_ROWS];
                for (v, d_bias) in d_bias.iter_mut().enumerate() {
                    let entry = block * OWNED_ROWS + v;
                    for row in 0..self.n_rows {
                        let at = row * self.vocab_size + entry;
                        let weight = slopes[at];
                        if weight != 0.0 {
                            let token = self.rows.as_slice()[row] + positions[at] as usize;
                            terms.push(Term {
                                row: token as u32,
                                weight,
                            });
                            *d_bias += weight;
                        }
                    }
                    ends[v] = terms.len();
                }
                // A few columns at a time, so that those of all hidden states fit the cache.
                for start in (0..self.width).step_by(COLUMNS) {
                    let n_columns = COLUMNS.min(self.width - start);
                    let mut first = 0;
                    for (row, &end) in d_weight.chunks_exact_mut(self.width).zip(&ends) {
                        let out = &mut row[start..start + n_columns];
                        add_rows(
                            out,
                            &terms[first..end],
                            self.hidden_values,
                            self.width,
                            start,
                        );
                        first = end;
                    }
                }
            });
        (d_weight, d_bias)
    }

    /// `dh_t = Σ_v slope[b, v] · E_v` over the entries whose largest logit is at token t of text b.
    fn d_hidden(&self, slopes: &[f32], positions: &[i32]) -> Vec<f32> {
        let mut d_hidden = vec![0.0; self.n_tokens * self.width];
        let tile = (CACHED_WEIGHT / self.width.max(1)).clamp(32, 1024);
        let mut owners = Vec::new();
        let mut rest = d_hidden.as_mut_slice();
        for first in (0..self.n_rows).step_by(OWNED_TEXTS) {
            let group = first..(first + OWNED_TEXTS).min(self.n_rows);
            let (own, others) = rest.split_at_mut(self.tokens(&group).len() * self.width);
            owners.push((group, own));
            rest = others;
        }
        owners
            .into_par_iter()
            .for_each_init(Buckets::default, |buckets, (group, d_hidden)| {
                let base = self.tokens(&group).start;
                for first in (0..self.vocab_size).step_by(tile) {
                    let entries = first..(first + tile).min(self.vocab_size);
                    for row in group.clone() {
                        let range = self.rows.range(row);
                        let at = row * self.vocab_size;
                        let (slopes, positions) = (&slopes[at..], &positions[at..]);
                        buckets.fill(entries.clone(), slopes, positions, range.len());
                        for (token, terms) in buckets.iter() {
                            let offset = (range.start - base + token) * self.width;
                            let out = &mut d_hidden[offset..offset + self.width];
                            add_rows(out, terms, self.weight_values, self.width, 0);
                        }
                    }
                }
            });
        d_hidden
    }

    /// Sum pooling keeps no logits: they are computed again, for some vocabulary entries at a time.
    fn backward_sum(&self, gradient: &[f32]) -> HeadGradients<Flex> {
        let mut d_hidden = vec![0.0; self.n_tokens * self.width];
        let mut d_weight = vec![0.0; self.vocab_size * self.width];
        let mut d_bias = vec![0.0; self.vocab_size];
        let chunk = (RECOMPUTED_LOGITS / self.n_tokens.max(1)).clamp(64, 4096);
        let mut buffer = vec![0.0; self.n_tokens * chunk.min(self.vocab_size)];
        for first in (0..self.vocab_size).step_by(chunk) {
            let entries = first..(first + chunk).min(self.vocab_size);
            let n_entries = entries.len();
            let weight = self.weight.rows(entries.clone());
            let logits = &mut buffer[..self.n_tokens * n_entries];
            let mut product = MatrixMut::new(logits, self.n_tokens, n_entries);
            gemm(
                &mut product,
                false,
                self.hidden,
                weight.transposed(),
                Threads::All,
            );

            let bias = self.bias.map(|bias| &bias[entries.clone()]);
            self.logits_to_gradients(logits, n_entries, bias, first, gradient);

            let d_logits = Matrix::new(logits, self.n_tokens, n_entries);
            let owned = &mut d_weight[first * self.width..entries.end * self.width];
            let mut owned = MatrixMut::new(owned, n_entries, self.width);
            gemm(
                &mut owned,
                false,
                d_logits.transposed(),
                self.hidden,
                Threads::All,
            );
            let mut owned = MatrixMut::new(&mut d_hidden, self.n_tokens, self.width);
            gemm(&mut owned, true, d_logits, weight, Threads::All);
            for d_logits in logits.chunks_exact(n_entries) {
                add(&mut d_bias[entries.clone()], d_logits);
            }
        }
        HeadGradients {
            hidden: cpu::tensor(d_hidden, &[self.n_tokens, self.width]),
            weight: cpu::tensor(d_weight, &[self.vocab_size, self.width]),
            bias: cpu::tensor(d_bias, &[self.vocab_size]),
        }
    }

    /// Replaces each logit by `dy[b, v] · f'(z)`.
    fn logits_to_gradients(
        &self,
        logits: &mut [f32],
        n_entries: usize,
        bias: Option<&[f32]>,
        first: usize,
        gradient: &[f32],
    ) {
        let mut texts = Vec::new();
        let mut rest = logits;
        for (row, length) in self.rows.lengths().enumerate() {
            let (own, others) = rest.split_at_mut(length * n_entries);
            texts.push((row, own));
            rest = others;
        }
        texts.into_par_iter().for_each(|(row, logits)| {
            let at = row * self.vocab_size + first;
            let gradient = &gradient[at..at + n_entries];
            for logits in logits.chunks_exact_mut(n_entries) {
                if let Some(bias) = bias {
                    add(logits, bias);
                }
                match self.activation {
                    Activation::Relu => logit_slope_relu(logits, gradient),
                    Activation::Log1pRelu => logit_slope_log1p_relu(logits, gradient),
                }
            }
        });
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

/// Terms sorted by token, in order of the vocabulary within each (a counting sort).
#[derive(Debug, Default)]
struct Buckets {
    terms: Vec<Term>,
    /// End of each token's terms.
    ends: Vec<usize>,
}

impl Buckets {
    fn fill(
        &mut self,
        entries: std::ops::Range<usize>,
        slopes: &[f32],
        positions: &[i32],
        length: usize,
    ) {
        self.ends.clear();
        self.ends.resize(length, 0);
        let mut n_terms = 0;
        for v in entries.clone() {
            if slopes[v] != 0.0 {
                self.ends[positions[v] as usize] += 1;
                n_terms += 1;
            }
        }
        let mut start = 0;
        for end in &mut self.ends {
            start += std::mem::replace(end, start);
        }
        self.terms.clear();
        self.terms.resize(
            n_terms,
            Term {
                row: 0,
                weight: 0.0,
            },
        );
        for v in entries {
            if slopes[v] != 0.0 {
                // Counts up from each bucket's start to its end.
                let next = &mut self.ends[positions[v] as usize];
                self.terms[*next] = Term {
                    row: v as u32,
                    weight: slopes[v],
                };
                *next += 1;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[Term])> {
        let mut start = 0;
        self.ends
            .iter()
            .enumerate()
            .filter_map(move |(token, &end)| {
                let terms = &self.terms[start..end];
                start = end;
                (!terms.is_empty()).then_some((token, terms))
            })
    }
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

vectorized! {
    /// `dy · f'(z)` from y: `f' = e^(−y)`.
    fn slope_relu<FMA>(slopes: &mut [f32], scores: &[f32], gradient: &[f32]) {
        for ((slope, &y), &dy) in slopes.iter_mut().zip(scores).zip(gradient) {
            let found = dy * exp::<FMA>(-y);
            *slope = if y > 0.0 { found } else { 0.0 };
        }
    }
}

vectorized! {
    /// `dy · f'(z)` from y: `f' = e^(−y) · e^(−u)` with `u = e^y − 1`.
    fn slope_log1p_relu<FMA>(slopes: &mut [f32], scores: &[f32], gradient: &[f32]) {
        for ((slope, &y), &dy) in slopes.iter_mut().zip(scores).zip(gradient) {
            let found = dy * exp::<FMA>(1.0 - exp::<FMA>(y) - y);
            *slope = if y > 0.0 { found } else { 0.0 };
        }
    }
}

vectorized! {
    /// `dy · f'(z)` from z: `f' = 1 / (1 + z)`.
    fn logit_slope_relu<FMA>(logits: &mut [f32], gradient: &[f32]) {
        for (logit, &dy) in logits.iter_mut().zip(gradient) {
            let z = *logit;
            let found = dy / (1.0 + z);
            *logit = if z > 0.0 { found } else { 0.0 };
        }
    }
}

vectorized! {
    /// `dy · f'(z)` from z: `f' = 1 / ((1 + z) · (1 + ln(1 + z)))`.
    fn logit_slope_log1p_relu<FMA>(logits: &mut [f32], gradient: &[f32]) {
        for (logit, &dy) in logits.iter_mut().zip(gradient) {
            let z = *logit;
            let found = dy / ((1.0 + z) * (1.0 + ln_1p::<FMA>(positive(z))));
            *logit = if z > 0.0 { found } else { 0.0 };
        }
    }
}

/// `max(0, x)`, but NaN stays NaN, so that a broken model shows.
#[inline(always)]
fn positive(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}
