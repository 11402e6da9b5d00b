//! What stands for a database in a build that can't open one.

use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::DatabaseUrl;
use crate::error::{Error, Result};
use crate::table::Table;

/// A table that can't be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DatabaseTable {}

/// A part of a table that can't be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DatabasePart {}

impl DatabaseTable {
    pub(crate) fn open(_: &DatabaseUrl, _: Option<&str>, _: Option<&str>) -> Result<Self> {
        Err(Error::Setting {
            key: "database",
            problem: "needs a build that can open databases: build with `--features databases`"
                .to_owned(),
        })
    }

    pub(crate) fn read(&self, _: Option<&[String]>) -> Result<Table> {
        match *self {}
    }

    pub(crate) fn column_names(&self) -> Vec<&str> {
        match *self {}
    }

    pub(crate) fn query(&self, _: &str) -> Result<Table> {
        match *self {}
    }

    pub(crate) fn parts(&self, _: Option<&[String]>) -> Result<(Schema, Vec<DatabasePart>)> {
        match *self {}
    }
}

impl DatabasePart {
    pub(crate) fn num_rows(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn read(&self, _: &SchemaRef) -> Result<Table> {
        match *self {}
    }
}
