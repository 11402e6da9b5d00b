//! One writer a directory.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// A directory that nobody else can lock while this lives, in this process or another. It ends with the process, however that
/// ends, and leaves no file.
#[derive(Debug)]
pub struct DirectoryLock {
    _directory: File,
}

impl DirectoryLock {
    /// Locks a directory; `None` if somebody else has.
    ///
    /// # Errors
    ///
    /// If the directory can't be opened. File systems without locks lock nothing.
    pub fn acquire(directory: &Path) -> Result<Option<Self>> {
        let opened = open(directory).map_err(|source| Error::new("open", directory, source))?;
        match opened.try_lock() {
            Err(TryLockError::WouldBlock) => Ok(None),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(Self { _directory: opened })),
        }
    }
}

#[cfg(unix)]
fn open(directory: &Path) -> std::io::Result<File> {
    File::open(directory)
}

/// Windows opens no directories; a file in it does as well.
#[cfg(not(unix))]
fn open(directory: &Path) -> std::io::Result<File> {
    File::create(directory.join(".lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirectoryLock::acquire(folder.path()).unwrap();
        assert!(first.is_some());
        assert!(DirectoryLock::acquire(folder.path()).unwrap().is_none());
        drop(first);
        assert!(DirectoryLock::acquire(folder.path()).unwrap().is_some());
        assert!(DirectoryLock::acquire(&folder.path().join("absent")).is_err());
    }
}
