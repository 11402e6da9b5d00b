//! Products of matrices whose elements are rounded to bf16 and whose sums are kept in f32, with AVX512-BF16.
//!
//! The instruction multiplies pairs: 32 products at once instead of 16. Both factors are rounded into panels in which the
//! pairs of the inner index lie side by side, those of the left one 14 rows wide and those of the right one 32 columns,
//! and 14 × 32 sums stay in registers. Every element of the product is summed by one thread, in order of the inner
//! index.

#![allow(
    unsafe_code,
    reason = "instructions behind a check, and pointers into matrices and panels whose bounds are checked when they are made"
)]

use std::arch::x86_64::{
    __m256bh, __m256i, __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_dpbf16_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_or_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_slli_epi32,
};
use std::ops::Range;

use rayon::prelude::*;

use super::{Matrix, MatrixMut, Threads};

/// Rows of the product whose sums stay in registers, with [`COLUMNS`]: 28 of the 32 registers.
const ROWS: usize = 14;
const COLUMNS: usize = 32;

/// Inner indices that are multiplied at a time: a panel of the right factor takes 16 KiB of the first cache.
const DEPTH: usize = 256;

/// Panels that a task multiplies: of the left factor about 250 KiB of the second cache.
const ROW_PANELS: usize = 36;
const COLUMN_PANELS: usize = 16;

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("avx512bf16")
}

/// As [`super::gemm`].
///
/// # Panics
///
/// If the processor lacks the instructions.
pub(super) fn gemm(
    dst: &mut MatrixMut<'_>,
    accumulate: bool,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
) {
    assert!(is_available(), "a processor with AVX512-BF16");
    let (n_rows, n_cols, inner) = (dst.n_rows, dst.n_cols, lhs.n_cols);
    if n_rows == 0 || n_cols == 0 {
        return;
    }
    let rhs = rhs.transposed();
    let depth = inner.min(DEPTH).next_multiple_of(2);
    let mut left = vec![0; n_rows.div_ceil(ROWS) * ROWS * depth / 2];
    let mut right = vec![0; n_cols.div_ceil(COLUMNS) * COLUMNS * depth / 2];
    let tasks: Vec<(Range<usize>, Range<usize>)> = blocks(n_rows.div_ceil(ROWS), ROW_PANELS)
        .flat_map(|rows| {
            blocks(n_cols.div_ceil(COLUMNS), COLUMN_PANELS)
                .map(move |columns| (rows.clone(), columns))
        })
        .collect();
    let target = Target {
        start: dst.start,
        n_rows,
        n_cols,
        row_stride: dst.row_stride,
    };
    // With nothing to sum up the product is still to be zeroed.
    let depths = (0..inner.max(1)).step_by(DEPTH);
    for first in depths {
        let indices = first..(first + DEPTH).min(inner);
        let pairs = indices.len().div_ceil(2);
        let add = accumulate || first > 0;
        pack::<ROWS>(lhs, &indices, &mut left, threads);
        pack::<COLUMNS>(rhs, &indices, &mut right, threads);
        let (left, right) = (&left[..], &right[..]);
        let multiply = |(rows, columns): &(Range<usize>, Range<usize>)| {
            for column in columns.clone() {
                let right = &right[column * pairs * COLUMNS..][..pairs * COLUMNS];
                for row in rows.clone() {
                    let left = &left[row * pairs * ROWS..][..pairs * ROWS];
                    // SAFETY: the processor has the instructions, and a tile belongs to one task.
                    unsafe { target.tile(row, column, left, right, add) };
                }
            }
        };
        match threads {
            Threads::One => tasks.iter().for_each(multiply),
            Threads::All => tasks.par_iter().for_each(multiply),
        }
    }
}

fn blocks(n: usize, size: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    (0..n)
        .step_by(size)
        .map(move |first| first..(first + size).min(n))
}

/// The product, of which several threads write disjoint tiles.
#[derive(Clone, Copy)]
struct Target {
    start: *mut f32,
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
}

// SAFETY: tasks write disjoint tiles.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// Multiplies two panels into the tile where they meet.
    ///
    /// # Safety
    ///
    /// The processor has the instructions, and nobody else touches the tile meanwhile.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn tile(self, row: usize, column: usize, left: &[u32], right: &[u32], add: bool) {
        let (row, column) = (row * ROWS, column * COLUMNS);
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        let (left, _) = left.as_chunks::<ROWS>();
        let (right, _) = right.as_chunks::<COLUMNS>();
        for (left, right) in left.iter().zip(right) {
            // SAFETY: 32 numbers.
            let right = unsafe { [pairs(right.as_ptr()), pairs(right.as_ptr().add(16))] };
            for (sums, &left) in sums.iter_mut().zip(left) {
                let left = as_pairs(_mm512_set1_epi32(left.cast_signed()));
                sums[0] = _mm512_dpbf16_ps(sums[0], left, right[0]);
                sums[1] = _mm512_dpbf16_ps(sums[1], left, right[1]);
            }
        }
        let n_cols = self.n_cols - column;
        let masks = [low_bits(n_cols), low_bits(n_cols.saturating_sub(16))];
        for (i, sums) in sums.iter().enumerate().take(self.n_rows - row) {
            for (half, (&sum, &mask)) in sums.iter().zip(&masks).enumerate() {
                // SAFETY: the row lies in the matrix, and the mask leaves out what lies behind its end (`wrapping_add`: where
                // the mask is empty the address is not used).
                unsafe {
                    let at = self
                        .start
                        .wrapping_add((row + i) * self.row_stride + column + half * 16);
                    let sum = if add {
                        _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), sum)
                    } else {
                        sum
                    };
                    _mm512_mask_storeu_ps(at, mask, sum);
                }
            }
        }
    }
}

