//! SQLite, through the connection of `datafusion-table-providers-sqlite`.
//!
//! Its table provider takes the types of the columns from the first row, which makes nulls out of the texts below a null,
//! and holds the whole answer twice; so only its connection is used, and the rows are read here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_table_providers_common::sql::db_connection_pool::dbconnection::AsyncDbConnection;
use datafusion_table_providers_common::sql::db_connection_pool::{JoinPushDown, Mode};
use datafusion_table_providers_sqlite::conn::SqliteConnection;
use datafusion_table_providers_sqlite::pool::SqliteConnectionPool;
use tokio::sync::mpsc;

use super::DatabaseUrl;
use super::driver::{Failure, Wanted};
use super::relation::{Relation, RelationColumn, Select, quoted, subquery, trimmed};
use crate::error::{Error, Result};
use crate::source::engine::{BATCH_ROWS, file_url};
use crate::source::files::require;

/// How long a reader waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A file that holds a database.
#[derive(Debug)]
pub(super) struct Sqlite {
    /// Address of the file in SQLite's own form, read-only.
    address: String,
}

impl Sqlite {
    /// Lists tables and views.
    pub(super) const TABLES: &str = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') \
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";

    /// Finds the file. SQLite would create one that is missing.
    pub(super) fn find(url: &DatabaseUrl, path: &Path) -> Result<Self> {
        require(path)?;
        if path.is_dir() {
            return Err(Error::Setting {
                key: "database",
                problem: format!("= \"{url}\" is a directory, not a database"),
            });
        }
        Ok(Self {
            address: format!("{}?mode=ro", file_url(path)?),
        })
    }

    async fn open(address: &str) -> Result<SqliteConnection, String> {
        let pool = SqliteConnectionPool::new(
            address,
            Mode::File,
            JoinPushDown::Disallow,
            Vec::new(),
            BUSY_TIMEOUT,
        )
        .await
        .map_err(|error| error.to_string())?;
        let connection = {
            let connection = pool.connect_sync();
            let found = connection.as_any().downcast_ref::<SqliteConnection>();
            found.map(|found| SqliteConnection::new(found.conn.clone()))
        };
        let connection = connection.ok_or("its connection is of another kind")?;
        let waits = connection
            .conn
            .call_raw(|sqlite| sqlite.busy_timeout(BUSY_TIMEOUT).map_err(said));
        waits.await.map_err(said)??;
        Ok(connection)
    }

    pub(super) async fn rows(&self, sql: String) -> Result<Vec<Vec<String>>, String> {
        let connection = Self::open(&self.address).await?;
        let rows = connection.conn.call_raw(move |sqlite| {
            let mut statement = sqlite.prepare(&sql).map_err(said)?;
            let width = statement.column_count();
            let mut cursor = statement.query([]).map_err(said)?;
            let mut rows = Vec::new();
            while let Some(row) = cursor.next().map_err(said)? {
                let cells = (0..width).map(|column| row.get::<_, Option<String>>(column));
                let cells = cells.map(|cell| cell.map(Option::unwrap_or_default));
                rows.push(cells.collect::<Result<Vec<_>, _>>().map_err(said)?);
            }
            Ok::<_, String>(rows)
        });
        rows.await.map_err(said)?
    }

    /// Names of the columns of a query.
    async fn names(&self, query: &str) -> Result<Vec<String>, String> {
        let connection = Self::open(&self.address).await?;
        let sql = query.to_owned();
        let names = connection.conn.call_raw(move |sqlite| {
            let statement = sqlite.prepare(&sql).map_err(said)?;
            let names = statement.column_names().into_iter().map(str::to_owned);
            Ok::<Vec<String>, String>(names.collect())
        });
        let names = names.await.map_err(said)?.map_err(|said| {
            // The query is shown anyway.
            let problem = said.split(&format!(" in {query}")).next();
            problem.unwrap_or_default().to_owned()
        })?;
        if names.is_empty() {
            return Err("it gives no columns; only a `select` can be read".to_owned());
        }
        Ok(names)
    }

