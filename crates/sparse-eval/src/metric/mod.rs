//! Figures as pure functions.

pub mod ranking;
pub mod reranking;
