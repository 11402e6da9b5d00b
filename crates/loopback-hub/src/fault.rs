//! Failures on request.

use std::time::Duration;

use crate::http::{HttpRequest, HttpResponse};

/// How an answer fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many bytes of the body of a `GET`.
    Cut {
        /// Bytes that still come.
        after: usize,
    },
    /// The answer is this status, such as 401, 404, 429 or 500, to any method.
    Status {
        /// The status.
        code: u16,
        /// Seconds in the header `Retry-After`.
        retry_after: Option<u64>,
    },
    /// The body of a `GET` has its first byte changed.
    Corrupt,
    /// `Range` is not understood: the whole file comes.
    IgnoreRange,
    /// The answer comes late.
    Delay(Duration),
}

impl Fault {
    /// An answer with this status.
    pub fn status(code: u16) -> Self {
        Self::Status {
            code,
            retry_after: None,
        }
    }

    /// Whether the fault takes the place of an answer, or of its making, rather than changing one.
    fn is_before(&self) -> bool {
        !matches!(self, Self::Cut { .. } | Self::Corrupt)
    }

    /// What happens instead of an answer, if the fault is of that kind.
    pub(crate) fn instead(&self) -> Option<HttpResponse> {
        let Self::Status { code, retry_after } = self else {
            return None;
        };
        let body = serde_json::json!({"error": format!("a fault of status {code}")});
        let mut response = HttpResponse::json(*code, &body);
        if let Some(seconds) = retry_after {
            response = response.header("Retry-After", seconds.to_string());
        }
        Some(response)
    }

    /// Changes an answer that was to be given.
    pub(crate) fn change(&self, response: &mut HttpResponse) {
        match self {
            Self::Cut { after } => response.cut = Some(*after),
            Self::Corrupt => {
                if let Some(first) = response.body.first_mut() {
                    *first ^= 0xff;
                }
            }
            _ => {}
        }
    }
}

/// A fault that waits for its requests.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) target: String,
    pub(crate) fault: Fault,
    pub(crate) left: usize,
}

/// Takes the first fault planned for a request, of those that come before or those that come after its answer was made.
pub(crate) fn take(faults: &mut [Planned], request: &HttpRequest, before: bool) -> Option<Fault> {
    let planned = faults.iter_mut().find(|planned| {
        planned.left > 0
            && planned.fault.is_before() == before
            && (planned.fault != Fault::IgnoreRange || request.headers.contains_key("range"))
            && request.target.contains(&planned.target)
    })?;
    planned.left -= 1;
    Some(planned.fault.clone())
}
