//! Exact search: the best documents of a query, none missed.

mod block;
mod brute;
mod builder;
mod cost;
mod index;
mod list_checks;
mod top_k;

pub(crate) use block::{Block, Scores};
pub use brute::brute_force;
pub use builder::IndexBuilder;
pub use cost::IndexCost;
pub use index::InvertedIndex;
pub(crate) use list_checks::{ListChecks, checksum};
pub use top_k::{Hit, TopK};
