//! The files of a repository at a commit.

use std::path::{Component, Path};

use hf_hub::repository::RepoTreeEntry;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoFile {
    /// Path in the repository, with `/` between its parts.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Git object id: of the content, or of the pointer to a file in large-file storage.
    pub(crate) oid: String,
    pub(crate) large: Option<LargeFile>,
}

/// A file in large-file storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LargeFile {
    /// Of the content, if the listing told it.
    pub(crate) sha256: Option<String>,
}

/// The files of a repository at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The files, in the order of their paths.
    pub files: Vec<RepoFile>,
}

impl Listing {
    /// A file by its path.
    pub fn get(&self, path: &str) -> Option<&RepoFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// The files among the hub's entries. A path that would leave the snapshot's directory is left out.
pub(crate) fn files_of(entries: Vec<RepoTreeEntry>) -> Vec<RepoFile> {
    let mut files: Vec<RepoFile> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            RepoTreeEntry::File {
                oid,
                size,
                path,
                lfs,
                ..
            } if is_inside(&path) => Some(RepoFile {
                size: lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(size),
                large: lfs.map(|lfs| LargeFile { sha256: lfs.sha256 }),
                oid,
                path,
            }),
            _ => None,
        })
        .collect();
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

/// Whether a path of a listing stays in the snapshot.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}
