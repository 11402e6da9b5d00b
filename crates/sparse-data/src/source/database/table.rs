//! A table, or a query, of a database.

use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use super::driver::{Driver, Failure, Wanted};
use super::provider::Provider;
use super::relation::{Relation, Select};
use super::{DatabaseUrl, place};
use crate::error::{Error, Result, list_names, nearest};
use crate::source::engine::{block_on, message, query_provider};
use crate::table::{Chunk, Table, check_names, number_chunks};

/// A table, or a query, that was found and described.
#[derive(Debug, Clone)]
pub(crate) struct DatabaseTable {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    driver: Driver,
    relation: Relation,
    place: Arc<str>,
}

impl DatabaseTable {
    /// Finds a table of a database, or what a query of it answers.
    pub(crate) fn open(
        url: &DatabaseUrl,
        table: Option<&str>,
        query: Option<&str>,
    ) -> Result<Self> {
        let place: Arc<str> = place(url, table).into();
        let (driver, relation) = block_on(async {
            let driver = Driver::connect(url).await?;
            let wanted = match (table, query) {
                (Some(table), _) => Wanted::Table(table),
                (None, Some(query)) => Wanted::Query(query),
                (None, None) => return Err(no_choice(url, &driver).await),
            };
            match driver.describe(wanted).await {
                Ok(relation) => Ok((driver, relation)),
                Err(failure) => Err(explain(url, &driver, wanted, failure).await),
            }
        })??;
        check_names(&place, &relation.schema())?;
        Ok(Self {
            inner: Arc::new(Inner {
                driver,
                relation,
                place,
            }),
        })
    }

    /// Reads all rows of some columns, or of all.
    pub(crate) fn read(&self, columns: Option<&[String]>) -> Result<Table> {
        let columns = self.positions(columns)?;
        self.collect(self.relation().select(&columns, None, None, 1))
    }

    /// Asks a question in the SQL of DataFusion; the table is called `data`.
    pub(crate) fn query(&self, sql: &str) -> Result<Table> {
        query_provider(Arc::new(Provider(self.clone())), &self.inner.place, sql)
    }

    pub(super) fn collect(&self, select: Select) -> Result<Table> {
        let schema = Arc::clone(&select.schema);
        let offset = select.first_row - 1;
        let batches = block_on(async { self.rows(select).try_collect::<Vec<_>>().await })?;
        let batches = batches.map_err(|error| self.error(error))?;
        let chunks = number_chunks(&self.inner.place, batches);
        let chunks = chunks.into_iter().map(|chunk| {
            let first_row = chunk.first_row + offset;
            Chunk { first_row, ..chunk }.shrunk()
        });
        Table::from_chunks(&schema, chunks.collect::<Result<_>>()?)
    }

    /// Names of the columns, in order.
    pub(crate) fn column_names(&self) -> Vec<&str> {
        let columns = self.relation().columns.iter();
        columns.map(|column| column.name.as_str()).collect()
    }

    pub(super) fn relation(&self) -> &Relation {
        &self.inner.relation
    }

    pub(super) fn driver(&self) -> &Driver {
        &self.inner.driver
    }

    pub(super) fn place(&self) -> &str {
        &self.inner.place
    }

    /// The rows as they come; must be called inside of the runtime.
    pub(super) fn rows(&self, select: Select) -> SendableRecordBatchStream {
        self.driver().read(select, Arc::clone(&self.inner.place))
    }

    /// Positions of columns, of all if none are named.
    pub(super) fn positions(&self, columns: Option<&[String]>) -> Result<Vec<usize>> {
        let known = &self.relation().columns;
        let Some(columns) = columns else {
            return Ok((0..known.len()).collect());
        };
        let names = || known.iter().map(|column| column.name.as_str());
        columns
            .iter()
            .map(|column| {
                names()
                    .position(|name| name == column)
                    .ok_or_else(|| Error::UnknownColumn {
                        place: self.place().to_owned(),
                        column: column.clone(),
                        nearest: nearest(column, names()),
                        known: list_names(names()),
                    })
            })
            .collect()
    }

    /// An error of a stream of rows.
    fn error(&self, error: DataFusionError) -> Error {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => self.failed(other.to_string()),
            },
            other => self.failed(message(&other)),
        }
    }

    pub(super) fn failed(&self, problem: String) -> Error {
        Error::Malformed {
            file: self.place().to_owned(),
            row: None,
            line: None,
            column: None,
            problem,
        }
    }
}

/// The error for a data set that names neither a table nor a query.
async fn no_choice(url: &DatabaseUrl, driver: &Driver) -> Error {
    match driver.tables().await {
        Ok(known) => Error::Setting {
            key: "table",
            problem: format!(
                "is missing: `{url}` has the tables {}; name one, or ask a `query`",
                list_names(known.iter().map(String::as_str))
            ),
        },
        Err(problem) => unreadable(url, problem),
    }
}

async fn explain(
    url: &DatabaseUrl,
    driver: &Driver,
    wanted: Wanted<'_>,
    failure: Failure,
) -> Error {
    match (failure, wanted) {
        (Failure::NoTable, Wanted::Table(table)) => match driver.tables().await {
            Ok(known) => Error::UnknownTable {
                place: url.to_string(),
                table: table.to_owned(),
                nearest: nearest(table, known.iter().map(String::as_str)),
                known: list_names(known.iter().map(String::as_str)),
            },
            Err(problem) => unreadable(url, problem),
        },
        (Failure::Said(problem), Wanted::Query(query)) => Error::Sql {
            key: "query",
            query: query.to_owned(),
            place: url.to_string(),
            problem,
        },
        (Failure::Said(problem), Wanted::Table(_)) => unreadable(url, problem),
        (Failure::NoTable, Wanted::Query(_)) => unreadable(url, "a table is missing".to_owned()),
    }
}

fn unreadable(url: &DatabaseUrl, problem: String) -> Error {
    Error::Remote {
        url: url.to_string(),
        problem,
        user: true,
    }
}
