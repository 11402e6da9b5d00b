//! Linear layers on the CPU: products on the tensors as they lie, transposed by strides only.

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{
    Linear, LinearGradients, LinearOptions, Wanted, activated, plain_backward, plain_forward,
};
use crate::Precision;
use crate::activation::apply_to_rows;
use crate::cpu::matrix::{product, product_of_rows};
use crate::cpu::simd::add;
use crate::cpu::{self, Floats};
use crate::plain::OptionalTensor;

/// Columns of which a task sums the bias gradient.
const COLUMNS: usize = 64;

impl Linear for Flex {
    fn affine(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: OptionalTensor<Self>,
        options: LinearOptions,
    ) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&x, &weight]) {
            return plain_forward::<Self>(x, weight, bias, options);
        }
        let x = activated::<Self>(x, options.before);
        let (x, weight) = (Floats::of(&x), Floats::of(&weight));
        let bias = bias.as_ref().map(Floats::of);
        let ([n, _], [d_out, _]) = (x.dims2(), weight.dims2());
        let mut y = product_of_rows(x.matrix(), weight.matrix().transposed(), options.precision);
        apply_to_rows(&mut y, d_out, bias.as_deref(), options.after);
        cpu::tensor(y, &[n, d_out])
    }

    fn affine_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        wanted: Wanted,
        precision: Precision,
    ) -> LinearGradients<Self> {
        if !cpu::all_f32(&[&x, &weight, &gradient]) {
            return plain_backward::<Self>(x, weight, gradient, wanted, precision);
        }
        let (x, weight, gradient) = (Floats::of(&x), Floats::of(&weight), Floats::of(&gradient));
        let ([n, d_in], [d_out, _]) = (x.dims2(), weight.dims2());
        let d_x = wanted.x.then(|| {
            let d_x = product(gradient.matrix(), weight.matrix(), precision);
            cpu::tensor(d_x, &[n, d_in])
        });
        let d_weight = wanted.weight.then(|| {
            let d_weight = product(gradient.matrix().transposed(), x.matrix(), precision);
            cpu::tensor(d_weight, &[d_out, d_in])
        });
        let d_bias = wanted
            .bias
            .then(|| cpu::tensor(column_sums(&gradient, d_out), &[d_out]));
        LinearGradients {
            x: d_x.into(),
            weight: d_weight.into(),
            bias: d_bias.into(),
        }
    }
}

/// Sums over the rows, in their order.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    sums.par_chunks_mut(COLUMNS)
        .enumerate()
        .for_each(|(chunk, sums)| {
            for row in values.chunks_exact(width) {
                add(sums, &row[chunk * COLUMNS..][..sums.len()]);
            }
        });
    sums
}
