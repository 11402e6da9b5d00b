//! Errors as messages and exit codes.

use std::error::Error;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

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
        Self {
            message: with_causes(error),
            by_user,
        }
    }

    /// The same, about something that the message doesn't name.
    pub(crate) fn about(self, what: &str) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }

    /// The same, when something has been changed already: exit code 1, whoever is at fault.
    pub(crate) fn after_changes(self) -> Self {
        Self {
            by_user: false,
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

/// An error and its causes, each said once: a cause that its wrapper repeats is left out, and so is a wrapper whose cause says
/// all that it says.
fn with_causes(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.retain(|said| !text.contains(said.as_str()));
            texts.push(text);
        }
        source = cause.source();
    }
    texts.join(": ")
}

/// What the last panic said and where.
static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Runs a command; a panic in it becomes one message and exit code 1.
///
/// The hook only takes a note, because a panic may be caught further below, where foreign bytes are read by foreign code. With
/// RUST_BACKTRACE it also prints what it always did.
pub(crate) fn without_panic<T>(command: impl FnOnce() -> Result<T>) -> Result<T> {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let text = describe(info);
        tracing::debug!("panic: {text}");
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            usual(info);
        }
    }));
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|_| {
        let noted = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
        let text = noted.unwrap_or_else(|| "no message".to_owned());
        Err(Failure::run(format!(
            "this is a fault of the program, please report it: {text}"
        )))
    })
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    match info.location() {
        Some(location) => format!("{message} ({}:{})", location.file(), location.line()),
        None => message.to_owned(),
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
    sparse_encoder::export::Error,
    sparse_encoder::files::Error,
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
        Self::new(&error, false)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Self>>);

    impl fmt::Display for Link {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as &dyn Error)
        }
    }

    fn said(texts: &[&'static str]) -> String {
        let chain = texts
            .iter()
            .rev()
            .fold(None, |cause, text| Some(Box::new(Link(text, cause))));
        with_causes(&*chain.unwrap())
    }

    #[test]
    fn every_cause_is_said_once() {
        assert_eq!(
            said(&["failed to read `x`", "no such file"]),
            "failed to read `x`: no such file"
        );
        assert_eq!(
            said(&["bad row: 7 is no text", "7 is no text"]),
            "bad row: 7 is no text"
        );
        assert_eq!(
            said(&["bad row", "bad row: 7 is no text"]),
            "bad row: 7 is no text"
        );
        assert_eq!(said(&["a", "b", "b", "a"]), "a: b");
    }

    #[test]
    fn what_it_is_about_stands_in_front() {
        let failure = Failure::input("id `a` occurs twice").about("`c.jsonl`");
        assert_eq!(failure.message, "`c.jsonl`: id `a` occurs twice");
        assert_eq!(failure.code(), 2);
    }

    #[test]
    fn a_panic_is_a_failure_with_its_place() {
        let failure = without_panic(|| -> Result<()> {
            let none: [u8; 0] = [];
            let at = std::hint::black_box(3);
            Err(Failure::input(format!("{}", none[at])))
        })
        .unwrap_err();
        // Tests of this process that expect a panic print theirs as usual.
        let _ = panic::take_hook();
        assert_eq!(failure.code(), 1);
        assert!(
            failure.message.contains("index out of bounds"),
            "{}",
            failure.message
        );
        assert!(
            failure.message.contains("failure.rs:"),
            "{}",
            failure.message
        );
    }
}
