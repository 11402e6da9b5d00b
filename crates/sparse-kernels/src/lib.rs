//! The tensor operations that sparse encoders need and Burn lacks.
//!
//! Texts of a batch lie packed end to end, `[ΣT, d]`, with their boundaries in [`RowOffsets`]: no padding is ever
//! multiplied. [`lexical_head`] turns hidden states into one sparse vector per text without building the
//! `[tokens, vocabulary]` matrix; [`packed_attention`] lets every token look at its own text only. The rest of the
//! encoder comes fused: [`linear`], [`linear_activation`], [`layer_norm`], [`embedding`], [`dropout()`] and the
//! [`optimizer`] update.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use sparse_kernels::{Activation, PoolingStrategy, RowOffsets, lexical_head};
//!
//! let device = Device::default();
//! // Two texts of two and one tokens, d_model = 2, a vocabulary of 3.
//! let rows = RowOffsets::from_lengths(&[2, 1]);
//! let hidden = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]], &device);
//! let weight = Tensor::<2>::from_data([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], &device);
//! let vectors = lexical_head(hidden, weight, None, &rows, PoolingStrategy::Max, Activation::Relu);
//! // Row 1: ln(1 + max(1, 0)), ln(1 + max(0, 2)), nothing positive.
//! vectors.to_data().assert_approx_eq::<f32>(
//!     &[[2f32.ln(), 3f32.ln(), 0.0], [0.0, 0.0, 2f32.ln()]].into(),
//!     burn::tensor::Tolerance::default(),
//! );
//! ```
//!
//! Under [`autocast`] matrix products run in half precision. Every operation works on plain and on autodiff devices, and on the CPU its result does not depend on the number
//! of threads. This crate never sees text, files or models.

#![cfg_attr(
    feature = "tch",
    allow(
        deprecated,
        reason = "Burn deprecates LibTorch; it is offered for comparison runs"
    )
)]

mod activation;
mod attention;
mod autodiff;
mod cpu;
mod dropout;
mod embedding;
mod layer_norm;
mod lexical_head;
mod linear;
pub mod optimizer;
mod plain;
mod precision;
mod random;
mod rows;
#[cfg(test)]
mod testing;

pub use activation::HiddenActivation;
pub use attention::{AttentionOptions, packed_attention};
pub use dropout::{Dropout, dropout};
pub use embedding::embedding;
pub use layer_norm::layer_norm;
pub use lexical_head::{
    Activation, InstructionSet, PoolingStrategy, Screening, lexical_head, screening,
};
pub use linear::{activation_linear, linear, linear_activation};
pub use precision::{Precision, autocast};
pub use random::RandomStream;
pub use rows::RowOffsets;
