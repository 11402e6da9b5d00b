//! Answers that refuse, and who gets them.

use serde_json::json;

use crate::http::{HttpRequest, HttpResponse};
use crate::{READER, WRITER};

pub(crate) fn token(request: &HttpRequest) -> Option<&str> {
    request
        .headers
        .get("authorization")?
        .strip_prefix("Bearer ")
}

/// Refuses who must not write.
pub(crate) fn may_write(request: &HttpRequest) -> Result<(), HttpResponse> {
    match token(request) {
        Some(WRITER) => Ok(()),
        Some(READER) => Err(refusal(403, "", "This token has no permission to write")),
        _ => Err(refusal(401, "", "Invalid username or password.")),
    }
}

pub(crate) fn refusal(status: u16, code: &str, message: &str) -> HttpResponse {
    let response = HttpResponse::json(status, &json!({ "error": message }));
    let response = response.header("X-Error-Message", message);
    if code.is_empty() {
        response
    } else {
        response.header("X-Error-Code", code)
    }
}

pub(crate) fn not_found(code: &str, message: &str) -> HttpResponse {
    refusal(404, code, message)
}
