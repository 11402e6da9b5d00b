//! What can go wrong in an evaluation.

use std::path::{Path, PathBuf};

/// Result of the fallible functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while reading evaluation data, evaluating and writing results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// A line of a file is not as it should be.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was found and what was expected.
        problem: String,
    },
    /// A file has no usable content.
    #[error("`{}` {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// A setting of an evaluator is wrong.
    #[error("`{name}` {problem}")]
    Option {
        /// The setting.
        name: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// Evaluation data do not fit together.
    #[error("{0}")]
    Data(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] sparse_model::Error),
    /// A table could not be read or written.
    #[error(transparent)]
    Table(#[from] sparse_data::Error),
    /// The hub failed.
    #[error(transparent)]
    Hub(Box<sparse_hub::Error>),
    /// Vectors could not be compared.
    #[error(transparent)]
    Index(#[from] sparse_index::Error),
}

impl From<sparse_hub::Error> for Error {
    fn from(error: sparse_hub::Error) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl Error {
    /// Whether the user's input is at fault, rather than the machine or this program.
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Write(error) => error.is_user_error(),
            Self::Model(error) => error.is_user_error(),
            Self::Index(error) => error.is_user_error(),
            Self::Table(error) => error.is_user_error(),
            Self::Hub(error) => error.is_user_error(),
            _ => true,
        }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    /// Takes an error of [`Write`](std::io::Write).
    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        sparse_files::Error::written(source, path).into()
    }

    pub(crate) fn line(path: &Path, line: usize, problem: impl Into<String>) -> Self {
        Self::Line {
            path: path.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    pub(crate) fn option(name: &'static str, problem: impl Into<String>) -> Self {
        Self::Option {
            name,
            problem: problem.into(),
        }
    }

    /// The same, about data that came from a file.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Data(problem) => Self::File {
                path: path.to_owned(),
                problem: format!("can't be used: {problem}"),
            },
            other => other,
        }
    }

    /// Columns that must have one entry per row do not.
    pub(crate) fn lengths(names: &[&str], lengths: &[usize]) -> Self {
        let lengths = lengths
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        Self::Data(format!(
            "{} must have the same length; got {lengths}",
            names.join(", ")
        ))
    }
}

/// Refuses columns of different length.
pub(crate) fn check_lengths(names: &[&str], lengths: &[usize]) -> Result<()> {
    match lengths.windows(2).all(|pair| pair[0] == pair[1]) {
        true => Ok(()),
        false => Err(Error::lengths(names, lengths)),
    }
}
