//! The binary from outside: results, messages, exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod careful;
mod commands;
mod databases;
mod exporting;
mod faults;
mod hub;
mod idf;
mod index_files;
mod killed;
mod models;
#[cfg(feature = "mpi")]
mod mpi;
mod nano_beir;
mod outputs;
mod overview;
#[cfg(unix)]
mod reading;
mod searching;
#[cfg(unix)]
mod streaming;
mod support;
mod training;
mod wrong_input;
