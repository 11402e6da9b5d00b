//! What this process has staged and not finished yet.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static STAGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn staged() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    STAGED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A staged file or directory, known to [`discard_all`] until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    path: PathBuf,
}

impl Entry {
    /// `create` makes the file or directory; nothing is created once everything was discarded.
    pub(crate) fn new<T, E>(
        path: &Path,
        create: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let mut staged = staged();
        let created = create()?;
        staged.insert(path.to_path_buf());
        let path = path.to_path_buf();
        Ok((Self { path }, created))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the staged file or directory its name, which no signal can come between.
    pub(crate) fn publish<T, E>(self, publish: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
        let mut staged = staged();
        let published = publish(&self.path)?;
        staged.remove(&self.path);
        Ok(published)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // After publishing, this is a name that is gone.
        if staged().remove(&self.path) {
            remove(&self.path);
        }
    }
}

/// Removes what this process has staged and not finished, and keeps it from staging more: for a handler of signals, just
/// before it ends the process.
///
/// Threads that stage or finish a file after this call wait until the process ends.
pub fn discard_all() {
    let staged = staged();
    for path in staged.iter() {
        remove(path);
    }
    // Never unlocked again.
    std::mem::forget(staged);
}

/// Best effort: what went wrong before is what gets reported.
pub(crate) fn remove(path: &Path) {
    let _ = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
}

/// A name for something that is staged beside `target`: hidden, and of this process and this call alone.
pub(crate) fn staging_name(target: &Path, purpose: &str) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.{purpose}-{}-{call}", std::process::id())
}
