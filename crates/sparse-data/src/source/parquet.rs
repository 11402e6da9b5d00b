//! Parquet, through DataFusion.

use std::path::Path;

use datafusion::prelude::ParquetReadOptions;

use super::engine::{block_on, collect, ending, file_url, message, session};
use super::malformed;
use crate::error::{Error, Result, list_names, nearest};
use crate::table::Table;

/// Reads a file, or only some of its columns.
pub(super) fn read(path: &Path, columns: Option<&[String]>) -> Result<Table> {
    let context = session();
    let url = file_url(path)?;
    let ending = ending(path);
    let options = ParquetReadOptions::default().file_extension(&ending);
    let frame = block_on(context.read_parquet(url, options))?
        .map_err(|error| malformed(path, message(&error)))?;
    let Some(columns) = columns else {
        return collect(path, async { Ok(frame) });
    };
    let known: Vec<&str> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    if let Some(column) = columns
        .iter()
        .find(|column| !known.contains(&column.as_str()))
    {
        return Err(Error::UnknownColumn {
            place: path.display().to_string(),
            column: column.clone(),
            nearest: nearest(column, known.iter().copied()),
            known: list_names(known),
        });
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    collect(path, async { frame.select_columns(&columns) })
}
