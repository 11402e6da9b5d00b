//! Attention on the CPU: a task per text and head, products on strided views, no copies of heads.

use std::ops::Range;

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{Attended, AttentionGradients, AttentionSettings, PackedAttention, plain};
use crate::cpu::math::exp;
use crate::cpu::matrix::Threads;
use crate::cpu::simd::{LANES, add, scale, sum, vectorized};
use crate::cpu::{self, Floats, Matrix, MatrixMut, Shared, gemm};
use crate::plain::OptionalTensor;
use crate::{Precision, RowOffsets};

/// Queries whose scores exist at a time.
const QUERIES: usize = 128;

impl PackedAttention for Flex {
    fn packed_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        relative_bias: OptionalTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
    ) -> Attended<Self> {
        if !cpu::all_f32(&[&query, &key, &value]) {
            return plain::forward::<Self>(query, key, value, relative_bias, &rows, settings);
        }
        let (query, key, value) = (Floats::of(&query), Floats::of(&key), Floats::of(&value));
        let bias = relative_bias.as_ref().map(Floats::of);
        Attention::new(&query, &key, &value, bias.as_ref(), &rows, settings).forward()
    }

    fn packed_attention_backward(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        relative_bias: OptionalTensor<Self>,
        rows: RowOffsets,
        settings: AttentionSettings,
        saved: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        if !cpu::all_f32(&[&query, &key, &value, &gradient]) {
            return plain::backward::<Self>(
                query,
                key,
                value,
                relative_bias,
                &rows,
                settings,
                gradient,
            );
        }
        let (query, key, value) = (Floats::of(&query), Floats::of(&key), Floats::of(&value));
        let bias = relative_bias.as_ref().map(Floats::of);
        Attention::new(&query, &key, &value, bias.as_ref(), &rows, settings)
            .backward(&Floats::of(&saved), &Floats::of(&gradient))
    }
}

/// The arguments, as matrices of all heads.
struct Attention<'a> {
    query: Matrix<'a>,
    key: Matrix<'a>,
    value: Matrix<'a>,
    bias: Option<RelativeBias<'a>>,
    rows: &'a RowOffsets,
    settings: AttentionSettings,
    n_tokens: usize,
    width: usize,
}

/// Additive scores by distance.
#[derive(Clone, Copy)]
struct RelativeBias<'a> {
    values: &'a [f32],
    n_distances: usize,
}

impl RelativeBias<'_> {
    /// Columns of a head's row for query `i` and these keys.
    fn columns(self, i: usize, keys: &Range<usize>) -> Range<usize> {
        let first = keys.start + self.n_distances.div_ceil(2) - 1 - i;
        first..first + keys.len()
    }
}

/// One head of one text.
struct Task {
    row: usize,
    head: usize,
    tokens: Range<usize>,
}

/// Some queries of a text and the keys they see, as positions in the text.
struct Block {
    queries: Range<usize>,
    keys: Range<usize>,
}

impl<'a> Attention<'a> {
    fn new(
        query: &'a Floats,
        key: &'a Floats,
        value: &'a Floats,
        bias: Option<&'a Floats>,
        rows: &'a RowOffsets,
        settings: AttentionSettings,
    ) -> Self {
        let [n_tokens, width] = query.dims2();
        let bias = bias.map(|bias| RelativeBias {
            values: bias,
            n_distances: bias.dims2()[1],
        });
        let (query, key, value) = (query.matrix(), key.matrix(), value.matrix());
        Self {
            query,
            key,
            value,
            bias,
            rows,
            settings,
            n_tokens,
            width,
        }
    }

    fn d_head(&self) -> usize {
        self.width / self.settings.n_heads
    }

    fn tasks(&self) -> Vec<Task> {
        let texts = self
            .rows
            .ranges()
            .enumerate()
            .filter(|(_, tokens)| !tokens.is_empty());
        texts
            .flat_map(|(row, tokens)| {
                (0..self.settings.n_heads).map(move |head| Task {
                    row,
                    head,
                    tokens: tokens.clone(),
                })
            })
            .collect()
    }

    fn blocks(&self, length: usize) -> impl Iterator<Item = Block> {
        let window = self.settings.local_window;
        (0..length).step_by(QUERIES).map(move |first| {
            let queries = first..(first + QUERIES).min(length);
            let keys = match window {
                Some(window) => {
                    first.saturating_sub(window)..queries.end.saturating_add(window).min(length)
                }
                None => 0..length,
            };
            Block { queries, keys }
        })
    }

