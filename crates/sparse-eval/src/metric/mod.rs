//! Figures as pure functions.

pub mod classification;
pub mod correlation;
pub mod ranking;
pub mod reranking;
