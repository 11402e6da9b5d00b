//! What changes repositories: creation, branches, commits.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{HttpRequest, HttpResponse};
use crate::refusal::{may_write, not_found, refusal};
use crate::store::{Kind, PullRequest, Repository, Store, is_large};

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

pub(crate) fn create(
    store: &mut Store,
    address: SocketAddr,
    request: &HttpRequest,
) -> HttpResponse {
    if let Err(refusal) = may_write(request) {
        return refusal;
    }
    let body = body(request);
    let owner = match text(&body, "organization") {
        "" => "user",
        owner => owner,
    };
    let id = format!("{owner}/{}", text(&body, "name"));
    let kind = match text(&body, "type") {
        "dataset" => Kind::Dataset,
        _ => Kind::Model,
    };
    let url = json!({ "url": format!("http://{address}/{}{id}", kind.prefix()) });
    if store.get(kind, &id).is_some() {
        let mut response = refusal(409, "", "You already created this model repo");
        response.body = url.to_string().into_bytes();
        return response;
    }
    let repository = store.get_or_create(kind, &id);
    repository.private = body["private"].as_bool().unwrap_or(false);
    let attributes = BTreeMap::from([(".gitattributes".to_string(), Vec::new())]);
    repository.commit("main", "initial commit", "", attributes, &[]);
    HttpResponse::json(200, &url)
}

pub(crate) fn branch(
    repository: &mut Repository,
    request: &HttpRequest,
    name: &str,
) -> HttpResponse {
    if repository.branches.contains_key(name) {
        return refusal(409, "", "Reference already exists");
    }
    let start = match text(&body(request), "startingPoint") {
        "" => "main".to_string(),
        start => start.to_string(),
    };
    let Some(commit) = repository.resolve(&start).map(|(name, _)| name.to_string()) else {
        return not_found("RevisionNotFound", "Invalid rev id");
    };
    repository.branches.insert(name.to_string(), commit);
    HttpResponse::json(200, &json!({}))
}

/// Tells which files go to the storage of large files.
pub(crate) fn preupload(
    repository: &Repository,
    request: &HttpRequest,
    revision: &str,
) -> HttpResponse {
    if repository.resolve(revision).is_none() {
        return not_found("RevisionNotFound", "Invalid rev id");
    }
    let body = body(request);
    let files: Vec<Value> = body["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| {
            let path = text(file, "path");
            let mode = if is_large(path) { "lfs" } else { "regular" };
            json!({"path": path, "uploadMode": mode, "shouldIgnore": false})
        })
        .collect();
    HttpResponse::json(200, &json!({ "files": files }))
}

/// A commit: one JSON object a line, first the message, then the files.
pub(crate) fn commit(
    repository: &mut Repository,
    kind: Kind,
    address: SocketAddr,
    request: &HttpRequest,
    revision: &str,
) -> HttpResponse {
    let (mut title, mut description) = (String::new(), String::new());
    let (mut files, mut deleted) = (BTreeMap::new(), Vec::new());
    for line in String::from_utf8_lossy(&request.body).lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            return refusal(400, "", "a line is no JSON");
        };
        let value = &line["value"];
        match text(&line, "key") {
            "header" => {
                title = text(value, "summary").to_string();
                description = text(value, "description").to_string();
            }
            "file" => {
                let Ok(content) = STANDARD.decode(text(value, "content")) else {
                    return refusal(400, "", "a file is no base64");
                };
                files.insert(text(value, "path").to_string(), content);
            }
            "deletedFile" => deleted.push(text(value, "path").to_string()),
            other => return refusal(400, "", &format!("`{other}` is not supported here")),
        }
    }
    if title.is_empty() {
        return refusal(400, "", "a commit needs a summary");
    }
    if repository.resolve(revision).is_none() {
        return not_found("RevisionNotFound", "Invalid rev id");
    }
    let url = format!("http://{address}/{}{}", kind.prefix(), repository.id);
    if !request.has_query("create_pr=1") {
        let name = repository.commit(revision, &title, &description, files, &deleted);
        let answer = json!({"success": true, "commitOid": name, "commitUrl": format!("{url}/commit/{name}")});
        return HttpResponse::json(200, &answer);
    }
    let number = repository.pull_requests.len() + 1;
    let branch = format!("refs/pr/{number}");
    if let Some(base) = repository
        .resolve(revision)
        .map(|(name, _)| name.to_string())
    {
        repository.branches.insert(branch.clone(), base);
    }
    let name = repository.commit(&branch, &title, &description, files, &deleted);
    repository.pull_requests.push(PullRequest {
        number,
        title,
        description,
    });
    let answer = json!({
        "success": true,
        "commitOid": name,
        "commitUrl": format!("{url}/commit/{name}"),
        "pullRequestUrl": format!("{url}/discussions/{number}"),
    });
    HttpResponse::json(200, &answer)
}
