//! What the Flex bodies share: views of tensors, matrix products, vectorized loops.

pub(crate) mod math;
pub(crate) mod matrix;
pub(crate) mod rowsum;
pub(crate) mod shared;
pub(crate) mod simd;

use burn::backend::Flex;
use burn::tensor::{DType, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::plain::OptionalTensor;

pub(crate) use matrix::{Matrix, MatrixMut, gemm};
pub(crate) use shared::Shared;

/// Whether a fast body can take these tensors: they are in f32. Others go through the default body.
pub(crate) fn all_f32(tensors: &[&FlexTensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32)
}

/// A contiguous f32 tensor, borrowed or copied together on the way.
#[derive(Debug)]
pub(crate) struct Floats(FlexTensor);

impl Floats {
    /// Copies only if the tensor is a view with gaps.
    pub(crate) fn of(tensor: &FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    /// Sizes of a matrix.
    pub(crate) fn dims2(&self) -> [usize; 2] {
        let shape = self.0.layout().shape();
        [shape[0], shape[1]]
    }

    /// The whole as a row-major matrix.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        let [n_rows, n_cols] = self.dims2();
        Matrix::new(self, n_rows, n_cols)
    }
}

impl std::ops::Deref for Floats {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0.storage::<f32>()
    }
}

/// The tensor itself if it is contiguous and nobody else holds it, a copy otherwise: to be changed in place.
pub(crate) fn owned(tensor: FlexTensor) -> FlexTensor {
    let contiguous = tensor.to_contiguous();
    drop(tensor);
    contiguous
}

/// A changed copy, made by all threads in tasks, in memory that isn't zeroed first.
pub(crate) fn changed_copy(values: &[f32], change: impl Fn(&mut [f32]) + Sync) -> Vec<f32> {
    let mut copy: Vec<f32> = Vec::with_capacity(values.len());
    copy.spare_capacity_mut()
        .par_chunks_mut(TASK_ELEMENTS)
        .zip(values.par_chunks(TASK_ELEMENTS))
        .for_each(|(copy, values)| change(copy[..values.len()].write_copy_of_slice(values)));
    #[allow(unsafe_code, reason = "the vector's length follows its content")]
    // SAFETY: all chunks of as many values were written; capacity beyond them was not, and isn't counted.
    unsafe {
        copy.set_len(values.len());
    }
    copy
}

/// What a gradient is added to: the gradient so far, or zeros. The system delivers zeros as they are first touched, so
/// those that stay zeros cost next to nothing.
pub(crate) fn accumulator(so_far: OptionalTensor<Flex>, shape: &[usize]) -> FlexTensor {
    match so_far {
        OptionalTensor::Present(so_far) => owned(so_far),
        OptionalTensor::Absent => tensor(vec![0.0_f32; shape.iter().product()], shape),
    }
}

/// A tensor that takes the vector over without copying.
pub(crate) fn tensor<E: burn::tensor::Element>(values: Vec<E>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Number of elements that a task should have at least, so that starting it does not show.
pub(crate) const TASK_ELEMENTS: usize = 1 << 14;
