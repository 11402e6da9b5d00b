//! What can go wrong with a model.

use std::path::{Path, PathBuf};

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while loading, running or saving an encoder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's name is not a directory.
    #[error("`{name}` is not a model directory: {problem}")]
    ModelNotFound {
        /// The name or path asked for.
        name: String,
        /// What is there instead.
        problem: String,
    },
    /// The model's name is no directory, and the hub does not give it.
    #[error("`{name}` is no directory{hint}, and the hub does not give such a model")]
    Hub {
        /// The name asked for.
        name: String,
        /// The nearest directory, as the end of the sentence, or nothing.
        hint: String,
        /// What the hub or the connection to it said.
        source: Box<sparse_hub::Error>,
    },
    /// The model could not be pushed to the hub.
    #[error("failed to push the model to the hub")]
    Push {
        /// What the hub or the connection to it said.
        source: Box<sparse_hub::Error>,
    },
    /// A file that the model needs is absent.
    #[error("`{}` is missing from the model directory: {needed_for}", path.display())]
    MissingFile {
        /// The file looked for.
        path: PathBuf,
        /// What it is needed for.
        needed_for: &'static str,
    },
    /// A file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is there, but it is not of a kind that can be read.
    #[error("`{}` {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it is, and what was expected.
        problem: String,
    },
    /// Parts of a model directory are missing, or do not belong together.
    #[error("model directory `{}` is damaged: {problem}", path.display())]
    DamagedDirectory {
        /// The directory.
        path: PathBuf,
        /// What is there, and what is missing.
        problem: String,
    },
    /// A file could not be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// A file is no valid JSON, or not of the expected form.
    #[error("`{}` is not valid: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: serde_json::Error,
    },
    /// A value in a configuration file is wrong.
    #[error("`{}`: `{key}` {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The weights file is damaged.
    #[error("weights file `{}` is damaged: {problem}", path.display())]
    DamagedWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the key where there is one.
        problem: String,
    },
    /// A tensor of the weights file does not fit.
    #[error("weights file `{}`: key `{key}` {problem}", path.display())]
    Weight {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The weights file lacks keys.
    #[error("weights file `{}` lacks {}{hint}", path.display(), list(keys))]
    MissingKeys {
        /// The file.
        path: PathBuf,
        /// The keys that the architecture needs and the file does not have.
        keys: Vec<String>,
        /// The nearest key in the file, as a sentence, or nothing.
        hint: String,
    },
    /// The weights file holds keys that the architecture does not know.
    #[error("weights file `{}` holds {} unknown to a {architecture} model", path.display(), list(keys))]
    UnexpectedKeys {
        /// The file.
        path: PathBuf,
        /// The keys nobody asked for.
        keys: Vec<String>,
        /// The architecture that was being loaded.
        architecture: String,
    },
    /// The tokenizer can not be built or does not fit the model.
    #[error("tokenizer `{}`: {problem}", path.display())]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A text could not be tokenized.
    #[error("failed to tokenize text {index} (counted from 0) with `{}`: {problem}", path.display())]
    Tokenize {
        /// The text's position in the call.
        index: usize,
        /// The tokenizer's file.
        path: PathBuf,
        /// What the tokenizer said.
        problem: String,
    },
    /// A prompt name that the model does not have.
    #[error(
        "unknown prompt `{name}`; this model has {}{}",
        list(known),
        nearest(name, known)
    )]
    UnknownPrompt {
        /// The name asked for.
        name: String,
        /// The model's prompt names.
        known: Vec<String>,
    },
    /// No route of the router takes this task.
    #[error("no route for {}; this model's routes are {}", task_name(task.as_deref()), list(routes))]
    UnknownRoute {
        /// The task asked for.
        task: Option<String>,
        /// The router's routes.
        routes: Vec<String>,
    },
    /// An option of a call is wrong.
    #[error("`{name}` {problem}")]
    Option {
        /// The option.
        name: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// The model can not do what was asked of it.
    #[error("{0}")]
    Unsupported(String),
    /// The vector of a text is not finite.
    #[error(
        "the vector of text {index} (counted from 0) holds {value} in dimension {dimension}: {cause}"
    )]
    NotFinite {
        /// The text's position in the call.
        index: usize,
        /// The first dimension at fault.
        dimension: usize,
        /// What is there.
        value: f32,
        /// What to look at.
        cause: String,
    },
    /// Values do not fit into the number type that they are to be saved in.
    #[error(
        "`{key}`: {count} of its values do not fit into {dtype}, such as {example:e}; the largest that does is {largest:?}"
    )]
    OutOfRange {
        /// The key in the weights file.
        key: String,
        /// How many values do not fit.
        count: usize,
        /// One of them.
        example: f32,
        /// The number type.
        dtype: &'static str,
        /// The largest value that it holds.
        largest: f32,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
}

impl Error {
    /// Whether the user's input (a directory, a file, an option) is at fault, rather than the machine or this program.
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::Hub { source, .. } | Self::Push { source } => source.is_user_error(),
            Self::Write(error) => error.is_user_error(),
            Self::Device(_) => false,
            _ => true,
        }
    }

    /// The same error in terms of the caller's texts, where it names one of some of them by its position: `place` tells where that
    /// one stands.
    #[must_use]
    pub fn of_text(mut self, place: impl FnOnce(usize) -> usize) -> Self {
        if let Self::Tokenize { index, .. } | Self::NotFinite { index, .. } = &mut self {
            *index = place(*index);
        }
        self
    }

    /// An error of values that can't be a sparse matrix.
    pub(crate) fn of_matrix(error: sparse_index::Error) -> Self {
        match error {
            sparse_index::Error::NonFinite { row, index, value } => Self::NotFinite {
                index: row,
                dimension: index,
                value,
                cause: "the weights of the model, or what they give for this text, are not finite"
                    .to_string(),
            },
            other => Self::Device(other.to_string()),
        }
    }

    pub(crate) fn config(path: &Path, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Config {
            path: path.to_path_buf(),
            key: key.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn tokenizer(path: &Path, problem: impl ToString) -> Self {
        Self::Tokenizer {
            path: path.to_path_buf(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }
}

/// `` `a`, `b` and 3 more ``.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    if names.is_empty() {
        return "none".to_string();
    }
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `; did you mean ...?`, or nothing when no name is near.
pub(crate) fn nearest<S: AsRef<str>>(name: &str, known: &[S]) -> String {
    known
        .iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(name, candidate.as_ref()),
                candidate.as_ref(),
            )
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(similarity, _)| *similarity > 0.8)
        .map_or_else(String::new, |(_, candidate)| {
            format!("; did you mean `{candidate}`?")
        })
}

fn task_name(task: Option<&str>) -> String {
    task.map_or_else(
        || "a text without a task".to_string(),
        |task| format!("task `{task}`"),
    )
}
