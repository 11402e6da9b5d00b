//! The readers of foreign bytes, as a user reaches them.

mod model;
mod retrieval;
mod table;
mod training;
mod vector;

use std::path::Path;

use sparse_encoder::Device;

use crate::files::Files;
use crate::{Result, shown};

/// A reader, what it is fed with, and what its result must be good for.
#[derive(Debug)]
pub struct Target {
    /// Its name in commands and tables.
    pub name: &'static str,
    /// Inputs of one process.
    pub batch: usize,
    /// Makes the seeds, in an empty folder that is the current one.
    pub seeds: fn() -> Result<Vec<Files>>,
    /// Files of a seed that are mutated.
    pub may_change: fn(&str) -> bool,
    /// Reads an input, which lies in the current folder, and uses what was read.
    pub read: fn(&mut Reading),
}

/// All readers.
pub const TARGETS: [Target; 17] = [
    model::TOKENIZER,
    model::CONFIG,
    model::SAFETENSORS,
    model::PICKLE,
    table::CSV,
    table::JSON,
    table::JSONL,
    table::PARQUET,
    table::ARROW,
    table::COMPRESSED,
    retrieval::TREC,
    retrieval::QRELS,
    retrieval::FOLDER,
    vector::INDEX,
    vector::VECTORS,
    training::CHECKPOINT,
    training::FILE,
];

/// The reader of that name.
///
/// # Errors
///
/// If there is none, with the names that there are.
pub fn find(name: &str) -> Result<&'static Target> {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .ok_or_else(|| {
            let known: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            format!("no target `{name}`; known: {}", known.join(", ")).into()
        })
}

/// What became of an input.
#[derive(Debug, Default)]
pub struct Reading {
    /// Messages of readers that refused the input.
    pub refused: Vec<String>,
    /// Messages that came of using what was read.
    pub unusable: Vec<String>,
    /// A result that should not have been.
    pub wrong: Option<String>,
}

impl Reading {
    /// The result of reading; a refusal must say which file is at fault.
    fn read<T>(&mut self, result: Result<T, impl std::error::Error>) -> Option<T> {
        result
            .map_err(|error| self.refused.push(shown::with_causes(&error)))
            .ok()
    }

    /// The result of working with what was read; it knows no file any more.
    fn used<T>(&mut self, result: Result<T, impl std::error::Error>) -> Option<T> {
        result
            .map_err(|error| self.unusable.push(shown::with_causes(&error)))
            .ok()
    }

    fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(otherwise());
        }
    }
}

fn cpu() -> Device {
    sparse_encoder::device("cpu").expect("every build knows the CPU")
}

/// The only file of the current folder.
fn only_file() -> Option<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(".").ok()?;
    let entry = entries.next()?.ok()?;
    // Relative, as a user would write it.
    Some(Path::new(&entry.file_name()).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for target in &TARGETS {
            assert_eq!(find(target.name).unwrap().name, target.name);
            let same = TARGETS.iter().filter(|other| other.name == target.name);
            assert_eq!(same.count(), 1);
        }
        assert!(
            find("nothing")
                .unwrap_err()
                .to_string()
                .contains("csv, json")
        );
    }
}
