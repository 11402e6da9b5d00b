//! `sdot` of ARMv8.4 (and of ARMv8.2 where it has the extension).

use std::arch::aarch64::{
    int8x16_t, int32x4_t, vdupq_n_s32, vld1q_s8, vld1q_s32, vmaxq_s32, vreinterpretq_s8_s32,
    vst1q_s32,
};

use super::{Dot, Panels};

/// Four columns a register; hidden states are signed, as in [`super::portable`].
struct Sdot;

impl Dot for Sdot {
    type Sums = int32x4_t;
    type Partial = int32x4_t;
    type Weights = int8x16_t;
    type Hidden = int8x16_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        // SAFETY: inside a function for these instructions; likewise below.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn begin(sums: int32x4_t) -> int32x4_t {
        sums
    }

    #[inline(always)]
    unsafe fn add(mut partial: int32x4_t, hidden: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // The intrinsic is not stable yet.
        // SAFETY: as above; only registers.
        unsafe {
            std::arch::asm!(
                "sdot {sums:v}.4s, {hidden:v}.16b, {weights:v}.16b",
                sums = inout(vreg) partial,
                hidden = in(vreg) hidden,
                weights = in(vreg) weights,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        partial
    }

    #[inline(always)]
    unsafe fn end(_: int32x4_t, partial: int32x4_t) -> int32x4_t {
        partial
    }

    #[inline(always)]
    unsafe fn weights(from: *const i8) -> int8x16_t {
        // SAFETY: 16 weights from here.
        unsafe { vld1q_s8(from) }
    }

    #[inline(always)]
    unsafe fn hidden(from: *const u8) -> int8x16_t {
        // SAFETY: four elements from here.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn max(a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: as above.
        unsafe { vmaxq_s32(a, b) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> int32x4_t {
        // SAFETY: 4 numbers from here.
        unsafe { vld1q_s32(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut i32, sums: int32x4_t) {
        // SAFETY: room for 4 numbers.
        unsafe { vst1q_s32(to, sums) }
    }
}

/// # Safety
///
/// As for [`super::column_maxima`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn column_maxima(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word. 24 registers of sums, 4 of weights, 1 of hidden states, of 32.
    unsafe { super::column_maxima::<Sdot, 4, 6>(panels, maxima) }
}
