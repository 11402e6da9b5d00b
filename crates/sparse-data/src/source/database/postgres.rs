//! PostgreSQL, through the connections and the reader of `datafusion-table-providers-postgres`.

use std::error::Error as StdError;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion_table_providers_common::sql::db_connection_pool::dbconnection::AsyncDbConnection;
use datafusion_table_providers_postgres::conn::PostgresConnection;
use datafusion_table_providers_postgres::pool::{Error as PoolError, PostgresConnectionPool};
use futures::{StreamExt, TryStreamExt};

use super::DatabaseUrl;
use super::driver::{Failure, Wanted};
use super::relation::{Relation, RelationColumn, Select, quoted, trimmed};
use super::url::Server;
use crate::error::{Error, Result};
use crate::table::{Chunk, normalize};

/// Connections to a server; few, since a data set is read once and a stream reads one part at a time.
const POOL_SIZE: &str = "4";

/// A database of a server.
#[derive(Debug)]
pub(super) struct Postgres {
    pool: Arc<PostgresConnectionPool>,
}

impl Postgres {
    /// Lists tables and views; those that a name without a schema finds are named without one.
    pub(super) const TABLES: &str = "SELECT CASE WHEN n.nspname = ANY (current_schemas(false)) THEN c.relname::text \
        ELSE n.nspname || '.' || c.relname END FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
        AND n.nspname !~ '^pg_' ORDER BY 1";

    /// Opens a connection; the password is the address's or that of the environment.
    pub(super) async fn connect(url: &DatabaseUrl, server: Server) -> Result<Self> {
        let password = server
            .password
            .or_else(|| std::env::var("PGPASSWORD").ok())
            .filter(|password| !password.is_empty());
        let has_password = password.is_some();
        let settings = [
            ("host", Some(value(&server.host))),
            ("port", server.port.map(|port| port.to_string())),
            ("user", server.user.as_deref().map(value)),
            ("db", server.database.as_deref().map(value)),
            ("pass", password),
            (
                "sslmode",
                Some(server.sslmode.unwrap_or_else(|| "prefer".to_owned())),
            ),
            ("sslrootcert", server.sslrootcert),
            ("connection_pool_size", Some(POOL_SIZE.to_owned())),
        ];
        let settings = settings
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
            .collect();
        let pool = PostgresConnectionPool::new(settings).await;
        let pool = pool.map_err(|error| refusal(url, &error, has_password))?;
        Ok(Self {
            pool: Arc::new(pool),
        })
    }

    async fn open(&self) -> Result<PostgresConnection, String> {
        self.pool
            .connect_direct()
            .await
            .map_err(|error| said(&error))
    }

    pub(super) async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let connection = self.open().await?;
        let rows = connection.conn.query(sql, &[]).await;
        let rows = rows.map_err(|error| said(&error))?;
        rows.iter()
            .map(|row| {
                (0..row.len())
                    .map(|column| row.try_get::<_, Option<String>>(column))
                    .map(|cell| {
                        cell.map(Option::unwrap_or_default)
                            .map_err(|error| said(&error))
                    })
                    .collect()
            })
            .collect()
    }

    pub(super) async fn describe(&self, wanted: Wanted<'_>) -> Result<Relation, Failure> {
        let from = match wanted {
            Wanted::Query(_) => String::new(),
            Wanted::Table(table) => match table.split_once('.') {
                Some((schema, table)) => format!("{}.{}", quoted(schema), quoted(table)),
                None => quoted(table),
            },
        };
        let sql = match wanted {
            Wanted::Query(query) => trimmed(query).to_owned(),
            Wanted::Table(_) => format!("SELECT * FROM {from}"),
        };
        let connection = self.open().await?;
        let statement = connection.conn.prepare(&sql).await.map_err(|error| {
            let no_table = error
                .code()
                .is_some_and(|code| matches!(code.code(), "42P01" | "3F000"));
            if no_table && matches!(wanted, Wanted::Table(_)) {
                return Failure::NoTable;
            }
            Failure::Said(said(&error))
        })?;
        let columns: Vec<RelationColumn> = statement
            .columns()
            .iter()
            .map(|column| relation_column(column.name(), column.type_().name()))
            .collect();
        if columns.is_empty() {
            return Err(Failure::Said(
                "it gives no columns; only a `select` can be read".to_owned(),
            ));
        }
        if let Wanted::Query(query) = wanted {
            return Ok(Relation::of_query(query, columns));
        }
        let key = format!(
            "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
             WHERE i.indrelid = '{}'::regclass AND i.indisprimary ORDER BY array_position(i.indkey::int2[], a.attnum)",
            from.replace('\'', "''")
        );
        let key = self.rows(&key).await?;
        let key = key.iter().flatten().map(|name| quoted(name)).collect();
        Ok(Relation::of_table(from, columns, key))
    }

    pub(super) fn read(&self, select: Select, place: Arc<str>) -> SendableRecordBatchStream {
        let pool = Arc::clone(&self.pool);
        let schema = Arc::clone(&select.schema);
        let batches = futures::stream::once(async move {
            let failed = |problem: String| failure(&place, problem);
            let connection = pool.connect_direct().await;
            let connection = connection.map_err(|error| failed(said(&error)))?;
            let batches = connection.query_arrow(&select.sql, &[], None).await;
            let batches = batches.map_err(|error| failed(said(&*error)))?;
            Ok::<_, DataFusionError>(batches.map(move |batch| {
                // Given back to the pool when the rows are through.
                let _held = &connection;
                let batch = batch.map_err(|error| failure(&place, mid_way(&error)))?;
                let chunk = Chunk {
                    batch,
                    file: Arc::clone(&place),
                    first_row: select.first_row,
                };
                let chunk = normalize(chunk, &select.schema)
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
                Ok(chunk.batch)
            }))
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, batches.try_flatten()))
    }
}

