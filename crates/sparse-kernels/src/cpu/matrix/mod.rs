//! Strided matrix views and their product.

#![allow(
    unsafe_code,
    reason = "the `gemm` crate takes pointers; the views here carry the bounds that make it safe"
)]

#[cfg(target_arch = "x86_64")]
mod bf16;
mod dots;

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;
use half::slice::HalfFloatSliceExt;

use super::Shared;
use crate::Precision;

pub(crate) use dots::dots;

/// A matrix inside a slice, whose rows or columns are contiguous.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    start: *const f32,
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    col_stride: usize,
    lifetime: PhantomData<&'a [f32]>,
}

// SAFETY: a shared borrow of plain numbers.
unsafe impl Send for Matrix<'_> {}
// SAFETY: as above.
unsafe impl Sync for Matrix<'_> {}

/// A matrix inside a mutable slice whose rows are contiguous.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a> {
    start: *mut f32,
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix over the whole slice.
    pub(crate) fn new(values: &'a [f32], n_rows: usize, n_cols: usize) -> Self {
        Self::strided(values, n_rows, n_cols, n_cols)
    }

    /// A matrix with contiguous rows that start `row_stride` elements apart.
    pub(crate) fn strided(
        values: &'a [f32],
        n_rows: usize,
        n_cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(
            fits(values.len(), n_rows, n_cols, row_stride),
            "the matrix lies inside its slice"
        );
        Self {
            start: values.as_ptr(),
            n_rows,
            n_cols,
            row_stride,
            col_stride: 1,
            lifetime: PhantomData,
        }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            n_rows: self.n_cols,
            n_cols: self.n_rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end && rows.end <= self.n_rows,
            "rows inside the matrix"
        );
        // `wrapping_add`: an empty range may start past the end.
        Self {
            start: self.start.wrapping_add(rows.start * self.row_stride),
            n_rows: rows.len(),
            ..self
        }
    }

    pub(crate) fn cols(self, cols: Range<usize>) -> Self {
        self.transposed().rows(cols).transposed()
    }
}

impl<'a> MatrixMut<'a> {
    /// A row-major matrix over the beginning of the slice.
    pub(crate) fn new(values: &'a mut [f32], n_rows: usize, n_cols: usize) -> Self {
        Self::strided(values, n_rows, n_cols, n_cols)
    }

    /// A matrix with contiguous rows that start `row_stride` elements apart.
    pub(crate) fn strided(
        values: &'a mut [f32],
        n_rows: usize,
        n_cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(
            fits(values.len(), n_rows, n_cols, row_stride),
            "the matrix lies inside its slice"
        );
        Self {
            start: values.as_mut_ptr(),
            n_rows,
            n_cols,
            row_stride,
            lifetime: PhantomData,
        }
    }

    /// The same, from element `offset` of a buffer that other threads write elsewhere.
    ///
    /// # Safety
    ///
    /// While the result lives nobody else may touch the elements of this matrix.
    pub(crate) unsafe fn shared(
        buffer: Shared<'a, f32>,
        offset: usize,
        n_rows: usize,
        n_cols: usize,
        row_stride: usize,
    ) -> Self {
        let (start, length) = buffer.from(offset);
        assert!(
            fits(length, n_rows, n_cols, row_stride),
            "the matrix lies inside its buffer"
        );
        Self {
            start,
            n_rows,
            n_cols,
            row_stride,
            lifetime: PhantomData,
        }
    }
}

fn fits(length: usize, n_rows: usize, n_cols: usize, row_stride: usize) -> bool {
    n_rows == 0
        || n_cols == 0
        || ((n_rows == 1 || row_stride >= n_cols) && (n_rows - 1) * row_stride + n_cols <= length)
}

/// Whether a product may use all threads of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Only the calling one: inside a task.
    One,
    /// All of them. The result is the same: every element is summed by one thread, in order of the inner index.
    All,
}

