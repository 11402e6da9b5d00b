//! The cache on the disk, in the layout of Python's client.
//!
//! ```text
//! models--owner--name/
//!   blobs/<etag>               content: git's id, or the SHA-256 of a file in large-file storage
//!   refs/<revision>            the commit that a branch or tag meant at last
//!   snapshots/<commit>/<path>  links to blobs
//!   trees/<commit>.json        the listing of a commit
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::git_object::{blob_id, lfs_pointer};
use crate::listing::{LargeFile, RepoFile, is_inside};
use crate::{Error, Repo, Result};

/// Pause between two looks at a lock that another process holds.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A repository's part of the cache.
#[derive(Debug, Clone)]
pub(crate) struct RepoCache {
    root: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    pub(crate) fn new(cache_dir: &Path, repo: &Repo) -> Self {
        let folder = format!("{}--{}", repo.kind().plural(), repo.id().replace('/', "--"));
        Self {
            locks: cache_dir.join(".locks").join(&folder),
            root: cache_dir.join(folder),
        }
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub(crate) fn blob(&self, name: &str) -> PathBuf {
        self.root.join("blobs").join(name)
    }

    /// The commit that a branch or tag meant when it was last asked for.
    pub(crate) fn read_ref(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.to_string())
    }

    pub(crate) fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if self.read_ref(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write_whole(&self.root.join("refs").join(revision), commit.as_bytes())
    }

    /// The listing of a commit, if it was kept.
    pub(crate) fn read_tree(&self, commit: &str) -> Option<Vec<RepoFile>> {
        let text = fs::read(self.tree(commit)).ok()?;
        let tree: Tree = serde_json::from_slice(&text).ok()?;
        let is_known =
            tree.format_version == TREE_FORMAT && tree.files.keys().all(|path| is_inside(path));
        is_known.then(|| {
            tree.files
                .into_iter()
                .map(|(path, entry)| entry.into_file(path))
                .collect()
        })
    }

    pub(crate) fn write_tree(&self, commit: &str, files: &[RepoFile]) -> Result<()> {
        let tree = Tree {
            format_version: TREE_FORMAT,
            files: files
                .iter()
                .map(|file| (file.path.clone(), TreeEntry::of(file)))
                .collect(),
        };
        let text = serde_json::to_vec_pretty(&tree).expect("a listing is plain JSON");
        write_whole(&self.tree(commit), &text)
    }

    fn tree(&self, commit: &str) -> PathBuf {
        self.root.join("trees").join(format!("{commit}.json"))
    }

    /// The files of a snapshot that are on the disk, for one whose listing was not kept.
    pub(crate) fn files_of_snapshot(&self, commit: &str) -> Vec<RepoFile> {
        let root = self.snapshot(commit);
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        files.sort_by(|left, right| left.path.cmp(&right.path));
        files
    }

    /// Whether a snapshot has a file, whole.
    pub(crate) fn has(&self, commit: &str, path: &str) -> bool {
        self.snapshot(commit).join(path).is_file()
    }

    /// The blob of a file, if another commit brought it already.
    pub(crate) fn find_blob(&self, file: &RepoFile) -> Option<String> {
        if file.large.is_none() {
            return self.blob(&file.oid).is_file().then(|| file.oid.clone());
        }
        if let Some(sha256) = file.large.as_ref().and_then(|large| large.sha256.clone()) {
            return self.blob(&sha256).is_file().then_some(sha256);
        }
        // The listing may lack the SHA-256, but a blob's name tells its pointer, and that the id.
        let entries = fs::read_dir(self.root.join("blobs")).ok()?;
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let size = entry.metadata().ok()?.len();
                let name = entry.file_name().into_string().ok()?;
                (size == file.size && is_sha256(&name)).then_some(name)
            })
            .find(|name| pointer_id(name, file.size) == file.oid)
    }

    /// Lets a snapshot have a file: a relative link to its blob, or a copy where there are no links.
    pub(crate) fn link(&self, commit: &str, path: &str, blob: &str) -> Result<()> {
        let pointer = self.snapshot(commit).join(path);
        let parent = pointer.parent().unwrap_or(&self.root).to_path_buf();
        fs::create_dir_all(&parent).map_err(|source| Error::io(&parent, source))?;
        let up = path.matches('/').count() + 2;
        let target = Path::new(&"../".repeat(up)).join("blobs").join(blob);
        let result = match link_or_copy(&target, &self.blob(blob), &pointer) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(&pointer)
                .and_then(|()| link_or_copy(&target, &self.blob(blob), &pointer)),
            other => other,
        };
        result.map_err(|source| Error::io(&pointer, source))
    }

    /// Waits until nobody else downloads this blob. Python's client takes the same lock.
    pub(crate) fn lock(&self, blob: &str) -> Result<File> {
        let path = self.locks.join(format!("{blob}.lock"));
        let fail = |source| Error::io(&path, source);
        fs::create_dir_all(&self.locks).map_err(fail)?;
        let file = File::create(&path).map_err(fail)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        tracing::info!("another process downloads the same file; waiting for it");
                        told = true;
                    }
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }
}

/// Whether a revision is a full commit, which never changes.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Id of the pointer that git holds for a large file.
pub(crate) fn pointer_id(sha256: &str, size: u64) -> String {
    let pointer = lfs_pointer(sha256, size);
    blob_id(pointer.len() as u64, pointer.as_bytes()).unwrap_or_default()
}

#[cfg(unix)]
fn link_or_copy(target: &Path, _blob: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(not(unix))]
fn link_or_copy(_target: &Path, blob: &Path, pointer: &Path) -> io::Result<()> {
    fs::copy(blob, pointer).map(|_| ())
}

/// Writes a small file beside its place and moves it there.
fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let fail = |error: sparse_files::Error| Error::io(&error.path, error.source);
    if let Some(parent) = path.parent() {
        sparse_files::create_dir_all(parent).map_err(fail)?;
    }
    sparse_files::write(path, content).map_err(fail)
}

fn walk(root: &Path, directory: &Path, files: &mut Vec<RepoFile>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            walk(root, &path, files);
        } else if let (Ok(metadata), Ok(relative)) = (fs::metadata(&path), path.strip_prefix(root))
        {
            files.push(RepoFile {
                path: relative.to_string_lossy().replace('\\', "/"),
                size: metadata.len(),
                oid: String::new(),
                large: None,
            });
        }
    }
}

/// The format of `trees/<commit>.json` that is written and understood.
const TREE_FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Tree {
    format_version: u32,
    files: BTreeMap<String, TreeEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TreeEntry {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
}

impl TreeEntry {
    fn of(file: &RepoFile) -> Self {
        let sha256 = file.large.as_ref().and_then(|large| large.sha256.clone());
        Self {
            size: file.size,
            blob_id: file.oid.clone(),
            lfs_size: file.large.as_ref().map(|_| file.size),
            lfs_sha256: sha256,
            xet_hash: None,
        }
    }

    fn into_file(self, path: String) -> RepoFile {
        let is_large = self.lfs_size.is_some() || self.lfs_sha256.is_some();
        let large = is_large.then_some(LargeFile {
            sha256: self.lfs_sha256,
        });
        RepoFile {
            path,
            size: self.lfs_size.unwrap_or(self.size),
            oid: self.blob_id,
            large,
        }
    }
}
