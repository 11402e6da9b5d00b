//! Float tensors of any backend with operators, so that default bodies read like their formulas.

use std::ops::{Add, Div, Mul, Sub};

use burn::backend::{
    Backend, ExtensionType, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{IndexingUpdateOp, Slice, TensorData};

use crate::Precision;

/// A float tensor primitive of backend `B`. Binary operators broadcast sizes of 1.
#[derive(Debug)]
pub(crate) struct Plain<B: Backend>(pub(crate) FloatTensor<B>);

impl<B: Backend> Clone for Plain<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> Plain<B> {
    /// The sizes, as many as the caller knows there are.
    pub(crate) fn dims<const D: usize>(&self) -> [usize; D] {
        let shape = self.0.shape();
        std::array::from_fn(|dim| shape[dim])
    }

    /// A tensor of this content, on the device and in the type of `self`.
    pub(crate) fn like(&self, values: Vec<f32>, shape: &[usize]) -> Self {
        let tensor = B::float_from_data(TensorData::new(values, shape.to_vec()), &self.0.device());
        Self(B::float_cast(tensor, self.0.dtype().into()))
    }

    /// An integer tensor of this content on the device of `self`.
    pub(crate) fn indices(&self, values: Vec<i32>, shape: &[usize]) -> IntTensor<B> {
        B::int_from_data(TensorData::new(values, shape.to_vec()), &self.0.device())
    }

    /// Zeros of this shape, on the device and in the type of `self`.
    pub(crate) fn zeros(&self, shape: &[usize]) -> Self {
        Self(B::float_zeros(
            shape.to_vec().into(),
            &self.0.device(),
            self.0.dtype().into(),
        ))
    }

    /// The product of factors rounded to `precision`, in the type of `self`.
    pub(crate) fn matmul(self, rhs: Self, precision: Precision) -> Self {
        let Some(dtype) = precision.dtype() else {
            return Self(B::float_matmul(self.0, rhs.0));
        };
        let own = self.0.dtype();
        let [lhs, rhs] = [self.0, rhs.0].map(|factor| B::float_cast(factor, dtype.into()));
        Self(B::float_cast(B::float_matmul(lhs, rhs), own.into()))
    }

    /// The last two dimensions exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self(B::float_transpose(self.0))
    }

    pub(crate) fn swap_dims(self, first: usize, second: usize) -> Self {
        Self(B::float_swap_dims(self.0, first, second))
    }

    pub(crate) fn reshape(self, shape: &[usize]) -> Self {
        Self(B::float_reshape(self.0, shape.to_vec().into()))
    }

    pub(crate) fn narrow(self, dim: usize, start: usize, length: usize) -> Self {
        let shape = self.0.shape();
        let slices: Vec<Slice> = (0..shape.num_dims())
            .map(|d| {
                if d == dim {
                    (start..start + length).into()
                } else {
                    (0..shape[d]).into()
                }
            })
            .collect();
        Self(B::float_slice(self.0, &slices))
    }

    pub(crate) fn cat(tensors: Vec<Self>, dim: usize) -> Self {
        Self(B::float_cat(
            tensors.into_iter().map(|tensor| tensor.0).collect(),
            dim,
        ))
    }

    /// Entries `indices` along `dim`.
    pub(crate) fn select(self, dim: usize, indices: IntTensor<B>) -> Self {
        Self(B::float_select(self.0, dim, indices))
    }

    /// `self` with `values` added to the entries `indices` along `dim`.
    pub(crate) fn select_add(self, dim: usize, indices: IntTensor<B>, values: Self) -> Self {
        Self(B::float_select_assign(
            self.0,
            dim,
            indices,
            values.0,
            IndexingUpdateOp::Add,
        ))
    }

    pub(crate) fn sum_dim(self, dim: usize) -> Self {
        Self(B::float_sum_dim(self.0, dim))
    }

    pub(crate) fn mean_dim(self, dim: usize) -> Self {
        Self(B::float_mean_dim(self.0, dim))
    }

    pub(crate) fn scale(self, factor: f64) -> Self {
        Self(B::float_mul_scalar(self.0, factor.into()))
    }

    pub(crate) fn plus(self, constant: f64) -> Self {
        Self(B::float_add_scalar(self.0, constant.into()))
    }

    pub(crate) fn exp(self) -> Self {
        Self(B::float_exp(self.0))
    }

    pub(crate) fn sqrt(self) -> Self {
        Self(B::float_sqrt(self.0))
    }

    pub(crate) fn recip(self) -> Self {
        Self(B::float_recip(self.0))
    }

    pub(crate) fn square(self) -> Self {
        self.clone() * self
    }

    pub(crate) fn ln_1p(self) -> Self {
        Self(B::float_log1p(self.0))
    }

    pub(crate) fn erf(self) -> Self {
        Self(B::float_erf(self.0))
    }

    pub(crate) fn sigmoid(self) -> Self {
        Self(B::sigmoid(self.0))
    }

    pub(crate) fn relu(self) -> Self {
        Self(B::relu(self.0))
    }

    pub(crate) fn softmax(self, dim: usize) -> Self {
        Self(B::softmax(self.0, dim))
    }

    /// 1 where the element is positive, else 0.
    pub(crate) fn step(self) -> Self {
        Self(B::float_sign(self.relu().0))
    }
}

impl<B: Backend> Add for Plain<B> {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(B::float_add(self.0, rhs.0))
    }
}

impl<B: Backend> Sub for Plain<B> {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self(B::float_sub(self.0, rhs.0))
    }
}

impl<B: Backend> Mul for Plain<B> {
    type Output = Self;

    fn mul(self, rhs: Self) -> Self {
        Self(B::float_mul(self.0, rhs.0))
    }
}

impl<B: Backend> Div for Plain<B> {
    type Output = Self;

    fn div(self, rhs: Self) -> Self {
        Self(B::float_div(self.0, rhs.0))
    }
}

/// A tensor that an operation can do without, in the form in which it crosses the dispatch boundary.
#[derive(ExtensionType, Debug, Clone)]
pub(crate) enum OptionalTensor<B: Backend> {
    /// It is there.
    Present(FloatTensor<B>),
    /// It is not.
    Absent,
}

impl<B: Backend> OptionalTensor<B> {
    pub(crate) fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Present(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }

    pub(crate) fn as_ref(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Present(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for OptionalTensor<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Present)
    }
}

/// The optional argument of a public function, on its way to the dispatch.
pub(crate) fn optional<const D: usize>(
    tensor: Option<burn::tensor::Tensor<D>>,
) -> OptionalTensor<burn::backend::Dispatch> {
    tensor.map(burn::tensor::Tensor::into_dispatch).into()
}
