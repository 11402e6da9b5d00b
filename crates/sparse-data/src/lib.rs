//! Tables of text and samplers of batches, on Arrow and DataFusion.

mod batch;
mod columns;
mod config;
mod error;
mod ids;
mod label;
mod lookup;
mod memory;
mod operations;
mod random;
mod retrieval;
mod sampler;
mod source;
mod split;
mod table;
mod vector_file;

pub use batch::{Batch, TableReport, TextColumn};
pub use columns::{ColumnRoles, LABEL_COLUMNS};
pub use config::{DatasetConfig, Paths};
pub use error::{Error, Result};
pub use label::Labels;
pub use lookup::{Lookup, LookupColumns};
pub use memory::Column;
pub use operations::{Row, SplitSize};
pub use retrieval::{Judgement, Retrieval};
pub use sampler::{
    BatchSampler, BatchSamplerKind, GroupByLabelSampler, MixedBatch, MultiDatasetKind, MultiDatasetSampler,
    NoDuplicatesSampler, SampleOrder, SamplerConfig, ShuffledSampler, TokenBudgetSampler,
};
pub use source::Format;
pub use split::SplitExpression;
pub use table::Table;
pub use vector_file::VectorFile;
