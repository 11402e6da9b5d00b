//! What can go wrong between the hub and the disk.

use std::path::{Path, PathBuf};

use crate::RepoKind;

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Errors raised while downloading from or uploading to a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name can't be that of a repository.
    #[error("`{id}` can't be the id of a repository: it {problem}")]
    InvalidId {
        /// The name.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A choice is wrong.
    #[error("`{name}` {problem}")]
    Option {
        /// The option.
        name: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
    /// The hub has no such repository, or doesn't show it.
    #[error("{endpoint} has no {kind} `{id}`, or it is private: check the spelling, {}", token_remedy(*with_token))]
    RepoNotFound {
        /// What was looked for.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// Whether the request had a token.
        with_token: bool,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{kind} `{id}` has no revision `{revision}`: name a branch, a tag or a commit of it")]
    RevisionNotFound {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The revision looked for.
        revision: String,
    },
    /// The repository has no such file.
    #[error("{kind} `{id}` has no `{file}` at revision `{revision}`{hint}")]
    FileNotFound {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The revision.
        revision: String,
        /// The file or folder looked for.
        file: String,
        /// What the repository has instead, as the end of the sentence.
        hint: String,
    },
    /// The hub wants a token, or refuses the one it got.
    #[error("the hub refuses access to {kind} `{id}`: {}", unauthorized(*with_token))]
    Unauthorized {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// Whether the request had a token.
        with_token: bool,
    },
    /// The token is good, but not for this.
    #[error("the hub forbids access to {kind} `{id}`: {message}")]
    Forbidden {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// What the hub said, and what can be done.
        message: String,
    },
    /// The repository is there already.
    #[error("{kind} `{id}` is on the hub already; allow that with `exist_ok`")]
    Exists {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
    },
    /// The cache lacks what is needed, and the network may not be used.
    #[error("{kind} `{id}` at revision `{revision}` is not in the cache `{}`{}, and downloads are switched off by `local_files_only` or HF_HUB_OFFLINE", cache.display(), in_file(file.as_deref()))]
    NotCached {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The revision.
        revision: String,
        /// The file that is missing, if not all of them are.
        file: Option<String>,
        /// Directory of the cache.
        cache: PathBuf,
    },
    /// The hub is busy, and stayed so.
    #[error("the hub limits the rate of requests for {kind} `{id}`{}: try again later, or with a token", wait(*seconds))]
    RateLimited {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// How long the hub asks to wait.
        seconds: Option<u64>,
    },
    /// The hub answered with an error of its own, and went on to.
    #[error(
        "the hub answered {status} to a request for {kind} `{id}`{}",
        said(message)
    )]
    Server {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        message: String,
    },
    /// The hub can't be reached, or the connection broke again and again.
    #[error(
        "failed to reach {endpoint} for {kind} `{id}`, which is not whole in the cache: check the network and the proxy settings"
    )]
    Network {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The hub's address.
        endpoint: String,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A downloaded file is not what the hub lists.
    #[error(
        "`{file}` of {kind} `{id}` arrived damaged, twice: its content does not have the id {expected} that the hub lists"
    )]
    Damaged {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// The file.
        file: String,
        /// The git object id.
        expected: String,
    },
    /// The client gave up for another reason.
    #[error("a request for {kind} `{id}` failed")]
    Client {
        /// What the repository holds.
        kind: RepoKind,
        /// Its id.
        id: String,
        /// What the client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the cache, or one to upload, can't be read or written.
    #[error("failed to access `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether what was asked for is at fault, rather than the network, the hub or the machine.
    pub fn is_user_error(&self) -> bool {
        matches!(
            self,
            Self::InvalidId { .. }
                | Self::Option { .. }
                | Self::RepoNotFound { .. }
                | Self::RevisionNotFound { .. }
                | Self::FileNotFound { .. }
                | Self::Unauthorized { .. }
                | Self::Forbidden { .. }
                | Self::Exists { .. }
                | Self::NotCached { .. }
        )
    }

    /// Whether the cache may stand in: the hub can't be asked at the moment.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Network { .. } | Self::RateLimited { .. } | Self::Server { status: 500.., .. }
        )
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_path_buf(),
            source,
        }
    }
}

fn token_remedy(with_token: bool) -> &'static str {
    if with_token {
        "and whether the token may read it"
    } else {
        "and for a private one set HF_TOKEN to a token that may read it"
    }
}

fn unauthorized(with_token: bool) -> &'static str {
    if with_token {
        "the token is not valid; make a new one at the hub's settings and set HF_TOKEN to it"
    } else {
        "it needs a token; set HF_TOKEN to one"
    }
}

fn in_file(file: Option<&str>) -> String {
    file.map_or_else(String::new, |file| format!(" (`{file}` is missing)"))
}

fn wait(seconds: Option<u64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(" for {seconds} s"))
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}
