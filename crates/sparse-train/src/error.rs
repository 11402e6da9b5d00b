//! What can go wrong between a configuration and a finished model.

use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while configuring, running or resuming a training run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A training file cannot be read or doesn't say what it must.
    #[error("`{}`: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, naming the key.
        message: String,
    },
    /// A training file cannot be read.
    #[error("`{}`: cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A training file says something wrong.
    #[error("`{}`: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<Self>,
    },
    /// A text is given for a table, and is not JSON.
    #[error("`{key}` must be a table, or a JSON object as a string: {source}")]
    Json {
        /// Key of the training file.
        key: String,
        /// Where the JSON is wrong.
        source: serde_json::Error,
    },
    /// A pattern is not a regular expression.
    #[error("`{key}` is not a regular expression: {source}")]
    Pattern {
        /// Key of the training file, which is the pattern.
        key: String,
        /// Where the pattern is wrong.
        source: regex::Error,
    },
    /// A value of the configuration is outside its domain, or contradicts another one.
    #[error("`{key}` {message}")]
    Argument {
        /// Key of the training file, such as `arguments.learning_rate`.
        key: String,
        /// What was expected and what was found.
        message: String,
    },
    /// The text of a training file is not TOML.
    #[error(
        "is not valid TOML{}{}: {problem}",
        place.map_or_else(String::new, |(line, column)| format!(" at line {line}, column {column}")),
        key.as_ref().map_or_else(String::new, |key| format!(", `{key}`"))
    )]
    NotToml {
        /// Line and column, both counted from 1.
        place: Option<(usize, usize)>,
        /// Key of that line.
        key: Option<String>,
        /// What the parser expected there.
        problem: String,
    },
    /// The outermost table of a training file holds an unknown key, or lacks one.
    #[error("{problem}")]
    Table {
        /// The key, and the known ones.
        problem: String,
    },
    /// A run has no data set, or nothing to evaluate.
    #[error("there is nothing to {purpose}: add {parts}")]
    Nothing {
        /// What it was needed for, as a verb.
        purpose: &'static str,
        /// Tables of a training file that would do.
        parts: &'static str,
    },
    /// The training data gives no batch.
    #[error(
        "the training data gives no batch of {batch_size} rows; lower `per_device_train_batch_size` or unset `dataloader_drop_last`"
    )]
    NoBatch {
        /// Rows of a batch.
        batch_size: usize,
    },
    /// A later epoch gives none, and would have no end.
    #[error(
        "epoch {epoch} of the training data gives no batch; lower `per_device_train_batch_size` or unset `dataloader_drop_last`"
    )]
    EmptyEpoch {
        /// The epoch, counted from 0.
        epoch: usize,
    },
    /// The data ended before the run.
    #[error("the data ended before the run")]
    DataEnded,
    /// A process that was started with others cannot join them.
    #[error("process {rank} of {size} cannot use MPI: {reason}")]
    Mpi {
        /// Number of the process, from 0.
        rank: usize,
        /// Number of processes.
        size: usize,
        /// Why.
        reason: String,
    },
    /// Processes were started together, and this build cannot let them work together.
    #[error(
        "this is process {rank} of {size} started together, but this build knows no MPI, and they would overwrite each other's \
         files: build with the feature `mpi` (cargo install --path crates/sparse-cli --features mpi), or start one process \
         without `mpirun`"
    )]
    WithoutMpi {
        /// Number of the process, from 0.
        rank: usize,
        /// Number of processes.
        size: usize,
    },
    /// The loss or a gradient is no number any more.
    #[error(
        "step {step}: {what} is {value}{}; checkpoints are untouched. Usual causes: a learning rate that is too high (now \
         {learning_rate:e}), or non-finite weights; lower `learning_rate`, add `warmup_ratio`, or set `max_grad_norm`, and \
         go on from the last checkpoint",
        batch.as_ref().map_or_else(String::new, |path| format!(" (its rows are in `{}`)", path.display()))
    )]
    NonFinite {
        /// Update step, counted from 1.
        step: usize,
        /// The tensor at fault.
        what: String,
        /// Its value.
        value: f64,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Where the rows of the step were saved.
        batch: Option<PathBuf>,
    },
    /// Every vector of a side is empty, so that no gradient flows any more.
    #[error(
        "step {step}: every {side} vector of the last {updates} updates is empty, so that nothing is learned any more; \
         checkpoints are untouched. Usual causes: a regularizer weight that is too large (now {weights}) or rises too fast, \
         or a learning rate that is too high; lower `{side}_regularizer_weight` (begin with a tenth), lengthen \
         `regularizer_schedule`, or give `{side}_target_active_dims` instead, and start from a checkpoint before the collapse"
    )]
    DeadModel {
        /// Update step, counted from 1.
        step: usize,
        /// `query` or `document`.
        side: &'static str,
        /// Updates in a row without any active dimension.
        updates: usize,
        /// The weights in force, in words.
        weights: String,
    },
    /// The processes of a run don't do the same.
    #[error("process {rank} of {size} differs from process 0 in {what}")]
    Processes {
        /// Number of the first process that differs, from 0.
        rank: usize,
        /// Number of processes.
        size: usize,
        /// What differs.
        what: String,
    },
    /// A step needs more memory than the device has, in the smallest mini-batches.
    #[error(
        "the device is out of memory, even one text at a time ({message}); lower `max_seq_length` or `per_device_train_batch_size`"
    )]
    OutOfMemory {
        /// What the device said.
        message: String,
    },
    /// A checkpoint is missing or incomplete.
    #[error("checkpoint `{}`: {message}", path.display())]
    Checkpoint {
        /// Its directory.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A checkpoint cannot be written.
    #[error(
        "checkpoint `{}` cannot be saved, {}",
        path.display(),
        last.as_ref().map_or_else(
            || "and there is no earlier one".to_owned(),
            |last| format!("the last one is whole: go on from it with `--resume {}`", last.display()),
        )
    )]
    Save {
        /// Its directory.
        path: PathBuf,
        /// The checkpoint before it.
        last: Option<PathBuf>,
        /// What went wrong.
        source: Box<Self>,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] sparse_files::Error),
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model cannot be loaded, run or saved.
    #[error(transparent)]
    Model(#[from] sparse_model::Error),
    /// A data set cannot be read or batched.
    #[error(transparent)]
    Data(#[from] sparse_data::Error),
    /// The loss refuses its configuration or the data.
    #[error(transparent)]
    Loss(#[from] sparse_losses::Error),
    /// The hub refuses a repository or cannot be reached.
    #[error(transparent)]
    Hub(#[from] sparse_hub::Error),
    /// An evaluator cannot be built.
    #[error(transparent)]
    Evaluation(#[from] sparse_eval::Error),
    /// An evaluator failed during a run.
    #[error("step {step}: the evaluator `{name}` failed")]
    Evaluator {
        /// Its name, or else its kind.
        name: String,
        /// Update steps so far.
        step: usize,
        /// What went wrong.
        source: Box<sparse_eval::Error>,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    pub(crate) fn argument(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Argument {
            key: key.into(),
            message: message.into(),
        }
    }

    /// Whether the user's input is at fault (exit code 2), rather than the run (exit code 1).
    pub fn is_user_error(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::Argument { .. }
            | Self::NotToml { .. }
            | Self::Table { .. }
            | Self::Nothing { .. }
            | Self::NoBatch { .. }
            | Self::EmptyEpoch { .. }
            | Self::InFile { .. }
            | Self::Unreadable { .. }
            | Self::Json { .. }
            | Self::Pattern { .. }
            | Self::DataEnded
            | Self::Mpi { .. }
            | Self::WithoutMpi { .. }
            | Self::Checkpoint { .. } => true,
            Self::NonFinite { .. }
            | Self::DeadModel { .. }
            | Self::Save { .. }
            | Self::Processes { .. }
            | Self::OutOfMemory { .. }
            | Self::Write(_)
            | Self::Io { .. } => false,
            Self::Model(error) => error.is_user_error(),
            Self::Data(error) => error.is_user_error(),
            Self::Loss(error) => error.is_user_error(),
            Self::Hub(error) => error.is_user_error(),
            Self::Evaluation(error) => error.is_user_error(),
            Self::Evaluator { source, .. } => source.is_user_error(),
        }
    }
}
