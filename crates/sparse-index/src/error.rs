//! What can go wrong.

use std::path::PathBuf;

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while building, comparing, storing and searching sparse vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// A vector holds NaN or an infinity.
    #[error("row {row}, dimension {index}: value must be finite, got {value}")]
    NonFinite {
        /// Row of the matrix, 0 for a single vector.
        row: usize,
        /// Dimension of the value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Indices are not strictly ascending.
    #[error("row {row}: indices must be strictly ascending, {index} follows {previous}")]
    UnsortedIndices {
        /// Row of the matrix, 0 for a single vector.
        row: usize,
        /// Index that is out of order.
        index: u32,
        /// Index before it.
        previous: u32,
    },
    /// An index lies outside the vector.
    #[error("row {row}: index {index} is outside of a vector of {dim} dimensions")]
    IndexOutOfRange {
        /// Row of the matrix, 0 for a single vector.
        row: usize,
        /// The index.
        index: u32,
        /// Dimensions of the vector.
        dim: usize,
    },
    /// Two numbers that must agree do not.
    #[error("{what}: expected {expected}, got {actual}")]
    Mismatch {
        /// What was counted.
        what: &'static str,
        /// What it had to be.
        expected: usize,
        /// What it was.
        actual: usize,
    },
    /// A score is too large for 32 bits, or the sum of two such.
    #[error(
        "query {query}: its score with a document is not finite; the values of the vectors are too large"
    )]
    Overflow {
        /// Row of the query.
        query: usize,
    },
    /// Two documents have the same id.
    #[error("document id `{id}` occurs twice: documents {first} and {second}, counted from 1")]
    DuplicateId {
        /// The id.
        id: String,
        /// Number of the document that has it first.
        first: usize,
        /// Number of the document that has it again.
        second: usize,
    },
    /// A name is none of the accepted ones.
    #[error(
        "unknown similarity function `{name}`, expected one of cosine, dot, euclidean, manhattan"
    )]
    UnknownSimilarity {
        /// The name.
        name: String,
    },
    /// An index file could not be read or written.
    #[error("failed to {action} index file `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An index file is damaged, or no index file.
    #[error("`{}` is not a usable index file: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
}

impl Error {
    /// Whether the caller's input is at fault (rather than the machine).
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Write(error) => error.is_user_error(),
            Self::File { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => true,
        }
    }
}
