//! One data set as a configuration file describes it.

mod shown;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_hub::HubOptions;

use crate::error::{Error, Result, list_names};
use crate::lookup::{Lookup, Others, resolve_ids};
use crate::retrieval::Retrieval;
use crate::source::{
    Choice, DataFile, DatabaseTable, DatabaseUrl, Format, ReadLimits, ReadOptions, SplitFiles,
    canonical_split, hub_splits, query, read_files, resolve,
};
use crate::split::SplitExpression;
use crate::table::Table;

/// One path, or several.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub enum Paths {
    /// A file, a directory or a pattern such as `data/*.parquet`.
    One(String),
    /// Several of these, read in this order.
    Many(Vec<String>),
}

impl Paths {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

impl From<&str> for Paths {
    fn from(path: &str) -> Self {
        Self::One(path.to_owned())
    }
}

/// Where a data set comes from and what is taken from it: a `[[train_dataset]]` table of a training file.
///
/// What is shown and what is serialized has no secrets: `storage_options` such as `aws_secret_access_key` are left out and can
/// come from the environment, addresses have no user, password and query.
///
/// The steps are taken in this order: read, cut by `split`, replace ids through `lookups`, ask `sql`, choose `columns`.
///
/// # Example
///
/// ```no_run
/// use sparse_data::{DatasetConfig, Table};
///
/// let config = DatasetConfig {
///     path: Some("data/nq/*.parquet".into()),
///     split: Some("train[:1000]".to_owned()),
///     columns: Some(vec!["query".to_owned(), "answer".to_owned()]),
///     ..DatasetConfig::default()
/// };
/// let table = Table::load(&config)?;
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetConfig {
    /// Name by which losses, prompts and logs refer to the data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Files: CSV, TSV, JSON, Parquet, Arrow or text, by the endings of their names; on this machine or at an address that
    /// begins with `s3://`, `gs://`, `http://` or `https://`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Paths>,
    /// Settings of an object store by name, such as `aws_endpoint`, beside those of the environment.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        serialize_with = "shown::without_secrets"
    )]
    pub storage_options: BTreeMap<String, String>,
    /// Id of a data set of the hub, such as `sentence-transformers/all-nli`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Subset of the data set of the hub, also called its configuration; needed if it has several and none is `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Branch, tag or commit of the hub's repository, whose own files are read then, not those that the hub converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// A database: `sqlite:data/pairs.db` or `postgres://user@host/database`. Needs the feature `databases`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseUrl>,
    /// Table or view of the database, in the order of its primary key; `schema.table` if the schema is not the usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Instead of `table`, a query that the database answers, in its own SQL. Without `order by` the rows are ordered by
    /// their columns, so that they come in the same order every time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A folder with `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, taken as (query, document) pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<PathBuf>,
    /// Format of the files where their names do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Character between the cells of CSV and TSV files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Splits and slices of them, in the language of [`SplitExpression`]; `train` of a retrieval folder if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Columns of ids, and the files in which their texts are.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lookups: BTreeMap<String, Lookup>,
    /// A query in SQL; the table is called `data`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Columns to train on, in order: query, positive, negatives; and the label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Reads the rows anew every epoch instead of holding them in memory: a [`StreamingTable`](crate::StreamingTable).
    #[serde(skip_serializing_if = "is_false")]
    pub streaming: bool,
    /// Rows of a streamed data set that are in memory and shuffled together; 16,384 if missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buffer_rows: Option<usize>,
    /// What is taken of a file at most.
    #[serde(skip_serializing_if = "ReadLimits::is_default")]
    pub limits: ReadLimits,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

impl DatasetConfig {
    /// The rows of a file, a pattern or a directory.
    pub fn from_path(path: impl AsRef<std::path::Path>) -> Self {
        Self {
            path: Some(Paths::One(path.as_ref().to_string_lossy().into_owned())),
            ..Self::default()
        }
    }

    /// The training pairs of a retrieval folder: split `train`, unless `split` is set.
    pub fn from_retrieval(folder: impl Into<PathBuf>) -> Self {
        Self {
            retrieval: Some(folder.into()),
            ..Self::default()
        }
    }

    pub(super) fn split_expression(&self) -> Result<Option<SplitExpression>> {
        self.split.as_deref().map(str::parse).transpose()
    }

