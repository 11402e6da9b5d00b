//! An index in one file.
//!
//! ```text
//! 0   magic "sparsidx"            8 bytes; all numbers are little-endian
//! 8   version, 1                  u32, then 4 bytes 0
//! 16  length of the description   u64
//! 24  XXH3 of the description     u64
//! 32  XXH3 of everything after the description, its padding excluded   u64
//! 40  zeros up to 64
//! 64  description, JSON: dimensions, blocks with the byte ranges of their arrays, ids, the caller's metadata
//! …   the arrays, each at a multiple of 64
//! ```
//!
//! Opening reads and checks the description only; the arrays are mapped, and checked by [`IndexFile::verify`].

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use sparse_files::StagedFile;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::buffer::Buffer;
use crate::search::Block;
use crate::{Error, Hit, InvertedIndex, Result, SparseMatrix};

const MAGIC: &[u8; 8] = b"sparsidx";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;

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
    path: PathBuf,
    map: Arc<Mmap>,
    body: usize,
    checksum: u64,
}

/// Ids of documents by position.
#[derive(Debug, Clone)]
pub struct DocumentIds {
    /// Id `i` takes the bytes `ends[i - 1]..ends[i]`.
    ends: Buffer<u64>,
    bytes: Buffer<u8>,
}

impl DocumentIds {
    /// Takes ids in the order of the documents.
    pub fn new(ids: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for id in ids {
            bytes.extend_from_slice(id.as_ref().as_bytes());
            ends.push(bytes.len() as u64);
        }
        Self {
            ends: ends.into(),
            bytes: bytes.into(),
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Id of the document at `position`, if there is one.
    pub fn get(&self, position: usize) -> Option<&str> {
        let end = *self.ends.get(position)? as usize;
        let start = if position == 0 {
            0
        } else {
            self.ends[position - 1] as usize
        };
        std::str::from_utf8(self.bytes.get(start..end)?).ok()
    }

    /// Refuses ids that occur twice.
    ///
    /// # Errors
    ///
    /// Naming the id and both documents.
    pub fn check_distinct(&self) -> Result<()> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_by_key(|&position| (self.get(position as usize), position));
        let same = |pair: &&[u32]| self.get(pair[0] as usize) == self.get(pair[1] as usize);
        match order.windows(2).find(same) {
            Some(pair) => Err(Error::DuplicateId {
                id: self.get(pair[0] as usize).unwrap_or_default().to_owned(),
                first: pair[0] as usize + 1,
                second: pair[1] as usize + 1,
            }),
            None => Ok(()),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Description {
    n_cols: usize,
    blocks: Vec<BlockRanges>,
    id_ends: [usize; 2],
    id_bytes: [usize; 2],
    metadata: serde_json::Value,
}

/// Where the arrays of a block lie, in bytes after the description: start and end.
#[derive(Serialize, Deserialize)]
struct BlockRanges {
    n_documents: usize,
    offsets: [usize; 2],
    documents: [usize; 2],
    values: [usize; 2],
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
        let description = Description {
            n_cols: self.index.n_cols(),
            blocks: blocks
                .iter()
                .map(|block| BlockRanges {
                    n_documents: block.n_documents,
                    offsets: place(size_of_val(&*block.offsets)),
                    documents: place(size_of_val(&*block.documents)),
                    values: place(size_of_val(&*block.values)),
                })
                .collect(),
            id_ends: place(size_of_val(&*self.ids.ends)),
            id_bytes: place(self.ids.bytes.len()),
            metadata: self.metadata.clone(),
        };
        let description = serde_json::to_vec(&description)?;

        // The checksum stands before what it is of, and a pipe can't be written to twice.
        let mut body = Hashed {
            file: io::sink(),
            hash: Xxh3::new(),
        };
        self.write_body(&mut body)?;
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
        self.write_body(&mut Hashed {
            file,
            hash: Xxh3::new(),
        })
    }

    fn write_body(&self, body: &mut Hashed<impl Write>) -> io::Result<()> {
        for block in self.index.blocks() {
            body.array(bytemuck::cast_slice(&block.offsets))?;
            body.array(bytemuck::cast_slice(&block.documents))?;
            body.array(bytemuck::cast_slice(&block.values))?;
        }
        body.array(bytemuck::cast_slice(&self.ids.ends))?;
        body.array(&self.ids.bytes)
    }

    /// Opens a file: maps it and checks its description, which takes milliseconds at any size.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no index, is cut off or its description is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File {
            action: "open",
            path: path.to_owned(),
            source,
        };
        let corrupt = |reason: String| Error::Corrupt {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(failed)?;
        #[allow(unsafe_code, reason = "the one memory map of this crate")]
        // SAFETY: the mapping is read-only and private to this value. The file must not be changed while it is open,
        // which `save` never does: it writes beside and renames.
        let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(failed)?);

        if map.get(..8) != Some(MAGIC) || map.len() < ALIGNMENT {
            return Err(corrupt("it does not begin as one".to_owned()));
        }
        let number =
            |at: usize| u64::from_le(bytemuck::pod_read_unaligned::<u64>(&map[at..at + 8]));
        let version = number(8);
        if version != u64::from(VERSION) {
            return Err(corrupt(format!(
                "expected version {VERSION}, got {version}"
            )));
        }
        let text = usize::try_from(number(16))
            .ok()
            .and_then(|length| map.get(ALIGNMENT..ALIGNMENT.checked_add(length)?));
        let text = text.ok_or_else(|| corrupt("it is cut off".to_owned()))?;
        if xxh3_64(text) != number(24) {
            return Err(corrupt(
                "the checksum of its description differs".to_owned(),
            ));
        }
        let description: Description = serde_json::from_slice(text)
            .map_err(|error| corrupt(format!("its description is malformed: {error}")))?;
        let body = (ALIGNMENT + text.len()).next_multiple_of(ALIGNMENT);
        let checksum = number(32);

        let mapped = Mapped {
            path: path.to_owned(),
            map,
            body,
            checksum,
        };
        let mut blocks = Vec::with_capacity(description.blocks.len());
        let mut first = 0;
        for ranges in &description.blocks {
            let block = Block {
                first,
                n_documents: ranges.n_documents,
                offsets: mapped.array(ranges.offsets)?,
                documents: mapped.array(ranges.documents)?,
                values: mapped.array(ranges.values)?,
            };
            let n_postings = block.offsets.last().map(|&end| end as usize);
            if ranges.n_documents > Block::MAX_DOCUMENTS
                || block.offsets.len() != description.n_cols + 1
                || n_postings != Some(block.values.len())
                || block.documents.len() != block.values.len()
            {
                return Err(corrupt(format!("block {} is inconsistent", blocks.len())));
            }
            first += ranges.n_documents as u32;
            blocks.push(block);
        }
        let ids = DocumentIds {
            ends: mapped.array(description.id_ends)?,
            bytes: mapped.array(description.id_bytes)?,
        };
        let index = InvertedIndex::from_blocks(description.n_cols, blocks);
        let opened = Self::new(index, ids, description.metadata)?;
        Ok(Self {
            map: Some(mapped),
            ..opened
        })
    }

    /// The `k` best documents of every row of `queries` by dot product, with their ids, best first; documents without a common
    /// dimension (score 0) are left out.
    ///
    /// # Errors
    ///
    /// If `queries` has another number of columns than the index.
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
    /// If the file is damaged.
    pub fn verify(&self) -> Result<()> {
        match &self.map {
            Some(mapped) if xxh3_64(&mapped.map[mapped.body..]) != mapped.checksum => {
                Err(Error::Corrupt {
                    path: mapped.path.clone(),
                    reason: "the checksum of its arrays differs".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

impl Mapped {
    fn array<T: bytemuck::Pod>(&self, [start, end]: [usize; 2]) -> Result<Buffer<T>> {
        let range = self.body.checked_add(start).zip(self.body.checked_add(end));
        range
            .and_then(|(start, end)| Buffer::mapped(&self.map, start..end))
            .ok_or_else(|| Error::Corrupt {
                path: self.path.clone(),
                reason: "it is cut off".to_owned(),
            })
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

#[cfg(target_endian = "big")]
compile_error!("index files are mapped as they are, which needs a little-endian machine");