/// How a column is asked for: in one of the few types that a table has.
fn relation_column(name: &str, type_name: &str) -> RelationColumn {
    let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
    let (cast, data_type) = match type_name {
        "bool" => (None, DataType::Boolean),
        "bytea" => (None, DataType::Binary),
        "int2" | "int4" | "int8" => (Some("int8"), DataType::Int64),
        "float4" | "float8" | "numeric" => (Some("float8"), DataType::Float64),
        "_int2" | "_int4" | "_int8" => (Some("int8[]"), list(DataType::Int64)),
        "_float4" | "_float8" | "_numeric" => (Some("float8[]"), list(DataType::Float64)),
        array if array.starts_with('_') => (Some("text[]"), list(DataType::Utf8)),
        _ => (Some("text"), DataType::Utf8),
    };
    let quoted = quoted(name);
    let value = cast.map_or_else(
        || quoted.clone(),
        |cast| format!("CAST({quoted} AS {cast})"),
    );
    RelationColumn {
        name: name.to_owned(),
        sort: match cast {
            // Byte by byte: other orders depend on the server's locale, and take different texts for equal.
            Some("text" | "text[]") => format!("{value} COLLATE \"C\""),
            _ => value.clone(),
        },
        value,
        data_type,
    }
}

/// A value of a connection string.
fn value(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Why no connection came about.
fn refusal(url: &DatabaseUrl, error: &PoolError, has_password: bool) -> Error {
    const SET_PASSWORD: &str = "write it into the address, as in postgres://user:password@host/database, or set PGPASSWORD";
    let (problem, user) = match error {
        PoolError::InvalidUsernameOrPassword { .. } => (
            "the server refuses the user or the password".to_owned(),
            true,
        ),
        PoolError::InvalidHostOrPortError { host, port, .. } => {
            (format!("no server answers at {host}, port {port}"), false)
        }
        PoolError::InvalidRootCertPathError { path } => {
            (format!("there is no certificate `{path}`"), true)
        }
        other => {
            let from_server = matches!(other, PoolError::PostgresConnectionError { source } if source.as_db_error().is_some());
            match said(other) {
                text if text == "password missing" && !has_password => (
                    format!("the server asks for a password; {SET_PASSWORD}"),
                    true,
                ),
                text if from_server => (format!("the server refuses: {text}"), true),
                text => (format!("the server can't be reached: {text}"), false),
            }
        }
    };
    Error::Remote {
        url: url.to_string(),
        problem,
        user,
    }
}

fn failure(place: &str, problem: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::Malformed {
        file: place.to_owned(),
        row: None,
        line: None,
        column: None,
        problem,
    }))
}

/// What the server said: the cause below all causes, in one line and without its severity.
fn said(error: &dyn StdError) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    one_line(&cause.to_string())
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(|line| {
            line.trim_start_matches("ERROR: ")
                .trim_start_matches("FATAL: ")
        })
        .collect();
    lines.join("; ")
}

/// What the server said after it had begun to answer, which arrives as text among that of the reader.
fn mid_way(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let from = text.find("ERROR: ").unwrap_or(0);
    let to = text.find("\nSQLSTATE").unwrap_or(text.len());
    one_line(text.get(from..to).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_asked_for_in_the_types_of_a_table() {
        for (type_name, value, data_type) in [
            ("varchar", "CAST(\"c\" AS text)", DataType::Utf8),
            ("uuid", "CAST(\"c\" AS text)", DataType::Utf8),
            ("bool", "\"c\"", DataType::Boolean),
            ("int4", "CAST(\"c\" AS int8)", DataType::Int64),
            ("numeric", "CAST(\"c\" AS float8)", DataType::Float64),
        ] {
            let column = relation_column("c", type_name);
            assert_eq!(
                (column.value.as_str(), &column.data_type),
                (value, &data_type)
            );
        }
        let lists = relation_column("c", "_float4");
        assert_eq!(lists.value, "CAST(\"c\" AS float8[])");
        assert!(
            matches!(lists.data_type, DataType::List(item) if *item.data_type() == DataType::Float64)
        );
        assert_eq!(
            relation_column("c", "text").sort,
            "CAST(\"c\" AS text) COLLATE \"C\""
        );
    }

    #[test]
    fn values_of_a_connection_string_are_quoted() {
        assert_eq!(value("my shop"), "'my shop'");
        assert_eq!(value("a'b\\c"), "'a\\'b\\\\c'");
    }
}
