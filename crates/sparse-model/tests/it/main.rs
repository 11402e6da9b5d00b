//! The crate's public face: reference values, files, errors, gradients.

mod damage;
mod directories;
mod encoders;
mod looking;
mod models;
mod support;
mod training;
