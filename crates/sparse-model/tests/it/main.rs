//! The crate's public face: reference values, files, errors, gradients.

mod directories;
mod encoders;
mod models;
mod support;
mod training;
