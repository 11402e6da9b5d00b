//! Dropout from a counter-based stream.

use burn::backend::{
    Autodiff, Backend, Dispatch, Flex,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops},
    },
    backend_extension,
    tensor::FloatTensor,
};
use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::RandomStream;
use crate::autodiff::track;
use crate::cpu::{self, simd::vectorized};
use crate::plain::Plain;

/// Dropout of one place in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Probability of an element to become zero, in `[0, 1)`.
    pub rate: f32,
    /// Which elements: the stream of this place and step.
    pub stream: RandomStream,
    /// Rows of the batch that come before the first row at hand: a mini-batch meets the numbers that its rows have in the
    /// whole batch. In attention a row is a text.
    pub first_row: usize,
}

/// Sets each element to zero with probability `rate` and divides the others by `1 − rate`; `None` does nothing.
///
/// Which elements depends on the stream and the element's index in the batch alone: the mask is the same on every backend, is
/// never stored, and is drawn again in the backward pass.
///
/// # Panics
///
/// If the rate is not in `[0, 1)`.
pub fn dropout(x: Tensor<2>, dropout: Option<&Dropout>) -> Tensor<2> {
    let Some(dropout) = dropout.filter(|dropout| dropout.rate != 0.0) else {
        return x;
    };
    dropout.assert_valid();
    Tensor::from_dispatch(<Dispatch as DropoutOp>::dropout(
        x.into_dispatch(),
        *dropout,
    ))
}

impl Dropout {
    /// Dropout of a whole batch.
    pub fn new(rate: f32, stream: RandomStream) -> Self {
        Self {
            rate,
            stream,
            first_row: 0,
        }
    }

    /// Panics if the rate is not in `[0, 1)`.
    pub(crate) fn assert_valid(&self) {
        let rate = self.rate;
        assert!(
            (0.0..1.0).contains(&rate),
            "dropout rate {rate} is not in [0, 1)"
        );
    }

    /// Multiplies each value by 0 or by `1 / (1 − rate)`; `first` is the index of the first one.
    pub(crate) fn apply(&self, values: &mut [f32], first: usize) {
        // A 2³² of indices shares a key, so that the loop can count in 32 bits.
        let mut rest = values;
        let mut index = first as u64;
        while !rest.is_empty() {
            let to_next_block = (1_u64 << 32) - (index & 0xffff_ffff);
            let n = rest
                .len()
                .min(usize::try_from(to_next_block).unwrap_or(usize::MAX));
            let (part, others) = rest.split_at_mut(n);
            let key = self.stream.value(index >> 32);
            // Compared with the upper 24 bits, as many as f32 represents exactly.
            let threshold = (f64::from(self.rate) * f64::from(1 << 24)).round() as i32;
            let factor = 1.0 / (1.0 - self.rate);
            drop_or_scale(part, index as u32, key, threshold, factor);
            rest = others;
            index += n as u64;
        }
    }
}

vectorized! {
    fn drop_or_scale<FMA>(values: &mut [f32], first: u32, key: u64, threshold: i32, factor: f32) {
        let (low, high) = (key as u32, (key >> 32) as u32);
        for (i, value) in values.iter_mut().enumerate() {
            let bits = scramble(scramble(first.wrapping_add(i as u32) ^ low).wrapping_add(high));
            let kept = (bits >> 8) as i32 >= threshold;
            *value *= if kept { factor } else { 0.0 };
        }
    }
}

/// A bijection of 32 bits with little bias (`lowbias32` of [Wellons](https://github.com/skeeto/hash-prospector)).
#[inline(always)]
fn scramble(mut x: u32) -> u32 {
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// The operation, per backend. Its gradient is the operation itself.
#[backend_extension(
    Flex,
    Cube: cfg(feature = "cube"),
    LibTorch: cfg(feature = "tch"),
    Autodiff
)]
pub(crate) trait DropoutOp: Backend {
    /// `x` times its mask.
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        plain::<Self>(x, dropout)
    }
}

/// The default body. The factors are drawn on the host, so that they are the same everywhere.
fn plain<B: Backend>(x: FloatTensor<B>, dropout: Dropout) -> FloatTensor<B> {
    let x = Plain::<B>(x);
    let [n, d] = x.dims();
    let mut factors = vec![1.0; n * d];
    dropout.apply(&mut factors, dropout.first_row * d);
    let factors = x.like(factors, &[n, d]);
    (x * factors).0
}

impl DropoutOp for Flex {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if !cpu::all_f32(&[&x]) {
            return plain::<Self>(x, dropout);
        }
        let mut x = cpu::owned(x);
        let width = x.layout().shape()[1];
        let first = dropout.first_row * width;
        x.storage_mut::<f32>()
            .par_chunks_mut(cpu::TASK_ELEMENTS)
            .enumerate()
            .for_each(|(chunk, values)| dropout.apply(values, first + chunk * cpu::TASK_ELEMENTS));
        x
    }
}

