//! Posting lists of a file are checked when they are first read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::Result;
use crate::buffer::Buffer;
use crate::mapped::MappedFile;

/// Checksums of the posting lists of a block, and which lists were found to agree with theirs.
///
/// A search reads few of the lists of a large file. To check just these, and each once, costs about as much as to read them from
/// memory.
#[derive(Debug)]
pub(crate) struct ListChecks {
    file: Arc<MappedFile>,
    block: usize,
    checksums: Buffer<u32>,
    /// A bit per dimension.
    agreed: Box<[AtomicU64]>,
}

impl ListChecks {
    /// Checks of the block number `block` of `file`, a checksum per dimension.
    pub(crate) fn new(file: &Arc<MappedFile>, block: usize, checksums: Buffer<u32>) -> Self {
        let words = checksums.len().div_ceil(64);
        Self {
            file: Arc::clone(file),
            block,
            checksums,
            agreed: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Refuses a list that isn't as it was written, or names documents that a block of `n_documents` doesn't have.
    pub(crate) fn check(
        &self,
        dimension: usize,
        n_documents: usize,
        documents: &[u16],
        values: &[f32],
    ) -> Result<()> {
        let (word, bit) = (&self.agreed[dimension / 64], 1 << (dimension % 64));
        // The lists never change, so that it doesn't matter if two threads check the same one.
        if word.load(Ordering::Relaxed) & bit == 0 {
            self.compare(dimension, n_documents, documents, values)?;
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    #[cold]
    fn compare(
        &self,
        dimension: usize,
        n_documents: usize,
        documents: &[u16],
        values: &[f32],
    ) -> Result<()> {
        let problem = if checksum(documents, values) != self.checksums[dimension] {
            "differs from its checksum"
        } else if !documents.is_sorted_by(|a, b| a < b) {
            "names its documents out of order"
        } else if documents
            .last()
            .is_some_and(|&last| usize::from(last) >= n_documents)
        {
            "names a document that is not there"
        } else if values.iter().any(|value| !value.is_finite()) {
            "holds a value that is not finite"
        } else {
            return Ok(());
        };
        Err(self.file.corrupt(format!(
            "the posting list of dimension {dimension} in block {} {problem}",
            self.block
        )))
    }
}

/// Checksum of a posting list.
pub(crate) fn checksum(documents: &[u16], values: &[f32]) -> u32 {
    let documents = xxh3_64(bytemuck::cast_slice(documents));
    let values = xxh3_64(bytemuck::cast_slice(values));
    (documents.wrapping_add(values.rotate_left(17)) >> 32) as u32
}
