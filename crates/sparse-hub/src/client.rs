//! Requests: a runtime to run them on, and new attempts.

use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use hf_hub::repository::{CommitInfo, RepoTreeEntry};
use hf_hub::{
    HFClient, HFError, HFRepository, HFResult, RepoTypeAny, RepoTypeDataset, RepoTypeModel,
};

use crate::failure::{About, Failure, PATIENCE, WRITING, chain, timed_out};
use crate::mask::masked;
use crate::options::Settings;
use crate::{Error, Repo, RepoKind, Result, UploadOptions};

/// Given no token, the client would look for one by itself; one that fits no header makes it send none.
const NO_TOKEN: &str = "\n";

/// New attempts when there is no connection: whoever has no network should not wait long for the cache or an error.
const RETRIES_WHEN_UNREACHABLE: u32 = 2;

/// Longest pause that the hub may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Runs a future to its end on a thread of its own, so that a caller may itself be inside of a runtime.
pub(crate) fn block_on<T: Send, F: Future<Output = Result<T>>>(
    make: impl FnOnce() -> F + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|source| Error::io("the network".as_ref(), source))?;
            runtime.block_on(make())
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A stream of a file's bytes, and how many will come if the server said so.
pub(crate) type ByteStream = (Option<u64>, BoxStream<'static, HFResult<Vec<u8>>>);

/// A repository behind its client. The client's own new attempts are off: ours know `Retry-After`.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) repo: &'a Repo,
    client: HFClient,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Model(HFRepository<RepoTypeModel>),
    Dataset(HFRepository<RepoTypeDataset>),
}

/// The same call on either kind of handle, whose types differ.
macro_rules! on {
    ($handle:expr, $repository:ident => $call:expr) => {
        match &$handle {
            Handle::Model($repository) => $call,
            Handle::Dataset($repository) => $call,
        }
    };
}

impl<'a> Client<'a> {
    pub(crate) fn new(settings: &'a Settings, repo: &'a Repo) -> Result<Self> {
        let builder = HFClient::builder()
            .endpoint(&settings.endpoint)
            .token(settings.token.as_deref().unwrap_or(NO_TOKEN))
            .cache_dir(&settings.cache_dir)
            .retry_max_attempts(0)
            .user_agent(concat!("sparse-encoder/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|source| Error::Client {
            kind: repo.kind(),
            id: repo.id().to_string(),
            source: masked(source),
        })?;
        let (owner, name) = repo.parts();
        let handle = match repo.kind() {
            RepoKind::Model => Handle::Model(client.model(owner, name)),
            RepoKind::Dataset => Handle::Dataset(client.dataset(owner, name)),
        };
        Ok(Self {
            settings,
            repo,
            client,
            handle,
        })
    }

    /// The commit that a revision means.
    pub(crate) async fn commit(&self, revision: &str) -> Result<String> {
        let about = About {
            revision: Some(revision),
            ..About::default()
        };
        let only = || Some(vec!["sha".to_string()]);
        let sha = self
            .retrying(about, async || {
                Ok(match &self.handle {
                    Handle::Model(repository) => {
                        let info = repository.info().revision(revision).maybe_expand(only());
                        info.send().await?.sha
                    }
                    Handle::Dataset(repository) => {
                        let info = repository.info().revision(revision).maybe_expand(only());
                        info.send().await?.sha
                    }
                })
            })
            .await?;
        sha.ok_or_else(|| self.revision_not_found(revision))
    }

    /// Every file of a commit.
    pub(crate) async fn tree(&self, commit: &str) -> Result<Vec<RepoTreeEntry>> {
        let about = About {
            revision: Some(commit),
            ..About::default()
        };
        self.retrying(about, async || {
            let mut entries = Vec::new();
            on!(self.handle, repository => {
                let stream = repository.list_tree().revision(commit).recursive(true).send()?;
                futures::pin_mut!(stream);
                while let Some(entry) = stream.next().await {
                    entries.push(entry?);
                }
            });
            Ok(entries)
        })
        .await
    }

