//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file or directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} `{}`", path.display())]
pub struct Error {
    /// What was tried, as a verb: `create`, `write`, `rename`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Result of an operation on files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names what was tried, and on which file.
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Takes an error of [`Write`](io::Write): those of a staged file name the file already.
    pub fn written(error: io::Error, path: &Path) -> Self {
        error
            .downcast::<Self>()
            .unwrap_or_else(|error| Self::new("write", path, error))
    }

    /// Whether another path would have helped: this one is a directory, or lies in one that doesn't exist.
    pub fn is_user_error(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::IsADirectory
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidInput
        )
    }
}

impl From<Error> for io::Error {
    /// Keeps the kind, and the path in the message.
    fn from(error: Error) -> Self {
        Self::new(error.source.kind(), error)
    }
}
