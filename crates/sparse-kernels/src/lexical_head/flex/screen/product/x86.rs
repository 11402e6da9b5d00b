//! AVX-512 and AVX2, with the instructions for neural networks (VNNI) and without.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_add_epi16, _mm256_add_epi32, _mm256_dpbusd_avx_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_max_epi32,
    _mm256_set1_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm512_add_epi16, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_madd_epi16,
    _mm512_maddubs_epi16, _mm512_max_epi32, _mm512_set1_epi16, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::{Dot, Panels};

/// `vpdpbusd` on 512 bits.
struct Avx512Vnni;

/// `vpdpbusd` on 256 bits.
struct AvxVnni;

/// `vpmaddubsw` on 512 bits, and as [`Avx2`].
struct Avx512;

/// `vpmaddubsw` on 256 bits; its sums of 16 bits hold four of the products of a step and are then widened.
struct Avx2;

/// What the two 512-bit paths share.
macro_rules! registers_of_512_bits {
    () => {
        type Sums = __m512i;
        type Partial = __m512i;
        type Weights = __m512i;
        type Hidden = __m512i;
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn zero() -> __m512i {
            // SAFETY: inside a function for these instructions; likewise below.
            unsafe { _mm512_setzero_si512() }
        }

        #[inline(always)]
        unsafe fn weights(from: *const i8) -> __m512i {
            // SAFETY: 64 weights from here.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        unsafe fn hidden(from: *const u8) -> __m512i {
            // SAFETY: four elements from here.
            unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
            // SAFETY: as above.
            unsafe { _mm512_max_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn load(from: *const i32) -> __m512i {
            // SAFETY: 16 numbers from here.
            unsafe { _mm512_loadu_si512(from.cast()) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut i32, sums: __m512i) {
            // SAFETY: room for 16 numbers.
            unsafe { _mm512_storeu_si512(to.cast(), sums) }
        }
    };
}

impl Dot for Avx512Vnni {
    registers_of_512_bits!();

    #[inline(always)]
    unsafe fn begin(sums: __m512i) -> __m512i {
        sums
    }

    #[inline(always)]
    unsafe fn add(partial: __m512i, hidden: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(partial, hidden, weights) }
    }

    #[inline(always)]
    unsafe fn end(_: __m512i, partial: __m512i) -> __m512i {
        partial
    }
}

impl Dot for Avx512 {
    registers_of_512_bits!();

    #[inline(always)]
    unsafe fn begin(_: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn add(partial: __m512i, hidden: __m512i, weights: __m512i) -> __m512i {
        // At most 2 · 2 · 127 · 63 = 32,004 after the two of a step.
        // SAFETY: as above.
        unsafe { _mm512_add_epi16(partial, _mm512_maddubs_epi16(hidden, weights)) }
    }

    #[inline(always)]
    unsafe fn end(sums: __m512i, partial: __m512i) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(sums, _mm512_madd_epi16(partial, _mm512_set1_epi16(1))) }
    }
}

/// What the two 256-bit paths share.
macro_rules! registers_of_256_bits {
    () => {
        type Sums = __m256i;
        type Partial = __m256i;
        type Weights = __m256i;
        type Hidden = __m256i;
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn zero() -> __m256i {
            // SAFETY: inside a function for these instructions; likewise below.
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        unsafe fn weights(from: *const i8) -> __m256i {
            // SAFETY: 32 weights from here.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn hidden(from: *const u8) -> __m256i {
            // SAFETY: four elements from here.
            unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
        }

        #[inline(always)]
        unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
            // SAFETY: as above.
            unsafe { _mm256_max_epi32(a, b) }
        }

        #[inline(always)]
        unsafe fn load(from: *const i32) -> __m256i {
            // SAFETY: 8 numbers from here.
            unsafe { _mm256_loadu_si256(from.cast()) }
        }

        #[inline(always)]
        unsafe fn store(to: *mut i32, sums: __m256i) {
            // SAFETY: room for 8 numbers.
            unsafe { _mm256_storeu_si256(to.cast(), sums) }
        }
    };
}

impl Dot for AvxVnni {
    registers_of_256_bits!();

    #[inline(always)]
    unsafe fn begin(sums: __m256i) -> __m256i {
        sums
    }

    #[inline(always)]
    unsafe fn add(partial: __m256i, hidden: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpbusd_avx_epi32(partial, hidden, weights) }
    }

    #[inline(always)]
    unsafe fn end(_: __m256i, partial: __m256i) -> __m256i {
        partial
    }
}

impl Dot for Avx2 {
    registers_of_256_bits!();

    #[inline(always)]
    unsafe fn begin(_: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn add(partial: __m256i, hidden: __m256i, weights: __m256i) -> __m256i {
        // At most 2 · 2 · 127 · 63 = 32,004 after the two of a step.
        // SAFETY: as above.
        unsafe { _mm256_add_epi16(partial, _mm256_maddubs_epi16(hidden, weights)) }
    }

    #[inline(always)]
    unsafe fn end(sums: __m256i, partial: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(partial, _mm256_set1_epi16(1))) }
    }
}

/// # Safety
///
/// As for [`super::column_maxima`].
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn column_maxima_avx512_vnni(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word. 24 registers of sums, 4 of weights, 1 of hidden states, of 32.
    unsafe { super::column_maxima::<Avx512Vnni, 4, 6>(panels, maxima) }
}

/// # Safety
///
/// As for [`super::column_maxima`].
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn column_maxima_avx512(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word. 12 registers of partial sums, 12 of sums, 4 of weights, 1 of hidden states, of 32.
    unsafe { super::column_maxima::<Avx512, 4, 3>(panels, maxima) }
}

/// # Safety
///
/// As for [`super::column_maxima`].
#[target_feature(enable = "avx2,avxvnni")]
pub(super) unsafe fn column_maxima_avx_vnni(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word. 12 registers of sums, 2 of weights, 1 of hidden states, of 16.
    unsafe { super::column_maxima::<AvxVnni, 2, 6>(panels, maxima) }
}

/// # Safety
///
/// As for [`super::column_maxima`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn column_maxima_avx2(panels: Panels, maxima: &mut [i32]) {
    // SAFETY: by the caller's word. 6 registers of partial sums, 6 of sums, 2 of weights, 1 of hidden states, of 16.
    unsafe { super::column_maxima::<Avx2, 2, 3>(panels, maxima) }
}