    /// The part of a matrix of all heads that belongs to one head and these positions of its text.
    fn part<'m>(&self, whole: Matrix<'m>, task: &Task, positions: &Range<usize>) -> Matrix<'m> {
        let start = task.tokens.start;
        let columns = task.head * self.d_head()..(task.head + 1) * self.d_head();
        whole
            .rows(start + positions.start..start + positions.end)
            .cols(columns)
    }

    /// The same of an output.
    #[allow(
        unsafe_code,
        reason = "tasks own columns of the rows of a text, see `Shared`"
    )]
    fn part_mut<'m>(
        &self,
        whole: Shared<'m, f32>,
        task: &Task,
        positions: &Range<usize>,
    ) -> MatrixMut<'m> {
        let offset = (task.tokens.start + positions.start) * self.width + task.head * self.d_head();
        // SAFETY: the columns of one head in the rows of one text belong to the task of that text and head, which
        // holds one such view of an output at a time.
        unsafe { MatrixMut::shared(whole, offset, positions.len(), self.d_head(), self.width) }
    }

    /// Products of queries and keys, and what is added to them: `scale · q·k + bias`, −∞ outside the window.
    fn scores(&self, scores: &mut [f32], task: &Task, block: &Block) {
        let (n_queries, n_keys) = (block.queries.len(), block.keys.len());
        let query = self.part(self.query, task, &block.queries);
        let key = self.part(self.key, task, &block.keys);
        let mut product = MatrixMut::new(scores, n_queries, n_keys);
        gemm(
            &mut product,
            false,
            query,
            key.transposed(),
            Threads::One,
            Precision::F32,
        );
        scale(scores, self.settings.scale);
        for (i, scores) in block.queries.clone().zip(scores.chunks_exact_mut(n_keys)) {
            if let Some(bias) = self.bias {
                let of_head = &bias.values[task.head * bias.n_distances..][..bias.n_distances];
                add(scores, &of_head[bias.columns(i, &block.keys)]);
            }
            if let Some(window) = self.settings.local_window {
                let first = i.saturating_sub(window).saturating_sub(block.keys.start);
                let end = i.saturating_add(window + 1).min(block.keys.end) - block.keys.start;
                scores[..first].fill(f32::NEG_INFINITY);
                scores[end..].fill(f32::NEG_INFINITY);
            }
        }
    }

    fn forward(&self) -> Attended<Flex> {
        let n_heads = self.settings.n_heads;
        let mut output = vec![0.0; self.n_tokens * self.width];
        let mut log_sums = vec![0.0; n_heads * self.n_tokens];
        let (shared_output, shared_sums) = (Shared::new(&mut output), Shared::new(&mut log_sums));
        self.tasks()
            .into_par_iter()
            .for_each_init(Vec::new, |buffer, task| {
                let length = task.tokens.len();
                let dropout = self.settings.dropout_of(task.row, task.head);
                let offset = task.head * self.n_tokens + task.tokens.start;
                #[allow(unsafe_code, reason = "tasks own the sums of a text, see `Shared`")]
                // SAFETY: the sums of one text and head belong to this task alone.
                let log_sums = unsafe { shared_sums.slice(offset, length) };
                for block in self.blocks(length) {
                    let n_keys = block.keys.len();
                    let scores = sized(buffer, block.queries.len() * n_keys);
                    self.scores(scores, &task, &block);
                    for (i, scores) in block.queries.clone().zip(scores.chunks_exact_mut(n_keys)) {
                        log_sums[i] = softmax(scores);
                        if let Some(dropout) = dropout {
                            dropout.apply(scores, i * length + block.keys.start);
                        }
                    }
                    let probabilities = Matrix::new(scores, block.queries.len(), n_keys);
                    let value = self.part(self.value, &task, &block.keys);
                    let mut output = self.part_mut(shared_output, &task, &block.queries);
                    gemm(
                        &mut output,
                        false,
                        probabilities,
                        value,
                        Threads::One,
                        Precision::F32,
                    );
                }
            });
        Attended {
            output: cpu::tensor(output, &[self.n_tokens, self.width]),
            saved: cpu::tensor(log_sums, &[n_heads, self.n_tokens]),
        }
    }

    /// Formulas at the plain body.
    fn backward(&self, log_sums: &[f32], gradient: &Floats) -> AttentionGradients<Flex> {
        let n_elements = self.n_tokens * self.width;
        let [mut d_query, mut d_key, mut d_value] = [(); 3].map(|()| vec![0.0; n_elements]);
        let [shared_query, shared_key, shared_value] =
            [&mut d_query, &mut d_key, &mut d_value].map(|d| Shared::new(d));
        let gradient = gradient.matrix();
        let tasks = self.tasks();
        let d_biases: Vec<Vec<f32>> = tasks
            .par_iter()
            .map_init(
                <(Vec<f32>, Vec<f32>)>::default,
                |(buffer, d_buffer), task| {
                    let length = task.tokens.len();
                    let dropout = self.settings.dropout_of(task.row, task.head);
                    let log_sums =
                        &log_sums[task.head * self.n_tokens + task.tokens.start..][..length];
                    let mut d_bias = vec![0.0; self.bias.map_or(0, |bias| bias.n_distances)];
                    for block in self.blocks(length) {
                        let (n_queries, n_keys) = (block.queries.len(), block.keys.len());
                        let key = self.part(self.key, task, &block.keys);
                        let value = self.part(self.value, task, &block.keys);
                        let d_output = self.part(gradient, task, &block.queries);

                        let probabilities = sized(buffer, n_queries * n_keys);
                        self.scores(probabilities, task, &block);
                        let d_scores = sized(d_buffer, n_queries * n_keys);
                        let mut product = MatrixMut::new(d_scores, n_queries, n_keys);
                        gemm(
                            &mut product,
                            false,
                            d_output,
                            value.transposed(),
                            Threads::One,
                            Precision::F32,
                        );

                        let pairs = probabilities
                            .chunks_exact_mut(n_keys)
                            .zip(d_scores.chunks_exact_mut(n_keys));
                        for (i, (probabilities, d_scores)) in block.queries.clone().zip(pairs) {
                            let first = i * length + block.keys.start;
                            exp_minus(probabilities, log_sums[i]);
                            if let Some(dropout) = dropout {
                                dropout.apply(d_scores, first);
                            }
                            softmax_backward(probabilities, d_scores);
                            if let Some(dropout) = dropout {
                                dropout.apply(probabilities, first);
                            }
                            if let Some(bias) = self.bias {
                                add(&mut d_bias[bias.columns(i, &block.keys)], d_scores);
                            }
                        }
                        scale(d_scores, self.settings.scale);

                        let kept = Matrix::new(probabilities, n_queries, n_keys);
                        let d_scores = Matrix::new(d_scores, n_queries, n_keys);
                        let mut d_value = self.part_mut(shared_value, task, &block.keys);
                        gemm(
                            &mut d_value,
                            true,
                            kept.transposed(),
                            d_output,
                            Threads::One,
                            Precision::F32,
                        );
                        let mut d_query = self.part_mut(shared_query, task, &block.queries);
                        gemm(
                            &mut d_query,
                            false,
                            d_scores,
                            key,
                            Threads::One,
                            Precision::F32,
                        );
                        let query = self.part(self.query, task, &block.queries);
                        let mut d_key = self.part_mut(shared_key, task, &block.keys);
                        gemm(
                            &mut d_key,
                            true,
                            d_scores.transposed(),
                            query,
                            Threads::One,
                            Precision::F32,
                        );
                    }
                    d_bias
                },
            )
            .collect();
        let relative_bias = self.bias.map(|bias| {
            let mut total = vec![0.0; self.settings.n_heads * bias.n_distances];
            for (task, d_bias) in tasks.iter().zip(&d_biases) {
                add(
                    &mut total[task.head * bias.n_distances..][..bias.n_distances],
                    d_bias,
                );
            }
            cpu::tensor(total, &[self.settings.n_heads, bias.n_distances])
        });
        let shape = [self.n_tokens, self.width];
        AttentionGradients {
            query: cpu::tensor(d_query, &shape),
            key: cpu::tensor(d_key, &shape),
            value: cpu::tensor(d_value, &shape),
            relative_bias: relative_bias.into(),
        }
    }
}

