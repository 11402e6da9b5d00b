//! An index in one file.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use sparse_files::StagedFile;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::ids::DocumentIds;
use crate::layout::{self, ALIGNMENT, BlockRanges, Description, MAGIC, VERSION, checksum_of_two};
use crate::mapped::MappedFile;
use crate::{Error, Hit, InvertedIndex, Result, SparseMatrix};

/// An index with the ids of its documents and a description of where it comes from.
#[derive(Debug, Clone)]
pub struct IndexFile {
    /// The posting lists.
    pub index: InvertedIndex,
    /// Document ids by position.
    pub ids: DocumentIds,
    /// Anything the writer wants to find again, such as the model's name.
    pub metadata: serde_json::Value,
    map: Option<Mapped>,
}

#[derive(Debug, Clone)]
struct Mapped {
    file: Arc<MappedFile>,
    body: usize,
    checksum: u64,
}

impl IndexFile {
    /// Puts an index together with its ids.
    ///
    /// # Errors
    ///
    /// If there are not as many ids as documents.
    pub fn new(
        index: InvertedIndex,
        ids: DocumentIds,
        metadata: serde_json::Value,
    ) -> Result<Self> {
        if ids.len() != index.n_documents() {
            return Err(Error::Mismatch {
                what: "document ids",
                expected: index.n_documents(),
                actual: ids.len(),
            });
        }
        Ok(Self {
            index,
            ids,
            metadata,
            map: None,
        })
    }

    /// Writes the index; the file appears under its name only when it is complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut file = StagedFile::create(path)?;
        let written = self.write(&mut file);
        written.map_err(|source| sparse_files::Error::written(source, path))?;
        Ok(file.finish()?)
    }

    fn write(&self, file: &mut impl Write) -> io::Result<()> {
        let mut end = 0;
        let mut place = |n_bytes: usize| {
            let start = end;
            end = (start + n_bytes).next_multiple_of(ALIGNMENT);
            [start, start + n_bytes]
        };
        let blocks = self.index.blocks();
        let checksums: Vec<Vec<u32>> = blocks
            .par_iter()
            .map(|block| block.list_checksums())
            .collect();
        let ranges = blocks
            .iter()
            .zip(&checksums)
            .map(|(block, checksums)| BlockRanges {
                n_documents: block.n_documents,
                offsets: place(size_of_val(&*block.offsets)),
                checksums: place(size_of_val(&**checksums)),
                documents: place(size_of_val(&*block.documents)),
                values: place(size_of_val(&*block.values)),
                checksum: checksum_of_two(
                    bytemuck::cast_slice(&block.offsets),
                    bytemuck::cast_slice(checksums),
                ),
            });
        let description = Description {
            n_cols: self.index.n_cols(),
            blocks: ranges.collect(),
            id_ends: place(size_of_val(&*self.ids.ends)),
            id_bytes: place(self.ids.bytes.len()),
            id_checksum: checksum_of_two(bytemuck::cast_slice(&self.ids.ends), &self.ids.bytes),
            metadata: self.metadata.clone(),
        };
        let description = serde_json::to_vec(&description)?;

        // The checksum stands before what it is of, and a pipe can't be written to twice.
        let mut body = Hashed {
            file: io::sink(),
            hash: Xxh3::new(),
        };
        self.write_body(&mut body, &checksums)?;
        let checksum = body.hash.digest();

        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&[0; 4])?;
        file.write_all(&(description.len() as u64).to_le_bytes())?;
        file.write_all(&xxh3_64(&description).to_le_bytes())?;
        file.write_all(&checksum.to_le_bytes())?;
        file.write_all(&[0; 24])?;
        file.write_all(&description)?;
        file.write_all(&padding(description.len()))?;
        self.write_body(
            &mut Hashed {
                file,
                hash: Xxh3::new(),
            },
            &checksums,
        )
    }

    fn write_body(&self, body: &mut Hashed<impl Write>, checksums: &[Vec<u32>]) -> io::Result<()> {
        for (block, checksums) in self.index.blocks().iter().zip(checksums) {
            body.array(bytemuck::cast_slice(&block.offsets))?;
            body.array(bytemuck::cast_slice(checksums))?;
            body.array(bytemuck::cast_slice(&block.documents))?;
            body.array(bytemuck::cast_slice(&block.values))?;
        }
        body.array(bytemuck::cast_slice(&self.ids.ends))?;
        body.array(&self.ids.bytes)
    }

    /// Opens a file: maps it and checks all of it but the posting lists, which takes milliseconds for a million documents. A
    /// posting list is compared with its checksum when a search first reads it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no index, has another length than it says, or what was checked is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let file = Arc::new(MappedFile::open(path)?);
        let opened = layout::open(&file)?;
        Ok(Self {
            index: opened.index,
            ids: opened.ids,
            metadata: opened.metadata,
            map: Some(Mapped {
                file,
                body: opened.body,
                checksum: opened.checksum,
            }),
        })
    }

    /// The `k` best documents of every row of `queries` by dot product, with their ids, best first; documents without a common
    /// dimension (score 0) are left out.
    ///
    /// # Errors
    ///
    /// If `queries` has another number of columns than the index, a posting list is damaged, or the file has changed since it
    /// was opened.
    pub fn search(&self, queries: &SparseMatrix, k: usize) -> Result<Vec<Vec<(&str, f32)>>> {
        let hits = self.index.search(queries, k)?;
        let named = |hit: Hit| Some((self.ids.get(hit.document as usize)?, hit.score));
        let found = |hits: Vec<Hit>| {
            hits.into_iter()
                .filter(|hit| hit.score != 0.0)
                .filter_map(named)
                .collect()
        };
        Ok(hits.into_iter().map(found).collect())
    }

    /// Reads the whole file and compares its checksum; does nothing for an index that does not come from a file.
    ///
    /// # Errors
    ///
    /// If the file is damaged or has changed since it was opened.
    pub fn verify(&self) -> Result<()> {
        let Some(mapped) = &self.map else {
            return Ok(());
        };
        mapped.file.check_unchanged()?;
        if xxh3_64(&mapped.file.bytes()[mapped.body..]) == mapped.checksum {
            Ok(())
        } else {
            Err(mapped.file.corrupt("the checksum of its arrays differs"))
        }
    }
}

/// Writes arrays at multiples of the alignment and hashes all it writes.
struct Hashed<W> {
    file: W,
    hash: Xxh3,
}

impl<W: Write> Hashed<W> {
    fn array(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in [bytes, &padding(bytes.len())] {
            self.hash.update(part);
            self.file.write_all(part)?;
        }
        Ok(())
    }
}

/// Zeros up to the next multiple of the alignment.
fn padding(length: usize) -> Vec<u8> {
    vec![0; length.next_multiple_of(ALIGNMENT) - length]
}
