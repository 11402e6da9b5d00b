//! A file that is mapped into memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use memmap2::Mmap;

use crate::{Error, Result};

/// A mapped file. Its bytes are those of the disk: whoever reads many of them asks [`check_unchanged`](Self::check_unchanged)
/// first, because touching a part that was cut off kills the process.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: File,
    map: Mmap,
    modified: Option<SystemTime>,
}

impl MappedFile {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |source| Error::File {
            action: "open",
            path: path.to_owned(),
            source,
        };
        // Before opening: to open a fifo waits for a writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(Error::Corrupt {
                path: path.to_owned(),
                reason: "it is no regular file".to_owned(),
            });
        }
        let file = File::open(path).map_err(failed)?;
        #[allow(unsafe_code, reason = "the one memory map of this crate")]
        // SAFETY: the mapping is read-only and private to this value. The file must not be changed while it is open,
        // which `save` never does: it writes beside and renames. Every search checks that nobody else has.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        let modified = file.metadata().map_err(failed)?.modified().ok();
        Ok(Self {
            path: path.to_owned(),
            file,
            map,
            modified,
        })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Refuses to go on when the file was cut, extended or written to since it was opened.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let metadata = self.file.metadata().map_err(|source| Error::File {
            action: "read",
            path: self.path.clone(),
            source,
        })?;
        let length = self.map.len() as u64;
        if metadata.len() != length {
            return Err(self.corrupt(format!(
                "it had {length} bytes when it was opened, and has {} now",
                metadata.len()
            )));
        }
        match (self.modified, metadata.modified().ok()) {
            (Some(before), Some(now)) if before != now => {
                Err(self.corrupt("it was written to since it was opened"))
            }
            _ => Ok(()),
        }
    }

    /// The error of a file that isn't as it must be.
    pub(crate) fn corrupt(&self, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}
