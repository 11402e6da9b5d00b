//! Products whose elements don't depend on each other's company.

use super::{Matrix, MatrixMut, Rounded, Threads, gemm, multiplies_bf16};
use crate::Precision;
use crate::cpu::simd::{LANES, fma, vectorized};

/// Inner indices over which a sum in [`dots`] runs without a break. The `gemm` crate breaks longer ones where it suits the
/// shape of the product.
const UNBROKEN: usize = 512;

/// Products of at most so many elements are computed by other kernels of the `gemm` crate, which sum in another order.
const FEW: usize = 256;

/// `dst = lhs · rhs`, each element summed in an order that depends on the inner length alone: it is
/// the same to the last bit whatever other rows and columns are computed with it.
///
/// In order of the inner index, that is, with a break at equal parts of at most [`UNBROKEN`]. Elements of `dst` are
/// written before they are read.
pub(crate) fn dots(
    dst: &mut MatrixMut<'_>,
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    threads: Threads,
    precision: Precision,
) {
    let (m, n, k) = (dst.n_rows, dst.n_cols, lhs.n_cols);
    if precision == Precision::Bf16 && multiplies_bf16() {
        return gemm(dst, false, lhs, rhs, threads, precision);
    }
    if precision != Precision::F32 {
        let (lhs, rhs) = (Rounded::new(lhs, precision), Rounded::new(rhs, precision));
        return dots(dst, lhs.matrix(), rhs.matrix(), threads, Precision::F32);
    }
    let part = k.div_ceil(k.div_ceil(UNBROKEN).max(1)).max(1);
    if m.min(n) <= 1 || m * n <= FEW || part <= 2 {
        return few_dots(dst, lhs, rhs, part);
    }
    for first in (0..k).step_by(part) {
        let inner = first..(first + part).min(k);
        let (lhs, rhs) = (lhs.cols(inner.clone()), rhs.rows(inner));
        gemm(dst, first > 0, lhs, rhs, threads, precision);
    }
}

/// [`dots`] one by one, that is 16 columns at a time.
fn few_dots(dst: &mut MatrixMut<'_>, lhs: Matrix<'_>, rhs: Matrix<'_>, part: usize) {
    assert!(
        lhs.n_rows == dst.n_rows && rhs.n_rows == lhs.n_cols && rhs.n_cols == dst.n_cols,
        "factors fit the product"
    );
    let mut sums = [0.0; LANES];
    for first in (0..dst.n_cols).step_by(LANES) {
        let n = LANES.min(dst.n_cols - first);
        let columns = rhs.cols(first..first + n);
        for row in 0..dst.n_rows {
            chains(lhs.rows(row..row + 1), columns, part, &mut sums);
            // SAFETY: elements of a row of the product, which lies inside its slice and apart from the sums.
            unsafe {
                let dst = dst.start.add(row * dst.row_stride + first);
                std::ptr::copy_nonoverlapping(sums.as_ptr(), dst, n);
            }
        }
    }
}

vectorized! {
    /// The products of one row and up to 16 columns.
    fn chains<FMA>(row: Matrix<'_>, columns: Matrix<'_>, part: usize, sums: &mut [f32; LANES]) {
        let inner = row.n_cols;
        *sums = [0.0; LANES];
        for first in (0..inner).step_by(part) {
            let mut chain = [0.0; LANES];
            for k in first..(first + part).min(inner) {
                // SAFETY: an element of the row, which lies inside its slice.
                let left = unsafe { *row.start.add(k * row.col_stride) };
                for (lane, sum) in chain.iter_mut().take(columns.n_cols).enumerate() {
                    // SAFETY: an element of the columns, which lie inside their slice.
                    let right = unsafe { *columns.start.add(k * columns.row_stride + lane * columns.col_stride) };
                    *sum = fma::<FMA>(left, right, *sum);
                }
            }
            for (sum, chain) in sums.iter_mut().zip(chain) {
                *sum = if first == 0 { chain } else { *sum + chain };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    /// What `dots` promises, one element after the other.
    fn expected(lhs: &[f32], rhs: &[f32], inner: usize) -> Vec<f32> {
        let part = inner.div_ceil(inner.div_ceil(UNBROKEN));
        let fuses = cfg!(target_arch = "aarch64") || fuses();
        let dot = |a: &[f32], b: &[f32]| {
            let parts = a.chunks(part).zip(b.chunks(part)).map(|(a, b)| {
                let pairs = a.iter().zip(b);
                pairs.fold(0.0_f32, |sum, (a, b)| {
                    if fuses {
                        a.mul_add(*b, sum)
                    } else {
                        a * b + sum
                    }
                })
            });
            parts
                .reduce(|sum, part| sum + part)
                .expect("an inner index")
        };
        let rows = lhs.chunks(inner);
        rows.flat_map(|a| rhs.chunks(inner).map(move |b| dot(a, b)))
            .collect()
    }

    fn fuses() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::arch::is_x86_feature_detected!("fma");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    #[test]
    fn an_element_is_the_same_in_every_product() {
        for inner in [1, 2, 3, 64, 130, 512, 513, 768, 1100] {
            for (m, n) in [
                (1, 1),
                (1, 600),
                (2, 100),
                (3, 200),
                (16, 16),
                (17, 16),
                (70, 65),
                (300, 1),
                (300, 40),
                (129, 700),
            ] {
                let (lhs, rhs) = (random(1, m * inner), random(2, n * inner));
                let found = [Threads::One, Threads::All].map(|threads| {
                    let mut found = vec![f32::NAN; m * n];
                    dots(
                        &mut MatrixMut::new(&mut found, m, n),
                        Matrix::new(&lhs, m, inner),
                        Matrix::new(&rhs, n, inner).transposed(),
                        threads,
                        Precision::F32,
                    );
                    found
                });
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let expected = bits(&expected(&lhs, &rhs, inner));
                let same = found.iter().all(|found| bits(found) == expected);
                assert!(same, "{m} × {inner} × {n}");
            }
        }
    }

    #[test]
    fn products_without_an_inner_index_are_zero() {
        for n in [1, 300] {
            let mut found = vec![1.0; 2 * n];
            let (lhs, rhs) = (Matrix::new(&[], 2, 0), Matrix::new(&[], 0, n));
            dots(
                &mut MatrixMut::new(&mut found, 2, n),
                lhs,
                rhs,
                Threads::One,
                Precision::F32,
            );
            assert_eq!(found, vec![0.0; 2 * n]);
        }
    }
}
