//! The crate's public face: reference values, files, errors, gradients.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds something wrong"
)]

mod adapter_settings;
mod broken_directories;
mod damage;
mod directories;
mod encoders;
mod fingerprint;
mod foreign_values;
mod hub;
mod long_texts;
mod looking;
mod models;
mod once;
mod pickles;
mod pipelines;
mod pool;
mod support;
mod training;