#[cfg(feature = "cube")]
impl DropoutOp for burn::backend::Cube {}

#[cfg(feature = "tch")]
impl DropoutOp for burn::backend::LibTorch {}

/// The backward pass.
#[derive(Debug)]
struct Step;

impl<B: DropoutOp> Backward<B, 1> for Step {
    type State = Dropout;

    fn backward(self, ops: Ops<Dropout, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        if let [Some(argument)] = ops.parents {
            gradients.register::<B>(argument.id, B::dropout(gradient, ops.state));
        }
    }
}

impl<B: DropoutOp, C: CheckpointStrategy> DropoutOp for Autodiff<B, C> {
    fn dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        let (x, of_x) = x.into_parts();
        track::<B, C, _, 1>(Step, [of_x], dropout, B::dropout(x, dropout))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::cpu::Floats;

    #[test]
    fn as_many_elements_drop_as_the_rate_says_and_the_mean_stays() {
        for rate in [0.1_f32, 0.5, 0.9] {
            let dropout = Dropout::new(rate, RandomStream::new(3).derive("test"));
            let mut values = vec![1.0; 200_000];
            dropout.apply(&mut values, 0);
            let dropped = values.iter().filter(|value| **value == 0.0).count() as f32;
            assert!(
                (dropped / 200_000.0 - rate).abs() < 0.005,
                "{rate}: {dropped}"
            );
            assert!(values.iter().all(|&v| v == 0.0 || v == 1.0 / (1.0 - rate)));
        }
    }

    #[test]
    #[should_panic(expected = "dropout rate 1 is not in [0, 1)")]
    fn a_rate_that_leaves_nothing_is_refused() {
        let x = Tensor::<2>::ones([2, 2], &Device::default());
        let setting = Dropout::new(1.0, RandomStream::new(1));
        dropout(x, Some(&setting));
    }

    #[test]
    fn neighbouring_streams_drop_independently() {
        let masks = [0, 1].map(|step| {
            let mut values = vec![1.0; 100_000];
            let stream = RandomStream::new(3).derive_index(step);
            Dropout::new(0.5, stream).apply(&mut values, 0);
            values
        });
        let equal = masks[0]
            .iter()
            .zip(&masks[1])
            .filter(|(a, b)| a == b)
            .count();
        assert!((equal as f32 / 100_000.0 - 0.5).abs() < 0.01);
    }

    #[test]
    fn an_element_meets_its_own_number_wherever_its_slice_begins() {
        let dropout = Dropout::new(0.3, RandomStream::new(9));
        let mut whole = vec![1.0; 1000];
        dropout.apply(&mut whole, (1 << 32) - 500);
        let mut part = vec![1.0; 100];
        dropout.apply(&mut part, (1 << 32) + 250);
        assert_eq!(whole[750..850], part);
    }

    #[test]
    fn the_gradient_passes_where_the_value_did() {
        let device = Device::default().autodiff();
        let x = Tensor::<2>::from_data(TensorData::new(vec![1.0_f32; 12], [3, 4]), &device)
            .require_grad();
        let setting = Dropout::new(0.5, RandomStream::new(5));
        let y = dropout(x.clone(), Some(&setting));
        let gradients = y.clone().sum().backward();
        let gradient = x.grad(&gradients).expect("x is tracked");
        gradient
            .to_data()
            .assert_approx_eq::<f32>(&y.inner().to_data(), Tolerance::default());
    }

    #[test]
    fn a_mini_batch_meets_the_numbers_of_the_whole_batch() {
        let setting = Dropout::new(0.4, RandomStream::new(8));
        let x = |n: usize| cpu::tensor(vec![1.0_f32; n * 8], &[n, 8]);
        let whole = Floats::of(&Flex::dropout(x(5), setting)).to_vec();
        let last = Dropout {
            first_row: 3,
            ..setting
        };
        for part in [Flex::dropout(x(2), last), plain::<Flex>(x(2), last)] {
            assert_eq!(Floats::of(&part).to_vec(), whole[3 * 8..]);
        }
    }

    #[test]
    fn the_default_body_draws_the_same_mask() {
        let x = || cpu::tensor(vec![1.0_f32; 40], &[5, 8]);
        let setting = Dropout::new(0.4, RandomStream::new(8));
        let fast = Floats::of(&Flex::dropout(x(), setting)).to_vec();
        let slow = Floats::of(&plain::<Flex>(x(), setting)).to_vec();
        assert_eq!(fast, slow);
        assert!(fast.contains(&0.0));
    }
}
