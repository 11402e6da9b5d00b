//! The binary from outside: results, messages, exit codes.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod commands;
mod databases;
mod hub;
mod idf;
mod killed;
mod models;
#[cfg(feature = "mpi")]
mod mpi;
mod nano_beir;
mod overview;
mod searching;
mod support;
mod training;
mod wrong_input;
