//! What stands where in an index file.
//!
//! ```text
//! 0   magic "sparsidx"            8 bytes; all numbers are little-endian
//! 8   version, 2                  u32, then 4 bytes 0
//! 16  length of the description   u64
//! 24  XXH3 of the description     u64
//! 32  XXH3 of everything after the description, its padding excluded   u64
//! 40  zeros up to 64
//! 64  description, JSON: dimensions, blocks with the byte ranges of their arrays, ids, the caller's metadata
//! …   the arrays, each at a multiple of 64
//! ```
//!
//! A block has four arrays: where each posting list ends, a checksum of each list, documents and values of the lists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::buffer::Buffer;
use crate::ids::DocumentIds;
use crate::mapped::MappedFile;
use crate::search::{Block, ListChecks};
use crate::{InvertedIndex, Result};

pub(crate) const MAGIC: &[u8; 8] = b"sparsidx";
pub(crate) const VERSION: u32 = 2;
pub(crate) const ALIGNMENT: usize = 64;

#[derive(Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) n_cols: usize,
    pub(crate) blocks: Vec<BlockRanges>,
    pub(crate) id_ends: [usize; 2],
    pub(crate) id_bytes: [usize; 2],
    /// XXH3 of both arrays of ids.
    pub(crate) id_checksum: u64,
    pub(crate) metadata: serde_json::Value,
}

/// Where the arrays of a block lie, in bytes after the description: start and end.
#[derive(Serialize, Deserialize)]
pub(crate) struct BlockRanges {
    pub(crate) n_documents: usize,
    pub(crate) offsets: [usize; 2],
    pub(crate) checksums: [usize; 2],
    pub(crate) documents: [usize; 2],
    pub(crate) values: [usize; 2],
    /// XXH3 of offsets and checksums.
    pub(crate) checksum: u64,
}

/// XXH3 of two arrays.
pub(crate) fn checksum_of_two(first: &[u8], second: &[u8]) -> u64 {
    xxh3_64(first).wrapping_add(xxh3_64(second).rotate_left(17))
}

/// An index as it lies in a file.
pub(crate) struct Opened {
    pub(crate) index: InvertedIndex,
    pub(crate) ids: DocumentIds,
    pub(crate) metadata: serde_json::Value,
    /// Where the arrays begin.
    pub(crate) body: usize,
    /// Checksum of all arrays.
    pub(crate) checksum: u64,
}

/// Reads header, description, offsets and ids, and checks all of them; of the posting lists it checks that they are there.
pub(crate) fn open(file: &Arc<MappedFile>) -> Result<Opened> {
    let bytes = file.bytes();
    if bytes.get(..8) != Some(MAGIC) || bytes.len() < ALIGNMENT {
        return Err(file.corrupt("it does not begin as one"));
    }
    let number = |at: usize| u64::from_le(bytemuck::pod_read_unaligned::<u64>(&bytes[at..at + 8]));
    let version = number(8);
    if version != u64::from(VERSION) {
        let hint = if version == 1 {
            ": an earlier release wrote it, index the corpus again"
        } else {
            ""
        };
        return Err(file.corrupt(format!("expected version {VERSION}, got {version}{hint}")));
    }
    let text = usize::try_from(number(16))
        .ok()
        .and_then(|length| bytes.get(ALIGNMENT..ALIGNMENT.checked_add(length)?))
        .ok_or_else(|| file.corrupt("it is cut off"))?;
    if xxh3_64(text) != number(24) {
        return Err(file.corrupt("the checksum of its description differs"));
    }
    let description: Description = serde_json::from_slice(text)
        .map_err(|error| file.corrupt(format!("its description is malformed: {error}")))?;
    let body = (ALIGNMENT + text.len()).next_multiple_of(ALIGNMENT);
    let reader = Reader { file, body };
    reader.check_length(&description)?;

    let mut blocks = Vec::with_capacity(description.blocks.len());
    let mut first = 0u32;
    for (number, ranges) in description.blocks.iter().enumerate() {
        blocks.push(reader.block(number, first, ranges, description.n_cols)?);
        first = u32::try_from(ranges.n_documents)
            .ok()
            .and_then(|n_documents| first.checked_add(n_documents))
            .ok_or_else(|| file.corrupt("it holds more documents than can be numbered"))?;
    }
    let ids = reader.ids(&description)?;
    if ids.len() != first as usize {
        return Err(file.corrupt(format!("it holds {first} documents, but {} ids", ids.len())));
    }
    Ok(Opened {
        index: InvertedIndex::from_blocks(description.n_cols, blocks).of_file(file),
        ids,
        metadata: description.metadata,
        body,
        checksum: number(32),
    })
}

