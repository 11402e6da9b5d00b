//! Many sparse vectors in compressed rows.

use crate::vector::{append_dense, check_entries};
use crate::{Error, Result, SparseRow, SparseVector};

/// A matrix in CSR layout, one sparse vector per row; rows are as [`SparseVector`] demands.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseMatrix {
    n_cols: usize,
    /// Row `i` holds the entries `offsets[i]..offsets[i + 1]`.
    offsets: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl SparseMatrix {
    /// A matrix without rows.
    pub fn new(n_cols: usize) -> Self {
        Self {
            n_cols,
            offsets: vec![0],
            indices: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Takes the non-zero entries of a row-major `[n_rows, n_cols]` array.
    ///
    /// # Errors
    ///
    /// If `values` has another length, or one of them is not finite.
    pub fn from_dense(values: &[f32], n_rows: usize, n_cols: usize) -> Result<Self> {
        let expected = n_rows.saturating_mul(n_cols);
        if values.len() != expected {
            return Err(Error::Mismatch {
                what: "values of a dense matrix",
                expected,
                actual: values.len(),
            });
        }
        let mut matrix = Self::new(n_cols);
        for row in 0..n_rows {
            let dense = &values[row * n_cols..(row + 1) * n_cols];
            append_dense(row, dense, &mut matrix.indices, &mut matrix.values)?;
            matrix.offsets.push(matrix.indices.len());
        }
        Ok(matrix)
    }

    /// Takes the arrays of a CSR matrix; row `i` holds the entries `offsets[i]..offsets[i + 1]`. Zeros are dropped.
    ///
    /// # Errors
    ///
    /// If `offsets` does not start at 0, descends or does not end at the number of entries, or a row is malformed.
    pub fn from_csr(
        n_cols: usize,
        offsets: Vec<usize>,
        indices: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self> {
        let ordered = offsets.first() == Some(&0) && offsets.is_sorted();
        let end = offsets.last().copied().unwrap_or_default();
        if !ordered || end != indices.len() {
            return Err(Error::Mismatch {
                what: "end of the row offsets",
                expected: indices.len(),
                actual: end,
            });
        }
        if values.len() != indices.len() {
            return Err(Error::Mismatch {
                what: "values of a sparse matrix",
                expected: indices.len(),
                actual: values.len(),
            });
        }
        for (row, bounds) in offsets.windows(2).enumerate() {
            let entries = bounds[0]..bounds[1];
            check_entries(row, n_cols, &indices[entries.clone()], &values[entries])?;
        }
        let mut matrix = Self {
            n_cols,
            offsets,
            indices,
            values,
        };
        if matrix.values.contains(&0.0) {
            matrix = matrix
                .filter_rows(|row, kept| kept.extend(row.iter().filter(|entry| entry.1 != 0.0)));
        }
        Ok(matrix)
    }

    /// Stacks vectors of `n_cols` dimensions.
    ///
    /// # Errors
    ///
    /// If a vector has another dimension.
    pub fn from_rows<'a>(
        n_cols: usize,
        rows: impl IntoIterator<Item = SparseRow<'a>>,
    ) -> Result<Self> {
        let mut matrix = Self::new(n_cols);
        for row in rows {
            matrix.push_row(row)?;
        }
        Ok(matrix)
    }

    /// Appends a row.
    ///
    /// # Errors
    ///
    /// If it has another dimension than the matrix.
    pub fn push_row(&mut self, row: SparseRow<'_>) -> Result<()> {
        self.check_dim(row.dim())?;
        self.push_entries(row);
        Ok(())
    }

    /// Appends a row that is known to have the right dimension.
    fn push_entries(&mut self, row: SparseRow<'_>) {
        self.indices.extend_from_slice(row.indices());
        self.values.extend_from_slice(row.values());
        self.offsets.push(self.indices.len());
    }

    /// Appends all rows of `other`.
    ///
    /// # Errors
    ///
    /// If it has another number of columns.
    pub fn append(&mut self, other: &Self) -> Result<()> {
        self.check_dim(other.n_cols)?;
        let start = self.nnz();
        self.indices.extend_from_slice(&other.indices);
        self.values.extend_from_slice(&other.values);
        self.offsets
            .extend(other.offsets[1..].iter().map(|offset| start + offset));
        Ok(())
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of columns, the dimension of every row.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Number of entries that differ from zero.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// Boundaries of the rows: row `i` holds the entries `offsets[i]..offsets[i + 1]`.
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// Columns of all entries, row after row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Values of all entries, row after row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Row `index`.
    ///
    /// # Panics
    ///
    /// If there is no such row.
    pub fn row(&self, index: usize) -> SparseRow<'_> {
        let entries = self.offsets[index]..self.offsets[index + 1];
        SparseRow::from_parts(
            self.n_cols,
            &self.indices[entries.clone()],
            &self.values[entries],
        )
    }

    /// All rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = SparseRow<'_>> {
        (0..self.n_rows()).map(|index| self.row(index))
    }

    /// The rows of the given numbers, in that order; a number may repeat.
    ///
    /// # Panics
    ///
    /// If a number names no row.
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut selected = Self::new(self.n_cols);
        for &index in rows {
            selected.push_entries(self.row(index));
        }
        selected
    }

    /// All entries row-major, zeros included: `n_rows · n_cols` values.
    pub fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n_rows() * self.n_cols];
        for (row, values) in self.rows().zip(dense.chunks_mut(self.n_cols.max(1))) {
            for (index, value) in row.iter() {
                values[index as usize] = value;
            }
        }
        dense
    }

    /// Keeps the `max_active_dims` entries of largest absolute value per row (the lower dimension among equals), with
    /// their sign; rows that have fewer stay as they are.
    pub fn prune(&self, max_active_dims: usize) -> Self {
        self.filter_rows(|row, kept| {
            kept.extend(row.iter());
            if kept.len() > max_active_dims {
                kept.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
                kept.truncate(max_active_dims);
                kept.sort_unstable_by_key(|entry| entry.0);
            }
        })
    }

    /// Divides every row by its Euclidean length; rows of zeros stay.
    pub fn normalized(&self) -> Self {
        let mut normalized = self.clone();
        for bounds in self.offsets.windows(2) {
            let values = &mut normalized.values[bounds[0]..bounds[1]];
            let norm =
                SparseRow::from_parts(self.n_cols, &self.indices[bounds[0]..bounds[1]], values)
                    .norm();
            if norm.is_infinite() {
                // Each value is finite, their length is not: in f64 it is.
                let squares = values.iter().map(|&value| f64::from(value).powi(2));
                let norm = squares.sum::<f64>().sqrt();
                for value in values {
                    *value = (f64::from(*value) / norm) as f32;
                }
            } else if norm > 0.0 {
                values.iter_mut().for_each(|value| *value /= norm);
            }
        }
        normalized
    }

    /// Rows as owned vectors.
    pub fn to_vectors(&self) -> Vec<SparseVector> {
        self.rows().map(SparseRow::to_vector).collect()
    }

    fn filter_rows(&self, mut keep: impl FnMut(SparseRow<'_>, &mut Vec<(u32, f32)>)) -> Self {
        let mut filtered = Self::new(self.n_cols);
        let mut kept = Vec::new();
        for row in self.rows() {
            kept.clear();
            keep(row, &mut kept);
            filtered.indices.extend(kept.iter().map(|entry| entry.0));
            filtered.values.extend(kept.iter().map(|entry| entry.1));
            filtered.offsets.push(filtered.indices.len());
        }
        filtered
    }

    fn check_dim(&self, dim: usize) -> Result<()> {
        if dim == self.n_cols {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: "dimensions of a row",
            expected: self.n_cols,
            actual: dim,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENSE: [f32; 12] = [
        0.0, 1.0, -3.0, 2.0, /**/ 0.0, 0.0, 0.0, 0.0, /**/ 5.0, 5.0, 0.0, 5.0,
    ];

    fn matrix() -> SparseMatrix {
        SparseMatrix::from_dense(&DENSE, 3, 4).unwrap()
    }

    #[test]
    fn dense_and_sparse_forms_agree() {
        let matrix = matrix();
        assert_eq!((matrix.n_rows(), matrix.n_cols(), matrix.nnz()), (3, 4, 6));
        assert_eq!(matrix.to_dense(), DENSE);
        assert_eq!(matrix, SparseMatrix::from_rows(4, matrix.rows()).unwrap());
        let again = SparseMatrix::from_csr(
            4,
            vec![0, 3, 3, 6],
            matrix.indices().to_vec(),
            matrix.values().to_vec(),
        );
        assert_eq!(matrix, again.unwrap());
    }

    #[test]
    fn pruning_keeps_the_largest_by_absolute_value_and_the_lower_dimension_among_equals() {
        let pruned = matrix().prune(2);
        assert_eq!(
            pruned.to_dense(),
            [0.0, 0.0, -3.0, 2.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 0.0, 0.0]
        );
        assert_eq!(matrix().prune(4), matrix());
        assert_eq!(matrix().prune(0).nnz(), 0);
    }

    #[test]
    fn rows_are_selected_and_appended_in_order() {
        let mut selected = matrix().select(&[2, 0, 2]);
        assert_eq!(selected.row(1), matrix().row(0));
        selected.append(&matrix()).unwrap();
        assert_eq!(selected.n_rows(), 6);
        assert_eq!(selected.row(5), matrix().row(2));
        assert!(selected.append(&SparseMatrix::new(3)).is_err());
    }

    #[test]
    fn malformed_arrays_are_refused() {
        assert!(SparseMatrix::from_dense(&DENSE, 2, 4).is_err());
        assert!(SparseMatrix::from_csr(4, vec![0, 2], vec![1], vec![1.0]).is_err());
        assert!(SparseMatrix::from_csr(4, vec![0, 1, 0, 1], vec![1], vec![1.0]).is_err());
        let error =
            SparseMatrix::from_csr(4, vec![0, 1, 2], vec![1, 4], vec![1.0, 1.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "row 1: index 4 is outside of a vector of 4 dimensions"
        );
        let error = SparseMatrix::from_dense(&[0.0, f32::NAN], 2, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "row 1, dimension 0: value must be finite, got NaN"
        );
    }

    #[test]
    fn rows_of_any_length_are_normalized() {
        for scale in [1e-40, 1.0, 1e30, 6e37] {
            let matrix = SparseMatrix::from_dense(&[3.0 * scale, 4.0 * scale], 1, 2).unwrap();
            let normalized = matrix.normalized().to_dense();
            assert!(
                (normalized[0] - 0.6).abs() < 1e-4,
                "{scale}: {normalized:?}"
            );
            assert!(
                (normalized[1] - 0.8).abs() < 1e-4,
                "{scale}: {normalized:?}"
            );
        }
        let long = SparseMatrix::from_dense(&[3e38, 3e38], 1, 2)
            .unwrap()
            .normalized();
        assert_eq!(long.to_dense(), [0.70710677; 2]);
        assert_eq!(
            SparseMatrix::from_dense(&[0.0; 2], 1, 2)
                .unwrap()
                .normalized()
                .nnz(),
            0
        );
    }

    #[test]
    fn explicit_zeros_are_dropped() {
        let matrix = SparseMatrix::from_csr(4, vec![0, 2], vec![1, 3], vec![0.0, 2.0]).unwrap();
        assert_eq!(matrix.row(0).indices(), [3]);
    }
}
