//! DataFusion behind a synchronous door.

#[cfg(feature = "databases")]
use std::path::Path;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::table::{Table, number_chunks};

/// Rows in a batch. Small enough that a chunk's text never nears the 2 GiB that its offsets can count.
pub(super) const BATCH_ROWS: usize = 8192;

fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread()
        .thread_name("sparse-data")
        .enable_all()
        .build()
        .map_err(|source| Error::Runtime { source })?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Runs a future to its end, also when the caller stands in an asynchronous runtime of its own.
pub(super) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> Result<T> {
    let runtime = runtime()?;
    Ok(std::thread::scope(|scope| {
        match scope.spawn(|| runtime.block_on(future)).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }))
}

/// A fresh session whose plans run in one partition. With more of them the scan's partitions take parts of a file from each
/// other while they run, and the order of the rows would depend on which is faster.
pub(super) fn session() -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_collect_statistics(false);
    config
        .options_mut()
        .execution
        .parquet
        .schema_force_view_types = false;
    SessionContext::new_with_config(config)
}

/// The address of a file, in which no character has a special meaning.
#[cfg(feature = "databases")]
pub(super) fn file_url(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).map_err(|source| super::io_error(path, source))?;
    let mut url = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(*byte))
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}

/// What DataFusion said, without its wrapping.
pub(super) fn message(error: &DataFusionError) -> String {
    error.find_root().strip_backtrace()
}

/// Asks a question in SQL of a table that is called `data`; the order of the rows is kept unless the query changes it.
pub(crate) fn query(table: &Table, sql: &str) -> Result<Table> {
    let place = table.name().unwrap_or_else(|| table.place());
    let batches = table.to_batches()?;
    let memory = MemTable::try_new(Arc::clone(table.schema()), vec![batches])
        .map_err(|failure| sql_error(place, sql, &failure))?;
    let rows = query_provider(Arc::new(memory), place, sql)?;
    Ok(match table.name() {
        Some(name) => rows.with_name(name),
        None => rows,
    })
}

/// Asks a question in SQL of a provider's table, which is called `data`.
pub(super) fn query_provider(
    provider: Arc<dyn TableProvider>,
    place: &str,
    sql: &str,
) -> Result<Table> {
    let answer = block_on(async {
        let context = session();
        context.register_table("data", provider)?;
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let frame = context.sql_with_options(sql, read_only).await?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        Ok::<_, DataFusionError>((schema, frame.collect().await?))
    })?;
    let (schema, batches) = answer.map_err(|failure| sql_error(place, sql, &failure))?;
    Table::from_chunks(
        &schema,
        number_chunks(&format!("result of sql on {place}"), batches),
    )
}

fn sql_error(place: &str, sql: &str, failure: &DataFusionError) -> Error {
    Error::Sql {
        key: "sql",
        query: sql.to_owned(),
        place: place.to_owned(),
        problem: message(failure),
    }
}
