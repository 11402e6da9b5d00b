//! One interface for the databases.

use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;

use super::DatabaseUrl;
use super::postgres::Postgres;
use super::relation::{Relation, Select};
use super::sqlite::Sqlite;
use super::url::Location;
use crate::error::Result;

/// A database that was found.
#[derive(Debug)]
pub(super) enum Driver {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// A table or a view by name.
    Table(&'a str),
    /// What a query in the database's own SQL answers.
    Query(&'a str),
}

/// Why a database does not give what is wanted.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no such table.
    NoTable,
    /// What the database said.
    Said(String),
}

impl From<String> for Failure {
    fn from(said: String) -> Self {
        Self::Said(said)
    }
}

impl Driver {
    /// Finds the file, or asks the server to let us in.
    pub(super) async fn connect(url: &DatabaseUrl) -> Result<Self> {
        Ok(match url.location()? {
            Location::Sqlite(path) => Self::Sqlite(Sqlite::find(url, &path)?),
            Location::Postgres(server) => Self::Postgres(Postgres::connect(url, server).await?),
        })
    }

    /// Names and types of what is wanted.
    pub(super) async fn describe(&self, wanted: Wanted<'_>) -> Result<Relation, Failure> {
        match self {
            Self::Sqlite(sqlite) => sqlite.describe(wanted).await,
            Self::Postgres(postgres) => postgres.describe(wanted).await,
        }
    }

    /// Names of tables and views, sorted.
    pub(super) async fn tables(&self) -> Result<Vec<String>, String> {
        let rows = match self {
            Self::Sqlite(_) => self.rows(Sqlite::TABLES.to_owned()).await?,
            Self::Postgres(_) => self.rows(Postgres::TABLES.to_owned()).await?,
        };
        Ok(rows.into_iter().flatten().collect())
    }

    /// The answer to a query whose columns are all text; null is an empty text.
    pub(super) async fn rows(&self, sql: String) -> Result<Vec<Vec<String>>, String> {
        match self {
            Self::Sqlite(sqlite) => sqlite.rows(sql).await,
            Self::Postgres(postgres) => postgres.rows(&sql).await,
        }
    }

    /// An expression that gives a column's value as it is written in a query.
    pub(super) fn literal(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("quote({column})"),
            Self::Postgres(_) => format!("quote_literal(CAST({column} AS text))"),
        }
    }

    /// The rows of a query as they come; must be called inside of the runtime.
    pub(super) fn read(&self, select: Select, place: Arc<str>) -> SendableRecordBatchStream {
        match self {
            Self::Sqlite(sqlite) => sqlite.read(select, place),
            Self::Postgres(postgres) => postgres.read(select, place),
        }
    }
}
