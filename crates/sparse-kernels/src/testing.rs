//! What the tests share.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};
use proptest::test_runner::Config;

use crate::{Precision, RandomStream};

/// `n` random cases on the CPU. `BURN_DEVICE` sends the tests to another backend, where each new shape may be a kernel to
/// compile: a tenth of them there.
pub(crate) fn cases(n: u32) -> Config {
    Config::with_cases(if is_elsewhere() { n.div_ceil(10) } else { n })
}

/// Whether the tests run on another backend than that of the CPU.
pub(crate) fn is_elsewhere() -> bool {
    std::env::var("BURN_DEVICE").is_ok_and(|device| device != "flex")
}

/// The half precisions that the device has, with how far results may be from sums of rounded factors in f32: elsewhere
/// than on the CPU they are rounded as well.
pub(crate) fn half_precisions() -> impl Iterator<Item = (Precision, f32)> {
    let tolerance = if is_elsewhere() { 2e-2 } else { 2e-5 };
    [Precision::Bf16, Precision::F16]
        .into_iter()
        .filter(|precision| precision.is_supported(&Device::default()))
        .map(move |precision| (precision, tolerance))
}

/// The tensor rounded, with the gradient of the identity.
pub(crate) fn rounded(x: Tensor<2>, precision: Precision) -> Tensor<2> {
    let dtype = match precision.dtype() {
        Some(DType::F16) => FloatDType::F16,
        Some(_) => FloatDType::BF16,
        None => return x,
    };
    let rounded = x.clone().inner().cast(dtype).cast(FloatDType::F32);
    let change = rounded - x.clone().inner();
    x + Tensor::from_inner(change)
}

/// Normally distributed numbers.
pub(crate) fn random(seed: u64, n: usize) -> Vec<f32> {
    let stream = RandomStream::new(seed).derive("test");
    (0..n as u64).map(|i| stream.normal(i) as f32).collect()
}

/// A random matrix.
pub(crate) fn matrix(seed: u64, [n_rows, n_cols]: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(random(seed, n_rows * n_cols), [n_rows, n_cols]),
        device,
    )
}

/// A random vector.
pub(crate) fn vector(seed: u64, n: usize, device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(random(seed, n), [n]), device)
}

/// The content of a tensor.
pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().try_to_vec::<f32>().expect("f32")
}

/// Checks that each element is within `tolerance` of the largest magnitude expected.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let magnitude = expected
        .iter()
        .fold(1e-3_f32, |largest, x| largest.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(
            error <= tolerance * magnitude,
            "{what}[{i}] = {found}, expected {expected}"
        );
    }
}

/// Checks that a computation gives the same bytes with 1, 2 and 3 threads.
#[track_caller]
pub(crate) fn assert_independent_of_threads(compute: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let results = [1, 2, 3].map(|n_threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .expect("a pool");
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        pool.install(&compute)
            .into_iter()
            .map(bits)
            .collect::<Vec<_>>()
    });
    assert_eq!(results[0], results[1], "1 and 2 threads");
    assert_eq!(results[0], results[2], "1 and 3 threads");
}
