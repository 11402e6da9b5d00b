//! Ids of documents.

use crate::buffer::Buffer;
use crate::{Error, Result};

/// Ids of documents by position.
#[derive(Debug, Clone)]
pub struct DocumentIds {
    /// Id `i` takes the bytes `ends[i - 1]..ends[i]`.
    pub(crate) ends: Buffer<u64>,
    pub(crate) bytes: Buffer<u8>,
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

    /// Whether the ends ascend to the end of the bytes, and every id between them is text.
    pub(crate) fn are_well_formed(&self) -> bool {
        let (ends, bytes) = (&*self.ends, &*self.bytes);
        let Ok(text) = std::str::from_utf8(bytes) else {
            return false;
        };
        ends.is_sorted()
            && ends.last().copied().unwrap_or(0) == bytes.len() as u64
            && ends.iter().all(|&end| text.is_char_boundary(end as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_cut_within_a_character_or_descend_are_malformed() {
        let ids = |ends: &[u64], bytes: &[u8]| DocumentIds {
            ends: ends.to_vec().into(),
            bytes: bytes.to_vec().into(),
        };
        assert!(DocumentIds::new(["ä", "", "b"]).are_well_formed());
        assert!(ids(&[], b"").are_well_formed());
        assert!(!ids(&[1, 2], "ä".as_bytes()).are_well_formed());
        assert!(!ids(&[2, 1, 2], b"ab").are_well_formed());
        assert!(!ids(&[1], b"ab").are_well_formed());
        assert!(!ids(&[], b"ab").are_well_formed());
        assert!(!ids(&[1], b"\xff").are_well_formed());
    }
}
