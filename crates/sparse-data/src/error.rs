//! What can be wrong with data, and where.

use std::path::{Path, PathBuf};

use datafusion::arrow::error::ArrowError;

/// The result of everything in this crate that reads or checks data.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while reading data or cutting it into batches.
///
/// Rows are counted from 1 and a header line is not a row. Where the file is text, the line is named too.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// A file, or a directory, that is not there.
    #[error("`{}` does not exist{}", path.display(), suggestion(nearest.as_deref()))]
    MissingFile {
        /// The path as it was given.
        path: PathBuf,
        /// The most similar name in the same directory.
        nearest: Option<String>,
    },
    /// A directory or a pattern in which no data file was found.
    #[error(
        "no data file matches `{pattern}`; files end in {known}, where csv, tsv, json, jsonl and txt may be followed by gz, bz2, xz or zst"
    )]
    NoFiles {
        /// The path or the pattern as it was given.
        pattern: String,
        /// The endings that are read.
        known: String,
    },
    /// The operating system refused to read a file.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// File that was read.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A store that does not give a file or a list of its files.
    #[error("`{url}`: {problem}")]
    Remote {
        /// Address, without a query.
        url: String,
        /// What is wrong, and where it helps how to mend it.
        problem: String,
        /// Whether the address or the credentials are at fault, as opposed to the network or the server.
        user: bool,
    },
    /// A file whose ending does not tell its format.
    #[error("the format of `{}` can't be told from its name; set `format` to one of {known}", path.display())]
    UnknownFormat {
        /// File that was read.
        path: PathBuf,
        /// The formats that are read.
        known: String,
    },
    /// A file without a single byte, or a table without a single row.
    #[error("`{place}` is empty: {problem}")]
    Empty {
        /// File or table.
        place: String,
        /// What was expected.
        problem: String,
    },
    /// Bytes or values that are not what they must be.
    #[error("`{file}`{}: {problem}", position(*row, *line, column.as_deref()))]
    Malformed {
        /// File, table or query that holds the value.
        file: String,
        /// Row, counted from 1 without the header.
        row: Option<u64>,
        /// Line of a text file, counted from 1.
        line: Option<u64>,
        /// Column that holds the value.
        column: Option<String>,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A column that is asked for and not there.
    #[error("`{place}` has no column `{column}`{}; it has {known}", suggestion(nearest.as_deref()))]
    UnknownColumn {
        /// File or table.
        place: String,
        /// The column asked for.
        column: String,
        /// The most similar column.
        nearest: Option<String>,
        /// All columns.
        known: String,
    },
    /// Columns that do not make a training example, two of the same name, or a name that is reserved.
    #[error("`{place}`: {problem}")]
    Columns {
        /// File or table.
        place: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A table of a database that is not there.
    #[error("`{place}` has no table `{table}`{}; it has {known}", suggestion(nearest.as_deref()))]
    UnknownTable {
        /// The database.
        place: String,
        /// The table asked for.
        table: String,
        /// The most similar table.
        nearest: Option<String>,
        /// All tables and views.
        known: String,
    },
    /// A split that is not there.
    #[error("`{place}` has no split `{split}`{}; it has {known}", suggestion(nearest.as_deref()))]
    UnknownSplit {
        /// File, directory or data set.
        place: String,
        /// The split asked for.
        split: String,
        /// The most similar split.
        nearest: Option<String>,
        /// All splits.
        known: String,
    },
    /// A subset of a data set of the hub that is not there.
    #[error("`{place}` has no subset `{subset}`{}; it has {known}", suggestion(nearest.as_deref()))]
    UnknownSubset {
        /// The data set.
        place: String,
        /// The subset asked for.
        subset: String,
        /// The most similar subset.
        nearest: Option<String>,
        /// All subsets.
        known: String,
    },
    /// The hub does not give a data set.
    #[error(transparent)]
    Hub(#[from] sparse_hub::Error),
    /// A split expression that can't be read or does not fit the data.
    #[error("`split = \"{expression}\"`: {problem}")]
    Split {
        /// The expression as it was given.
        expression: String,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A query that failed.
    #[error("`{key} = \"{query}\"` on `{place}` failed: {problem}")]
    Sql {
        /// Name of the setting: `sql`, or `query` if a database was asked.
        key: &'static str,
        /// The query as it was given.
        query: String,
        /// The data it was asked of.
        place: String,
        /// What the query engine said.
        problem: String,
    },
    /// A setting whose value is not allowed.
    #[error("`{key}` {problem}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// Rows that a sampler can't cut into batches.
    #[error("`{place}` can't be sampled by `{sampler}`: {problem}")]
    Sampler {
        /// The table.
        place: String,
        /// The sampler.
        sampler: &'static str,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// A row, or a range of rows, beyond the end.
    #[error("row {row} of `{place}` is out of range: it has {num_rows} rows")]
    OutOfRange {
        /// The table.
        place: String,
        /// The row asked for, counted from 0.
        row: usize,
        /// Number of rows.
        num_rows: usize,
    },
    /// Arrow failed on a file for a reason that has no better message.
    #[error("failed to read `{place}`")]
    Arrow {
        /// File or table.
        place: String,
        /// What Arrow said.
        source: ArrowError,
    },
    /// The threads that read files could not be started.
    #[error("failed to start the threads that read files")]
    Runtime {
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether the person who chose the data or the settings can mend it, as opposed to a fault of the machine or ours.
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::IsADirectory
                    | std::io::ErrorKind::InvalidData
                    | std::io::ErrorKind::UnexpectedEof
                    | std::io::ErrorKind::InvalidInput
            ),
            Self::Remote { user, .. } => *user,
            Self::Hub(error) => error.is_user_error(),
            Self::Write(error) => error.is_user_error(),
            Self::Runtime { .. } | Self::OutOfRange { .. } => false,
            _ => true,
        }
    }

    /// The same error about a file that has another name than `path`.
    pub(crate) fn about(mut self, path: &Path, name: &str) -> Self {
        let place = path.display().to_string();
        match &mut self {
            Self::MissingFile { path: file, .. }
            | Self::Io { path: file, .. }
            | Self::UnknownFormat { path: file, .. }
                if file == path =>
            {
                *file = PathBuf::from(name);
            }
            Self::Empty { place: file, .. }
            | Self::Malformed { file, .. }
            | Self::UnknownColumn { place: file, .. }
            | Self::Columns { place: file, .. }
            | Self::Arrow { place: file, .. }
                if *file == place =>
            {
                *file = name.to_owned();
            }
            _ => {}
        }
        self
    }

    /// A malformed value of a table, without a line.
    pub(crate) fn value(file: &str, row: u64, column: &str, problem: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            row: Some(row),
            line: None,
            column: Some(column.to_owned()),
            problem: problem.into(),
        }
    }
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn position(row: Option<u64>, line: Option<u64>, column: Option<&str>) -> String {
    let mut text = String::new();
    match (row, line) {
        (Some(row), Some(line)) => text.push_str(&format!(", row {row} (line {line})")),
        (Some(row), None) => text.push_str(&format!(", row {row}")),
        (None, Some(line)) => text.push_str(&format!(", line {line}")),
        (None, None) => {}
    }
    if let Some(column) = column {
        text.push_str(&format!(", column `{column}`"));
    }
    text
}

/// The most similar of `known`, if one is similar enough to be a slip of the pen.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Names in backticks, separated by commas; long lists are cut.
pub(crate) fn list_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    if names.is_empty() {
        text.push_str("none");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_names_row_line_and_column() {
        let error = Error::Malformed {
            file: "pairs.csv".to_owned(),
            row: Some(2),
            line: Some(3),
            column: Some("answer".to_owned()),
            problem: "is empty".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "`pairs.csv`, row 2 (line 3), column `answer`: is empty"
        );
        assert!(error.is_user_error());
    }

    #[test]
    fn only_similar_names_are_suggested() {
        assert_eq!(
            nearest("positve", ["query", "positive"]).as_deref(),
            Some("positive")
        );
        assert_eq!(nearest("text", ["id", "score"]), None);
    }
}
