//! Queries, documents and judgements, and what a search makes of them.

mod beir;
mod bm25;
mod collection;
mod cutoffs;
pub(crate) mod hub;
mod ranker;
mod ranking;

pub(crate) use beir::for_each_line;
pub use bm25::Bm25;
pub use collection::{Collection, RetrievalFiles};
pub use cutoffs::Cutoffs;
pub use ranker::Ranker;
pub use ranking::RetrievalRun;