    /// Reads the rows of the splits that are asked for.
    fn read(&self, choice: Choice) -> Result<Table> {
        let split = self.split_expression()?;
        if let Some(folder) = &self.retrieval {
            let split = split.map_or_else(|| "train".parse(), Ok)?;
            let retrieval = Retrieval::open_with(folder, self.limits)?;
            let known = retrieval.splits()?;
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            split.check_names(&folder.display().to_string(), &known)?;
            return concatenate_splits(&split, |name| retrieval.training_pairs(name));
        }
        if let Some(database) = self.open_database()? {
            let columns = self.untouched_columns();
            return match self.database_split()? {
                None => database.read(columns),
                Some(split) => concatenate_splits(&split, |_| database.read(columns)),
            };
        }
        let splits = self.splits()?;
        let options = self.read_options(choice);
        let Some(split) = self.choose_split(&splits)? else {
            return read_files(&splits[0].files, &options);
        };
        concatenate_splits(&split, |name| {
            let files = splits
                .iter()
                .filter(|split| split.name == name)
                .flat_map(|split| &split.files);
            read_files(files, &options)
        })
    }

    /// How the chosen columns of files are read.
    pub(crate) fn read_options(&self, columns: Choice) -> ReadOptions {
        ReadOptions {
            format: self.format,
            delimiter: self
                .delimiter
                .and_then(|delimiter| u8::try_from(delimiter).ok()),
            columns,
            limits: self.limits,
        }
    }

    /// The setting that needs all rows in memory, if there is one.
    pub(crate) fn needs_memory(&self) -> Option<&'static str> {
        let settings = [
            ("retrieval", self.retrieval.is_some()),
            ("sql", self.sql.is_some()),
            ("query", self.query.is_some()),
            ("lookups", !self.lookups.is_empty()),
        ];
        let mut given = settings.into_iter().filter(|(_, given)| *given);
        given.next().map(|(key, _)| key)
    }

    /// The columns asked for, if nothing else looks at the others.
    fn untouched_columns(&self) -> Option<&[String]> {
        let untouched = self.sql.is_none() && self.lookups.is_empty();
        self.columns.as_deref().filter(|_| untouched)
    }

    /// The table or the query of a database, if the source is one.
    pub(crate) fn open_database(&self) -> Result<Option<DatabaseTable>> {
        let open = |url| DatabaseTable::open(url, self.table.as_deref(), self.query.as_deref());
        self.database.as_ref().map(open).transpose()
    }

    /// The split expression; all rows of a database are the split `train`.
    fn database_split(&self) -> Result<Option<SplitExpression>> {
        let Some(split) = self.split_expression()? else {
            return Ok(None);
        };
        let known = ["train"];
        let split = split.with_names(canonical_split, &known);
        split.check_names(&self.place(), &known)?;
        Ok(Some(split))
    }

    /// How often all rows of a database are asked for.
    pub(crate) fn whole_database(&self) -> Result<usize> {
        let Some(split) = self.database_split()? else {
            return Ok(1);
        };
        refuse_slices(&split)?;
        Ok(split.names().count())
    }

    /// The files of the source by split, at least one.
    fn splits(&self) -> Result<Vec<SplitFiles>> {
        if let Some(id) = &self.hub {
            let options = HubOptions {
                revision: self.revision.clone(),
                ..HubOptions::default()
            };
            return hub_splits(options, id, self.subset.as_deref());
        }
        resolve(
            self.path.as_ref().map_or(&[][..], Paths::as_slice),
            &self.storage_options,
        )
    }

    /// The split expression, checked against the splits that there are; none if none is given and there is only one.
    fn choose_split(&self, splits: &[SplitFiles]) -> Result<Option<SplitExpression>> {
        let known: Vec<&str> = splits.iter().map(|split| split.name.as_str()).collect();
        let place = self.place();
        match self.split_expression()? {
            Some(split) => {
                let split = split.with_names(canonical_split, &known);
                split.check_names(&place, &known)?;
                Ok(Some(split))
            }
            None if splits.len() == 1 => Ok(None),
            None => Err(Error::Setting {
                key: "split",
                problem: format!("is missing: `{place}` has the splits {}", list_names(known)),
            }),
        }
    }

    /// The files of the splits that are asked for, none of them cut.
    pub(crate) fn whole_splits(&self) -> Result<Vec<DataFile>> {
        let splits = self.splits()?;
        let Some(split) = self.choose_split(&splits)? else {
            return Ok(splits[0].files.clone());
        };
        refuse_slices(&split)?;
        let files = split.names().flat_map(|name| {
            let of_name = splits.iter().filter(move |split| split.name == name);
            of_name.flat_map(|split| split.files.clone())
        });
        Ok(files.collect())
    }
}

