//! Plain loops over arrays, with the numbers of `sdot`: both factors are signed.

use super::{BLOCK, Dot, Panels};

/// A register of 16 columns as an array.
struct Arrays;

impl Dot for Arrays {
    type Sums = [i32; BLOCK];
    type Partial = [i32; BLOCK];
    type Weights = [[i8; 4]; BLOCK];
    type Hidden = [i32; 4];
    const LANES: usize = BLOCK;

    #[inline(always)]
    unsafe fn zero() -> Self::Sums {
        [0; BLOCK]
    }

    #[inline(always)]
    unsafe fn begin(sums: Self::Sums) -> Self::Partial {
        sums
    }

    #[inline(always)]
    unsafe fn add(
        mut partial: Self::Partial,
        hidden: Self::Hidden,
        weights: Self::Weights,
    ) -> Self::Partial {
        for (sum, weights) in partial.iter_mut().zip(&weights) {
            for (hidden, weight) in hidden.iter().zip(weights) {
                *sum += hidden * i32::from(*weight);
            }
        }
        partial
    }

    #[inline(always)]
    unsafe fn end(_: Self::Sums, partial: Self::Partial) -> Self::Sums {
        partial
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> Self::Weights {
        // SAFETY: 64 weights from here; bytes have no alignment.
        unsafe { from.cast::<Self::Weights>().read() }
    }

    #[inline(always)]
    unsafe fn hidden(from: *const u8) -> Self::Hidden {
        // SAFETY: four elements from here; bytes have no alignment.
        unsafe { from.cast::<[i8; 4]>().read() }.map(i32::from)
    }

    #[inline(always)]
    unsafe fn max(mut a: Self::Sums, b: Self::Sums) -> Self::Sums {
        for (a, b) in a.iter_mut().zip(b) {
            *a = (*a).max(b);
        }
        a
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self::Sums {
        // SAFETY: 16 numbers from here.
        unsafe { from.cast::<Self::Sums>().read() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: Self::Sums) {
        // SAFETY: room for 16 numbers.
        unsafe { to.cast::<Self::Sums>().write(sums) }
    }
}

/// # Safety
///
/// As for [`super::column_maxima`].
pub(super) unsafe fn column_maxima(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word; the loops need no special instructions.
    unsafe { super::column_maxima::<Arrays, 1, 3>(panels, maxima) }
}
