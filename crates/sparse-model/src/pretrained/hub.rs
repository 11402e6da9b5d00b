//! From a model's name to its directory: on the disk, or from the hub.

use std::fmt;
use std::path::{Path, PathBuf};

use sparse_hub::{Hub, HubOptions, Repo};

use crate::error::nearest;
use crate::{Error, Result};

/// Models that have been on the hub since before ids had an owner.
const CLASSIC: [&str; 13] = [
    "albert-base-v1",
    "albert-base-v2",
    "bert-base-cased",
    "bert-base-multilingual-cased",
    "bert-base-multilingual-uncased",
    "bert-base-uncased",
    "bert-large-uncased",
    "camembert-base",
    "distilbert-base-uncased",
    "distilroberta-base",
    "roberta-base",
    "xlm-roberta-base",
    "xlm-roberta-large",
];

/// The owner of models whose name has none.
const DEFAULT_OWNER: &str = "sparse-encoder";

/// Where a model was loaded from, so that it can be found again from any working directory; see
/// [`SparseEncoder::source`](crate::SparseEncoder::source).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelSource {
    /// A directory on the disk.
    Directory {
        /// Its absolute path, links resolved.
        path: PathBuf,
    },
    /// A repository of the hub.
    Hub {
        /// Its id, such as `naver/splade-v3`.
        id: String,
        /// The commit that was loaded, 40 hexadecimal digits.
        commit: String,
        /// The folder of the repository that holds the model, if it is not the root.
        subfolder: Option<String>,
    },
}

impl fmt::Display for ModelSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path } => path.display().fmt(formatter),
            Self::Hub {
                id,
                commit,
                subfolder: None,
            } => write!(formatter, "{id}@{commit}"),
            Self::Hub {
                id,
                commit,
                subfolder: Some(subfolder),
            } => write!(formatter, "{id}@{commit}/{subfolder}"),
        }
    }
}

/// Where the files of a model are.
#[derive(Debug, Clone)]
pub(crate) struct FoundModel {
    /// The directory to read.
    pub(crate) directory: PathBuf,
    /// Id and commit on the hub, if the files are from there.
    pub(crate) repository: Option<(String, String)>,
    /// How the hub is asked, should a file name another model.
    pub(crate) hub: HubOptions,
}

impl FoundModel {
    /// Finds a model: a directory of this name, else the model of this id on the hub.
    pub(crate) fn find(name: &str, options: &HubOptions) -> Result<Self> {
        let path = Path::new(name);
        if path.is_dir() {
            let subfolder = options.subfolder.as_deref().unwrap_or_default();
            let directory = path.join(subfolder);
            if !directory.is_dir() {
                return Err(not_found(
                    name,
                    format!("it has no subfolder `{subfolder}`"),
                ));
            }
            return Ok(Self {
                directory,
                repository: None,
                hub: options.clone(),
            });
        }
        if path.exists() {
            return Err(not_found(name, "it is a file; expected a directory"));
        }
        let hint = nearest_directory(path);
        if !Repo::is_valid_id(name) {
            let problem =
                format!("there is no such directory, and it can't be an id on the hub{hint}");
            return Err(not_found(name, problem));
        }
        let id = if name.contains('/') || CLASSIC.contains(&name) {
            name.to_string()
        } else {
            format!("{DEFAULT_OWNER}/{name}")
        };
        let snapshot = Hub::new(with_cache_of_reference(options.clone()))
            .and_then(|hub| hub.model_snapshot(&id))
            .map_err(|source| Error::Hub {
                name: name.to_string(),
                hint,
                source: Box::new(source),
            })?;
        let subfolder = options.subfolder.as_deref().unwrap_or_default();
        Ok(Self {
            directory: snapshot.directory.join(subfolder),
            repository: Some((id, snapshot.commit)),
            hub: options.clone(),
        })
    }

    /// Finds the model that an adapter of this one is for: `revision` is the base model's own.
    pub(crate) fn find_base(&self, name: &str, revision: Option<&str>) -> Result<Self> {
        let options = HubOptions {
            revision: revision.map(str::to_string),
            subfolder: None,
            ..self.hub.clone()
        };
        Self::find(name, &options)
    }

    /// The name under which an adapter says that it is for this model.
    pub(crate) fn name(&self) -> String {
        match &self.repository {
            Some((id, _)) => id.clone(),
            None => self.absolute_path().display().to_string(),
        }
    }

    /// What tells the model from all others, wherever the program is started.
    pub(crate) fn source(&self) -> ModelSource {
        match &self.repository {
            Some((id, commit)) => ModelSource::Hub {
                id: id.clone(),
                commit: commit.clone(),
                subfolder: self.hub.subfolder.clone().filter(|name| !name.is_empty()),
            },
            None => ModelSource::Directory {
                path: self.absolute_path(),
            },
        }
    }

    fn absolute_path(&self) -> PathBuf {
        let path = self.directory.canonicalize();
        path.or_else(|_| std::path::absolute(&self.directory))
            .unwrap_or_else(|_| self.directory.clone())
    }
}

/// The reference has a variable of its own for the cache of models.
fn with_cache_of_reference(mut options: HubOptions) -> HubOptions {
    if options.cache_dir.is_none() {
        options.cache_dir = std::env::var_os("SENTENCE_TRANSFORMERS_HOME")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
    }
    options
}

fn not_found(name: &str, problem: impl Into<String>) -> Error {
    Error::ModelNotFound {
        name: name.to_string(),
        problem: problem.into(),
    }
}

/// `; did you mean ...?` with the directory that a misspelt path probably means.
fn nearest_directory(path: &Path) -> String {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
        return String::new();
    };
    let searched = if parent == Path::new("") {
        Path::new(".")
    } else {
        parent
    };
    let Ok(entries) = std::fs::read_dir(searched) else {
        return nearest_directory(parent);
    };
    let mut directories: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    directories.sort();
    let wanted = name.to_string_lossy();
    let known: Vec<String> = directories
        .iter()
        .map(|name| parent.join(name).display().to_string())
        .collect();
    nearest(&parent.join(wanted.as_ref()).display().to_string(), &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_directory_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("splade-tiny")).unwrap();
        let wrong = folder.path().join("splade-tinny");
        let error = FoundModel::find(wrong.to_str().unwrap(), &HubOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("did you mean") && text.contains("splade-tiny`?"),
            "{text}"
        );
        assert!(error.is_user_error());
        let deeper = folder.path().join("splade-tinny/final");
        assert!(nearest_directory(&deeper).contains("splade-tiny`?"));
    }

    #[test]
    fn a_subfolder_of_a_directory_is_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("query")).unwrap();
        let name = folder.path().to_str().unwrap();
        let options = HubOptions::default().with_subfolder("query");
        let found = FoundModel::find(name, &options).unwrap();
        assert_eq!(found.directory, folder.path().join("query"));
        let options = HubOptions::default().with_subfolder("document");
        let error = FoundModel::find(name, &options).unwrap_err();
        assert!(
            error.to_string().contains("has no subfolder `document`"),
            "{error}"
        );
    }
}
