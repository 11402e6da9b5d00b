//! The public interface, from files to batches.

#![allow(
    clippy::unwrap_used,
    reason = "a helper that fails is a test that fails"
)]

mod bad_input;
mod formats;
mod hub;
mod large;
#[cfg(not(feature = "databases"))]
mod no_databases;
#[cfg(all(feature = "databases", unix))]
mod postgres;
#[cfg(all(feature = "databases", unix))]
mod postgres_server;
mod reading;
mod remote;
mod retrieval;
mod samplers;
mod server;
mod sources;
#[cfg(feature = "databases")]
mod sqlite;
mod streaming;

use std::path::Path;

use sparse_data::{DatasetConfig, Result, Table};

/// Writes a file and returns its path.
fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = directory.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// Loads what a table of a training file describes; `{}` in it stands for a directory.
fn load(directory: &Path, toml: &str) -> Result<Table> {
    let text = toml.replace("{}", &directory.display().to_string());
    let config: DatasetConfig = toml::from_str(&text).unwrap();
    Table::load(&config)
}

/// The message of a failed load, without the directory.
fn failure(directory: &Path, toml: &str) -> String {
    let error = load(directory, toml).unwrap_err();
    assert!(error.is_user_error(), "{error:?}");
    error
        .to_string()
        .replace(&format!("{}/", directory.display()), "")
}

/// The texts of a column.
fn texts(table: &Table, column: &str) -> Vec<String> {
    (0..table.num_rows())
        .map(|row| table.text(column, row).unwrap().unwrap().to_owned())
        .collect()
}