/// The first `length` floats of a buffer that grows as needed.
fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

vectorized! {
    /// Scores to probabilities; gives `ln Σ e^score`.
    fn softmax<FMA>(scores: &mut [f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let whole = scores.len() / LANES * LANES;
        for chunk in scores[..whole].chunks_exact(LANES) {
            for (lane, score) in lanes.iter_mut().zip(chunk) {
                *lane = if *score > *lane { *score } else { *lane };
            }
        }
        let largest = lanes.iter().chain(&scores[whole..]).copied().fold(f32::NEG_INFINITY, f32::max);
        for score in scores.iter_mut() {
            *score = exp::<FMA>(*score - largest);
        }
        let total = sum(scores.len(), |i| scores[i]);
        let factor = 1.0 / total;
        for score in scores.iter_mut() {
            *score *= factor;
        }
        largest + total.ln()
    }
}

vectorized! {
    /// `e^(score − log_sum)`: the probabilities again.
    fn exp_minus<FMA>(scores: &mut [f32], log_sum: f32) {
        for score in scores {
            *score = exp::<FMA>(*score - log_sum);
        }
    }
}

vectorized! {
    /// `dS = P ∘ (dP − Σ P ∘ dP)` of one query, in place of dP.
    fn softmax_backward<FMA>(probabilities: &[f32], gradients: &mut [f32]) {
        let n = probabilities.len();
        let gradients = &mut gradients[..n];
        let mean = sum(n, |i| probabilities[i] * gradients[i]);
        for (gradient, probability) in gradients.iter_mut().zip(probabilities) {
            *gradient = probability * (*gradient - mean);
        }
    }
}