/// Whether the processor multiplies in bf16.
pub(crate) fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return bf16::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `dst = lhs · rhs`, or `dst += lhs · rhs` to `accumulate`, of factors rounded to `precision`.
pub(crate) fn gemm(
    dst: &mut MatrixMut<'_>,
    accumulate: bool,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
    precision: Precision,
) {
    let (m, n, k) = (dst.n_rows, dst.n_cols, lhs.n_cols);
    assert!(
        lhs.n_rows == m && rhs.n_rows == k && rhs.n_cols == n,
        "factors fit the product"
    );
    #[cfg(target_arch = "x86_64")]
    if precision == Precision::Bf16 && bf16::is_available() {
        return bf16::gemm(dst, accumulate, lhs, rhs, threads);
    }
    if precision != Precision::F32 {
        let (lhs, rhs) = (Rounded::new(lhs, precision), Rounded::new(rhs, precision));
        let (lhs, rhs) = (lhs.matrix(), rhs.matrix());
        return gemm(dst, accumulate, lhs, rhs, threads, Precision::F32);
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All if rayon::current_num_threads() == 1 => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // SAFETY: the views lie inside their slices (checked when they were made), the shapes fit (checked above), and the
    // mutable borrow of `dst` keeps it apart from the factors.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.start,
            1,
            dst.row_stride as isize,
            accumulate,
            lhs.start,
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.start,
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// The product of `lhs` and `rhs` by all threads, in memory that isn't zeroed first.
pub(crate) fn product(lhs: Matrix<'_>, rhs: Matrix<'_>, precision: Precision) -> Vec<f32> {
    in_new_memory(lhs.n_rows, rhs.n_cols, |dst| {
        gemm(dst, false, lhs, rhs, Threads::All, precision);
    })
}

/// [`product`], each row of which is the same to the last bit whatever the other rows are, see [`dots`].
pub(crate) fn product_of_rows(lhs: Matrix<'_>, rhs: Matrix<'_>, precision: Precision) -> Vec<f32> {
    in_new_memory(lhs.n_rows, rhs.n_cols, |dst| {
        dots(dst, lhs, rhs, Threads::All, precision);
    })
}

/// A matrix that `multiply` writes as a whole, without reading it before.
fn in_new_memory(
    n_rows: usize,
    n_cols: usize,
    multiply: impl FnOnce(&mut MatrixMut<'_>),
) -> Vec<f32> {
    let mut values = Vec::with_capacity(n_rows * n_cols);
    let mut dst = MatrixMut {
        start: values.as_mut_ptr(),
        n_rows,
        n_cols,
        row_stride: n_cols,
        lifetime: PhantomData,
    };
    multiply(&mut dst);
    // SAFETY: there is room for so many, and a product that isn't accumulated writes each of them without reading it.
    unsafe { values.set_len(n_rows * n_cols) };
    values
}

/// A copy of a matrix, rounded.
struct Rounded {
    values: Vec<f32>,
    n_rows: usize,
    n_cols: usize,
    transposed: bool,
}

impl Rounded {
    fn new(matrix: Matrix<'_>, precision: Precision) -> Self {
        // Copied as it lies, by contiguous rows.
        let transposed = matrix.col_stride != 1;
        let lying = if transposed {
            matrix.transposed()
        } else {
            matrix
        };
        debug_assert_eq!(lying.col_stride, 1, "rows or columns are contiguous");
        let mut values = Vec::with_capacity(lying.n_rows * lying.n_cols);
        for row in 0..lying.n_rows {
            // SAFETY: a row of the matrix, which lies inside its slice.
            let row = unsafe {
                std::slice::from_raw_parts(lying.start.add(row * lying.row_stride), lying.n_cols)
            };
            values.extend_from_slice(row);
        }
        match precision {
            Precision::F32 => {}
            Precision::Bf16 => round::<half::bf16>(&mut values),
            Precision::F16 => round::<half::f16>(&mut values),
        }
        Self {
            values,
            n_rows: lying.n_rows,
            n_cols: lying.n_cols,
            transposed,
        }
    }

    fn matrix(&self) -> Matrix<'_> {
        let matrix = Matrix::new(&self.values, self.n_rows, self.n_cols);
        if self.transposed {
            matrix.transposed()
        } else {
            matrix
        }
    }
}

/// Rounds to a type of 16 bits and back.
fn round<T: Copy + Default>(values: &mut [f32])
where
    [T]: HalfFloatSliceExt,
{
    let mut rounded = vec![T::default(); values.len()];
    rounded.convert_from_f32_slice(values);
    rounded.convert_to_f32_slice(values);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::testing::{assert_close, assert_independent_of_threads, cases, random};

    /// A random matrix with gaps between its rows, or its transpose.
    struct Case {
        values: Vec<f32>,
        n_rows: usize,
        n_cols: usize,
        transposed: bool,
    }

    impl Case {
        const GAP: usize = 3;

        fn new(seed: u64, n_rows: usize, n_cols: usize, transposed: bool) -> Self {
            let (lines, length) = if transposed {
                (n_cols, n_rows)
            } else {
                (n_rows, n_cols)
            };
            Self {
                values: random(seed, lines * (length + Self::GAP)),
                n_rows,
                n_cols,
                transposed,
            }
        }

        fn matrix(&self) -> Matrix<'_> {
            let (lines, length) = if self.transposed {
                (self.n_cols, self.n_rows)
            } else {
                (self.n_rows, self.n_cols)
            };
            let matrix = Matrix::strided(&self.values, lines, length, length + Self::GAP);
            if self.transposed {
                matrix.transposed()
            } else {
                matrix
            }
        }

        fn at(&self, row: usize, col: usize) -> f32 {
            if self.transposed {
                self.values[col * (self.n_rows + Self::GAP) + row]
            } else {
                self.values[row * (self.n_cols + Self::GAP) + col]
            }
        }
    }

    fn rounded(x: f32, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => x.into(),
            Precision::Bf16 => half::bf16::from_f32(x).into(),
            Precision::F16 => half::f16::from_f32(x).into(),
        }
    }

    fn multiply(
        lhs: &Case,
        rhs: &Case,
        accumulate: bool,
        threads: Threads,
        precision: Precision,
    ) -> Vec<f32> {
        let (n_rows, n_cols) = (lhs.n_rows, rhs.n_cols);
        // Columns behind the product stay as they are.
        let mut dst = vec![1.0; n_rows * (n_cols + 2)];
        let mut product = MatrixMut::strided(&mut dst, n_rows, n_cols, n_cols + 2);
        gemm(
            &mut product,
            accumulate,
            lhs.matrix(),
            rhs.matrix(),
            threads,
            precision,
        );
        dst
    }

    const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

    proptest! {
        #![proptest_config(cases(60))]

        #[test]
        fn products_are_sums_of_rounded_factors(
            (n_rows, inner, n_cols) in (1_usize..80, 0_usize..600, 1_usize..80),
            (left, right, accumulate) in any::<(bool, bool, bool)>(),
            seed in any::<u64>(),
        ) {
            let lhs = Case::new(seed, n_rows, inner, left);
            let rhs = Case::new(seed ^ 1, inner, n_cols, right);
            for precision in PRECISIONS {
                let mut expected = vec![1.0; n_rows * (n_cols + 2)];
                for i in 0..n_rows {
                    for j in 0..n_cols {
                        let terms = (0..inner)
                            .map(|k| rounded(lhs.at(i, k), precision) * rounded(rhs.at(k, j), precision));
                        let start = if accumulate { 1.0 } else { 0.0 };
                        expected[i * (n_cols + 2) + j] = (start + terms.sum::<f64>()) as f32;
                    }
                }
                for threads in [Threads::One, Threads::All] {
                    let found = multiply(&lhs, &rhs, accumulate, threads, precision);
                    assert_close(&found, &expected, 2e-6, &format!("{precision:?}"));
                }
                // What processors without instructions for the type do.
                let (lhs, rhs) = (Rounded::new(lhs.matrix(), precision), Rounded::new(rhs.matrix(), precision));
                let mut found = vec![1.0; n_rows * (n_cols + 2)];
                let mut product = MatrixMut::strided(&mut found, n_rows, n_cols, n_cols + 2);
                gemm(&mut product, accumulate, lhs.matrix(), rhs.matrix(), Threads::One, Precision::F32);
                assert_close(&found, &expected, 2e-6, "rounded beforehand");
            }
        }
    }

    #[test]
    fn products_do_not_depend_on_the_number_of_threads() {
        let lhs = Case::new(1, 600, 530, false);
        let rhs = Case::new(2, 530, 700, true);
        for precision in PRECISIONS {
            assert_independent_of_threads(|| {
                vec![multiply(&lhs, &rhs, false, Threads::All, precision)]
            });
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        let mut lhs = Case::new(1, 3, 40, false);
        lhs.values[7] = f32::NAN;
        lhs.values[50] = f32::INFINITY;
        let rhs = Case::new(2, 40, 5, false);
        for precision in PRECISIONS {
            let found = multiply(&lhs, &rhs, false, Threads::One, precision);
            assert!(found[..5].iter().all(|x| x.is_nan()), "{precision:?}");
            assert!(
                found[7..12].iter().all(|x| x.is_infinite()),
                "{precision:?}"
            );
            assert!(found[14..19].iter().all(|x| x.is_finite()), "{precision:?}");
        }
    }
}
