//! Helpers of this crate's unit tests.

use burn::tensor::{Device, Tensor};

use crate::{EmbeddedBatch, Loss};

/// A CPU device that records gradients.
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// The numbers of a tensor in row-major order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// The only number of a tensor.
pub(crate) fn scalar(tensor: Tensor<1>) -> f32 {
    values(tensor)[0]
}

/// Asserts equality up to `tolerance`, absolute.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(
        found.len(),
        expected.len(),
        "{found:?} against {expected:?}"
    );
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{found:?} against {expected:?}");
    }
}

/// A loss's total on columns given as numbers.
pub(crate) fn total<const R: usize, const C: usize>(
    loss: &dyn Loss,
    columns: &[[[f32; C]; R]],
) -> f32 {
    scalar(loss.forward(&batch(columns)).total())
}

/// A batch of columns given as numbers.
pub(crate) fn batch<const R: usize, const C: usize>(columns: &[[[f32; C]; R]]) -> EmbeddedBatch {
    let device = device();
    EmbeddedBatch::new(
        columns
            .iter()
            .map(|column| Tensor::from_floats(*column, &device))
            .collect(),
    )
}

/// The inputs of the reference's check values, three rows of width 4: query, positive, two negatives.
pub(crate) const Q: [[f32; 4]; 3] = [[1., 0., 2., 0.], [0., 1., 0., 1.], [3., 0., 0., 1.]];
/// Positives that belong to [`Q`].
pub(crate) const P: [[f32; 4]; 3] = [[1., 1., 0., 0.], [0., 2., 0., 1.], [1., 0., 1., 0.]];
/// First negatives that belong to [`Q`].
pub(crate) const N1: [[f32; 4]; 3] = [[0., 0., 1., 0.], [1., 0., 1., 0.], [0., 0., 0., 2.]];
/// Second negatives that belong to [`Q`].
pub(crate) const N2: [[f32; 4]; 3] = [[0., 1., 0., 0.], [0., 0., 0., 1.], [1., 1., 1., 1.]];
