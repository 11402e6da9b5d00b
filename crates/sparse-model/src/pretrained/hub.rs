//! From a model's name to its directory: on the disk, or from the hub.

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

/// Where the files of a model are.
#[derive(Debug, Clone)]
pub(crate) struct ModelSource {
    /// The directory to read.
    pub(crate) directory: PathBuf,
    /// Id on the hub, if the files are from there.
    pub(crate) id: Option<String>,
    /// How the hub is asked, should a file name another model.
    pub(crate) hub: HubOptions,
}

impl ModelSource {
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
                id: None,
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
        let directory = Hub::new(with_cache_of_reference(options.clone()))
            .and_then(|hub| hub.model_directory(&id))
            .map_err(|source| Error::Hub {
                name: name.to_string(),
                hint,
                source: Box::new(source),
            })?;
        Ok(Self {
            directory,
            id: Some(id),
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
        self.id.clone().unwrap_or_else(|| {
            let path = self.directory.canonicalize();
            path.unwrap_or_else(|_| self.directory.clone())
                .display()
                .to_string()
        })
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
        let error = ModelSource::find(wrong.to_str().unwrap(), &HubOptions::default()).unwrap_err();
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
        let found = ModelSource::find(name, &options).unwrap();
        assert_eq!(found.directory, folder.path().join("query"));
        let options = HubOptions::default().with_subfolder("document");
        let error = ModelSource::find(name, &options).unwrap_err();
        assert!(
            error.to_string().contains("has no subfolder `document`"),
            "{error}"
        );
    }
}
