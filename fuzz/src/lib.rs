//! What shows that nothing is lost and nothing silently wrong: mutated inputs for every reader of foreign bytes, and runs
//! that are killed at any instant.
//!
//! [`campaign`] feeds the readers (`cargo xtask fuzz`): a [`targets::Target`] is a reader, reached through the facade as a
//! user reaches it; [`mutate`] makes its inputs out of [`seeds`], each a pure function of the target and a number; a
//! [`worker`] process runs them, so that what ends a process is seen and laid to one input. [`crash`] kills the binary
//! (`cargo xtask crash`).
//!
//! This crate knows no other way into the product than its facade and its binary.

pub mod campaign;
pub mod crash;
pub mod files;
pub mod mutate;
pub mod random;
pub mod seeds;
mod shown;
pub mod targets;
pub mod worker;

/// Result of what isn't under test: a failure here is one of this crate or of the machine.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
