//! One sparse vector, owned or borrowed.

use crate::{Error, Result};

/// A vector that stores its non-zero entries only: strictly ascending indices, finite values, no explicit zeros.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseVector {
    dim: usize,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl SparseVector {
    /// Builds a vector of `dim` dimensions; zeros among `values` are dropped.
    ///
    /// # Errors
    ///
    /// If the slices differ in length, an index is out of range or not above the one before it, or a value is not finite.
    pub fn new(dim: usize, indices: Vec<u32>, values: Vec<f32>) -> Result<Self> {
        check_entries(0, dim, &indices, &values)?;
        let mut vector = Self {
            dim,
            indices,
            values,
        };
        if vector.values.contains(&0.0) {
            let kept = vector
                .as_row()
                .iter()
                .filter(|entry| entry.1 != 0.0)
                .collect::<Vec<_>>();
            (vector.indices, vector.values) = kept.into_iter().unzip();
        }
        Ok(vector)
    }

    /// Builds a vector from all its entries, zeros included.
    ///
    /// # Errors
    ///
    /// If a value is not finite.
    pub fn from_dense(values: &[f32]) -> Result<Self> {
        let mut vector = Self {
            dim: values.len(),
            ..Self::default()
        };
        append_dense(0, values, &mut vector.indices, &mut vector.values)?;
        Ok(vector)
    }

    /// Number of dimensions, zeros included.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Dimensions that differ from zero, ascending.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Values at [`indices`](Self::indices).
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Number of entries that differ from zero.
    pub fn nnz(&self) -> usize {
        self.indices.len()
    }

    /// The same vector, borrowed.
    pub fn as_row(&self) -> SparseRow<'_> {
        SparseRow {
            dim: self.dim,
            indices: &self.indices,
            values: &self.values,
        }
    }

    /// Σ aᵢ·bᵢ; see [`SparseRow::dot`].
    pub fn dot(&self, other: &Self) -> f32 {
        self.as_row().dot(other.as_row())
    }

    /// All entries, zeros included.
    pub fn to_dense(&self) -> Vec<f32> {
        self.as_row().to_dense()
    }
}

/// A borrowed sparse vector, for instance a row of a [`SparseMatrix`](crate::SparseMatrix).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseRow<'a> {
    dim: usize,
    indices: &'a [u32],
    values: &'a [f32],
}

impl<'a> SparseRow<'a> {
    /// Wraps entries that are known to be in order.
    pub(crate) fn from_parts(dim: usize, indices: &'a [u32], values: &'a [f32]) -> Self {
        Self {
            dim,
            indices,
            values,
        }
    }

    /// Number of dimensions, zeros included.
    pub fn dim(self) -> usize {
        self.dim
    }

    /// Dimensions that differ from zero, ascending.
    pub fn indices(self) -> &'a [u32] {
        self.indices
    }

    /// Values at [`indices`](Self::indices).
    pub fn values(self) -> &'a [f32] {
        self.values
    }

    /// Number of entries that differ from zero.
    pub fn nnz(self) -> usize {
        self.indices.len()
    }

    /// Pairs of dimension and value, by ascending dimension.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (u32, f32)> + Clone + 'a {
        self.indices
            .iter()
            .copied()
            .zip(self.values.iter().copied())
    }

    /// Σ aᵢ·bᵢ in f32, added up by ascending dimension: the order of the inverted index, so that both agree to the bit.
    pub fn dot(self, other: SparseRow<'_>) -> f32 {
        self.shared(other).fold(0.0, |sum, (_, a, b)| sum + a * b)
    }

    /// Euclidean length, accumulated in f64.
    pub fn norm(self) -> f32 {
        self.values
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt() as f32
    }

    /// Element-wise product with `other`, where it is positive: which dimensions two vectors share, and how much
    /// each adds to their dot product.
    ///
    /// # Errors
    ///
    /// If the vectors differ in dimension.
    pub fn intersection(self, other: SparseRow<'_>) -> Result<SparseVector> {
        if self.dim != other.dim {
            return Err(Error::Mismatch {
                what: "dimensions",
                expected: self.dim,
                actual: other.dim,
            });
        }
        let products = self.shared(other).map(|(index, a, b)| (index, a * b));
        let (indices, values) = products.filter(|&(_, product)| product > 0.0).unzip();
        Ok(SparseVector {
            dim: self.dim,
            indices,
            values,
        })
    }

    /// An owned copy.
    pub fn to_vector(self) -> SparseVector {
        SparseVector {
            dim: self.dim,
            indices: self.indices.to_vec(),
            values: self.values.to_vec(),
        }
    }

    /// All entries, zeros included.
    pub fn to_dense(self) -> Vec<f32> {
        let mut dense = vec![0.0; self.dim];
        for (index, value) in self.iter() {
            dense[index as usize] = value;
        }
        dense
    }

    /// Dimensions that are active in both vectors, with both values, ascending.
    fn shared<'b>(
        self,
        other: SparseRow<'b>,
    ) -> impl Iterator<Item = (u32, f32, f32)> + use<'a, 'b> {
        let (mut i, mut j) = (0, 0);
        std::iter::from_fn(move || {
            while let (Some(&a), Some(&b)) = (self.indices.get(i), other.indices.get(j)) {
                match a.cmp(&b) {
                    std::cmp::Ordering::Less => i += 1,
                    std::cmp::Ordering::Greater => j += 1,
                    std::cmp::Ordering::Equal => {
                        (i, j) = (i + 1, j + 1);
                        return Some((a, self.values[i - 1], other.values[j - 1]));
                    }
                }
            }
            None
        })
    }
}

