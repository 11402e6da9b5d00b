//! Data larger than memory: read part by part, shuffled in a buffer.

mod rows;
mod shard;

use std::sync::Arc;

pub(crate) use self::rows::{Parts, Rows};
use self::shard::ShardReader;
use crate::batch::Batch;
use crate::columns::ColumnRoles;
use crate::config::DatasetConfig;
use crate::error::{Error, Result, list_names, nearest};
use crate::random::RandomStream;
use crate::source::Choice;
use crate::table::{Table, number_chunks};

/// How a [`StreamingTable`] is shuffled and cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamConfig {
    /// Rows in a batch.
    pub batch_size: usize,
    /// Rows that are shuffled together; about two and a half times their text is in memory.
    pub buffer_rows: usize,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// Seed of all that is random.
    pub seed: u64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            batch_size: 8,
            buffer_rows: 16_384,
            drop_last: false,
            seed: 42,
        }
    }
}

/// Rows in files or in a database, read anew every epoch: files of every format, tables with a primary key.
///
/// An epoch takes the parts (row groups of Parquet, ranges of JSON lines, ranges of the key, other files as a whole) in random
/// order and moves their rows through a buffer: it is filled, shuffled, and half of it given out, until the end. Each row comes once an epoch. The order is
/// a pure function of seed and epoch, so a run goes on exactly by skipping the batches that it has seen.
///
/// # Example
///
/// ```no_run
/// use sparse_data::{DatasetConfig, StreamConfig, StreamingTable};
///
/// let config = DatasetConfig { path: Some("data/large/*.jsonl".into()), ..DatasetConfig::default() };
/// let stream = StreamingTable::open(&config)?;
/// let roles = stream.roles()?;
/// for batch in stream.batches(&roles, &StreamConfig::default(), 0)? {
///     println!("{} rows", batch?.num_rows());
/// }
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StreamingTable {
    name: Option<String>,
    rows: Rows,
    buffer_rows: usize,
}

impl StreamingTable {
    /// Finds the files, their columns and their number of rows. Parquet tells them in its footer; other files are
    /// gone through once, which finds their faults before training.
    ///
    /// # Errors
    ///
    /// If the configuration asks for what needs the whole table (`retrieval`, `sql`, `query`, `lookups`, a slice), a file is missing or
    /// malformed, or a column is not there.
    pub fn open(config: &DatasetConfig) -> Result<Self> {
        Ok(Self {
            name: config.name.clone(),
            rows: Rows::open(config, Choice::of(config.columns.as_deref()))?,
            buffer_rows: config
                .buffer_rows
                .unwrap_or(StreamConfig::default().buffer_rows),
        })
    }

    /// Name of the data set.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Number of rows.
    pub fn num_rows(&self) -> u64 {
        self.rows.num_rows
    }

    /// Rows that are shuffled together, as the configuration says.
    pub fn buffer_rows(&self) -> usize {
        self.buffer_rows
    }

    /// The first rows of the first file, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// If a file can't be read.
    pub fn head(&self, n: usize) -> Result<Table> {
        let (mut parts, mut num_rows) = (Vec::new(), 0);
        for part in self.rows.parts(&self.rows.schema) {
            let part = part?;
            num_rows += part.num_rows();
            parts.push(part);
            if num_rows >= n {
                break;
            }
        }
        let all = Table::concatenate(&parts)?.slice(0..n.min(num_rows))?;
        Ok(match &self.name {
            Some(name) => all.with_name(name),
            None => all,
        })
    }

    /// Names of the columns, in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.rows
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }

    /// Which columns are inputs and which is the label.
    ///
    /// # Errors
    ///
    /// If no input is left, or a column has a reserved name or holds no text.
    pub fn roles(&self) -> Result<ColumnRoles> {
        Table::from_normal(Arc::clone(&self.rows.schema), Vec::new(), None)
            .with_name(&self.rows.place)
            .roles()
    }

    /// Number of batches of every epoch.
    pub fn num_batches(&self, config: &StreamConfig) -> u64 {
        let batch_size = config.batch_size.max(1) as u64;
        if config.drop_last {
            self.rows.num_rows / batch_size
        } else {
            self.rows.num_rows.div_ceil(batch_size)
        }
    }

    /// The batches of an epoch.
    ///
    /// # Errors
    ///
    /// If a setting is 0, or there is no such column.
    pub fn batches(
        &self,
        roles: &ColumnRoles,
        config: &StreamConfig,
        epoch: u64,
    ) -> Result<StreamBatches> {
        for (key, value) in [
            ("batch_size", config.batch_size),
            ("buffer_rows", config.buffer_rows),
        ] {
            if value == 0 {
                return Err(Error::Setting {
                    key,
                    problem: "must be at least 1; got 0".to_owned(),
                });
            }
        }
        let names = self.column_names();
        if let Some(column) = roles
            .inputs
            .iter()
            .chain(&roles.label)
            .find(|name| !names.contains(&name.as_str()))
        {
            return Err(Error::UnknownColumn {
                place: self.rows.place.clone(),
                column: column.clone(),
                nearest: nearest(column, names.iter().copied()),
                known: list_names(names),
            });
        }
        let empty = Table::from_normal(Arc::clone(&self.rows.schema), Vec::new(), None);
        let mut pending =
            RandomStream::new(config.seed, "shards", epoch).permutation(self.rows.shards.len());
        pending.reverse();
        Ok(StreamBatches {
            table: self.clone(),
            roles: roles.clone(),
            config: *config,
            random: RandomStream::new(config.seed, "buffer", epoch),
            pending,
            reader: None,
            buffer: empty.clone(),
            ready: empty,
            next: 0,
            num_empty: 0,
            failed: false,
        })
    }
}

