//! From a repository and a revision to files on the disk.

use std::path::PathBuf;

use crate::cache::{RepoCache, is_commit};
use crate::client::{Client, block_on};
use crate::download::download;
use crate::failure::chain;
use crate::listing::files_of;
use crate::options::Settings;
use crate::{Error, HubOptions, Listing, Repo, RepoFile, Result};

/// A client of a hub, with its cache.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) settings: Settings,
}

/// Files of a commit on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// Directory that stands for the repository's root. What was not asked for may be missing in it.
    pub directory: PathBuf,
    /// The files asked for, in that order.
    pub files: Vec<PathBuf>,
}

impl Hub {
    /// Makes a client; nothing is asked of the network yet.
    ///
    /// # Errors
    ///
    /// If a choice is wrong, or nothing tells where the cache is.
    pub fn new(options: HubOptions) -> Result<Self> {
        Ok(Self {
            settings: options.resolve()?,
        })
    }

    /// Whether nothing but the cache is used.
    pub fn is_offline(&self) -> bool {
        self.settings.offline
    }

    /// The files of a repository at the revision chosen in the options.
    ///
    /// A branch or tag is asked for at the hub; offline, or when the hub can't be reached, it means what it meant the last
    /// time. What lies in a commit never changes and is asked for once.
    ///
    /// # Errors
    ///
    /// If there is no such repository or revision, access is refused, or the hub can't be reached and the cache does not help.
    pub fn listing(&self, repo: &Repo) -> Result<Listing> {
        self.listing_at(repo, &self.settings.revision)
    }

    pub(crate) fn listing_at(&self, repo: &Repo, revision: &str) -> Result<Listing> {
        let cache = self.cache(repo);
        let commit = self.commit(repo, revision, &cache)?;
        if let Some(files) = cache.read_tree(&commit) {
            return Ok(Listing { commit, files });
        }
        let on_disk = || {
            let files = cache.files_of_snapshot(&commit);
            (!files.is_empty()).then(|| Listing {
                commit: commit.clone(),
                files,
            })
        };
        if self.settings.offline {
            return on_disk().ok_or_else(|| self.not_cached(repo, revision, None));
        }
        let entries = block_on(|| async { Client::new(&self.settings, repo)?.tree(&commit).await });
        match entries {
            Ok(entries) => {
                let files = files_of(entries);
                cache.write_tree(&commit, &files)?;
                Ok(Listing { commit, files })
            }
            Err(error) => self.instead(error, on_disk()),
        }
    }

    /// The commit that a revision means.
    fn commit(&self, repo: &Repo, revision: &str, cache: &RepoCache) -> Result<String> {
        if is_commit(revision) {
            return Ok(revision.to_string());
        }
        if self.settings.offline {
            return cache
                .read_ref(revision)
                .ok_or_else(|| self.not_cached(repo, revision, None));
        }
        let commit =
            block_on(|| async { Client::new(&self.settings, repo)?.commit(revision).await });
        match commit {
            Ok(commit) => Ok(commit),
            Err(error) => self.instead(error, cache.read_ref(revision)),
        }
    }

    /// What the cache has, if the hub can't be asked at the moment.
    fn instead<T>(&self, error: Error, cached: Option<T>) -> Result<T> {
        match cached {
            Some(cached) if error.is_outage() => {
                tracing::warn!("{}; using the cache instead", chain(&error));
                Ok(cached)
            }
            _ => Err(error),
        }
    }

    /// Downloads files of a listing that are not in the cache yet, and gives their places.
    ///
    /// # Errors
    ///
    /// If the listing has no such file, access is refused, the network fails for good, or the disk does.
    pub fn download<P: AsRef<str>>(
        &self,
        repo: &Repo,
        listing: &Listing,
        paths: &[P],
    ) -> Result<Snapshot> {
        self.download_at(repo, &self.settings.revision, listing, paths)
    }

    pub(crate) fn download_at<P: AsRef<str>>(
        &self,
        repo: &Repo,
        revision: &str,
        listing: &Listing,
        paths: &[P],
    ) -> Result<Snapshot> {
        let cache = self.cache(repo);
        let mut missing: Vec<&RepoFile> = Vec::new();
        for path in paths {
            let path = path.as_ref();
            let Some(file) = listing.get(path) else {
                return Err(self.file_not_found(repo, revision, listing, path));
            };
            if !cache.has(&listing.commit, path) {
                missing.push(file);
            }
        }
        if let (true, Some(file)) = (self.settings.offline, missing.first()) {
            return Err(self.not_cached(repo, revision, Some(&file.path)));
        }
        download(&self.settings, repo, &cache, &listing.commit, &missing)?;
        if !is_commit(revision) {
            cache.write_ref(revision, &listing.commit)?;
        }
        let directory = cache.snapshot(&listing.commit);
        Ok(Snapshot {
            files: paths
                .iter()
                .map(|path| directory.join(path.as_ref()))
                .collect(),
            commit: listing.commit.clone(),
            directory,
        })
    }

    fn cache(&self, repo: &Repo) -> RepoCache {
        RepoCache::new(&self.settings.cache_dir, repo)
    }

    fn not_cached(&self, repo: &Repo, revision: &str, file: Option<&str>) -> Error {
        Error::NotCached {
            kind: repo.kind(),
            id: repo.id().to_string(),
            revision: revision.to_string(),
            file: file.map(str::to_string),
            cache: self.settings.cache_dir.clone(),
        }
    }

    pub(crate) fn file_not_found(
        &self,
        repo: &Repo,
        revision: &str,
        listing: &Listing,
        path: &str,
    ) -> Error {
        const SHOWN: usize = 8;
        let names: Vec<String> = listing
            .files
            .iter()
            .take(SHOWN)
            .map(|file| format!("`{}`", file.path))
            .collect();
        let more = listing.files.len().saturating_sub(SHOWN);
        let hint = match (names.is_empty(), more) {
            (true, _) => "; it is empty".to_string(),
            (false, 0) => format!("; it has {}", names.join(", ")),
            (false, more) => format!("; it has {} and {more} more", names.join(", ")),
        };
        Error::FileNotFound {
            kind: repo.kind(),
            id: repo.id().to_string(),
            revision: revision.to_string(),
            file: path.to_string(),
            hint,
        }
    }
}
