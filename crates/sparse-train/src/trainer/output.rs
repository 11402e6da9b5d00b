//! The directory that a run writes to, and nobody else at the same time.

use std::path::Path;

use sparse_files::DirectoryLock;

use crate::error::{Error, Result};

/// Takes an output directory for this run; `None` if it isn't there yet.
///
/// # Errors
///
/// If another run has it.
pub(super) fn lock_existing(path: &Path) -> Result<Option<DirectoryLock>> {
    if !path.exists() {
        return Ok(None);
    }
    let lock = DirectoryLock::acquire(path)?;
    lock.map(Some).ok_or_else(|| {
        Error::argument(
            "output_dir",
            format!(
                "is `{}`, where another run is writing: wait for its end, or choose another directory",
                path.display()
            ),
        )
    })
}

/// Makes an output directory, and takes it.
///
/// # Errors
///
/// If another run has it, or it can't be made.
pub(super) fn create_and_lock(path: &Path) -> Result<Option<DirectoryLock>> {
    sparse_files::create_dir_all(path)?;
    lock_existing(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/a");
        assert!(lock_existing(&path).unwrap().is_none());
        let first = create_and_lock(&path).unwrap();
        assert!(first.is_some());
        let refused = create_and_lock(&path).unwrap_err();
        assert!(refused.is_user_error());
        assert!(
            refused.to_string().contains("another run is writing"),
            "{refused}"
        );
        drop(first);
        assert!(lock_existing(&path).unwrap().is_some());
    }
}
