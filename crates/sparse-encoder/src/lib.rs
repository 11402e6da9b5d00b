//! Train, evaluate and run learned sparse text encoders: text in, a vector over the vocabulary out, a few hundred weights
//! active, ready for an inverted index.
//!
//! Models are directories in the layout of Python's sentence-transformers (`SparseEncoder`, 6.2) and move freely between the
//! two. [`SparseEncoder`] loads, encodes and saves; [`Trainer`] fine-tunes; [`TrainingFile`] says everything about a run in
//! one TOML file. The crates below are re-exported whole: [`data`], [`losses`], [`eval`], [`train`], [`index`], [`model`],
//! [`hub`], [`export`].
//!
//! ```no_run
//! use sparse_encoder::prelude::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let encoder = SparseEncoder::from_pretrained("splade-tiny-bert", &device("cpu")?)?;
//! let documents = encoder.encode_document(&["the cat sat on the mat"], &EncodeOptions::default())?;
//! let queries = encoder.encode_query(&["where is the cat"], &EncodeOptions::default())?;
//! let scores = encoder.similarity(&queries, &documents)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Backends
//!
//! A feature names a backend, [`device()`] chooses among those that were compiled: `flex` (default, pure Rust on the CPU),
//! `wgpu`, `vulkan`, `metal`, `cuda`, `rocm`, `cpu` (CubeCL), `tch`.

mod device;

pub use burn;
pub use device::{UnknownDevice, device};
pub use sparse_data as data;
pub use sparse_eval as eval;
pub use sparse_export as export;
pub use sparse_files as files;
pub use sparse_hub as hub;
pub use sparse_index as index;
pub use sparse_kernels as kernels;
pub use sparse_losses as losses;
pub use sparse_model as model;
pub use sparse_train as train;

pub use burn::tensor::Device;
pub use sparse_data::Table;
pub use sparse_eval::Evaluator;
pub use sparse_losses::Loss;
pub use sparse_model::SparseEncoder;
pub use sparse_train::{Trainer, TrainingArguments, TrainingFile};

/// What most programs need.
pub mod prelude {
    pub use crate::device;
    pub use burn::tensor::Device;
    pub use sparse_data::{DatasetConfig, Table};
    pub use sparse_eval::{EvaluationRun, Evaluator, EvaluatorConfig};
    pub use sparse_index::{SimilarityFunction, SparseMatrix, SparseVector};
    pub use sparse_losses::{Loss, LossConfig};
    pub use sparse_model::{EncodeOptions, SparseEncoder};
    pub use sparse_train::{Callback, Resume, Trainer, TrainingArguments, TrainingFile};
}

/// The programs of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