/// Rounds the rows of a matrix at some inner indices into panels of `WIDTH` rows: for each pair of indices the pairs of
/// all rows. What a last panel or pair lacks is zero.
fn pack<const WIDTH: usize>(
    matrix: Matrix<'_>,
    indices: &Range<usize>,
    panels: &mut [u32],
    threads: Threads,
) {
    let pairs = indices.len().div_ceil(2);
    let n_panels = matrix.n_rows.div_ceil(WIDTH);
    if pairs == 0 {
        return;
    }
    let panels = &mut panels[..n_panels * pairs * WIDTH];
    let fill = |(panel, out): (usize, &mut [u32])| {
        let rows = panel * WIDTH..((panel + 1) * WIDTH).min(matrix.n_rows);
        // SAFETY: `gemm` checked for the instructions; rows and indices lie in the matrix.
        unsafe {
            if matrix.col_stride == 1 {
                pack_rows::<WIDTH>(matrix, rows, indices, out);
            } else {
                debug_assert_eq!(matrix.row_stride, 1, "rows or columns are contiguous");
                pack_columns::<WIDTH>(matrix, rows, indices, out);
            }
        }
    };
    match threads {
        Threads::One => panels.chunks_mut(pairs * WIDTH).enumerate().for_each(fill),
        Threads::All => panels
            .par_chunks_mut(pairs * WIDTH)
            .with_min_len(8)
            .enumerate()
            .for_each(fill),
    }
}

/// A panel of a matrix with contiguous rows.
///
/// # Safety
///
/// The processor has the instructions; rows and indices lie in the matrix.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_rows<const WIDTH: usize>(
    matrix: Matrix<'_>,
    rows: Range<usize>,
    indices: &Range<usize>,
    out: &mut [u32],
) {
    if rows.len() < WIDTH {
        out.fill(0);
    }
    let (out, _) = out.as_chunks_mut::<WIDTH>();
    for (place, row) in rows.enumerate() {
        for (out, first) in out.chunks_mut(16).zip(indices.clone().step_by(32)) {
            let left = indices.end - first;
            // SAFETY: the masks leave out what lies behind the last index.
            let values = unsafe {
                let at = matrix.start.add(row * matrix.row_stride + first);
                let low = _mm512_maskz_loadu_ps(low_bits(left), at);
                let high =
                    _mm512_maskz_loadu_ps(low_bits(left.saturating_sub(16)), at.wrapping_add(16));
                _mm512_cvtne2ps_pbh(high, low)
            };
            // SAFETY: both are 512 bits.
            let values = unsafe { std::mem::transmute::<__m512bh, [u32; 16]>(values) };
            for (out, value) in out.iter_mut().zip(values) {
                out[place] = value;
            }
        }
    }
}

/// A panel of a matrix with contiguous columns.
///
/// # Safety
///
/// The processor has the instructions; rows and indices lie in the matrix.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pack_columns<const WIDTH: usize>(
    matrix: Matrix<'_>,
    rows: Range<usize>,
    indices: &Range<usize>,
    out: &mut [u32],
) {
    let (out, _) = out.as_chunks_mut::<WIDTH>();
    for (out, first) in out.iter_mut().zip(indices.clone().step_by(2)) {
        for place in (0..WIDTH).step_by(16) {
            let mask = low_bits(rows.len().saturating_sub(place));
            let at = |index: usize| {
                matrix
                    .start
                    .wrapping_add(index * matrix.col_stride + rows.start + place)
            };
            // SAFETY: the masks leave out what lies behind the last row and the last index, and behind the panel's width.
            unsafe {
                let even = _mm512_maskz_loadu_ps(mask, at(first));
                let mask = if first + 1 < indices.end { mask } else { 0 };
                let odd = _mm512_maskz_loadu_ps(mask, at(first + 1));
                let pair = _mm512_or_si512(halves(even), _mm512_slli_epi32::<16>(halves(odd)));
                let out = out.as_mut_ptr().add(place).cast();
                _mm512_mask_storeu_epi32(out, low_bits(WIDTH - place), pair);
            }
        }
    }
}

/// Floats rounded to bf16, in the lower halves of 32 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn halves(values: __m512) -> __m512i {
    let rounded = _mm512_cvtneps_pbh(values);
    // SAFETY: both are 256 bits.
    _mm512_cvtepu16_epi32(unsafe { std::mem::transmute::<__m256bh, __m256i>(rounded) })
}

/// # Safety
///
/// 16 numbers can be read there.
#[target_feature(enable = "avx512f")]
unsafe fn pairs(at: *const u32) -> __m512bh {
    // SAFETY: as the caller vouches.
    as_pairs(unsafe { _mm512_loadu_si512(at.cast()) })
}

fn as_pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

/// The lowest `n` bits, at most 16.
fn low_bits(n: usize) -> u16 {
    ((1_u32 << n.min(16)) - 1) as u16
}
