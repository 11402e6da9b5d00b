//! What a failed request means, and whether it makes sense to try again.

use std::time::Duration;

use crate::Error;

/// Longest wait for an answer, and for the next bytes of one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a request is about, for its errors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) revision: Option<&'a str>,
    pub(crate) file: Option<&'a str>,
    pub(crate) writing: bool,
}

/// Why a request failed, and whether it makes sense to try again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// `None`: never. Otherwise after this pause, or the usual one.
    pub(crate) again: Option<Option<Duration>>,
    /// There was no connection at all, which rarely changes soon.
    pub(crate) unreachable: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            again: None,
            unreachable: false,
        }
    }
}

pub(crate) const WRITING: About<'static> = About {
    revision: None,
    file: None,
    writing: true,
};

pub(crate) fn timed_out() -> std::io::Error {
    let message = format!("no answer within {} s", PATIENCE.as_secs());
    std::io::Error::new(std::io::ErrorKind::TimedOut, message)
}

/// An error with its causes, without what they repeat.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