/// Takes arrays out of a file whose description is known to be sound.
struct Reader<'a> {
    file: &'a Arc<MappedFile>,
    body: usize,
}

impl Reader<'_> {
    /// Refuses a file that ends before or after its last array.
    fn check_length(&self, description: &Description) -> Result<()> {
        let blocks = description.blocks.iter();
        let ranges = blocks.flat_map(|block| {
            [
                block.offsets,
                block.checksums,
                block.documents,
                block.values,
            ]
        });
        let ranges = ranges.chain([description.id_ends, description.id_bytes]);
        let end = ranges.map(|[_, end]| end).max().unwrap_or(0);
        let expected = end
            .checked_next_multiple_of(ALIGNMENT)
            .and_then(|end| end.checked_add(self.body));
        let actual = self.file.bytes().len();
        match expected {
            Some(expected) if expected == actual => Ok(()),
            Some(expected) if expected < actual => Err(self
                .file
                .corrupt(format!("it has {actual} bytes; expected {expected}"))),
            _ => Err(self.file.corrupt("it is cut off")),
        }
    }

    fn array<T: bytemuck::Pod>(&self, [start, end]: [usize; 2]) -> Result<Buffer<T>> {
        let range = self.body.checked_add(start).zip(self.body.checked_add(end));
        range
            .and_then(|(start, end)| Buffer::mapped(self.file, start..end))
            .ok_or_else(|| self.file.corrupt("it is cut off"))
    }

    fn block(
        &self,
        number: usize,
        first: u32,
        ranges: &BlockRanges,
        n_cols: usize,
    ) -> Result<Block> {
        let offsets: Buffer<u32> = self.array(ranges.offsets)?;
        let checksums: Buffer<u32> = self.array(ranges.checksums)?;
        let (documents, values): (Buffer<u16>, Buffer<f32>) =
            (self.array(ranges.documents)?, self.array(ranges.values)?);
        if checksum_of_two(
            bytemuck::cast_slice(&offsets),
            bytemuck::cast_slice(&checksums),
        ) != ranges.checksum
        {
            return Err(self
                .file
                .corrupt(format!("the checksum of block {number} differs")));
        }
        let consistent = ranges.n_documents <= Block::MAX_DOCUMENTS
            && Some(offsets.len()) == n_cols.checked_add(1)
            && checksums.len() == n_cols
            && offsets.first() == Some(&0)
            && offsets.is_sorted()
            && offsets.last().map(|&end| end as usize) == Some(values.len())
            && documents.len() == values.len();
        if !consistent {
            return Err(self.file.corrupt(format!("block {number} is inconsistent")));
        }
        Ok(Block {
            first,
            n_documents: ranges.n_documents,
            offsets,
            documents,
            values,
            checks: Some(Arc::new(ListChecks::new(self.file, number, checksums))),
        })
    }

    fn ids(&self, description: &Description) -> Result<DocumentIds> {
        let ids = DocumentIds {
            ends: self.array(description.id_ends)?,
            bytes: self.array(description.id_bytes)?,
        };
        let checksum = checksum_of_two(bytemuck::cast_slice(&ids.ends), &ids.bytes);
        if checksum != description.id_checksum {
            return Err(self.file.corrupt("the checksum of its ids differs"));
        }
        if !ids.are_well_formed() {
            return Err(self.file.corrupt("its ids are inconsistent"));
        }
        Ok(ids)
    }
}

#[cfg(target_endian = "big")]
compile_error!("index files are mapped as they are, which needs a little-endian machine");
