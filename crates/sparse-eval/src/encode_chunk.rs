//! How many texts are encoded at a time.

use sparse_index::SparseMatrix;

/// How many texts to encode at a time, so that their vectors take about as much memory whatever the model makes of a text.
///
/// A trained model leaves a few hundred dimensions active, an untrained one tens of thousands. The first texts show which kind
/// it is.
///
/// ```
/// use sparse_eval::EncodeChunk;
/// use sparse_index::SparseMatrix;
///
/// # fn main() -> sparse_eval::Result<()> {
/// let mut chunk = EncodeChunk::new(8192);
/// assert_eq!(chunk.size(), 512);
/// // Every one of 30,000 dimensions is active: 240 KB a row.
/// chunk.learn(&SparseMatrix::from_dense(&vec![1.0; 30_000], 1, 30_000)?);
/// assert_eq!(chunk.size(), 279);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EncodeChunk {
    most: usize,
    size: usize,
}

impl EncodeChunk {
    /// Texts of the first chunk.
    const FIRST: usize = 512;
    /// What is held even if a single vector is very large: a batch.
    const LEAST: usize = 32;
    /// What the vectors of a chunk may take.
    const N_BYTES: usize = 64 << 20;

    /// Chunks of at most `most` texts.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            size: Self::FIRST.min(most).max(1),
        }
    }

    /// How many texts to encode next.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes the vectors of the last chunk as an example of the next.
    pub fn learn(&mut self, vectors: &SparseMatrix) {
        let n_bytes = vectors.nnz() * (size_of::<u32>() + size_of::<f32>());
        let per_row = n_bytes.div_ceil(vectors.n_rows().max(1)).max(1);
        self.size = (Self::N_BYTES / per_row).clamp(Self::LEAST.min(self.most), self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n_rows: usize, active: usize) -> SparseMatrix {
        SparseMatrix::from_dense(&vec![1.0; n_rows * active], n_rows, active).unwrap()
    }

    #[test]
    fn the_denser_the_vectors_the_fewer_texts() {
        let mut chunk = EncodeChunk::new(8192);
        assert_eq!(chunk.size(), 512);
        chunk.learn(&rows(512, 200));
        assert_eq!(chunk.size(), 8192);
        // 2²⁶ bytes / (8 · 10⁵)
        chunk.learn(&rows(2, 100_000));
        assert_eq!(chunk.size(), 83);
        chunk.learn(&rows(1, 1_000_000));
        assert_eq!(chunk.size(), 32);
        chunk.learn(&SparseMatrix::new(9));
        assert_eq!(chunk.size(), 8192);
    }

    #[test]
    fn a_small_limit_holds() {
        let mut chunk = EncodeChunk::new(5);
        assert_eq!(chunk.size(), 5);
        chunk.learn(&rows(1, 1_000_000));
        assert_eq!(chunk.size(), 5);
    }
}
