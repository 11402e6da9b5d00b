//! What an answer of the hub means.

use hf_hub::HFError;

use crate::Error;
use crate::client::Client;
use crate::failure::{About, Failure};
use crate::mask::{mask, masked};

impl Client<'_> {
    /// A connection that broke or never was.
    pub(crate) fn broken(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Failure {
        Failure {
            error: Error::Network {
                kind: self.repo.kind(),
                id: self.repo.id().to_string(),
                endpoint: mask(&self.settings.endpoint),
                source: masked(source),
            },
            again: Some(None),
            unreachable: false,
        }
    }

    /// What an error of the client means.
    pub(crate) fn classify(&self, error: HFError, about: About<'_>) -> Failure {
        let (kind, id) = (self.repo.kind(), self.repo.id().to_string());
        match &error {
            HFError::RateLimited { retry_after, .. } => Failure {
                error: Error::RateLimited {
                    kind,
                    id,
                    seconds: retry_after.map(|pause| pause.as_secs()),
                },
                again: Some(*retry_after),
                unreachable: false,
            },
            HFError::Http { context }
            | HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Conflict { context }
            | HFError::RepoNotFound {
                context: Some(context),
                ..
            }
            | HFError::RevisionNotFound {
                context: Some(context),
                ..
            }
            | HFError::EntryNotFound {
                context: Some(context),
                ..
            } => {
                let code = context.error_code.as_deref().unwrap_or_default();
                let message = mask(&context.server_message.clone().unwrap_or_default());
                self.classify_status(context.status.as_u16(), code, message, about)
            }
            HFError::Request { source, .. } if !source.is_builder() => Failure {
                unreachable: source.is_connect(),
                ..self.broken(error)
            },
            HFError::Io(_) => match error {
                HFError::Io(source) => {
                    let read = about.file.unwrap_or("the cache of the hub");
                    let path = if about.writing {
                        "the folder to upload"
                    } else {
                        read
                    };
                    Error::io(path.as_ref(), source).into()
                }
                _ => self.broken(error),
            },
            HFError::Xet { .. } => self.broken(error),
            _ => Error::Client {
                kind,
                id,
                source: masked(error),
            }
            .into(),
        }
    }

    fn classify_status(
        &self,
        status: u16,
        code: &str,
        message: String,
        about: About<'_>,
    ) -> Failure {
        let (kind, id) = (self.repo.kind(), self.repo.id().to_string());
        let with_token = self.settings.token.is_some();
        let endpoint = mask(&self.settings.endpoint);
        let revision = about.revision.unwrap_or("main").to_string();
        let error = match (status, code) {
            (_, "RevisionNotFound") => self.revision_not_found(&revision),
            (_, "GatedRepo") => Error::Forbidden {
                message: format!(
                    "its owner grants access; ask for it at {endpoint}/{}{id} and use a token",
                    kind.url_prefix()
                ),
                kind,
                id,
            },
            (401, _) if about.writing || message.starts_with("Invalid credentials") => {
                Error::Unauthorized {
                    kind,
                    id,
                    with_token,
                }
            }
            // To a stranger, the hub says this of what is private and of what is not there.
            (401, _) | (_, "RepoNotFound") => Error::RepoNotFound {
                kind,
                id,
                endpoint,
                with_token,
            },
            (403, _) => Error::Forbidden {
                message: if about.writing {
                    format!("{message}; the token needs the permission to write there")
                } else {
                    message
                },
                kind,
                id,
            },
            (404, _) => match (about.file, about.revision) {
                (Some(file), _) => Error::FileNotFound {
                    kind,
                    id,
                    revision,
                    file: file.to_string(),
                    hint: String::new(),
                },
                (None, Some(_)) if !about.writing => self.revision_not_found(&revision),
                _ => Error::RepoNotFound {
                    kind,
                    id,
                    endpoint,
                    with_token,
                },
            },
            (409, _) => Error::Exists { kind, id },
            (429, _) => Error::RateLimited {
                kind,
                id,
                seconds: None,
            },
            _ => Error::Server {
                kind,
                id,
                status,
                message,
            },
        };
        let again = matches!(status, 408 | 429 | 500..).then_some(None);
        Failure {
            error,
            again,
            unreachable: false,
        }
    }

    pub(crate) fn revision_not_found(&self, revision: &str) -> Error {
        Error::RevisionNotFound {
            kind: self.repo.kind(),
            id: self.repo.id().to_string(),
            revision: revision.to_string(),
        }
    }
}
