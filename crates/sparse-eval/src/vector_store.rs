//! Vectors that are needed again and again, in bounded memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use sparse_index::{SimilarityFunction, SparseMatrix};

use crate::encode_chunk::{EncodeChunk, encode_in_chunks};
use crate::{Error, Result};

/// Rows of a sparse matrix: in memory while they take no more than 64 MiB there, then in an unnamed temporary file, which goes
/// with the process.
#[derive(Debug)]
pub(crate) struct VectorStore {
    /// Entries of all rows before each, and of all.
    offsets: Vec<usize>,
    /// All rows, or none if they are in the file.
    held: SparseMatrix,
    /// The dimensions of a row, then its values, row after row.
    file: Option<Mutex<File>>,
}

impl VectorStore {
    /// Most entries in memory.
    const MOST_HELD: usize = 1 << 23;
    /// Most entries of a part, unless a single row has more.
    const MOST_IN_PART: usize = 1 << 22;
    const NUMBER_BYTES: usize = size_of::<u32>();

    /// No rows of `n_cols` dimensions.
    pub(crate) fn new(n_cols: usize) -> Self {
        Self {
            offsets: vec![0],
            held: SparseMatrix::new(n_cols),
            file: None,
        }
    }

    /// Vectors of `n_cols` dimensions of all texts, encoded a chunk at a time.
    ///
    /// # Errors
    ///
    /// If `encode` fails, or the file cannot be written.
    pub(crate) fn of_texts<S>(
        n_cols: usize,
        texts: &[S],
        encode: impl Fn(&[S]) -> sparse_model::Result<SparseMatrix>,
    ) -> Result<Self> {
        let mut store = Self::new(n_cols);
        let encode = |_, texts: &[S]| encode(texts);
        encode_in_chunks(texts, (8192, n_cols), encode, |rows| store.append(&rows))?;
        Ok(store)
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn n_cols(&self) -> usize {
        self.held.n_cols()
    }

    /// Appends all rows of `rows`.
    ///
    /// # Errors
    ///
    /// If they have another number of columns, or the file cannot be written.
    pub(crate) fn append(&mut self, rows: &SparseMatrix) -> Result<()> {
        let written = |source| Error::write(&std::env::temp_dir(), source);
        let n_entries = self.n_entries();
        if self.file.is_none() && n_entries + rows.nnz() > Self::MOST_HELD {
            let mut file = tempfile::tempfile().map_err(written)?;
            write(&mut file, self.held.rows()).map_err(written)?;
            self.held = SparseMatrix::new(self.n_cols());
            self.file = Some(Mutex::new(file));
        }
        match &mut self.file {
            None => self.held.append(rows)?,
            Some(file) => {
                // Checks the number of columns.
                self.held.append(&SparseMatrix::new(rows.n_cols()))?;
                let file = file.get_mut().unwrap_or_else(PoisonError::into_inner);
                let end = file.seek(SeekFrom::End(0));
                end.and_then(|_| write(file, rows.rows()))
                    .map_err(written)?;
            }
        }
        let offsets = rows.offsets()[1..].iter();
        self.offsets
            .extend(offsets.map(|offset| n_entries + offset));
        Ok(())
    }

    fn n_entries(&self) -> usize {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The rows of the given numbers, in that order; a number may repeat.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    ///
    /// # Panics
    ///
    /// If a number names no row.
    pub(crate) fn select(&self, rows: &[usize]) -> Result<SparseMatrix> {
        let Some(file) = &self.file else {
            return Ok(self.held.select(rows));
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut offsets, mut indices, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut bytes = Vec::new();
        for &row in rows {
            let (start, end) = (self.offsets[row], self.offsets[row + 1]);
            bytes.resize(2 * Self::NUMBER_BYTES * (end - start), 0);
            let position = (2 * Self::NUMBER_BYTES * start) as u64;
            file.seek(SeekFrom::Start(position))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(|source| Error::read(&std::env::temp_dir(), source))?;
            let (dimensions, weights) = bytes.split_at(bytes.len() / 2);
            indices.extend(numbers(dimensions).map(u32::from_le_bytes));
            values.extend(numbers(weights).map(f32::from_le_bytes));
            offsets.push(indices.len());
        }
        Ok(SparseMatrix::from_csr(
            self.n_cols(),
            offsets,
            indices,
            values,
        )?)
    }

    /// All rows in parts of at most 32 MiB, each with the number of its first row.
    ///
    /// An item is an error if the file cannot be read.
    pub(crate) fn parts(
        &self,
    ) -> impl Iterator<Item = Result<(usize, Cow<'_, SparseMatrix>)>> + use<'_> {
        let mut start = 0;
        std::iter::from_fn(move || {
            if start == self.n_rows() {
                return None;
            }
            let most = self.offsets[start] + Self::MOST_IN_PART;
            let end = self.offsets.partition_point(|&offset| offset <= most) - 1;
            let rows = start..end.max(start + 1);
            start = rows.end;
            Some(self.part(rows.clone()).map(|part| (rows.start, part)))
        })
    }

    fn part(&self, rows: Range<usize>) -> Result<Cow<'_, SparseMatrix>> {
        if self.file.is_none() && rows.len() == self.n_rows() {
            return Ok(Cow::Borrowed(&self.held));
        }
        self.select(&rows.collect::<Vec<_>>()).map(Cow::Owned)
    }
}

impl From<SparseMatrix> for VectorStore {
    /// Stays in memory, whatever its size.
    fn from(matrix: SparseMatrix) -> Self {
        Self {
            offsets: matrix.offsets().to_vec(),
            held: matrix,
            file: None,
        }
    }
}

fn write<'a>(
    file: &mut File,
    rows: impl Iterator<Item = sparse_index::SparseRow<'a>>,
) -> io::Result<()> {
    let mut file = io::BufWriter::new(file);
    for row in rows {
        for index in row.indices() {
            file.write_all(&index.to_le_bytes())?;
        }
        for value in row.values() {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.as_chunks().0.iter().copied()
}

/// Similarities of row `rows[0][i]` of the first and row `rows[1][i]` of the second store, for every `i`: a list per function.
/// The vectors of some pairs at a time are in memory.
///
/// # Errors
///
/// If the stores differ in their number of columns, or a file cannot be read.
pub(crate) fn pairwise(
    functions: &[SimilarityFunction],
    [first, second]: [&VectorStore; 2],
    rows: [&[usize]; 2],
) -> Result<Vec<(SimilarityFunction, Vec<f32>)>> {
    let mut similarities = Vec::new();
    similarities.extend(functions.iter().map(|&function| (function, Vec::new())));
    let mut chunk = EncodeChunk::for_dims(8192, first.n_cols() + second.n_cols());
    let mut start = 0;
    while start < rows[0].len() {
        let end = (start + chunk.size()).min(rows[0].len());
        let pair = [
            first.select(&rows[0][start..end])?,
            second.select(&rows[1][start..end])?,
        ];
        chunk.learn_rows(&pair);
        add_pairwise(&mut similarities, &pair[0], &pair[1])?;
        start = end;
    }
    Ok(similarities)
}

/// Appends the similarities of the rows of two matrices to the list of each function.
///
/// # Errors
///
/// If the matrices differ in shape.
pub(crate) fn add_pairwise(
    similarities: &mut [(SimilarityFunction, Vec<f32>)],
    first: &SparseMatrix,
    second: &SparseMatrix,
) -> Result<()> {
    for (function, values) in similarities {
        values.extend(function.pairwise(first, second)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of up to `width` entries, the first of them empty.
    fn matrix(n_rows: usize, width: usize) -> SparseMatrix {
        let mut offsets = vec![0];
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        for row in 0..n_rows {
            let length = width * row / n_rows;
            indices.extend(0..length as u32);
            values.extend((0..length).map(|entry| (row * 7 + entry) as f32 + 0.5));
            offsets.push(indices.len());
        }
        SparseMatrix::from_csr(width, offsets, indices, values).unwrap()
    }

    #[test]
    fn what_memory_does_not_hold_comes_back_from_the_file() {
        let whole = matrix(40, 1 << 19);
        assert!(whole.nnz() > VectorStore::MOST_HELD);
        let mut store = VectorStore::new(whole.n_cols());
        for start in (0..40).step_by(8) {
            let rows = (start..start + 8).collect::<Vec<_>>();
            store.append(&whole.select(&rows)).unwrap();
        }
        assert!(store.file.is_some());
        assert_eq!(store.held.nnz(), 0);
        assert_eq!((store.n_rows(), store.n_cols()), (40, 1 << 19));

        let mixed = [39, 0, 3, 39, 17];
        assert_eq!(store.select(&mixed).unwrap(), whole.select(&mixed));
        let mut next = 0;
        for part in store.parts() {
            let (start, part) = part.unwrap();
            assert_eq!(start, next);
            assert!(part.nnz() <= VectorStore::MOST_IN_PART);
            next += part.n_rows();
            let rows = (start..next).collect::<Vec<_>>();
            assert_eq!(*part, whole.select(&rows));
        }
        assert_eq!(next, 40);
        assert!(store.append(&SparseMatrix::new(3)).is_err());
    }

    #[test]
    fn few_vectors_stay_in_memory_as_they_are() {
        let whole = matrix(5, 20);
        let mut store = VectorStore::new(20);
        store.append(&whole).unwrap();
        assert!(store.file.is_none());
        let parts = store.parts().collect::<Result<Vec<_>>>().unwrap();
        assert!(matches!(&parts[..], [(0, Cow::Borrowed(part))] if **part == whole));
        assert_eq!(VectorStore::new(20).parts().count(), 0);
    }

    #[test]
    fn pairs_are_compared_as_if_all_were_in_memory() {
        let matrix = matrix(60, 300);
        let store = VectorStore::from(matrix.clone());
        let rows = [vec![1, 5, 59, 5], vec![2, 5, 0, 33]];
        let functions = SimilarityFunction::ALL;
        let found = pairwise(&functions, [&store; 2], [&rows[0], &rows[1]]).unwrap();
        for (function, values) in found {
            let [first, second] = rows.each_ref().map(|rows| matrix.select(rows));
            assert_eq!(values, function.pairwise(&first, &second).unwrap());
        }
    }
}
