//! Directories for what is needed for a while.

use std::path::Path;

use crate::error::{Error, Result};
use crate::registry::Entry;

/// A directory for temporary files, private to the user. It goes when it is dropped, and with [`discard_all`](crate::discard_all).
#[derive(Debug)]
pub struct TemporaryDirectory {
    entry: Entry,
}

impl TemporaryDirectory {
    /// Makes a directory whose name begins with `prefix` where the system keeps temporary files.
    ///
    /// # Errors
    ///
    /// If it can't be made.
    pub fn create(prefix: &str) -> Result<Self> {
        let made = tempfile::Builder::new().prefix(prefix).tempdir();
        let made = made.map_err(|source| Error::new("create", &std::env::temp_dir(), source))?;
        let path = made.path().to_path_buf();
        let (entry, _) = Entry::new(&path, || Ok::<_, Error>(made.keep()))?;
        Ok(Self { entry })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.entry.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_with_its_files() {
        let folder = TemporaryDirectory::create("sparse-files-").unwrap();
        let path = folder.path().to_path_buf();
        std::fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
