//! Mixed precision: matrix products in half precision, everything else in f32.

use std::cell::Cell;

use burn::backend::DispatchDevice;
use burn::tensor::{DType, Device};

use crate::cpu::matrix::multiplies_bf16;

/// The type to which matrix products round their factors.
///
/// Parameters, sums of products on the CPU, normalization, softmax, pooling and gradients stay in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: no rounding.
    #[default]
    F32,
    /// 16 bits with the range of f32 and 8 bits of precision (bfloat16).
    Bf16,
    /// 16 bits with 11 bits of precision, from 6e-8 to 65,504. Gradients have to be scaled into that range (loss
    /// scaling, [Micikevicius et al., 2018](https://arxiv.org/abs/1710.03740)).
    F16,
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `body` with the matrix products of this crate's operations in `precision`, and their backward passes with them
/// wherever those run. Concerns the calling thread only.
///
/// On the CPU products of factors in bf16 have sums in f32, and are fast where the processor has AVX512-BF16; elsewhere,
/// and in f16, factors are rounded and multiplied in f32, which gives the same numbers and saves no time. Attention
/// stays in f32 there. On other devices the products are those of the device, with results in 16 bits.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use sparse_kernels::{Precision, autocast, linear};
///
/// let device = Device::default();
/// let x = Tensor::<2>::from_data([[1.0 + 1.0 / 1024.0]], &device);
/// let one = Tensor::<2>::from_data([[1.0]], &device);
/// let y = autocast(Precision::Bf16, || linear(x, one, None));
/// // 1/1024 is too little beside 1 for 8 bits.
/// assert_eq!(y.into_scalar::<f32>(), 1.0);
/// ```
pub fn autocast<T>(precision: Precision, body: impl FnOnce() -> T) -> T {
    /// Puts the old one back, also where `body` panics.
    struct Restore(Precision);

    impl Drop for Restore {
        fn drop(&mut self) {
            PRECISION.set(self.0);
        }
    }

    let _restore = Restore(PRECISION.replace(precision));
    body()
}

impl Precision {
    /// That of the calling thread.
    pub(crate) fn current() -> Self {
        PRECISION.get()
    }

    /// The type of the factors, where it isn't their own.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }

    /// Whether the device can compute in it.
    pub fn is_supported(self, device: &Device) -> bool {
        self.dtype()
            .is_none_or(|dtype| device.supports_dtype(dtype))
    }

    /// Whether products in it are faster than in f32 on the device, as far as that is known: on a CPU in bf16, with the
    /// instructions for it.
    pub fn is_fast(self, device: &Device) -> bool {
        let device = device.clone().without_autodiff();
        match (self, device.as_dispatch()) {
            (Self::F32, _) => true,
            (Self::Bf16, DispatchDevice::Flex(_)) => multiplies_bf16(),
            (Self::F16, DispatchDevice::Flex(_)) => false,
            #[allow(unreachable_patterns, reason = "other devices come with features")]
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_precision_ends_with_its_scope() {
        assert_eq!(Precision::current(), Precision::F32);
        autocast(Precision::Bf16, || {
            autocast(Precision::F16, || {
                assert_eq!(Precision::current(), Precision::F16);
            });
            assert_eq!(Precision::current(), Precision::Bf16);
        });
        let panicked = std::panic::catch_unwind(|| autocast(Precision::F16, || panic!("within")));
        assert!(panicked.is_err());
        assert_eq!(Precision::current(), Precision::F32);
    }

    #[test]
    fn a_cpu_computes_in_all_of_them() {
        for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
            assert!(precision.is_supported(&Device::flex()));
            assert!(precision.is_supported(&Device::flex().autodiff()));
        }
        assert!(!Precision::F16.is_fast(&Device::flex()));
        assert!(Precision::F32.is_fast(&Device::flex().autodiff()));
    }
}
