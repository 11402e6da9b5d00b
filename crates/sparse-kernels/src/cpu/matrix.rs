//! Strided matrix views and their product.

#![allow(
    unsafe_code,
    reason = "the `gemm` crate takes pointers; the views here carry the bounds that make it safe"
)]

use std::marker::PhantomData;
use std::ops::Range;

use gemm::Parallelism;

use super::Shared;

/// A matrix inside a slice, with any strides.
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

/// `dst = lhs · rhs`, or `dst += lhs · rhs` to `accumulate`.
pub(crate) fn gemm(
    dst: &mut MatrixMut<'_>,
    accumulate: bool,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
) {
    let (m, n, k) = (dst.n_rows, dst.n_cols, lhs.n_cols);
    assert!(
        lhs.n_rows == m && rhs.n_rows == k && rhs.n_cols == n,
        "factors fit the product"
    );
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
