//! What can be read: information, listings, files.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::http::{HttpRequest, HttpResponse};
use crate::refusal::not_found;
use crate::store::{Commit, Kind, Names, Repository, Store, sha256};

/// Entries of a page of a listing: few, so that tests turn pages.
const PAGE: usize = 50;

fn revision<'a>(
    repository: &'a Repository,
    revision: &str,
) -> Result<(&'a str, &'a Commit), HttpResponse> {
    repository
        .resolve(revision)
        .ok_or_else(|| not_found("RevisionNotFound", &format!("Invalid rev id: {revision}")))
}

pub(crate) fn information(repository: &Repository, name: &str) -> HttpResponse {
    let (name, commit) = match revision(repository, name) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let siblings: Vec<Value> = commit
        .files
        .keys()
        .map(|path| json!({ "rfilename": path }))
        .collect();
    let value = json!({
        "_id": "loopback",
        "id": repository.id,
        "sha": name,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": false,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
    });
    HttpResponse::json(200, &value)
}

/// All files below a folder, page by page.
pub(crate) fn tree(
    repository: &Repository,
    request: &HttpRequest,
    name: &str,
    folder: &[&str],
) -> HttpResponse {
    let (_, commit) = match revision(repository, name) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let mut prefix = folder.join("/");
    if !prefix.is_empty() {
        prefix.push('/');
    }
    let entries: Vec<Value> = commit
        .files
        .iter()
        .filter(|(path, _)| path.starts_with(&prefix))
        .map(|(path, content)| {
            let names = Names::of(path, content);
            let mut entry =
                json!({"type": "file", "oid": names.oid, "size": content.len(), "path": path});
            if let Some((sha256, pointer)) = names.large {
                entry["lfs"] =
                    json!({"oid": sha256, "size": content.len(), "pointerSize": pointer});
            }
            entry
        })
        .collect();
    let start = (0..entries.len())
        .step_by(PAGE)
        .find(|start| request.has_query(&format!("cursor={start}")))
        .unwrap_or(0);
    let end = (start + PAGE).min(entries.len());
    let mut response = HttpResponse::json(200, &Value::Array(entries[start..end].to_vec()));
    if end < entries.len() {
        let host = request.headers.get("host").map_or("", String::as_str);
        let path = request.target.split('?').next().unwrap_or_default();
        let next = format!("<http://{host}{path}?recursive=true&cursor={end}>; rel=\"next\"");
        response = response.header("Link", next);
    }
    response
}

pub(crate) fn refs(repository: &Repository) -> HttpResponse {
    let mut groups: BTreeMap<&str, Vec<Value>> = ["branches", "tags", "converts", "pullRequests"]
        .map(|group| (group, Vec::new()))
        .into();
    for (branch, commit) in &repository.branches {
        let (group, reference) = if branch.starts_with("refs/pr/") {
            ("pullRequests", branch.clone())
        } else if branch.starts_with("refs/convert/") {
            ("converts", branch.clone())
        } else {
            ("branches", format!("refs/heads/{branch}"))
        };
        groups
            .entry(group)
            .or_default()
            .push(json!({"name": branch, "ref": reference, "targetCommit": commit}));
    }
    HttpResponse::json(200, &json!(groups))
}

/// Addresses of a data set's converted files, by configuration and split.
pub(crate) fn parquet(repository: &Repository, address: SocketAddr) -> HttpResponse {
    let (_, commit) = match revision(repository, "refs/convert/parquet") {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let mut configs: BTreeMap<&str, BTreeMap<&str, Vec<String>>> = BTreeMap::new();
    for path in commit.files.keys() {
        let mut parts = path.split('/');
        if let (Some(config), Some(split)) = (parts.next(), parts.next()) {
            let urls = configs.entry(config).or_default().entry(split).or_default();
            urls.push(format!(
                "http://{address}/api/datasets/{}/parquet/{config}/{split}/{}.parquet",
                repository.id,
                urls.len()
            ));
        }
    }
    HttpResponse::json(200, &json!(configs))
}

/// A file, or the redirect to where a large one is stored.
pub(crate) fn file(
    repository: &Repository,
    kind: Kind,
    address: SocketAddr,
    request: &HttpRequest,
    name: &str,
    path: &str,
    ranged: bool,
) -> HttpResponse {
    let (commit_name, commit) = match revision(repository, name) {
        Ok(found) => found,
        Err(refusal) => return refusal,
    };
    let Some(content) = commit.files.get(path) else {
        return not_found("EntryNotFound", "Entry not found").header("X-Repo-Commit", commit_name);
    };
    let names = Names::of(path, content);
    let Some((sha256, _)) = &names.large else {
        return part(content, request, ranged)
            .header("ETag", format!("\"{}\"", names.etag()))
            .header("X-Repo-Commit", commit_name);
    };
    let id = &repository.id;
    let kind = kind.prefix().trim_end_matches('/');
    let kind = if kind.is_empty() { "models" } else { kind };
    HttpResponse::new(302)
        .header(
            "Location",
            format!("http://{address}/cdn/{kind}/{id}/{sha256}/{path}"),
        )
        .header("X-Linked-ETag", format!("\"{sha256}\""))
        .header("X-Linked-Size", content.len().to_string())
        .header("X-Repo-Commit", commit_name)
}

/// `/cdn/<kind>/<id>/<sha256>/<path>`: the storage of large files, which asks for no token.
pub(crate) fn storage(
    store: &Store,
    request: &HttpRequest,
    parts: &[&str],
    ranged: bool,
) -> HttpResponse {
    let Some(at) = parts.iter().position(|part| part.len() == 64) else {
        return not_found("", "no such object");
    };
    match store.large_file(parts[at]) {
        Some(content) => part(content, request, ranged).header("ETag", "\"of-the-storage\""),
        None => not_found("", "no such object"),
    }
}

/// The content, or the range of it that was asked for.
fn part(content: &[u8], request: &HttpRequest, ranged: bool) -> HttpResponse {
    let Some((start, last)) = request.range().filter(|_| ranged) else {
        let mut response = HttpResponse::new(200).header("Accept-Ranges", "bytes");
        response.body = content.to_vec();
        return response;
    };
    let (start, length) = (start as usize, content.len());
    if start >= length {
        return HttpResponse::new(416).header("Content-Range", format!("bytes */{length}"));
    }
    let end = last.map_or(length, |last| (last as usize + 1).min(length));
    let mut response = HttpResponse::new(206).header(
        "Content-Range",
        format!("bytes {start}-{}/{length}", end - 1),
    );
    response.body = content[start..end].to_vec();
    response
}

impl Store {
    fn large_file(&self, name: &str) -> Option<&[u8]> {
        self.contents().find(|content| sha256(content) == name)
    }
}
