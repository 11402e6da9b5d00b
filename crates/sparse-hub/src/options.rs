//! What a caller may choose, and what the environment says.

use std::fmt;
use std::path::PathBuf;

use crate::mask::mask;
use crate::{Error, Result};

/// Choices for downloads and uploads. What is absent is taken from the environment, as the crate's page says.
#[derive(Clone, Default, PartialEq)]
pub struct HubOptions {
    /// Branch, tag or commit; `main` by default.
    pub revision: Option<String>,
    /// Folder of the repository that holds the model.
    pub subfolder: Option<String>,
    /// Token for private and gated repositories, and for uploads. An empty one stands for none, whatever the environment says.
    pub token: Option<String>,
    /// Directory of the cache.
    pub cache_dir: Option<PathBuf>,
    /// Uses nothing but the cache.
    pub local_files_only: bool,
    /// Address of the hub.
    pub endpoint: Option<String>,
    /// How often a failed request is tried again; 5 by default.
    pub retries: Option<u32>,
    /// Pause before the first new attempt in milliseconds, doubled for every further one; 500 by default.
    pub retry_delay_ms: Option<u64>,
}

impl HubOptions {
    /// Chooses a branch, tag or commit.
    pub fn with_revision(mut self, revision: impl Into<String>) -> Self {
        self.revision = Some(revision.into());
        self
    }

    /// Chooses a folder of the repository.
    pub fn with_subfolder(mut self, subfolder: impl Into<String>) -> Self {
        self.subfolder = Some(subfolder.into());
        self
    }

    /// Sets the token.
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets the directory of the cache.
    pub fn with_cache_dir(mut self, cache_dir: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(cache_dir.into());
        self
    }

    /// Uses nothing but the cache.
    pub fn with_local_files_only(mut self, local_files_only: bool) -> Self {
        self.local_files_only = local_files_only;
        self
    }

    /// Sets the address of the hub.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Sets the number of new attempts and the first pause in milliseconds.
    pub fn with_retries(mut self, retries: u32, delay_ms: u64) -> Self {
        self.retries = Some(retries);
        self.retry_delay_ms = Some(delay_ms);
        self
    }

    /// Checks the choices and fills them up from the environment.
    pub(crate) fn resolve(self) -> Result<Settings> {
        self.resolve_with(&|name| std::env::var(name).ok())
    }

    fn resolve_with(self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Settings> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = || {
            variable("HF_HOME").map(PathBuf::from).or_else(|| {
                let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
                let cache = cache.or_else(|| {
                    let home = variable("HOME").or_else(|| variable("USERPROFILE"))?;
                    Some(PathBuf::from(home).join(".cache"))
                })?;
                Some(cache.join("huggingface"))
            })
        };
        let cache_dir = self
            .cache_dir
            .or_else(|| variable("HF_HUB_CACHE").map(PathBuf::from))
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE").map(PathBuf::from))
            .or_else(|| Some(home()?.join("hub")))
            .ok_or_else(|| Error::Option {
                name: "cache_dir",
                problem: "is not given, and neither HF_HUB_CACHE, HF_HOME nor HOME says where the cache is"
                    .to_string(),
            })?;
        let implicit = variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_none();
        let from_environment = || {
            if let Some(token) = variable("HF_TOKEN") {
                return Some(token);
            }
            let path = variable("HF_TOKEN_PATH").map(PathBuf::from);
            let path = path.or_else(|| Some(home()?.join("token")))?;
            std::fs::read_to_string(path).ok()
        };
        let token = self
            .token
            .or_else(|| implicit.then(from_environment).flatten())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .iter()
            .find_map(|name| variable(name))
            .is_some_and(|value| is_true(&value));
        let endpoint = self
            .endpoint
            .or_else(|| variable("HF_ENDPOINT"))
            .unwrap_or_else(|| "https://huggingface.co".to_string());
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(Error::Option {
                name: "endpoint",
                problem: format!(
                    "must begin with http:// or https://; got `{}`",
                    // Without a scheme, a password looks like anything.
                    endpoint
                        .rsplit_once('@')
                        .map_or_else(|| mask(&endpoint), |(_, host)| format!("***@{host}"))
                ),
            });
        }
        let revision = self.revision.unwrap_or_else(|| "main".to_string());
        if revision.is_empty() || revision.contains("..") || revision.starts_with('/') {
            return Err(Error::Option {
                name: "revision",
                problem: format!("must be a branch, a tag or a commit; got `{revision}`"),
            });
        }
        let subfolder = self.subfolder.unwrap_or_default();
        if subfolder
            .split('/')
            .any(|part| part == ".." || part == "." || part.contains('\\'))
            || subfolder.starts_with('/')
        {
            return Err(Error::Option {
                name: "subfolder",
                problem: format!("must be a folder of the repository; got `{subfolder}`"),
            });
        }
        Ok(Settings {
            revision,
            subfolder: subfolder.trim_end_matches('/').to_string(),
            token,
            cache_dir,
            offline: self.local_files_only || offline,
            endpoint: endpoint.trim_end_matches('/').to_string(),
            retries: self.retries.unwrap_or(5),
            retry_delay_ms: self.retry_delay_ms.unwrap_or(500),
        })
    }
}

