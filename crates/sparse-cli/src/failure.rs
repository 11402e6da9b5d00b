//! Errors as messages and exit codes.

use std::error::Error;
use std::process::ExitCode;

use sparse_encoder::train::mask_secrets;

/// Why a command stopped.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    by_user: bool,
}

/// Result of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Wrong input: exit code 2.
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            by_user: true,
        }
    }

    /// A failed run: exit code 1.
    pub(crate) fn run(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            by_user: false,
        }
    }

    fn new(error: &dyn Error, by_user: bool) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self { message, by_user }
    }

    /// The same, about something that the message doesn't name.
    pub(crate) fn about(self, what: &str) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }

    pub(crate) fn report(&self) {
        let message = mask_secrets(&self.message);
        crate::output::to_stderr(&format!("error: {message}"));
    }

    /// 2 if the input was wrong and nothing was changed, 1 otherwise.
    pub(crate) fn code(&self) -> u8 {
        if self.by_user { 2 } else { 1 }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// The same, said by one process of several.
    pub(crate) fn of_process(self, rank: usize, size: usize) -> Self {
        Self {
            message: format!("process {rank} of {size}: {}", self.message),
            ..self
        }
    }
}

macro_rules! from_crate_error {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(&error, error.is_user_error())
            }
        })*
    };
}

from_crate_error!(
    sparse_encoder::data::Error,
    sparse_encoder::eval::Error,
    sparse_encoder::index::Error,
    sparse_encoder::losses::Error,
    sparse_encoder::model::Error,
    sparse_encoder::train::Error,
);

impl From<sparse_encoder::UnknownDevice> for Failure {
    fn from(error: sparse_encoder::UnknownDevice) -> Self {
        Self::input(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::run(error.to_string())
    }
}
