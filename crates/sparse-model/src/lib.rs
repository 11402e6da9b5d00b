//! Text in, sparse vectors out: the only crate that knows architectures.
//!
//! [`SparseEncoder`] is the type users hold. It loads a directory in the layout of Python's sentence-transformers, turns
//! texts into sparse vectors, and saves itself in the same layout:
//!
//! ```no_run
//! use burn::tensor::Device;
//! use sparse_model::{EncodeOptions, SparseEncoder};
//!
//! # fn main() -> sparse_model::Result<()> {
//! let encoder = SparseEncoder::from_pretrained("splade-tiny-bert", &Device::default())?;
//! let embeddings = encoder.encode_document(&["a sparse vector has few active dimensions"], &EncodeOptions::default())?;
//! for (token, weight) in &encoder.decode(&embeddings, Some(5))?[0] {
//!     println!("{token} {weight}");
//! }
//! encoder.save_pretrained("copy")?;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, a model is an ordered list of modules (`module/`), the first of which usually is a backbone (`backbone/`) with
//! its masked-language-model head. `pretrained/` reads and writes files. The forward pass works on [`PackedTokens`]: texts
//! laid end to end, without padding.
//!
//! This crate does not train: it offers [`SparseEncoder::forward`], the parameters by the reference's names, and ways to
//! read gradients and replace values. It never sees losses or data sets.

mod backbone;
mod context;
mod encoder;
mod error;
mod guard;
mod idf;
mod inspect;
mod module;
mod options;
mod parameter;
mod preprocessor;
mod pretrained;
mod tokenizer;
mod tokens;

pub use context::{AutoencoderOutput, Embeddings, ForwardContext};
pub use encoder::{EncoderPool, Prompts, PushOptions, SparseEncoder, name_model_card};
pub use error::{Error, Result};
pub use idf::DocumentFrequencies;
pub use inspect::{
    Formula, HeadBias, Inspection, ModuleSummary, SampleReport, TokenizationContract,
};
pub use module::ModuleKind;
pub use options::{
    EncodeOptions, EncodeProgress, LoadOptions, LoraOptions, PreprocessOptions, WeightType,
};
pub use parameter::NamedParameter;
pub use preprocessor::Preprocessor;
pub use pretrained::{ModelSource, TensorBytes, check_target, write_safetensors};
pub use sparse_hub::{HubOptions, Upload};
pub use tokens::PackedTokens;
