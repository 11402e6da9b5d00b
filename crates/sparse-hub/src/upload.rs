//! Uploads of whole folders.

use std::path::Path;

use crate::client::{Client, block_on};
use crate::listing::files_of;
use crate::mask::mask;
use crate::{Error, Hub, Repo, Result};

/// How a folder is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadOptions {
    /// Whether a new repository is private; the hub's default if absent.
    pub private: Option<bool>,
    /// First line of the commit.
    pub commit_message: String,
    /// The rest of the commit.
    pub commit_description: Option<String>,
    /// Branch to commit to, made if it is not there; `main` by default.
    pub revision: Option<String>,
    /// Opens a pull request instead of committing to the branch.
    pub create_pr: bool,
    /// Whether the repository may be there already. A pull request implies it.
    pub exist_ok: bool,
    /// Files that stay as they are if the repository has them.
    pub keep_existing: Vec<String>,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self {
            private: None,
            commit_message: "Upload folder".to_string(),
            commit_description: None,
            revision: None,
            create_pr: false,
            exist_ok: false,
            keep_existing: Vec::new(),
        }
    }
}

/// What came of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Address of the commit, or of the pull request.
    pub url: String,
    /// The commit.
    pub commit: String,
    /// Number of the pull request.
    pub pull_request: Option<String>,
}

impl Hub {
    /// Makes a repository and, where one is named, its branch, unless they are there: what fails here would fail after hours of
    /// work.
    ///
    /// # Errors
    ///
    /// If there is no token or it may not write there, the options say offline, or the network fails for good.
    pub fn prepare_upload(
        &self,
        repo: &Repo,
        private: Option<bool>,
        branch: Option<&str>,
    ) -> Result<()> {
        self.may_upload(repo)?;
        block_on(|| async {
            let client = Client::new(&self.settings, repo)?;
            client.create(private, true).await?;
            // Asks for the right to write in a repository that is there already.
            client.create_branch(branch.unwrap_or("main")).await
        })
    }

    /// The owner of the token, in whose name a repository without an owner is made; errors name the repository.
    ///
    /// # Errors
    ///
    /// If there is no token, the hub doesn't know it, the options say offline, or the network fails for good.
    pub fn user(&self, repo: &Repo) -> Result<String> {
        self.may_upload(repo)?;
        block_on(|| async { Client::new(&self.settings, repo)?.user().await })
    }

    fn may_upload(&self, repo: &Repo) -> Result<()> {
        if self.settings.offline {
            return Err(Error::Option {
                name: "local_files_only",
                problem: "forbids uploads, as HF_HUB_OFFLINE does".to_string(),
            });
        }
        if self.settings.token.is_none() {
            return Err(Error::Unauthorized {
                kind: repo.kind(),
                id: repo.id().to_string(),
                with_token: false,
            });
        }
        Ok(())
    }

    /// Uploads every file below a folder in one commit; the repository is made if it is not there.
    ///
    /// # Errors
    ///
    /// If there is no token or it may not write, the repository is there and `exist_ok` is not set, the options say offline,
    /// or the network fails for good.
    pub fn upload_folder(
        &self,
        repo: &Repo,
        folder: &Path,
        options: &UploadOptions,
    ) -> Result<Upload> {
        self.may_upload(repo)?;
        std::fs::read_dir(folder).map_err(|source| Error::io(folder, source))?;
        block_on(|| async {
            let client = Client::new(&self.settings, repo)?;
            let exist_ok = options.exist_ok || options.create_pr;
            client.create(options.private, exist_ok).await?;
            if let Some(branch) = options
                .revision
                .as_deref()
                .filter(|branch| *branch != "main")
            {
                client.create_branch(branch).await?;
            }
            let mut kept = Vec::new();
            if !options.keep_existing.is_empty() {
                let revision = options.revision.as_deref().unwrap_or("main");
                kept = files_of(client.tree(revision).await?)
                    .into_iter()
                    .map(|file| file.path)
                    .filter(|path| options.keep_existing.contains(path))
                    .collect();
            }
            let commit = client.commit_folder(folder, options, &kept).await?;
            let oid = commit.commit_oid.unwrap_or_default();
            let pull_request = if options.create_pr {
                match commit.pr_num {
                    Some(number) => Some(number.to_string()),
                    None => client.pull_request_at(&oid).await?,
                }
            } else {
                None
            };
            let prefix = repo.kind().url_prefix();
            let page = format!("{}/{prefix}{}", self.settings.endpoint, repo.id());
            let url = match &pull_request {
                Some(number) => commit
                    .pr_url
                    .unwrap_or(format!("{page}/discussions/{number}")),
                None => commit.commit_url.unwrap_or(page),
            };
            Ok(Upload {
                url: mask(&url),
                commit: oid,
                pull_request,
            })
        })
    }
}