/// What Python's client takes for true.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

/// The token stays out of logs.
impl fmt::Debug for HubOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("subfolder", &self.subfolder)
            .field("has_token", &self.token.is_some())
            .field("cache_dir", &self.cache_dir)
            .field("local_files_only", &self.local_files_only)
            .field("endpoint", &self.endpoint.as_deref().map(mask))
            .finish_non_exhaustive()
    }
}

/// Every choice made.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) revision: String,
    pub(crate) subfolder: String,
    pub(crate) token: Option<String>,
    pub(crate) cache_dir: PathBuf,
    pub(crate) offline: bool,
    pub(crate) endpoint: String,
    pub(crate) retries: u32,
    pub(crate) retry_delay_ms: u64,
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("revision", &self.revision)
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("endpoint", &mask(&self.endpoint))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: HubOptions, variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_string())
        };
        options.resolve_with(&variable).unwrap()
    }

    #[test]
    fn the_environment_fills_what_is_not_given() {
        let plain = resolve(HubOptions::default(), &[("HOME", "/h/x")]);
        assert_eq!(plain.endpoint, "https://huggingface.co");
        assert_eq!(
            plain.cache_dir,
            PathBuf::from("/h/x/.cache/huggingface/hub")
        );
        assert_eq!(
            (plain.revision.as_str(), plain.offline, plain.token),
            ("main", false, None)
        );

        let variables = [
            ("HF_HOME", "/hf"),
            ("HF_TOKEN", " secret\n"),
            ("HF_ENDPOINT", "http://hub.local/"),
            ("HF_HUB_OFFLINE", "true"),
        ];
        let set = resolve(HubOptions::default(), &variables);
        assert_eq!(set.endpoint, "http://hub.local");
        assert_eq!(set.cache_dir, PathBuf::from("/hf/hub"));
        assert_eq!(set.token.as_deref(), Some("secret"));
        assert!(set.offline);

        let options = HubOptions::default()
            .with_token("mine")
            .with_cache_dir("/cache")
            .with_endpoint("http://other");
        let given = resolve(options, &variables);
        assert_eq!(given.endpoint, "http://other");
        assert_eq!(given.cache_dir, PathBuf::from("/cache"));
        assert_eq!(given.token.as_deref(), Some("mine"));
        let anonymous = resolve(HubOptions::default().with_token(""), &variables);
        assert_eq!(anonymous.token, None);
        let disabled = [
            variables[0],
            variables[1],
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ];
        assert_eq!(resolve(HubOptions::default(), &disabled).token, None);
    }

    #[test]
    fn a_token_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let home = folder.path().to_str().unwrap();
        let settings = resolve(HubOptions::default(), &[("HF_HOME", home)]);
        assert_eq!(settings.token.as_deref(), Some("from-file"));
    }

    #[test]
    fn wrong_choices_are_refused_and_tokens_not_printed() {
        for options in [
            HubOptions::default().with_endpoint("ftp://x"),
            HubOptions::default().with_revision("../x"),
            HubOptions::default().with_subfolder("../x"),
        ] {
            assert!(
                options
                    .with_cache_dir("/c")
                    .resolve_with(&|_| None)
                    .unwrap_err()
                    .is_user_error()
            );
        }
        let options = HubOptions::default()
            .with_token("secret")
            .with_endpoint("http://me:secret@hub");
        let text = format!(
            "{options:?} {:?}",
            resolve(options.clone(), &[("HOME", "/h")])
        );
        assert!(!text.contains("secret"), "{text}");
        for endpoint in ["me:secret@hub", "ftp://me:secret@hub"] {
            let options = HubOptions::default()
                .with_cache_dir("/c")
                .with_endpoint(endpoint);
            let text = options.resolve_with(&|_| None).unwrap_err().to_string();
            assert_eq!(
                text,
                "`endpoint` must begin with http:// or https://; got `***@hub`"
            );
        }
    }
}