/// The batches of one epoch of a [`StreamingTable`].
#[derive(Debug)]
pub struct StreamBatches {
    table: StreamingTable,
    roles: ColumnRoles,
    config: StreamConfig,
    random: RandomStream,
    /// Shards still to be read, the next one last.
    pending: Vec<usize>,
    reader: Option<ShardReader>,
    /// Rows that wait for the next shuffle.
    buffer: Table,
    /// Rows in the order in which they are given out, and the next of them.
    ready: Table,
    next: usize,
    /// Empty texts so far.
    num_empty: usize,
    failed: bool,
}

impl StreamBatches {
    /// Passes over batches without making their texts, to go on where a run stopped.
    ///
    /// # Errors
    ///
    /// If a file can't be read.
    pub fn skip_batches(&mut self, batches: u64) -> Result<()> {
        for _ in 0..batches {
            if self.next_rows()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The rows of the next batch, as positions in `ready`.
    fn next_rows(&mut self) -> Result<Option<std::ops::Range<usize>>> {
        while self.ready.num_rows() - self.next < self.config.batch_size {
            let rest = self.compact(&self.ready.slice(self.next..self.ready.num_rows())?)?;
            let Some(shuffled) = self.refill()? else {
                break;
            };
            self.ready = Table::concatenate(&[rest, shuffled])?;
            self.next = 0;
        }
        let left = self.ready.num_rows() - self.next;
        if left == 0 || (left < self.config.batch_size && self.config.drop_last) {
            return Ok(None);
        }
        let start = self.next;
        self.next += left.min(self.config.batch_size);
        Ok(Some(start..self.next))
    }

    /// Fills the buffer, shuffles it, and returns half of it, or all at the end.
    fn refill(&mut self) -> Result<Option<Table>> {
        let mut parts = vec![self.buffer.clone()];
        let mut num_rows = self.buffer.num_rows();
        let mut ended = false;
        while num_rows < self.config.buffer_rows {
            let Some(part) = self.read()? else {
                ended = true;
                break;
            };
            num_rows += part.num_rows();
            parts.push(part);
        }
        if num_rows == 0 {
            return Ok(None);
        }
        let all = Table::concatenate(&parts)?;
        let order = self.random.permutation(num_rows);
        let (given, kept) = order.split_at(if ended {
            num_rows
        } else {
            num_rows - num_rows / 2
        });
        self.buffer = self.compact(&all.select(kept)?)?;
        all.select(given).map(Some)
    }

    /// Copies rows, or else each would hold the whole part that it was read in.
    fn compact(&self, rows: &Table) -> Result<Table> {
        let chunks = number_chunks(&self.table.rows.place, rows.to_batches()?);
        Ok(Table::from_normal(
            Arc::clone(&self.table.rows.schema),
            chunks,
            None,
        ))
    }

    /// The next rows of the files, checked.
    fn read(&mut self) -> Result<Option<Table>> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(part) = reader.next_part(&self.table.rows.schema)? {
                    let report = part.check(&self.roles)?;
                    self.num_empty += report.empty_texts.iter().map(|(_, n)| n).sum::<usize>();
                    return Ok(Some(part));
                }
                self.reader = None;
            }
            let Some(shard) = self.pending.pop() else {
                let num_empty = std::mem::take(&mut self.num_empty);
                if num_empty > 0 {
                    tracing::warn!(
                        "`{}` holds {num_empty} empty texts; they are kept and give empty vectors",
                        self.table.rows.place
                    );
                }
                return Ok(None);
            };
            self.reader = Some(self.table.rows.shards[shard].open(&self.table.rows.schema)?);
        }
    }

    fn next_batch(&mut self) -> Result<Option<Batch>> {
        let Some(rows) = self.next_rows()? else {
            return Ok(None);
        };
        let mut batch = self.ready.batch(&self.roles, &rows.collect::<Vec<_>>())?;
        batch.dataset_name.clone_from(&self.table.name);
        Ok(Some(batch))
    }
}

impl Iterator for StreamBatches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.failed {
            return None;
        }
        let batch = self.next_batch().transpose();
        self.failed = matches!(batch, Some(Err(_)));
        batch
    }
}