/// Checks the entries of one row.
pub(crate) fn check_entries(row: usize, dim: usize, indices: &[u32], values: &[f32]) -> Result<()> {
    if indices.len() != values.len() {
        return Err(Error::Mismatch {
            what: "values of a sparse vector",
            expected: indices.len(),
            actual: values.len(),
        });
    }
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(Error::UnsortedIndices {
            row,
            index: pair[1],
            previous: pair[0],
        });
    }
    if let Some(&index) = indices.last().filter(|&&index| index as usize >= dim) {
        return Err(Error::IndexOutOfRange { row, index, dim });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::NonFinite {
            row,
            index: indices[at] as usize,
            value: values[at],
        }),
        None => Ok(()),
    }
}

/// Appends the non-zero entries of a dense row.
pub(crate) fn append_dense(
    row: usize,
    dense: &[f32],
    indices: &mut Vec<u32>,
    values: &mut Vec<f32>,
) -> Result<()> {
    // Most stretches of a sparse row are all zero: one cheap test per stretch skips them.
    for (stretch, entries) in dense.chunks(16).enumerate() {
        if entries
            .iter()
            .fold(false, |any, &value| any | (value != 0.0))
        {
            for (offset, &value) in entries.iter().enumerate().filter(|entry| *entry.1 != 0.0) {
                let index = stretch * 16 + offset;
                if !value.is_finite() {
                    return Err(Error::NonFinite { row, index, value });
                }
                indices.push(index as u32);
                values.push(value);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_not_stored() {
        let vector = SparseVector::new(9, vec![1, 4, 7], vec![2.0, 0.0, -1.0]).unwrap();
        assert_eq!(vector.indices(), [1, 7]);
        assert_eq!(
            vector,
            SparseVector::from_dense(&vector.to_dense()).unwrap()
        );
    }

    #[test]
    fn malformed_vectors_are_refused() {
        let message = |indices: &[u32], values: &[f32]| {
            SparseVector::new(5, indices.to_vec(), values.to_vec())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&[2, 2], &[1.0, 1.0]),
            "row 0: indices must be strictly ascending, 2 follows 2"
        );
        assert_eq!(
            message(&[5], &[1.0]),
            "row 0: index 5 is outside of a vector of 5 dimensions"
        );
        assert_eq!(
            message(&[3], &[f32::NAN]),
            "row 0, dimension 3: value must be finite, got NaN"
        );
        assert_eq!(
            message(&[3], &[]),
            "values of a sparse vector: expected 1, got 0"
        );
        assert!(SparseVector::from_dense(&[0.0, f32::INFINITY]).is_err());
    }

    #[test]
    fn dot_norm_and_intersection() {
        let a = SparseVector::new(6, vec![0, 2, 3, 5], vec![1.0, 2.0, -1.0, 3.0]).unwrap();
        let b = SparseVector::new(6, vec![2, 3, 4, 5], vec![4.0, 5.0, 9.0, 1.0]).unwrap();
        assert_eq!(a.dot(&b), 6.0); // 2·4 − 1·5 + 3·1
        assert_eq!(a.as_row().norm(), 15f32.sqrt()); // 1 + 4 + 1 + 9
        let shared = a.as_row().intersection(b.as_row()).unwrap();
        assert_eq!(
            (shared.indices(), shared.values()),
            (&[2, 5][..], &[8.0, 3.0][..])
        );
        assert!(
            a.as_row()
                .intersection(SparseVector::default().as_row())
                .is_err()
        );
    }
}
