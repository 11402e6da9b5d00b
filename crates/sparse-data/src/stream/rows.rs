//! Rows of a source in their order, a part at a time.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use super::shard::{Shard, ShardReader, database_shards, memory_shard, shards};
use crate::config::DatasetConfig;
use crate::error::{Error, Result};
use crate::source::{Choice, DataFile, ReadOptions};
use crate::table::Table;

/// The parts of a source, and the columns that they share.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    pub(crate) place: String,
    pub(crate) schema: SchemaRef,
    pub(super) shards: Arc<[Shard]>,
    pub(crate) num_rows: u64,
}

impl Rows {
    /// Finds the parts of what a configuration describes.
    pub(crate) fn open(config: &DatasetConfig, columns: Choice) -> Result<Self> {
        config.validate()?;
        if let Some(key) = config.needs_memory() {
            return Err(Error::Setting {
                key,
                problem: "needs the whole table in memory and can't be streamed".to_owned(),
            });
        }
        let place = config.place();
        let found = match config.open_database()? {
            Some(database) => {
                let known = database.column_names();
                let names = columns.names(&place, &known)?;
                database_shards(&database, names.as_deref(), config.whole_database()?)?
            }
            None => shards(&config.whole_splits()?, &config.read_options(columns))?,
        };
        Self::of(place, found)
    }

    /// Finds the parts of files.
    pub(crate) fn of_files(files: &[DataFile], options: &ReadOptions) -> Result<Self> {
        let place = files.first().map(DataFile::shown).unwrap_or_default();
        Self::of(place, shards(files, options)?)
    }

    /// A table in memory.
    pub(crate) fn of_table(table: Table) -> Result<Self> {
        Self::of(table.place().to_owned(), memory_shard(table))
    }

    fn of(place: String, (schema, shards): (SchemaRef, Vec<Shard>)) -> Result<Self> {
        let num_rows = shards.iter().map(|shard| shard.num_rows).sum();
        if num_rows == 0 {
            return Err(Error::Empty {
                place,
                problem: "it has no rows".to_owned(),
            });
        }
        Ok(Self {
            place,
            schema,
            shards: shards.into(),
            num_rows,
        })
    }

    /// All rows in order, with the columns of `schema`.
    pub(crate) fn parts(&self, schema: &SchemaRef) -> Parts {
        Parts {
            shards: Arc::clone(&self.shards),
            schema: Arc::clone(schema),
            next: 0,
            reader: None,
        }
    }
}

/// The rows of [`Rows`], a part at a time; ends after an error.
#[derive(Debug)]
pub(crate) struct Parts {
    shards: Arc<[Shard]>,
    schema: SchemaRef,
    /// The shard after the one that is read.
    next: usize,
    reader: Option<ShardReader>,
}

impl Parts {
    fn read(&mut self) -> Result<Option<Table>> {
        loop {
            if let Some(reader) = &mut self.reader
                && let Some(part) = reader.next_part(&self.schema)?
            {
                return Ok(Some(part));
            }
            let Some(shard) = self.shards.get(self.next) else {
                return Ok(None);
            };
            self.next += 1;
            self.reader = Some(shard.open(&self.schema)?);
        }
    }
}

impl Iterator for Parts {
    type Item = Result<Table>;

    fn next(&mut self) -> Option<Result<Table>> {
        let part = self.read().transpose();
        if !matches!(part, Some(Ok(_))) {
            (self.next, self.reader) = (self.shards.len(), None);
        }
        part
    }
}
