//! Activation functions on the CPU.

use burn::backend::{Flex, tensor::FloatTensor};
use rayon::prelude::*;

use super::{
    Activate, GELU_NEW_CUBIC, GELU_NEW_FACTOR, HiddenActivation, plain_backward, plain_forward,
};
use crate::cpu::math::{exp, normal_distribution, sigmoid};
use crate::cpu::simd::{add, fma, vectorized};
use crate::cpu::{self, Floats};

impl Activate for Flex {
    fn activate(x: FloatTensor<Self>, activation: HiddenActivation) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&x]) {
            return plain_forward::<Self>(x, activation);
        }
        let shape = x.layout().shape().to_vec();
        let x = Floats::of(&x);
        let y = cpu::changed_copy(&x, |y| in_place(y, activation));
        cpu::tensor(y, &shape)
    }

    fn activate_backward(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        activation: HiddenActivation,
    ) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&x, &gradient]) {
            return plain_backward::<Self>(x, gradient, activation);
        }
        let x = Floats::of(&x);
        let mut gradient = cpu::owned(gradient);
        gradient
            .storage_mut::<f32>()
            .par_chunks_mut(cpu::TASK_ELEMENTS)
            .zip(x.par_chunks(cpu::TASK_ELEMENTS))
            .for_each(|(gradient, x)| match activation {
                HiddenActivation::Gelu => gelu_backward(gradient, x),
                HiddenActivation::GeluNew => gelu_new_backward(gradient, x),
                HiddenActivation::Relu => relu_backward(gradient, x),
                HiddenActivation::Silu => silu_backward(gradient, x),
            });
        gradient
    }
}

/// `f(row + bias)` of every row, in place.
pub(crate) fn apply_to_rows(
    values: &mut [f32],
    width: usize,
    bias: Option<&[f32]>,
    activation: Option<HiddenActivation>,
) {
    if values.is_empty() || (bias.is_none() && activation.is_none()) {
        return;
    }
    let rows_of_task = cpu::TASK_ELEMENTS.div_ceil(width);
    values
        .par_chunks_mut(rows_of_task * width)
        .for_each(|rows| {
            for row in rows.chunks_exact_mut(width) {
                if let Some(bias) = bias {
                    add(row, bias);
                }
                if let Some(activation) = activation {
                    in_place(row, activation);
                }
            }
        });
}

fn in_place(values: &mut [f32], activation: HiddenActivation) {
    match activation {
        HiddenActivation::Gelu => gelu(values),
        HiddenActivation::GeluNew => gelu_new(values),
        HiddenActivation::Relu => relu(values),
        HiddenActivation::Silu => silu(values),
    }
}

vectorized! {
    fn gelu<FMA>(values: &mut [f32]) {
        for x in values {
            *x *= normal_distribution::<FMA>(*x);
        }
    }
}

vectorized! {
    fn gelu_backward<FMA>(gradient: &mut [f32], x: &[f32]) {
        const FACTOR: f32 = 0.398_942_3; // 1 / √(2π)
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            let density = FACTOR * exp::<FMA>(-0.5 * x * x);
            *gradient *= fma::<FMA>(x, density, normal_distribution::<FMA>(x));
        }
    }
}

vectorized! {
    fn gelu_new<FMA>(values: &mut [f32]) {
        for x in values {
            *x *= sigmoid::<FMA>(gelu_new_inner::<FMA>(*x));
        }
    }
}

vectorized! {
    fn gelu_new_backward<FMA>(gradient: &mut [f32], x: &[f32]) {
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            let sigma = sigmoid::<FMA>(gelu_new_inner::<FMA>(x));
            let slope = TWICE * fma::<FMA>(3.0 * CUBIC * x, x, 1.0);
            *gradient *= fma::<FMA>(x * slope, sigma * (1.0 - sigma), sigma);
        }
    }
}

vectorized! {
    fn relu<FMA>(values: &mut [f32]) {
        for x in values {
            *x = if *x < 0.0 { 0.0 } else { *x };
        }
    }
}

vectorized! {
    fn relu_backward<FMA>(gradient: &mut [f32], x: &[f32]) {
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            *gradient = if x > 0.0 { *gradient } else { 0.0 };
        }
    }
}

vectorized! {
    fn silu<FMA>(values: &mut [f32]) {
        for x in values {
            *x *= sigmoid::<FMA>(*x);
        }
    }
}

vectorized! {
    fn silu_backward<FMA>(gradient: &mut [f32], x: &[f32]) {
        for (gradient, &x) in gradient.iter_mut().zip(x) {
            let sigma = sigmoid::<FMA>(x);
            *gradient *= fma::<FMA>(x, sigma * (1.0 - sigma), sigma);
        }
    }
}

/// `2·√(2/π)`, the factor of the argument of the logistic function.
const TWICE: f32 = 2.0 * GELU_NEW_FACTOR as f32;
const CUBIC: f32 = GELU_NEW_CUBIC as f32;

/// `2·√(2/π) · (x + 0.044715·x³)`
#[inline(always)]
fn gelu_new_inner<const FMA: bool>(x: f32) -> f32 {
    TWICE * x * fma::<FMA>(CUBIC * x, x, 1.0)
}
