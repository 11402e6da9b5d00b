//! One data set as a configuration file describes it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_hub::HubOptions;

use crate::error::{Error, Result, list_names};
use crate::lookup::{Lookup, Others, resolve_ids};
use crate::retrieval::Retrieval;
use crate::source::{
    Choice, DataFile, DatabaseTable, DatabaseUrl, Format, ReadOptions, SplitFiles, canonical_split,
    database_place, hub_splits, is_secret, masked, query, read_files, resolve,
};
use crate::split::SplitExpression;
use crate::table::Table;

/// One path, or several.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
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

/// Addresses without accounts and signatures.
impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path) => f.debug_tuple("One").field(&masked(path)).finish(),
            Self::Many(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| masked(path)).collect();
                f.debug_tuple("Many").field(&paths).finish()
            }
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
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
}

/// Without the secrets of an object store.
impl fmt::Debug for DatasetConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            path,
            storage_options,
            hub,
            subset,
            revision,
            database,
            table,
            query,
            retrieval,
            format,
            delimiter,
            split,
            lookups,
            sql,
            columns,
            streaming,
            buffer_rows,
        } = self;
        let shown = |(name, value): (&'_ String, &'_ String)| {
            let value = if is_secret(name) { "***" } else { value };
            (name.clone(), masked(value).into_owned())
        };
        let storage_options: BTreeMap<String, String> = storage_options.iter().map(shown).collect();
        f.debug_struct("DatasetConfig")
            .field("name", name)
            .field("path", path)
            .field("storage_options", &storage_options)
            .field("hub", hub)
            .field("subset", subset)
            .field("revision", revision)
            .field("database", database)
            .field("table", table)
            .field("query", query)
            .field("retrieval", retrieval)
            .field("format", format)
            .field("delimiter", delimiter)
            .field("split", split)
            .field("lookups", lookups)
            .field("sql", sql)
            .field("columns", columns)
            .field("streaming", streaming)
            .field("buffer_rows", buffer_rows)
            .finish()
    }
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

    /// Checks what can be checked without a file.
    ///
    /// # Errors
    ///
    /// If not exactly one source is given, settings contradict each other, or the split can't be parsed.
    pub fn validate(&self) -> Result<()> {
        let setting = |key, problem: &str| {
            Err(Error::Setting {
                key,
                problem: problem.to_owned(),
            })
        };
        let sources: Vec<&str> = [
            ("path", self.path.is_some()),
            ("hub", self.hub.is_some()),
            ("database", self.database.is_some()),
            ("retrieval", self.retrieval.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        match sources.as_slice() {
            [] => {
                return setting(
                    "path",
                    "is missing: a data set needs `path`, `hub`, `database` or `retrieval`",
                );
            }
            [_] => {}
            [first, second, ..] => {
                let problem = format!(
                    "is one way to name a data set; `{first}` and `{second}` can't both be given"
                );
                return setting("path", &problem);
            }
        }
        if self
            .path
            .as_ref()
            .is_some_and(|paths| paths.as_slice().is_empty())
        {
            return setting("path", "is an empty list");
        }
        if self.hub.is_none() {
            for (key, given) in [("subset", &self.subset), ("revision", &self.revision)] {
                if given.is_some() {
                    return setting(key, "belongs to `hub`");
                }
            }
        }
        match &self.database {
            Some(_) if self.table.is_some() && self.query.is_some() => {
                return setting("query", "and `table` can't both be given");
            }
            Some(_) if self.format.is_some() || self.delimiter.is_some() => {
                return setting(
                    "format",
                    "and `delimiter` belong to `path`, not to `database`",
                );
            }
            Some(database) => database.validate()?,
            None => {
                for (key, given) in [("table", &self.table), ("query", &self.query)] {
                    if given.is_some() {
                        return setting(key, "belongs to `database`");
                    }
                }
            }
        }
        if self.retrieval.is_some() {
            if self.format.is_some() || self.delimiter.is_some() {
                return setting(
                    "format",
                    "and `delimiter` belong to `path`, not to `retrieval`",
                );
            }
            if !self.lookups.is_empty() {
                return setting(
                    "lookups",
                    "belong to `path`; a retrieval folder is joined by itself",
                );
            }
        }
        let is_remote = |path: &String| crate::source::scheme(path).is_some();
        let paths = self.path.as_ref().map_or(&[][..], Paths::as_slice);
        if !self.storage_options.is_empty() && !paths.iter().any(is_remote) {
            return setting("storage_options", "belong to a `path` in an object store");
        }
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            return setting("columns", "is an empty list");
        }
        if self.delimiter.is_some_and(|delimiter| {
            !delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r')
        }) {
            return setting(
                "delimiter",
                "must be one ASCII character, neither a quote nor a line end",
            );
        }
        match self.buffer_rows {
            Some(_) if !self.streaming => {
                return setting("buffer_rows", "belongs to `streaming = true`");
            }
            Some(0) => return setting("buffer_rows", "must be at least 1; got 0"),
            _ => {}
        }
        self.split_expression()?;
        Ok(())
    }

    fn split_expression(&self) -> Result<Option<SplitExpression>> {
        self.split.as_deref().map(str::parse).transpose()
    }

    /// What the source is called in messages.
    pub(crate) fn place(&self) -> String {
        let folder = self
            .retrieval
            .as_ref()
            .map(|folder| folder.display().to_string());
        let paths = self.path.as_ref().map(|paths| {
            let shown = paths.as_slice().iter().map(|path| masked(path));
            shown.collect::<Vec<_>>().join(", ")
        });
        let database = self
            .database
            .as_ref()
            .map(|url| database_place(url, self.table.as_deref()));
        paths
            .or_else(|| self.hub.clone())
            .or(database)
            .or(folder)
            .or_else(|| self.name.clone())
            .unwrap_or_default()
    }

    /// Reads the chosen columns of files, however the rows are to be used.
    pub(crate) fn load_chosen(&self, choice: Choice) -> Result<Table> {
        self.validate()?;
        let table = self.read(choice)?;
        if table.is_empty() {
            return Err(Error::Empty {
                place: self.place(),
                problem: "it has no rows".to_owned(),
            });
        }
        Ok(table)
    }

    /// Reads the rows of the splits that are asked for.
    fn read(&self, choice: Choice) -> Result<Table> {
        let split = self.split_expression()?;
        if let Some(folder) = &self.retrieval {
            let split = split.map_or_else(|| "train".parse(), Ok)?;
            let retrieval = Retrieval::open(folder)?;
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
        let options = ReadOptions {
            format: self.format,
            delimiter: self
                .delimiter
                .and_then(|delimiter| u8::try_from(delimiter).ok()),
            columns: choice,
        };
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
            table = resolve_ids(&table, &config.lookups, others)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let config = DatasetConfig {
            path: Some("https://me:hush@host/a.csv?X-Amz-Signature=hush".into()),
            database: Some("postgres://me:hush@host/shop".into()),
            storage_options: [
                ("aws_secret_access_key".to_owned(), "hush".to_owned()),
                ("aws_endpoint".to_owned(), "https://u:hush@store".to_owned()),
            ]
            .into(),
            ..DatasetConfig::default()
        };
        let shown = format!("{config:?} {}", config.place());
        assert!(!shown.contains("hush"), "{shown}");
        assert!(
            shown.contains("\"aws_endpoint\": \"https://store\""),
            "{shown}"
        );
        let database = DatasetConfig {
            path: None,
            ..config.clone()
        };
        let shown = format!("{} {:?}", database.place(), config.validate());
        assert!(!shown.contains("hush"), "{shown}");
        let wrong = DatasetConfig {
            storage_options: BTreeMap::new(),
            ..DatasetConfig::from_path("ftp://me:hush@host/a.csv?key=hush")
        };
        let error = Table::load(&wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`path` = \"ftp://host/a.csv\" is no address: `ftp` is none of s3, gs, http, https"
        );
        assert!(!format!("{error:?}").contains("hush"));
    }
}
