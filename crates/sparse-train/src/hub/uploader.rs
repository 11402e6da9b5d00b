//! Uploads beside the run.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use sparse_hub::{Hub, HubOptions, Repo, UploadOptions};

use super::{HubStrategy, staging};
use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};

/// What went wrong with uploads, in words.
type Failures = Vec<String>;

/// Uploads checkpoints in a thread, one after the other, each as one commit: the repository has all of it or nothing.
#[derive(Debug)]
pub(crate) struct Uploader {
    hub: Hub,
    repo: Repo,
    strategy: HubStrategy,
    always: bool,
    private: Option<bool>,
    revision: Option<String>,
    running: Option<JoinHandle<Failures>>,
}

impl Uploader {
    /// Asks the hub for the repository and the right to write to it, and makes it if it isn't there.
    pub(crate) fn new(arguments: &TrainingArguments, options: &HubOptions) -> Result<Self> {
        let hub = Hub::new(HubOptions {
            token: secret(arguments, options),
            revision: None,
            subfolder: None,
            ..options.clone()
        })?;
        let repo = repository(arguments, &hub)?;
        let revision = arguments.hub_revision.clone();
        hub.prepare_upload(&repo, arguments.hub_private_repo, revision.as_deref())?;
        tracing::info!("the model goes to {repo} of the hub");
        Ok(Self {
            hub,
            repo,
            strategy: arguments.hub_strategy,
            always: arguments.hub_always_push,
            private: arguments.hub_private_repo,
            revision,
            running: None,
        })
    }

    pub(crate) fn repo_id(&self) -> &str {
        self.repo.id()
    }

    fn is_busy(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| !running.is_finished())
    }

    /// Whether a checkpoint is to be uploaded: not while an earlier one is on its way, unless `hub_always_push` is set.
    pub(crate) fn takes_checkpoint(&self, step: usize) -> bool {
        if self.strategy == HubStrategy::End {
            return false;
        }
        let takes = self.always || !self.is_busy();
        if !takes {
            tracing::info!(
                "step {step} isn't uploaded: an earlier one is still on its way; `hub_always_push` uploads each"
            );
        }
        takes
    }

    /// Begins to upload a checkpoint, after those before it. Gives what went wrong with earlier ones.
    pub(crate) fn on_save(&mut self, checkpoint: &Path, step: usize, message: &str) -> Failures {
        let mut failures = if self.is_busy() {
            Failures::new()
        } else {
            self.wait()
        };
        match staging::gather(self.strategy, checkpoint, step, self.repo.id()) {
            Ok(Some(directory)) => self.start(directory, message.to_owned()),
            Ok(None) => {}
            Err(error) => failures.push(format!("{message}: {}", in_full(&error))),
        }
        failures
    }

    /// Uploads a directory in a thread, after those before it, and deletes it.
    fn start(&mut self, directory: PathBuf, message: String) {
        let (hub, repo, earlier) = (self.hub.clone(), self.repo.clone(), self.running.take());
        let options = UploadOptions {
            private: self.private,
            commit_message: message.clone(),
            revision: self.revision.clone(),
            exist_ok: true,
            ..UploadOptions::default()
        };
        self.running = Some(std::thread::spawn(move || {
            let mut failures = join(earlier);
            match hub.upload_folder(&repo, &directory, &options) {
                Ok(upload) => tracing::info!("uploaded {message}: {}", upload.url),
                Err(error) => failures.push(format!("{message}: {}", in_full(&error))),
            }
            if let Err(error) = std::fs::remove_dir_all(&directory) {
                failures.push(format!("`{}` stays: {error}", directory.display()));
            }
            failures
        }));
    }

    /// Waits for what is on its way and gives what went wrong.
    pub(crate) fn wait(&mut self) -> Failures {
        join(self.running.take())
    }
}

/// A run that ends with an error still gets its last checkpoint to the hub.
impl Drop for Uploader {
    fn drop(&mut self) {
        for failure in self.wait() {
            tracing::warn!("an upload failed: {failure}");
        }
    }
}

fn join(thread: Option<JoinHandle<Failures>>) -> Failures {
    thread.map_or_else(Failures::new, |thread| {
        thread
            .join()
            .unwrap_or_else(|_| vec!["the thread that uploads panicked".to_owned()])
    })
}

/// The token: of the arguments, else of the options, else (there) of the environment.
pub(crate) fn secret(arguments: &TrainingArguments, options: &HubOptions) -> Option<String> {
    let token = arguments.hub_token.as_ref();
    token
        .map(|token| token.secret().to_owned())
        .or_else(|| options.token.clone())
}

/// `hub_model_id`, by default the name of the output directory; without an owner it is the token's.
fn repository(arguments: &TrainingArguments, hub: &Hub) -> Result<Repo> {
    let name = match &arguments.hub_model_id {
        Some(id) => id.clone(),
        None => arguments
            .output_dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    };
    let repo = Repo::model(&name).map_err(|error| {
        Error::argument(
            "arguments.hub_model_id",
            match &arguments.hub_model_id {
                Some(_) => format!("must be `owner/name`: {error}"),
                None => {
                    format!("is needed, because the name of the output directory won't do: {error}")
                }
            },
        )
    })?;
    if name.contains('/') {
        return Ok(repo);
    }
    let owner = hub.user(&repo)?;
    Ok(Repo::model(&format!("{owner}/{name}"))?)
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
