//! The files that every model directory of the reference has.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sparse_index::SimilarityFunction;

use super::{from_object, is_there, read_array, read_object, shortened, warn_of_unknown};
use crate::{Error, Result};

/// One line of `modules.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ModuleEntry {
    pub(crate) idx: usize,
    pub(crate) name: String,
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kwargs: Option<Vec<String>>,
}

/// Reads `modules.json`; `None` if the directory has none.
pub(crate) fn load_modules(directory: &Path) -> Result<Option<Vec<ModuleEntry>>> {
    let path = directory.join("modules.json");
    if !is_there(&path)? {
        return Ok(None);
    }
    let modules = read_array(&path)?
        .iter()
        .enumerate()
        .map(|(at, item)| match item {
            Value::Object(entries) => {
                warn_of_unknown(entries, &["idx", "name", "path", "type", "kwargs"], &path);
                from_object(entries, &path)
            }
            other => {
                let problem = format!("is {}; expected an object", shortened(other));
                Err(Error::config(&path, format!("[{at}]"), problem))
            }
        })
        .collect::<Result<Vec<ModuleEntry>>>()?;
    if modules.is_empty() {
        return Err(Error::config(
            &path,
            "modules",
            "is empty; expected at least one module",
        ));
    }
    for module in &modules {
        if join_inside(directory, &module.path).is_none() {
            return Err(Error::config(
                &path,
                format!("[{}].path", module.idx),
                format!("is `{}`, outside of the model directory", module.path),
            ));
        }
    }
    check_once(&modules, &path)?;
    Ok(Some(modules))
}

/// Checks that each module is listed once, and in its place: of two with one name or one directory, the second would take
/// the place of the first.
fn check_once(modules: &[ModuleEntry], path: &Path) -> Result<()> {
    let folder = |module: &ModuleEntry| Path::new(&module.path).components().collect::<PathBuf>();
    for (at, module) in modules.iter().enumerate() {
        let before = &modules[..at];
        if before.iter().any(|other| other.name == module.name) {
            let problem = format!("is `{}`, as that of a module before it", module.name);
            return Err(Error::config(path, format!("[{at}].name"), problem));
        }
        if before.iter().any(|other| folder(other) == folder(module)) {
            let problem = format!("is `{}`, as that of a module before it", module.path);
            return Err(Error::config(path, format!("[{at}].path"), problem));
        }
        if before.last().is_some_and(|other| other.idx >= module.idx) {
            let problem = format!(
                "is {}, which is not after that of the module before it",
                module.idx
            );
            return Err(Error::config(path, format!("[{at}].idx"), problem));
        }
    }
    Ok(())
}

/// Refuses a directory that has no `modules.json`, but other files of a model that had one: without it, the rest would be
/// taken for a plain masked-language model, whose vectors are others.
pub(crate) fn check_without_listing(directory: &Path) -> Result<()> {
    let entries = std::fs::read_dir(directory).map_err(|source| Error::read(directory, source))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| is_of_pipeline(name))
        .collect();
    names.sort();
    match names.first() {
        None => Ok(()),
        Some(name) => Err(Error::DamagedDirectory {
            path: directory.to_path_buf(),
            problem: format!(
                "it has `{name}`, but no `modules.json`, which lists the modules of such a model"
            ),
        }),
    }
}

/// Whether a file or folder is of a saved pipeline: `1_SpladePooling`, `query_0_Transformer`.
fn is_of_pipeline(name: &str) -> bool {
    if matches!(
        name,
        "config_sentence_transformers.json" | "router_config.json"
    ) {
        return true;
    }
    let Some((front, class)) = name.rsplit_once('_') else {
        return false;
    };
    let number = front.rsplit('_').next().unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && class.starts_with(|first: char| first.is_ascii_uppercase())
        && class.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `directory/relative`, unless that would leave the directory.
pub(crate) fn join_inside(directory: &Path, relative: &str) -> Option<PathBuf> {
    let inside = Path::new(relative)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    inside.then(|| {
        if relative.is_empty() {
            directory.to_path_buf()
        } else {
            directory.join(relative)
        }
    })
}

/// The last part of a class path, if the class is one of the reference's.
pub(crate) fn short_class<'a>(class: &'a str, path: &Path) -> Result<&'a str> {
    if !class.starts_with("sentence_transformers.") {
        return Err(Error::config(
            path,
            "type",
            format!("is `{class}`; only modules of sentence_transformers can be loaded"),
        ));
    }
    Ok(class.rsplit('.').next().unwrap_or(class))
}

/// `config_sentence_transformers.json`, its keys in the order in which they are written.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub(crate) struct SentenceTransformersConfig {
    #[serde(rename = "__version__", default)]
    pub(crate) version: BTreeMap<String, Value>,
    #[serde(default)]
    pub(crate) default_prompt_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_active_dims: Option<usize>,
    #[serde(default)]
    pub(crate) model_type: Option<String>,
    #[serde(default)]
    pub(crate) prompts: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub(crate) similarity_fn_name: Option<String>,
}

impl SentenceTransformersConfig {
    /// Reads the file; the defaults where there is none.
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        let path = directory.join("config_sentence_transformers.json");
        if !is_there(&path)? {
            return Ok(Self::default());
        }
        let entries = read_object(&path, "")?;
        let known = [
            "__version__",
            "default_prompt_name",
            "max_active_dims",
            "model_type",
            "prompts",
            "requirements",
            "similarity_fn_name",
        ];
        warn_of_unknown(&entries, &known, &path);
        let config: Self = from_object(&entries, &path)?;
        if config.max_active_dims == Some(0) {
            return Err(Error::config(
                &path,
                "max_active_dims",
                "is 0; expected at least 1",
            ));
        }
        if let Some(name) = &config.similarity_fn_name
            && name.parse::<SimilarityFunction>().is_err()
        {
            tracing::warn!(
                "`{}`: `similarity_fn_name` is `{name}`, which is none of a sparse encoder; dot is used",
                path.display()
            );
        }
        Ok(config)
    }

    /// The kind of model that the directory holds.
    pub(crate) fn model_type(&self) -> &str {
        self.model_type.as_deref().unwrap_or("SentenceTransformer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_pipeline_are_known_by_their_names() {
        for name in [
            "1_SpladePooling",
            "2_SparseAutoEncoder",
            "query_0_SparseStaticEmbedding",
            "document_0_Transformer",
            "config_sentence_transformers.json",
            "router_config.json",
        ] {
            assert!(is_of_pipeline(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors",
            "onnx",
            "sentence_bert_config.json",
            "fold_1_a",
            "1_x.txt",
        ] {
            assert!(!is_of_pipeline(name), "{name}");
        }
    }
}
