//! Sparse vectors on the host, and exact search over them.
//!
//! An encoder turns a text into a vector of vocabulary size in which a few hundred entries differ from zero. This
//! crate stores such vectors ([`SparseVector`], and [`SparseMatrix`] for one per row), compares them
//! ([`SimilarityFunction`]), counts what they cost ([`Sparsity`], [`avg_flops`]).
//!
//! The crate knows neither tensors nor texts nor models: whoever has a tensor hands its values over as a slice.

mod error;
mod matrix;
mod similarity;
mod sparsity;
mod vector;

pub use error::{Error, Result};
pub use matrix::SparseMatrix;
pub use similarity::SimilarityFunction;
pub use sparsity::{ActiveCounts, Sparsity, avg_flops};
pub use vector::{SparseRow, SparseVector};