    /// A file's bytes from one on, one attempt.
    pub(crate) async fn stream(
        &self,
        commit: &str,
        path: &str,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<ByteStream, Failure> {
        let about = About {
            revision: Some(commit),
            file: Some(path),
            ..About::default()
        };
        let request = async {
            on!(self.handle, repository => {
                let request = repository.download_file_stream().filename(path).revision(commit);
                let (length, stream) = request.maybe_range(range).send().await?;
                Ok((length, stream.map(|chunk| Ok(chunk?.to_vec())).boxed()))
            })
        };
        match tokio::time::timeout(PATIENCE, request).await {
            Ok(result) => result.map_err(|error| self.classify(error, about)),
            Err(_) => Err(self.broken(timed_out())),
        }
    }

    pub(crate) async fn create(&self, private: Option<bool>, exist_ok: bool) -> Result<()> {
        self.retrying(WRITING, async || {
            let request = self.client.create_repository().repo_id(self.repo.id());
            let kind = match self.handle {
                Handle::Model(_) => RepoTypeAny::Model,
                Handle::Dataset(_) => RepoTypeAny::Dataset,
            };
            let request = request.repo_type(kind).exist_ok(exist_ok);
            request.maybe_private(private).send().await
        })
        .await
        .map(|_| ())
    }

    /// Name of the token's owner.
    pub(crate) async fn user(&self) -> Result<String> {
        let user = self
            .retrying(WRITING, async || self.client.whoami().send().await)
            .await?;
        Ok(user.username)
    }

    /// Makes a branch unless it is there.
    pub(crate) async fn create_branch(&self, branch: &str) -> Result<()> {
        self.retrying(WRITING, async || {
            let result = on!(self.handle, repository => repository.create_branch().branch(branch).send().await);
            match result {
                Err(HFError::Conflict { .. }) => Ok(()),
                other => other,
            }
        })
        .await
    }

    /// Commits a folder. Large files go through the client's own transfer, which has no limit of time.
    pub(crate) async fn commit_folder(
        &self,
        folder: &std::path::Path,
        options: &UploadOptions,
        kept: &[String],
    ) -> Result<CommitInfo> {
        let revision = options.revision.as_deref().unwrap_or("main");
        let about = About {
            revision: Some(revision),
            ..WRITING
        };
        let mut ignored = [".git/**", ".cache/**", "**/.DS_Store"]
            .map(String::from)
            .to_vec();
        ignored.extend_from_slice(kept);
        let mut attempt = 0;
        loop {
            let result = on!(self.handle, repository => repository
                .upload_folder()
                .folder_path(folder)
                .revision(revision)
                .commit_message(options.commit_message.clone())
                .maybe_commit_description(options.commit_description.clone())
                .create_pr(options.create_pr)
                .ignore_patterns(ignored.clone())
                .send()
                .await);
            match result {
                Ok(commit) => return Ok(commit),
                Err(error) => {
                    self.pause(self.classify(error, about), &mut attempt)
                        .await?
                }
            }
        }
    }

    /// Number of the pull request whose branch is at a commit.
    pub(crate) async fn pull_request_at(&self, commit: &str) -> Result<Option<String>> {
        let refs = self
            .retrying(WRITING, async || {
                on!(self.handle, repository => repository.list_refs().include_pull_requests(true).send().await)
            })
            .await?;
        let found = refs
            .pull_requests
            .into_iter()
            .find(|reference| reference.target_commit == commit);
        Ok(found.and_then(|reference| {
            let number = reference.git_ref.rsplit('/').next()?;
            Some(number.to_string())
        }))
    }

    /// Tries until it works, makes no sense any more, or has failed too often.
    async fn retrying<T>(
        &self,
        about: About<'_>,
        mut request: impl AsyncFnMut() -> HFResult<T>,
    ) -> Result<T> {
        let mut attempt = 0;
        loop {
            let failure = match tokio::time::timeout(PATIENCE, request()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => self.classify(error, about),
                Err(_) => self.broken(timed_out()),
            };
            self.pause(failure, &mut attempt).await?;
        }
    }

    /// Waits before a new attempt, or gives the error back if there shall be none.
    pub(crate) async fn pause(&self, failure: Failure, attempt: &mut u32) -> Result<()> {
        let Some(asked) = failure.again else {
            return Err(failure.error);
        };
        let usual = Duration::from_millis(self.settings.retry_delay_ms << (*attempt).min(10));
        let pause = asked.unwrap_or(usual);
        let retries = if failure.unreachable {
            self.settings.retries.min(RETRIES_WHEN_UNREACHABLE)
        } else {
            self.settings.retries
        };
        if *attempt >= retries || pause > LONGEST_PAUSE {
            return Err(failure.error);
        }
        *attempt += 1;
        tracing::warn!(
            "{}; trying again in {:.1} s ({attempt} of {})",
            chain(&failure.error),
            pause.as_secs_f64(),
            retries
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
