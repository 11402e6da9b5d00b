//! Tables and queries of SQLite and PostgreSQL databases, behind the feature `databases`.

mod url;

#[cfg(feature = "databases")]
mod driver;
#[cfg(feature = "databases")]
mod parts;
#[cfg(feature = "databases")]
mod postgres;
#[cfg(feature = "databases")]
mod provider;
#[cfg(feature = "databases")]
mod relation;
#[cfg(feature = "databases")]
mod sqlite;
#[cfg(feature = "databases")]
mod table;

#[cfg(not(feature = "databases"))]
mod absent;

#[cfg(not(feature = "databases"))]
pub(crate) use absent::{DatabasePart, DatabaseTable};
#[cfg(feature = "databases")]
pub(crate) use parts::DatabasePart;
#[cfg(feature = "databases")]
pub(crate) use table::DatabaseTable;
pub use url::DatabaseUrl;

/// What the rows of a table, or of a query, are said to come from.
pub(crate) fn place(url: &DatabaseUrl, table: Option<&str>) -> String {
    match table {
        Some(table) => format!("table {table} of {url}"),
        None => format!("query of {url}"),
    }
}
