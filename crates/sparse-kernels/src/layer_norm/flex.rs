//! Layer normalization on the CPU: each row is read and written once.

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{LayerNorm, NormGradients, Normed, plain_backward, plain_forward};
use crate::cpu::simd::{add, fma, sum, vectorized};
use crate::cpu::{self, Floats, Shared};
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
        let mut output = vec![0.0; n * d];
        let mut inverse_deviations = vec![0.0; n];
        let invertible = is_invertible(&weight, bias);
        let mut normalized = vec![0.0; if invertible { 0 } else { n * d }];
        let shared_normalized = Shared::new(&mut normalized);
        let task = (ROWS * d).max(1);
        output
            .par_chunks_mut(task)
            .zip(inverse_deviations.par_chunks_mut(ROWS))
            .enumerate()
            .for_each(|(index, (output, inverse_deviations))| {
                let rows = output.chunks_exact_mut(d);
                for (i, (output, inverse)) in rows.zip(inverse_deviations).enumerate() {
                    let start = (index * ROWS + i) * d;
                    output.copy_from_slice(&x[start..start + d]);
                    if let Some(residual) = &residual {
                        add(output, &residual[start..start + d]);
                    }
                    *inverse = normalize(output, epsilon as f32);
                    if !invertible {
                        #[allow(unsafe_code, reason = "tasks own rows, see `Shared`")]
                        // SAFETY: this row belongs to this task alone.
                        let normalized = unsafe { shared_normalized.slice(start, d) };
                        normalized.copy_from_slice(output);
                    }
                    scale_and_shift(output, &weight, bias);
                }
            });
        let normalized = (!invertible).then(|| cpu::tensor(normalized, &[n, d]));
        Normed {
            output: cpu::tensor(output, &[n, d]),
            normalized: normalized.into(),
            inverse_deviation: cpu::tensor(inverse_deviations, &[n, 1]),
        }
    }

    fn residual_norm_backward(
        normed: Normed<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> NormGradients<Self> {
        if !cpu::all_f32(&[&normed.output, &weight, &gradient]) {
            return plain_backward::<Self>(normed, weight, bias, gradient);
        }
        let (weight, bias) = (Floats::of(&weight), bias.as_ref().map(Floats::of));
        let deviations = Floats::of(&normed.inverse_deviation);
        let gradient = Floats::of(&gradient);
        let (kept, invert) = match &normed.normalized {
            OptionalTensor::Present(normalized) => (Floats::of(normalized), false),
            OptionalTensor::Absent => (Floats::of(&normed.output), true),
        };
        let [n, d] = kept.dims2();
        let zeros = vec![0.0; if bias.is_none() { d } else { 0 }];
        let bias = bias.as_deref().unwrap_or(&zeros);
        let mut d_sum = vec![0.0; n * d];
        let task = (ROWS * d).max(1);
        let partial: Vec<(Vec<f32>, Vec<f32>)> = d_sum
            .par_chunks_mut(task)
            .enumerate()
            .map(|(index, d_sum)| {
                let (mut d_weight, mut d_bias) = (vec![0.0; d], vec![0.0; d]);
                let mut inverted = vec![0.0; if invert { d } else { 0 }];
                for (i, d_sum) in d_sum.chunks_exact_mut(d).enumerate() {
                    let row = index * ROWS + i;
                    let kept = &kept[row * d..(row + 1) * d];
                    let normalized = if invert {
                        unscale(&mut inverted, kept, &weight, bias);
                        &inverted
                    } else {
                        kept
                    };
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
    /// The inverse of [`scale_and_shift`].
    fn unscale<FMA>(normalized: &mut [f32], output: &[f32], weight: &[f32], bias: &[f32]) {
        for (((x, y), w), b) in normalized.iter_mut().zip(output).zip(weight).zip(bias) {
            *x = (y - b) / w;
        }
    }
}

/// Whether the output gives the normalized rows back to about 2e-6: no weight is far smaller than its bias, or next to 0.
fn is_invertible(weight: &[f32], bias: &[f32]) -> bool {
    const LARGEST_RATIO: f32 = 16.0;
    const LEAST_WEIGHT: f32 = 1e-3;
    let mut columns = weight.iter().zip(bias);
    columns.all(|(w, b)| w.abs() >= LEAST_WEIGHT && b.abs() <= LARGEST_RATIO * w.abs())
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
