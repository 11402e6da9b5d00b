//! Arrays that are owned, or lie in a file.

use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;

use crate::mapped::MappedFile;

/// An array of numbers, in memory or in a memory-mapped file.
#[derive(Clone)]
pub(crate) enum Buffer<T> {
    Owned(Vec<T>),
    Mapped {
        file: Arc<MappedFile>,
        bytes: Range<usize>,
    },
}

impl<T: Pod> Buffer<T> {
    /// The bytes `range` of `file`, or nothing if they lie outside of it or do not fit the type.
    pub(crate) fn mapped(file: &Arc<MappedFile>, range: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(file.bytes().get(range.clone())?).ok()?;
        Some(Self::Mapped {
            file: Arc::clone(file),
            bytes: range,
        })
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values)
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped { file, bytes } => bytemuck::cast_slice(&file.bytes()[bytes.clone()]),
        }
    }
}

impl<T: Pod> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "[{} values]", self.len())
    }
}
