//! From a request to its answer: faults, record, and the way to whoever answers.

use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::json;

use crate::fault::{self, Fault};
use crate::http::{HttpRequest, HttpResponse};
use crate::refusal::{may_write, not_found, refusal, token};
use crate::store::{Kind, Repository, Store};
use crate::{READER, Request, State, WRITER, api, lock, write};

pub(crate) fn answer(
    state: &Mutex<State>,
    address: SocketAddr,
    request: &HttpRequest,
) -> HttpResponse {
    let planned = fault::take(&mut lock(state).faults, request, true);
    if let Some(Fault::Delay(time)) = planned {
        std::thread::sleep(time);
    }
    let mut state = lock(state);
    let mut response = match planned.as_ref().and_then(Fault::instead) {
        Some(response) => response,
        None => {
            let ranged = planned != Some(Fault::IgnoreRange);
            respond(&mut state.store, address, request, ranged)
        }
    };
    if request.method == "GET"
        && matches!(response.status, 200 | 206)
        && let Some(fault) = fault::take(&mut state.faults, request, false)
    {
        fault.change(&mut response);
    }
    state.requests.push(Request {
        method: request.method.clone(),
        target: request.target.clone(),
        range_start: request.range_start(),
        status: response.status,
    });
    response
}

fn respond(
    store: &mut Store,
    address: SocketAddr,
    request: &HttpRequest,
    ranged: bool,
) -> HttpResponse {
    let segments = request.segments();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["api", "repos", "create"]) => write::create(store, address, request),
        ("GET", ["api", "whoami-v2"]) => match token(request) {
            Some(READER | WRITER) => {
                HttpResponse::json(200, &json!({"type": "user", "name": "user"}))
            }
            _ => refusal(401, "", "Invalid credentials in Authorization header"),
        },
        ("POST", ["api", "validate-yaml"]) => {
            HttpResponse::json(200, &json!({"errors": [], "warnings": []}))
        }
        (method, ["api", kind, rest @ ..]) => match Kind::of_plural(kind) {
            Some(kind) => in_api(store, address, request, method, kind, rest),
            None => not_found("", "no such path"),
        },
        ("GET" | "HEAD", ["cdn", _, rest @ ..]) => api::storage(store, request, rest, ranged),
        ("GET" | "HEAD", ["datasets", rest @ ..]) => {
            resolve(store, address, request, Kind::Dataset, rest, ranged)
        }
        ("POST", [.., "info", "lfs", "objects", "batch"]) => {
            // Without the storage that the hub has, files come inside of the commit.
            HttpResponse::json(200, &json!({"transfer": "basic", "objects": []}))
        }
        ("GET" | "HEAD", rest) => resolve(store, address, request, Kind::Model, rest, ranged),
        _ => not_found("", "no such path"),
    }
}

/// `/api/{models,datasets}/<id>/<action>/...`, with an id of one or two parts.
fn in_api(
    store: &mut Store,
    address: SocketAddr,
    request: &HttpRequest,
    method: &str,
    kind: Kind,
    rest: &[&str],
) -> HttpResponse {
    const ACTIONS: [&str; 7] = [
        "revision",
        "tree",
        "parquet",
        "refs",
        "preupload",
        "commit",
        "branch",
    ];
    let end = (1..rest.len().min(3))
        .find(|&end| ACTIONS.contains(&rest[end]))
        .unwrap_or(rest.len());
    let id = rest[..end].join("/");
    let action = &rest[end..];
    if method == "POST" {
        if let Err(refusal) = may_write(request) {
            return refusal;
        }
        let Some(repository) = store.get_mut(kind, &id) else {
            return not_found("RepoNotFound", "Repository not found");
        };
        return match action {
            ["preupload", revision] => write::preupload(repository, request, revision),
            ["commit", revision] => write::commit(repository, kind, address, request, revision),
            ["branch", branch] => write::branch(repository, request, branch),
            _ => not_found("", "no such path"),
        };
    }
    let repository = match visible(store, request, kind, &id, false) {
        Ok(repository) => repository,
        Err(refusal) => return refusal,
    };
    match action {
        [] => api::information(repository, "main"),
        ["revision", revision] => api::information(repository, revision),
        ["tree", revision, folder @ ..] => api::tree(repository, request, revision, folder),
        ["refs"] => api::refs(repository),
        ["parquet"] => api::parquet(repository, address),
        _ => not_found("", "no such path"),
    }
}

/// `/<id>/resolve/<revision>/<path>`.
fn resolve(
    store: &Store,
    address: SocketAddr,
    request: &HttpRequest,
    kind: Kind,
    parts: &[&str],
    ranged: bool,
) -> HttpResponse {
    let Some(end) = parts.iter().take(3).position(|part| *part == "resolve") else {
        return not_found("", "no such path");
    };
    let [revision, path @ ..] = &parts[end + 1..] else {
        return not_found("", "no such path");
    };
    let id = parts[..end].join("/");
    match visible(store, request, kind, &id, true) {
        Ok(repository) => api::file(
            repository,
            kind,
            address,
            request,
            revision,
            &path.join("/"),
            ranged,
        ),
        Err(refusal) => refusal,
    }
}

/// The repository, if the request may see it. Only the content of a gated one is held back.
fn visible<'a>(
    store: &'a Store,
    request: &HttpRequest,
    kind: Kind,
    id: &str,
    content: bool,
) -> Result<&'a Repository, HttpResponse> {
    let token = token(request);
    if token.is_some_and(|token| token != READER && token != WRITER) {
        return Err(refusal(
            401,
            "",
            "Invalid credentials in Authorization header",
        ));
    }
    let hidden = |repository: &&Repository| !repository.private || token.is_some();
    let Some(repository) = store.get(kind, id).filter(hidden) else {
        // The hub doesn't tell a stranger which names exist.
        let status = if token.is_some() { 404 } else { 401 };
        return Err(refusal(status, "RepoNotFound", "Repository not found"));
    };
    if content && repository.gated {
        let message = "Access to this repository is restricted: ask its owner";
        return Err(refusal(403, "GatedRepo", message));
    }
    Ok(repository)
}
