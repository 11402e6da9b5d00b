//! Tables of text and samplers of batches, on Arrow and DataFusion.
//!
//! A [`Table`] is read from files (CSV, TSV, JSON, Parquet, Arrow, text; compressed, by pattern, by directory; of this
//! machine, of an object store or of the hub), from a database, from a [`Retrieval`] folder or from memory, cut by a
//! [`SplitExpression`] and reshaped by SQL or by its methods. Its [`ColumnRoles`] say which columns are inputs and which is the label. A [`BatchSampler`] cuts an epoch into lists of
//! rows, and [`Table::batch`] makes a [`Batch`] of texts and labels out of one. A [`StreamingTable`] does the same for
//! data that are larger than memory; a [`Dataset`] is either.
//!
//! ```
//! use sparse_data::{Column, SamplerConfig, Table};
//!
//! let table = Table::from_columns([
//!     ("query", Column::from(["red fruit", "yellow fruit", "green fruit"])),
//!     ("answer", Column::from(["apple", "banana", "pear"])),
//! ])?;
//! let roles = table.roles()?;
//! for warning in table.check(&roles)?.warnings {
//!     eprintln!("{warning}");
//! }
//! let sampler = SamplerConfig { batch_size: 2, ..SamplerConfig::default() }.init(&table, &roles)?;
//! for rows in sampler.epoch(0)? {
//!     let batch = table.batch(&roles, &rows)?;
//!     assert_eq!(batch.columns[1].name, "answer");
//! }
//! # Ok::<(), sparse_data::Error>(())
//! ```
//!
//! Bad data are the user's to mend, so every [`Error`] names the file, the row and the column. This crate never sees a
//! tensor and never tokenizes; only `source/remote.rs`, `source/hub.rs` and `source/database/` open a
//! socket.

mod batch;
mod chunk;
mod columns;
mod concatenate;
mod config;
mod dataset;
mod error;
mod ids;
mod json_id;
mod label;
mod lookup;
mod memory;
mod operations;
mod random;
mod retrieval;
mod sampler;
mod schema;
mod source;
mod split;
mod stream;
mod table;
mod text_list;
mod texts;
mod types;
mod vector_file;
mod vector_reader;

pub use batch::{Batch, TableReport, TextColumn};
pub use columns::{ColumnRoles, LABEL_COLUMNS};
pub use config::{DatasetConfig, Paths};
pub use dataset::Dataset;
pub use error::{Error, Result};
pub use json_id::Id;
pub use label::Labels;
pub use lookup::{Lookup, LookupColumns};
pub use memory::Column;
pub use operations::{Row, SplitSize};
pub use retrieval::{Judgement, Retrieval};
pub use sampler::{
    BatchSampler, BatchSamplerKind, GroupByLabelSampler, MixedBatch, MultiDatasetKind,
    MultiDatasetSampler, NoDuplicatesSampler, SampleOrder, SamplerConfig, ShuffledSampler,
    TokenBudgetSampler,
};
pub use source::{DatabaseUrl, Format, Lines, ReadLimits};
pub use split::SplitExpression;
pub use stream::{StreamBatches, StreamConfig, StreamingTable};
pub use table::Table;
pub use texts::{TextRow, TextRows, Texts};
pub use vector_file::VectorFile;
pub use vector_reader::{VectorBatch, VectorReader};