    pub(super) async fn describe(&self, wanted: Wanted<'_>) -> Result<Relation, Failure> {
        match wanted {
            Wanted::Query(query) => {
                let names = self.names(trimmed(query)).await?;
                let columns = self.columns(names, &subquery(query)).await?;
                Ok(Relation::of_query(query, columns))
            }
            Wanted::Table(table) => {
                let known = self.rows(Self::TABLES.to_owned()).await?;
                if !known
                    .iter()
                    .flatten()
                    .any(|name| name.eq_ignore_ascii_case(table))
                {
                    return Err(Failure::NoTable);
                }
                let from = quoted(table);
                let names = self.names(&format!("SELECT * FROM {from}")).await?;
                let key = self.key(table, &names).await?;
                let columns = self.columns(names, &from).await?;
                Ok(Relation::of_table(from, columns, key))
            }
        }
    }

    /// The number of a row, or the primary key of a table whose rows have none.
    async fn key(&self, table: &str, names: &[String]) -> Result<Vec<String>, String> {
        let name = table.replace('\'', "''");
        let kind = format!(
            "SELECT type || wr FROM pragma_table_list WHERE schema = 'main' AND name = '{name}' COLLATE NOCASE"
        );
        let kind = self.rows(kind).await?.into_iter().flatten().next();
        match kind.as_deref() {
            Some("table0") => {
                let hidden =
                    |alias: &&str| names.iter().any(|name| name.eq_ignore_ascii_case(alias));
                let alias = ["rowid", "_rowid_", "oid"]
                    .into_iter()
                    .find(|alias| !hidden(alias));
                Ok(alias.map(str::to_owned).into_iter().collect())
            }
            Some("table1") => {
                let key = format!(
                    "SELECT name FROM pragma_table_info('{name}') WHERE pk > 0 ORDER BY pk"
                );
                let key = self.rows(key).await?;
                Ok(key.iter().flatten().map(|name| quoted(name)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The types of columns by the values in them: a column of SQLite may hold anything.
    async fn columns(&self, names: Vec<String>, from: &str) -> Result<Vec<RelationColumn>, String> {
        const KINDS: [&str; 4] = ["text", "integer", "real", "blob"];
        let counts: Vec<String> = names
            .iter()
            .flat_map(|name| {
                KINDS.map(|kind| {
                    let name = quoted(name);
                    format!("CAST(count(*) FILTER (WHERE typeof({name}) = '{kind}') AS TEXT)")
                })
            })
            .collect();
        // As many results as SQLite allows in one query, a multiple of the kinds.
        let mut holds = Vec::new();
        for counts in counts.chunks(1000) {
            let row = self
                .rows(format!("SELECT {} FROM {from}", counts.join(", ")))
                .await?;
            holds.extend(row.into_iter().flatten().map(|count| count != "0"));
        }
        let columns = names.into_iter().zip(holds.chunks(KINDS.len()));
        Ok(columns
            .map(|(name, holds)| {
                let value = quoted(&name);
                RelationColumn {
                    data_type: match holds {
                        [true, ..] => DataType::Utf8,
                        [_, _, true, _] => DataType::Float64,
                        [_, true, ..] => DataType::Int64,
                        [.., true] => DataType::Binary,
                        _ => DataType::Utf8,
                    },
                    sort: format!("{value} COLLATE BINARY"),
                    value,
                    name,
                }
            })
            .collect())
    }

    /// Reads in a thread of its own, which waits while nobody takes the rows.
    pub(super) fn read(&self, select: Select, place: Arc<str>) -> SendableRecordBatchStream {
        let (sender, receiver) = mpsc::channel(2);
        let address = self.address.clone();
        let schema = Arc::clone(&select.schema);
        tokio::spawn(async move {
            let failed = |problem: String| Err(malformed(&place, None, None, problem));
            // A receiver that is gone wants neither rows nor errors.
            let connection = match Self::open(&address).await {
                Ok(connection) => connection,
                Err(problem) => {
                    let _ = sender.send(failed(problem)).await;
                    return;
                }
            };
            let (rows, at) = (sender.clone(), Arc::clone(&place));
            let read = connection.conn.call_raw(move |sqlite| {
                let read = || {
                    let failed = |problem: String| malformed(&at, None, None, problem);
                    let mut statement = sqlite
                        .prepare(&select.sql)
                        .map_err(|error| failed(said(error)))?;
                    let mut cursor = statement.query([]).map_err(|error| failed(said(error)))?;
                    let mut builders = Builders::new(&select.schema);
                    let mut number = select.first_row;
                    while let Some(row) = cursor.next().map_err(|error| failed(said(error)))? {
                        for (column, builder) in builders.columns.iter_mut().enumerate() {
                            let value = row.get_ref(column).map_err(|error| failed(said(error)))?;
                            let appended = match builder {
                                Builder::Text(texts) => value
                                    .as_str_or_null()
                                    .map(|text| texts.append_option(text))
                                    .is_ok(),
                                Builder::Integer(numbers) => value
                                    .as_i64_or_null()
                                    .map(|number| numbers.append_option(number))
                                    .is_ok(),
                                Builder::Real(numbers) => match value.as_i64() {
                                    Ok(whole) => {
                                        numbers.append_value(whole as f64);
                                        true
                                    }
                                    Err(_) => value
                                        .as_f64_or_null()
                                        .map(|number| numbers.append_option(number))
                                        .is_ok(),
                                },
                                Builder::Bytes(bytes) => value
                                    .as_bytes_or_null()
                                    .map(|value| bytes.append_option(value))
                                    .is_ok(),
                            };
                            if !appended {
                                let problem = builder.mismatch(&value.data_type().to_string());
                                let name = select.schema.field(column).name();
                                return Err(malformed(&at, Some(number), Some(name), problem));
                            }
                        }
                        number += 1;
                        builders.num_rows += 1;
                        if builders.num_rows == BATCH_ROWS {
                            let batch = builders.finish(&at)?;
                            if rows.blocking_send(Ok(batch)).is_err() {
                                return Ok(());
                            }
                        }
                    }
                    let _ = rows.blocking_send(Ok(builders.finish(&at)?));
                    Ok(())
                };
                if let Err(error) = read() {
                    let _ = rows.blocking_send(Err(error));
                }
            });
            if let Err(error) = read.await {
                let _ = sender.send(failed(said(error))).await;
            }
        });
        let batches = futures::stream::unfold(receiver, |mut receiver| async {
            let batch: Result<RecordBatch> = receiver.recv().await?;
            let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)));
            Some((batch, receiver))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// The columns of a batch that is being read.
struct Builders {
    schema: SchemaRef,
    columns: Vec<Builder>,
    num_rows: usize,
}

enum Builder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Real(Float64Builder),
    Bytes(BinaryBuilder),
}

impl Builders {
    fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Int64 => Builder::Integer(Int64Builder::new()),
            DataType::Float64 => Builder::Real(Float64Builder::new()),
            DataType::Binary => Builder::Bytes(BinaryBuilder::new()),
            _ => Builder::Text(StringBuilder::new()),
        });
        Self {
            schema: Arc::clone(schema),
            columns: columns.collect(),
            num_rows: 0,
        }
    }

    /// The rows so far; those that follow begin a new batch.
    fn finish(&mut self, place: &str) -> Result<RecordBatch> {
        self.num_rows = 0;
        let columns = self.columns.iter_mut().map(|builder| -> ArrayRef {
            match builder {
                Builder::Text(texts) => Arc::new(texts.finish()),
                Builder::Integer(numbers) => Arc::new(numbers.finish()),
                Builder::Real(numbers) => Arc::new(numbers.finish()),
                Builder::Bytes(bytes) => Arc::new(bytes.finish()),
            }
        });
        let columns = columns.collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|source| Error::Arrow {
            place: place.to_owned(),
            source,
        })
    }
}

impl Builder {
    /// Why a value, of a type that SQLite calls `kind`, is none of this column.
    fn mismatch(&self, kind: &str) -> String {
        let found = match kind {
            "Text" if matches!(self, Self::Text(_)) => {
                return "is not UTF-8".to_owned();
            }
            "Text" => "text",
            "Blob" => "binary data",
            _ => "a number",
        };
        let others = match self {
            Self::Text(_) => "text",
            Self::Integer(_) | Self::Real(_) => "numbers",
            Self::Bytes(_) => "binary data",
        };
        format!(
            "holds {found}, and other rows hold {others}; give all rows one type in a `query`, for example with `cast(... as text)`"
        )
    }
}

fn malformed(place: &str, row: Option<u64>, column: Option<&String>, problem: String) -> Error {
    Error::Malformed {
        file: place.to_owned(),
        row,
        line: None,
        column: column.cloned(),
        problem,
    }
}

/// What SQLite said.
fn said(error: impl std::error::Error) -> String {
    error.to_string()
}
