//! Layer normalization on the CPU: each row is read and written once.

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{LayerNorm, NormGradients, Normed, plain_backward, plain_forward};
use crate::cpu::simd::{add, fma, sum, vectorized};
use crate::cpu::{self, Floats};
use crate::plain::OptionalTensor;

/// Rows of a task. The gradients of weight and bias are summed by task and then over the tasks, in order.
const ROWS: usize = 64;

impl LayerNorm for Flex {
    fn residual_norm(
        x: FloatTensor<Self>,
        residual: OptionalTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        epsilon: f64,
    ) -> Normed<Self> {
        if !cpu::all_f32(&[&x, &weight]) {
            return plain_forward::<Self>(x, residual, weight, bias, epsilon);
        }
        let (x, weight) = (Floats::of(&x), Floats::of(&weight));
        let (residual, bias) = (
            residual.as_ref().map(Floats::of),
            bias.as_ref().map(Floats::of),
        );
        let [n, d] = x.dims2();
        let zeros = vec![0.0; if bias.is_none() { d } else { 0 }];
        let bias = bias.as_deref().unwrap_or(&zeros);
        // Not zeroed: every row is written below before it is read.
        let mut output = Vec::with_capacity(n * d);
        let mut normalized = Vec::with_capacity(n * d);
        let mut inverse_deviations = vec![0.0; n];
        let task = (ROWS * d).max(1);
        output.spare_capacity_mut()[..n * d]
            .par_chunks_mut(task)
            .zip(normalized.spare_capacity_mut()[..n * d].par_chunks_mut(task))
            .zip(inverse_deviations.par_chunks_mut(ROWS))
            .enumerate()
            .for_each(|(index, ((output, normalized), inverse_deviations))| {
                let rows = output
                    .chunks_exact_mut(d)
                    .zip(normalized.chunks_exact_mut(d));
                for (i, ((output, normalized), inverse)) in rows.zip(inverse_deviations).enumerate()
                {
                    let start = (index * ROWS + i) * d;
                    let normalized = normalized.write_copy_of_slice(&x[start..start + d]);
                    if let Some(residual) = &residual {
                        add(normalized, &residual[start..start + d]);
                    }
                    *inverse = normalize(normalized, epsilon as f32);
                    scale_and_shift(output.write_copy_of_slice(normalized), &weight, bias);
                }
            });
        #[allow(unsafe_code, reason = "the vectors' lengths follow their content")]
        // SAFETY: the tasks wrote all rows of both.
        unsafe {
            output.set_len(n * d);
            normalized.set_len(n * d);
        }
        Normed {
            output: cpu::tensor(output, &[n, d]),
            normalized: cpu::tensor(normalized, &[n, d]),
            inverse_deviation: cpu::tensor(inverse_deviations, &[n, 1]),
        }
    }

    fn residual_norm_backward(
        normalized: FloatTensor<Self>,
        inverse_deviation: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> NormGradients<Self> {
        if !cpu::all_f32(&[&normalized, &weight, &gradient]) {
            return plain_backward::<Self>(normalized, inverse_deviation, weight, gradient);
        }
        let (normalized, weight) = (Floats::of(&normalized), Floats::of(&weight));
        let (deviations, gradient) = (Floats::of(&inverse_deviation), Floats::of(&gradient));
        let [n, d] = normalized.dims2();
        let mut d_sum = vec![0.0; n * d];
        let task = (ROWS * d).max(1);
        let partial: Vec<(Vec<f32>, Vec<f32>)> = d_sum
            .par_chunks_mut(task)
            .enumerate()
            .map(|(index, d_sum)| {
                let (mut d_weight, mut d_bias) = (vec![0.0; d], vec![0.0; d]);
                for (i, d_sum) in d_sum.chunks_exact_mut(d).enumerate() {
                    let row = index * ROWS + i;
                    let normalized = &normalized[row * d..(row + 1) * d];
                    let gradient = &gradient[row * d..(row + 1) * d];
                    add_products(&mut d_weight, &mut d_bias, gradient, normalized);
                    row_backward(d_sum, gradient, normalized, &weight, deviations[row]);
                }
                (d_weight, d_bias)
            })
            .collect();
        let (mut d_weight, mut d_bias) = (vec![0.0; d], vec![0.0; d]);
        for (of_weight, of_bias) in &partial {
            add(&mut d_weight, of_weight);
            add(&mut d_bias, of_bias);
        }
        NormGradients {
            sum: cpu::tensor(d_sum, &[n, d]),
            weight: cpu::tensor(d_weight, &[d]),
            bias: cpu::tensor(d_bias, &[d]),
        }
    }
}

vectorized! {
    /// Takes the mean away and divides by the deviation; gives `1 / √(var + ε)`.
    fn normalize<FMA>(row: &mut [f32], epsilon: f32) -> f32 {
        let n = row.len() as f32;
        let mean = sum(row.len(), |i| row[i]) / n;
        for x in row.iter_mut() {
            *x -= mean;
        }
        let variance = sum(row.len(), |i| row[i] * row[i]) / n;
        let inverse = 1.0 / (variance + epsilon).sqrt();
        for x in row.iter_mut() {
            *x *= inverse;
        }
        inverse
    }
}

vectorized! {
    fn scale_and_shift<FMA>(row: &mut [f32], weight: &[f32], bias: &[f32]) {
        for ((x, w), b) in row.iter_mut().zip(weight).zip(bias) {
            *x = fma::<FMA>(*x, *w, *b);
        }
    }
}

vectorized! {
    fn add_products<FMA>(d_weight: &mut [f32], d_bias: &mut [f32], gradient: &[f32], normalized: &[f32]) {
        let sums = d_weight.iter_mut().zip(d_bias.iter_mut());
        for (((d_weight, d_bias), gradient), normalized) in sums.zip(gradient).zip(normalized) {
            *d_weight = fma::<FMA>(*gradient, *normalized, *d_weight);
            *d_bias += gradient;
        }
    }
}

vectorized! {
    /// The formula of the plain body, for one row.
    fn row_backward<FMA>(d_sum: &mut [f32], gradient: &[f32], normalized: &[f32], weight: &[f32], inverse: f32) {
        let d = d_sum.len();
        let (gradient, normalized, weight) = (&gradient[..d], &normalized[..d], &weight[..d]);
        let mean = sum(d, |i| gradient[i] * weight[i]) / d as f32;
        let along = sum(d, |i| gradient[i] * weight[i] * normalized[i]) / d as f32;
        for i in 0..d {
            d_sum[i] = inverse * (gradient[i] * weight[i] - fma::<FMA>(normalized[i], along, mean));
        }
    }
}
