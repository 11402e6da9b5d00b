//! A data set as training meets it: in memory, or streamed.

use crate::batch::TableReport;
use crate::columns::ColumnRoles;
use crate::config::DatasetConfig;
use crate::error::Result;
use crate::stream::StreamingTable;
use crate::table::Table;

/// Rows of a streamed data set that are looked at before training.
const CHECKED_ROWS: usize = 1024;

/// Rows to train or to evaluate on: all in memory, with random access, or read anew every epoch.
#[derive(Debug, Clone)]
pub enum Dataset {
    /// All rows in memory.
    Table(Table),
    /// Rows that are read part by part: `streaming = true`.
    Stream(StreamingTable),
}

impl Dataset {
    /// Reads or opens a data set as a configuration describes it.
    ///
    /// # Errors
    ///
    /// As [`Table::load`], or with `streaming` as [`StreamingTable::open`].
    pub fn load(config: &DatasetConfig) -> Result<Self> {
        Ok(if config.streaming {
            Self::Stream(StreamingTable::open(config)?)
        } else {
            Self::Table(Table::load(config)?)
        })
    }

    /// Name of the data set, as the configuration gives it.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Table(table) => table.name(),
            Self::Stream(stream) => stream.name(),
        }
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        match self {
            Self::Table(table) => table.num_rows(),
            Self::Stream(stream) => usize::try_from(stream.num_rows()).unwrap_or(usize::MAX),
        }
    }

    /// Names of the columns, in order.
    pub fn column_names(&self) -> Vec<&str> {
        match self {
            Self::Table(table) => table.column_names(),
            Self::Stream(stream) => stream.column_names(),
        }
    }

    /// Which columns are inputs and which is the label.
    ///
    /// # Errors
    ///
    /// If no input is left, or a column has a reserved name.
    pub fn roles(&self) -> Result<ColumnRoles> {
        match self {
            Self::Table(table) => table.roles(),
            Self::Stream(stream) => stream.roles(),
        }
    }

    /// The first rows, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// If a streamed file can't be read.
    pub fn head(&self, n: usize) -> Result<Table> {
        match self {
            Self::Table(table) => table.slice(0..n.min(table.num_rows())),
            Self::Stream(stream) => stream.head(n),
        }
    }

    /// Finds bad data before training: in every row of a table, in the first thousand of a stream, whose others are checked
    /// as they come.
    ///
    /// # Errors
    ///
    /// As [`Table::check`].
    pub fn check(&self, roles: &ColumnRoles) -> Result<TableReport> {
        match self {
            Self::Table(table) => table.check(roles),
            Self::Stream(stream) => stream.head(CHECKED_ROWS)?.check(roles),
        }
    }
}

impl From<Table> for Dataset {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<StreamingTable> for Dataset {
    fn from(stream: StreamingTable) -> Self {
        Self::Stream(stream)
    }
}
