//! Files and directories that are written whole or not at all.
//!
//! Everything that this workspace saves goes through here: [`StagedFile`] and [`StagedDirectory`] are written beside their
//! place, synced to the disk and then given their name in one step. Whatever happens before that step (an error, a full disk,
//! a signal, a kill, a power cut), what stood under the name still stands there.
//!
//! ```
//! use std::io::Write;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("vectors.jsonl");
//! let mut file = sparse_files::StagedFile::create(&path)?;
//! writeln!(file, "{{}}")?;
//! assert!(!path.exists());
//! file.finish()?;
//! assert_eq!(std::fs::read_to_string(&path)?, "{}\n");
//! # Ok(())
//! # }
//! ```
//!
//! What a process leaves behind that was killed outright is removed by the next one that writes to the same place; a program
//! that handles signals calls [`discard_all`] before it exits.
//!
//! Builds with debug assertions count every operation on the disk and let one of them fail, where the variable
//! `SPARSE_ENCODER_FAULT` says so: `fail@N`, `short@N`, `full@N` or `kill@N`. That is how the promises above are tested.

mod error;
mod fault;
mod leftovers;
mod lock;
mod operation;
mod registry;
mod staged_directory;
mod staged_file;
mod temporary;

pub use error::{Error, Result};
pub use leftovers::{remove_directory, remove_leftovers};
pub use lock::DirectoryLock;
pub use operation::create_dir_all;
pub use registry::discard_all;
pub use staged_directory::StagedDirectory;
pub use staged_file::{StagedFile, write};
pub use temporary::TemporaryDirectory;
