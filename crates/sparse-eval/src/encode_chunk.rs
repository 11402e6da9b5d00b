//! How many texts are encoded at a time.

use sparse_index::SparseMatrix;

use crate::Result;

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
    /// What an entry of a vector takes: its dimension and its value.
    const ENTRY_BYTES: usize = size_of::<u32>() + size_of::<f32>();

    /// Chunks of at most `most` texts.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            size: Self::FIRST.min(most).max(1),
        }
    }

    /// The same for vectors of `n_dims` dimensions: the first chunk is small enough even if all of them are active.
    pub(crate) fn for_dims(most: usize, n_dims: usize) -> Self {
        let mut chunk = Self::new(most);
        let densest = Self::N_BYTES / (n_dims.max(1) * Self::ENTRY_BYTES);
        chunk.size = chunk.size.min(densest.max(Self::LEAST.min(chunk.most)));
        chunk
    }

    /// How many texts to encode next.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes the vectors of the last chunk as an example of the next.
    pub fn learn(&mut self, vectors: &SparseMatrix) {
        self.learn_rows(std::slice::from_ref(vectors));
    }

    /// Takes matrices of equally many rows, whose vectors are held together, as an example of the next.
    pub(crate) fn learn_rows(&mut self, columns: &[SparseMatrix]) {
        let n_bytes = columns.iter().map(SparseMatrix::nnz).sum::<usize>() * Self::ENTRY_BYTES;
        let n_rows = columns.first().map_or(0, SparseMatrix::n_rows);
        let per_row = n_bytes.div_ceil(n_rows.max(1)).max(1);
        self.size = (Self::N_BYTES / per_row).clamp(Self::LEAST.min(self.most), self.most);
    }
}

/// Encodes texts a chunk at a time, of at most `most` texts. `encode` gets the number of texts before the chunk, and the chunk;
/// `take` gets its vectors.
pub(crate) fn encode_in_chunks<S>(
    texts: &[S],
    (most, n_dims): (usize, usize),
    mut encode: impl FnMut(usize, &[S]) -> sparse_model::Result<SparseMatrix>,
    mut take: impl FnMut(SparseMatrix) -> Result<()>,
) -> Result<()> {
    let mut chunk = EncodeChunk::for_dims(most, n_dims);
    let mut start = 0;
    while start < texts.len() {
        let end = (start + chunk.size()).min(texts.len());
        let rows = encode(start, &texts[start..end]).map_err(|error| counted_from(start, error))?;
        chunk.learn(&rows);
        take(rows)?;
        start = end;
    }
    Ok(())
}

/// The error in terms of all texts, where it names one of those after the first `start` by its position.
pub(crate) fn counted_from(start: usize, error: sparse_model::Error) -> sparse_model::Error {
    error.of_text(|index| start + index)
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
    fn the_first_chunk_is_small_where_vectors_can_be_large() {
        assert_eq!(EncodeChunk::for_dims(8192, 1000).size(), 512);
        assert_eq!(EncodeChunk::for_dims(8192, 30_000).size(), 279);
        assert_eq!(EncodeChunk::for_dims(8192, usize::MAX / 8).size(), 32);
        assert_eq!(EncodeChunk::for_dims(5, 1_000_000).size(), 5);
    }

    #[test]
    fn a_small_limit_holds() {
        let mut chunk = EncodeChunk::new(5);
        assert_eq!(chunk.size(), 5);
        chunk.learn(&rows(1, 1_000_000));
        assert_eq!(chunk.size(), 5);
    }
}
