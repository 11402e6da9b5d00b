//! Sparse vectors on the host, and exact search over them.
//!
//! An encoder turns a text into a vector of vocabulary size in which a few hundred entries differ from zero. This
//! crate stores such vectors ([`SparseVector`], and [`SparseMatrix`] for one per row), compares them
//! ([`SimilarityFunction`]), counts what they cost ([`Sparsity`], [`avg_flops`]) and finds the best documents of a
//! query without approximation ([`InvertedIndex`]).
//!
//! ```
//! use sparse_index::{InvertedIndex, SparseMatrix};
//!
//! # fn main() -> sparse_index::Result<()> {
//! let documents = SparseMatrix::from_dense(&[0.0, 2.0, 0.0, /**/ 1.0, 1.0, 0.0], 2, 3)?;
//! let queries = SparseMatrix::from_dense(&[3.0, 1.0, 0.0], 1, 3)?;
//! let index = InvertedIndex::from_matrix(&documents);
//! let hits = index.search(&queries, 10)?;
//! assert_eq!(hits[0][0].document, 1);
//! assert_eq!(hits[0][0].score, 4.0);
//! # Ok(())
//! # }
//! ```
//!
//! The crate knows neither tensors nor texts nor models: whoever has a tensor hands its values over as a slice.

mod buffer;
mod error;
mod file;
mod ids;
mod layout;
mod mapped;
mod matrix;
mod search;
mod similarity;
mod sparsity;
mod vector;

pub use error::{Error, Result};
pub use file::IndexFile;
pub use ids::DocumentIds;
pub use matrix::SparseMatrix;
pub use search::{Hit, IndexBuilder, IndexCost, InvertedIndex, TopK, brute_force};
pub use similarity::SimilarityFunction;
pub use sparsity::{ActiveCounts, Sparsity, avg_flops};
pub use vector::{SparseRow, SparseVector};
