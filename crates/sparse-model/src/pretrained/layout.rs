//! The files that every model directory of the reference has.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{read_json, read_json_or_default};
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
    if !path.exists() {
        return Ok(None);
    }
    let modules: Vec<ModuleEntry> = read_json(&path, "")?;
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
    Ok(Some(modules))
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
    pub(crate) fn load(directory: &Path) -> Result<Self> {
        read_json_or_default(&directory.join("config_sentence_transformers.json"))
    }

    /// The kind of model that the directory holds.
    pub(crate) fn model_type(&self) -> &str {
        self.model_type.as_deref().unwrap_or("SentenceTransformer")
    }
}
