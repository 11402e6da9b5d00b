//! Names of repositories.

use std::fmt;

use crate::{Error, Result};

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepoKind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

impl RepoKind {
    /// The kind in an address of the hub's interface and in the cache.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// What stands before the id in the address of a page.
    pub(crate) fn url_prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
        }
    }
}

impl fmt::Display for RepoKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Model => "model",
            Self::Dataset => "data set",
        })
    }
}

/// A repository of the hub: its kind and id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    kind: RepoKind,
    id: String,
}

impl Repo {
    /// A model by its id, `owner/name`, or `name` for the few oldest.
    ///
    /// # Errors
    ///
    /// If the id is none: see [`Self::is_valid_id`].
    pub fn model(id: &str) -> Result<Self> {
        Self::new(RepoKind::Model, id)
    }

    /// A data set by its id.
    ///
    /// # Errors
    ///
    /// If the id is none: see [`Self::is_valid_id`].
    pub fn dataset(id: &str) -> Result<Self> {
        Self::new(RepoKind::Dataset, id)
    }

    fn new(kind: RepoKind, id: &str) -> Result<Self> {
        match problem(id) {
            None => Ok(Self {
                kind,
                id: id.to_string(),
            }),
            Some(problem) => Err(Error::InvalidId {
                id: id.to_string(),
                problem,
            }),
        }
    }

    /// Whether a name can be the id of a repository: one or two parts with a `/` between, at most 96 characters of
    /// `A-Z a-z 0-9 - _ .`, no `--` or `..`, no `-` or `.` at either end of a part, no `.git` at the end.
    pub fn is_valid_id(id: &str) -> bool {
        problem(id).is_none()
    }

    /// What the repository holds.
    pub fn kind(&self) -> RepoKind {
        self.kind
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Owner, empty for the oldest repositories, and name.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.id.split_once('/').unwrap_or(("", &self.id))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.kind, self.id)
    }
}

/// What is wrong with an id.
fn problem(id: &str) -> Option<&'static str> {
    if id.is_empty() {
        return Some("is empty");
    }
    if id.len() > 96 {
        return Some("is longer than 96 characters");
    }
    if id.matches('/').count() > 1 {
        return Some("has more than one `/`; expected `owner/name`");
    }
    if id.contains("--") || id.contains("..") {
        return Some("contains `--` or `..`");
    }
    if id.ends_with(".git") {
        return Some("ends with `.git`");
    }
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    for part in id.split('/') {
        if part.is_empty() {
            return Some("lacks the part before or after the `/`; expected `owner/name`");
        }
        if !part.chars().all(allowed) {
            return Some("has characters other than letters, digits, `-`, `_` and `.`");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Some("has a part that begins or ends with `-` or `.`");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        for id in ["naver/splade-v3", "bert-base-uncased", "a/b_c.d-1"] {
            assert!(Repo::is_valid_id(id), "{id}");
        }
        for path in [
            "",
            "runs/my/model",
            "./model",
            "/model",
            "model/",
            "a--b/c",
            "../model",
            "a b/c",
            "a/b.git",
            "-a/b",
            "~/model",
        ] {
            assert!(!Repo::is_valid_id(path), "{path}");
        }
        assert!(!Repo::is_valid_id(&"a".repeat(97)));
    }
}