fn refuse_slices(split: &SplitExpression) -> Result<()> {
    if split.is_whole() {
        return Ok(());
    }
    Err(Error::Setting {
        key: "split",
        problem: "takes a slice, which needs the whole table in memory and can't be streamed; name whole splits"
            .to_owned(),
    })
}

fn concatenate_splits(
    split: &SplitExpression,
    read: impl Fn(&str) -> Result<Table>,
) -> Result<Table> {
    let mut tables: BTreeMap<&str, Table> = BTreeMap::new();
    for name in split.names() {
        if !tables.contains_key(name) {
            tables.insert(name, read(name)?);
        }
    }
    let ranges = split.ranges(|name| tables.get(name).map_or(0, Table::num_rows))?;
    let parts = ranges
        .into_iter()
        .map(|(name, range)| {
            let table = &tables[name];
            if range == (0..table.num_rows()) {
                return Ok(table.clone());
            }
            table.slice(range)
        })
        .collect::<Result<Vec<_>>>()?;
    Table::concatenate(&parts)
}

impl Table {
    /// Reads a file, the files of a directory, or those that match a pattern.
    ///
    /// # Errors
    ///
    /// If there is no such file, it can't be read, or it is malformed; the message names the file, row and column.
    pub fn read(path: &str) -> Result<Self> {
        Self::load(&DatasetConfig {
            path: Some(path.into()),
            ..DatasetConfig::default()
        })
    }

    /// Reads a data set as a configuration describes it.
    ///
    /// # Errors
    ///
    /// If the configuration is not valid, a file is missing or malformed, a database or a table of it can't be read, a split
    /// or a column is not there, the query fails, no row is left, or the columns stand in an order that their names contradict (positive before anchor)
    /// and `columns` does not confirm.
    pub fn load(config: &DatasetConfig) -> Result<Self> {
        config.validate()?;
        if config.streaming {
            return Err(Error::Setting {
                key: "streaming",
                problem:
                    "is for training and evaluation data sets; here all rows must be in memory"
                        .to_owned(),
            });
        }
        // A question about a database's table as it stands needs only the columns that it names.
        let untouched = config.split.is_none() && config.lookups.is_empty();
        let direct = match &config.sql {
            Some(sql) if untouched => Some(sql).zip(config.open_database()?),
            _ => None,
        };
        let asked = direct.is_some();
        let mut table = match direct {
            Some((sql, database)) => database.query(sql)?,
            None => config.read(Choice::of(config.untouched_columns()))?,
        };
        if let Some(name) = &config.name {
            table = table.with_name(name);
        }
        if !config.lookups.is_empty() {
            let chosen_later = config.sql.is_some() || config.columns.is_some();
            let others = if chosen_later {
                Others::All
            } else {
                Others::Trainable
            };
            table = resolve_ids(&table, &config.lookups, others, &config.limits)?;
        }
        if let Some(sql) = &config.sql
            && !asked
        {
            table = query(&table, sql)?;
        }
        if config.sql.is_some() {
            // A query may call a column a label that had another name in a file of texts.
            table = table.with_number_labels()?;
        }
        if let Some(columns) = &config.columns {
            table = table.select_columns(columns)?;
        } else if config.sql.is_none()
            && let Some(order) = crate::ColumnRoles::from_names(table.column_names()).inverted()
        {
            return Err(Error::Columns {
                place: table.place().to_owned(),
                problem: format!(
                    "column `{}` stands before `{}`, and the order decides which is the query; write `columns = {order:?}`, \
                     or the present order to confirm it",
                    order[1], order[0]
                ),
            });
        }
        if table.is_empty() {
            let problem = match &config.sql {
                Some(sql) => format!("`sql = \"{sql}\"` leaves no rows"),
                None => "it has no rows".to_owned(),
            };
            return Err(Error::Empty {
                place: config.place(),
                problem,
            });
        }
        Ok(table)
    }
}
