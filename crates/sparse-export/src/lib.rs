//! Sparse vectors in the bulk formats of search engines.
//!
//! An [`Engine`] says what its format holds and what it refuses ([`Profile`]). An [`Exporter`] writes a directory that the
//! engine loads: the vectors, and the statement, mapping or schema that goes with them. [`Replay`] turns vectors into what
//! the engine will rank with, so that an exact search over them shows the loss before a cluster is filled.
//!
//! ```
//! use sparse_export::{Engine, Exporter, Options, Side};
//! use sparse_index::SparseMatrix;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let directory = folder.path().join("export");
//! let documents = SparseMatrix::from_dense(&[0.0, 2.0, 0.5, /**/ 1.0, 1.0, 0.0], 2, 3)?;
//! let mut exporter = Exporter::create(&directory, Engine::Pgvector, Side::Document, Options::new(3))?;
//! exporter.push(&["a".to_owned(), "b".to_owned()], &documents)?;
//! let summary = exporter.finish()?;
//! assert_eq!(summary.n_written, 2);
//! assert_eq!(std::fs::read_to_string(directory.join("documents.tsv"))?, "a\t{2:2,3:0.5}/3\nb\t{1:1,2:1}/3\n");
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows neither models nor texts: whoever has a model hands over the names of its dimensions ([`Vocabulary`]).

mod engine;
mod error;
mod exporter;
mod impacts;
mod layout;
mod options;
mod replay;
mod vocabulary;

pub use engine::{Engine, Keys, Profile, UnknownEngine, Weights};
pub use error::{Error, Result};
pub use exporter::{Exporter, Summary};
pub use impacts::Impacts;
pub use options::{Options, Side};
pub use replay::Replay;
pub use vocabulary::Vocabulary;
