//! Reads the files of `tests/golden` and turns them into tensors.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// A CPU device that records gradients.
pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// The numbers of a tensor in row-major order.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(file)
}

/// A JSON file.
pub(crate) fn json(file: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(file)).unwrap()).unwrap()
}

/// A file of tensors.
pub(crate) struct Tensors(Vec<u8>);

impl Tensors {
    /// Reads `file`.
    pub(crate) fn open(file: &str) -> Self {
        Self(fs::read(path(file)).unwrap())
    }

    /// Shape and numbers of a tensor; whole numbers become floats.
    pub(crate) fn get(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file
            .tensor(name)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let numbers = match view.dtype() {
            Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect(),
            Dtype::I64 => view
                .data()
                .chunks_exact(8)
                .map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()) as f32)
                .collect(),
            other => panic!("{name} is {other:?}"),
        };
        (view.shape().to_vec(), numbers)
    }

    /// A tensor of known rank.
    pub(crate) fn tensor<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        let (shape, numbers) = self.get(name);
        Tensor::from_data(TensorData::new(numbers, shape), device)
    }
}

/// Asserts that a loss value agrees: 1e-5 relative, 1e-6 absolute near 0.
#[track_caller]
pub(crate) fn assert_value(what: &str, found: f32, expected: f64) {
    let distance = (f64::from(found) - expected).abs();
    assert!(
        distance <= 1e-6f64.max(1e-5 * expected.abs()),
        "{what}: {found} against {expected}"
    );
}

/// The largest distance of two gradients, as a share of the largest entry of `expected`.
pub(crate) fn gradient_distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    let distance = found.iter().zip(expected).fold(0f32, |largest, (a, b)| {
        assert!(a.is_finite(), "a gradient is not finite");
        largest.max((a - b).abs())
    });
    if distance == 0.0 {
        0.0
    } else {
        distance / largest.max(1e-6)
    }
}

/// Asserts that gradients agree to 1e-5 of the largest entry.
#[track_caller]
pub(crate) fn assert_gradient(what: &str, found: &[f32], expected: &[f32]) {
    let distance = gradient_distance(found, expected);
    assert!(
        distance <= 1e-5,
        "{what}: {distance:e} of the largest entry"
    );
}
