//! Repositories in memory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::git_object::{blob_id, lfs_pointer};

/// What a repository holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Model,
    Dataset,
}

impl Kind {
    pub(crate) fn of_plural(name: &str) -> Option<Self> {
        match name {
            "models" => Some(Self::Model),
            "datasets" => Some(Self::Dataset),
            _ => None,
        }
    }

    /// What stands before the id in an address.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
        }
    }
}

/// All repositories of a hub.
#[derive(Debug, Default)]
pub(crate) struct Store {
    repositories: BTreeMap<(Kind, String), Repository>,
}

impl Store {
    pub(crate) fn get(&self, kind: Kind, id: &str) -> Option<&Repository> {
        self.repositories.get(&(kind, id.to_string()))
    }

    pub(crate) fn get_mut(&mut self, kind: Kind, id: &str) -> Option<&mut Repository> {
        self.repositories.get_mut(&(kind, id.to_string()))
    }

    pub(crate) fn get_or_create(&mut self, kind: Kind, id: &str) -> &mut Repository {
        self.repositories
            .entry((kind, id.to_string()))
            .or_insert_with(|| Repository::new(id))
    }

    /// The content of every file of every commit.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.repositories
            .values()
            .flat_map(|repository| repository.commits.values())
            .flat_map(|commit| commit.files.values())
            .map(|content| content.as_slice())
    }

    pub(crate) fn repositories_named<'a>(
        &'a mut self,
        id: &'a str,
    ) -> impl Iterator<Item = &'a mut Repository> + 'a {
        self.repositories
            .iter_mut()
            .filter(move |((_, name), _)| name == id)
            .map(|(_, repository)| repository)
    }
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number; its branch is `refs/pr/<number>`.
    pub number: usize,
    /// First line of the commit.
    pub title: String,
    /// The rest of the commit.
    pub description: String,
}

/// A state of a repository.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commit {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) files: BTreeMap<String, Arc<Vec<u8>>>,
}

/// A model or data set.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) id: String,
    pub(crate) private: bool,
    pub(crate) gated: bool,
    pub(crate) pull_requests: Vec<PullRequest>,
    pub(crate) branches: BTreeMap<String, String>,
    commits: BTreeMap<String, Commit>,
}

impl Repository {
    fn new(id: &str) -> Self {
        Self {
            id: id.to_string(),
            private: false,
            gated: false,
            pull_requests: Vec::new(),
            branches: BTreeMap::new(),
            commits: BTreeMap::new(),
        }
    }

    /// The commit that a branch or a commit's own name means.
    pub(crate) fn resolve(&self, revision: &str) -> Option<(&str, &Commit)> {
        let name = self.branches.get(revision).map_or(revision, String::as_str);
        let (name, commit) = self.commits.get_key_value(name)?;
        Some((name, commit))
    }

    /// Lays files over those of a branch and takes some away; the branch is made from nothing if it isn't there.
    pub(crate) fn commit(
        &mut self,
        branch: &str,
        title: &str,
        description: &str,
        files: BTreeMap<String, Vec<u8>>,
        deleted: &[String],
    ) -> String {
        let mut commit = self
            .resolve(branch)
            .map(|(_, commit)| commit.clone())
            .unwrap_or_default();
        commit.title = title.to_string();
        commit.description = description.to_string();
        let files = files
            .into_iter()
            .map(|(path, content)| (path, Arc::new(content)));
        commit.files.extend(files);
        commit.files.retain(|path, _| !deleted.contains(path));

        let mut hash = Sha256::new();
        hash.update(format!("{} {branch} {title}", self.commits.len()));
        for (path, content) in &commit.files {
            hash.update(path);
            hash.update(content.as_slice());
        }
        let mut name = hex(&hash.finalize());
        name.truncate(40);
        self.commits.insert(name.clone(), commit);
        self.branches.insert(branch.to_string(), name.clone());
        name
    }
}

/// Whether a file lies in large-file storage: as on the hub, a matter of its name.
pub(crate) fn is_large(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, ending)| ["safetensors", "bin", "parquet", "model"].contains(&ending))
}

/// Names of a file's content.
#[derive(Debug)]
pub(crate) struct Names {
    /// Id of the git object.
    pub(crate) oid: String,
    /// Of a large file: SHA-256, and the length of the pointer that git holds.
    pub(crate) large: Option<(String, usize)>,
}

impl Names {
    pub(crate) fn of(path: &str, content: &[u8]) -> Self {
        let id =
            |bytes: &[u8]| blob_id(bytes.len() as u64, bytes).expect("bytes in memory can be read");
        if !is_large(path) {
            return Self {
                oid: id(content),
                large: None,
            };
        }
        let sha256 = sha256(content);
        let pointer = lfs_pointer(&sha256, content.len() as u64);
        Self {
            oid: id(pointer.as_bytes()),
            large: Some((sha256, pointer.len())),
        }
    }

    /// The entity tag that the hub gives the file.
    pub(crate) fn etag(&self) -> &str {
        self.large.as_ref().map_or(&self.oid, |(sha256, _)| sha256)
    }
}

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a vector takes every byte");
    }
    String::from_utf8(text).expect("digits are ASCII")
}
