//! The binary from outside: results, messages, exit codes.

mod commands;
mod support;
mod training;
mod wrong_input;
