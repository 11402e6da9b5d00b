//! Backward of sum pooling, which keeps no logits: they are computed again, for some vocabulary entries at a time.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{Head, positive};
use crate::cpu::math::ln_1p;
use crate::cpu::matrix::Threads;
use crate::cpu::simd::{add, vectorized};
use crate::cpu::{self, Matrix, MatrixMut, gemm};
use crate::lexical_head::{Activation, HeadGradients};
use crate::plain::OptionalTensor;

/// Logits that the backward pass of sum pooling computes again at a time (16 MiB).
const RECOMPUTED_LOGITS: usize = 1 << 22;

impl Head<'_> {
    pub(super) fn backward_sum(
        &self,
        gradient: &[f32],
        so_far: OptionalTensor<Flex>,
    ) -> HeadGradients<Flex> {
        let mut d_hidden = vec![0.0; self.n_tokens * self.width];
        let mut d_weight = cpu::accumulator(so_far, &[self.vocab_size, self.width]);
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
                self.precision,
            );

            let bias = self.bias.map(|bias| &bias[entries.clone()]);
            self.logits_to_gradients(logits, n_entries, bias, first, gradient);

            let d_logits = Matrix::new(logits, self.n_tokens, n_entries);
            let owned = &mut d_weight.storage_mut()[first * self.width..entries.end * self.width];
            let mut owned = MatrixMut::new(owned, n_entries, self.width);
            gemm(
                &mut owned,
                true,
                d_logits.transposed(),
                self.hidden,
                Threads::All,
                self.precision,
            );
            let mut owned = MatrixMut::new(&mut d_hidden, self.n_tokens, self.width);
            gemm(
                &mut owned,
                true,
                d_logits,
                weight,
                Threads::All,
                self.precision,
            );
            for d_logits in logits.chunks_exact(n_entries) {
                add(&mut d_bias[entries.clone()], d_logits);
            }
        }
        HeadGradients {
            hidden: cpu::tensor(d_hidden, &[self.n_tokens, self.width]),
            weight: d_weight,
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
