//! Backward of maximum pooling, from the saved scores and positions alone.

use std::ops::Range;

use burn::backend::Flex;
use rayon::prelude::*;

use super::Head;
use crate::cpu::math::exp;
use crate::cpu::rowsum::{COLUMNS, Term, add_rows};
use crate::cpu::simd::vectorized;
use crate::cpu::{self, Floats};
use crate::lexical_head::{Activation, HeadGradients, Pooled};
use crate::plain::OptionalTensor;

/// Weight rows that a backward task owns.
const OWNED_ROWS: usize = 256;

/// Texts that a backward task owns: they share what the cache holds of the weight.
const OWNED_TEXTS: usize = 8;

/// Floats of the weight that backward tasks keep in the cache while going through their texts (512 KiB).
const CACHED_WEIGHT: usize = 1 << 17;

impl Head<'_> {
    pub(super) fn backward_max(
        &self,
        pooled: &Pooled<Flex>,
        gradient: &[f32],
        so_far: OptionalTensor<Flex>,
    ) -> HeadGradients<Flex> {
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
        let mut d_weight = cpu::accumulator(so_far, &[self.vocab_size, self.width]);
        let d_bias = self.d_weight(d_weight.storage_mut(), &slopes, positions);
        HeadGradients {
            hidden: cpu::tensor(
                self.d_hidden(&slopes, positions),
                &[self.n_tokens, self.width],
            ),
            weight: d_weight,
            bias: cpu::tensor(d_bias, &[self.vocab_size]),
        }
    }

    /// Adds `dE_v = Σ_b slope[b, v] · h[position of (b, v)]`; gives `dbias_v = Σ_b slope[b, v]`.
    fn d_weight(&self, d_weight: &mut [f32], slopes: &[f32], positions: &[i32]) -> Vec<f32> {
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
        d_bias
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
}

/// Terms sorted by token, in order of the vocabulary within each (a counting sort).
#[derive(Debug, Default)]
struct Buckets {
    terms: Vec<Term>,
    /// End of each token's terms.
    ends: Vec<usize>,
}

impl Buckets {
    fn fill(&mut self, entries: Range<usize>, slopes: &[f32], positions: &[i32], length: usize) {
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
