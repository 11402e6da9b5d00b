//! What a Transformer's own configuration says.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::Task;
use crate::pretrained::{entry, is_there, read_object, shortened, warn_of_unknown};
use crate::{Error, Result};

/// Names under which releases saved the module's configuration, newest first.
pub(super) const CONFIG_NAMES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Options that are kept and written back.
const KEPT: [&str; 5] = [
    "processing_kwargs",
    "unpad_inputs",
    "query_length",
    "document_length",
    "query_expansion",
];

/// Options that are read, or say how the weights are held, and nothing about vectors.
const READ: [&str; 8] = [
    "transformer_task",
    "modality_config",
    "module_output_name",
    "max_seq_length",
    "do_lower_case",
    "model_args",
    "model_kwargs",
    "tokenizer_name_or_path",
];

/// Options for the loaders of tokenizer and architecture, which are not followed.
const FOR_LOADERS: [&str; 5] = [
    "tokenizer_args",
    "tokenizer_kwargs",
    "processor_kwargs",
    "config_args",
    "config_kwargs",
];

/// The options of a module, and the file that they are from.
#[derive(Debug)]
pub(super) struct ModuleOptions {
    entries: Map<String, Value>,
    path: PathBuf,
}

impl ModuleOptions {
    /// Reads the configuration under whichever name it has; the first that is not empty counts.
    pub(super) fn load(directory: &Path) -> Result<Self> {
        for name in CONFIG_NAMES {
            let path = directory.join(name);
            if is_there(&path)? {
                let entries = read_object(&path, "")?;
                if !entries.is_empty() {
                    return Ok(Self { entries, path });
                }
            }
        }
        Ok(Self {
            entries: Map::new(),
            path: directory.join(CONFIG_NAMES[0]),
        })
    }

    /// What the backbone is asked for.
    pub(super) fn task(&self, default: Task) -> Result<Task> {
        match self.entries.get("transformer_task") {
            None => Ok(default),
            Some(Value::String(name)) if name == "fill-mask" => Ok(Task::FillMask),
            Some(Value::String(name)) if name == "feature-extraction" => {
                Ok(Task::FeatureExtraction)
            }
            Some(other) => {
                let problem = format!(
                    "is {}; expected `fill-mask` or `feature-extraction`",
                    shortened(other)
                );
                Err(Error::config(&self.path, "transformer_task", problem))
            }
        }
    }

    /// Refuses options that ask for another output than the task's, and warns of those that nothing follows.
    pub(super) fn check(&self, task: Task) -> Result<()> {
        let modalities: Option<Map<String, Value>> = self.get("modality_config")?;
        let output = modalities.as_ref().and_then(|modalities| {
            let text = modalities.get("text")?;
            text.get("method_output_name")
        });
        if let Some(output) = output.filter(|output| output.as_str() != Some(task.output_name())) {
            let problem = format!(
                "has the `method_output_name` {} for text; expected `{}`, as of the task {}",
                shortened(output),
                task.output_name(),
                task.name()
            );
            return Err(Error::config(&self.path, "modality_config", problem));
        }
        let name: Option<String> = self.get("module_output_name")?;
        if let Some(name) = name.filter(|name| name != "token_embeddings") {
            let problem = format!("is `{name}`; only `token_embeddings` is supported");
            return Err(Error::config(&self.path, "module_output_name", problem));
        }
        let known: Vec<&str> = KEPT.into_iter().chain(READ).chain(FOR_LOADERS).collect();
        warn_of_unknown(&self.entries, &known, &self.path);
        for key in FOR_LOADERS {
            let asked: Map<String, Value> = self.get(key)?.unwrap_or_default();
            let names: Vec<&str> = asked
                .keys()
                .map(String::as_str)
                .filter(|name| *name != "trust_remote_code")
                .collect();
            if !names.is_empty() {
                tracing::warn!(
                    "`{}`: `{key}` is not followed: {}",
                    self.path.display(),
                    names.join(", ")
                );
            }
        }
        Ok(())
    }

    /// One option; `null` counts as absent.
    pub(super) fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        entry(&self.entries, key, &self.path)
    }

    /// A length in tokens.
    pub(super) fn length(&self, key: &str) -> Result<Option<usize>> {
        self.positive(key, self.get(key)?)
    }

    /// The `max_length` of texts under `processing_kwargs`.
    pub(super) fn text_length(&self) -> Result<Option<usize>> {
        let key = "processing_kwargs";
        let kinds: Map<String, Value> = self.get(key)?.unwrap_or_default();
        let text: Map<String, Value> = entry(&kinds, "text", &self.path)?.unwrap_or_default();
        for (name, value) in &text {
            let followed = match name.as_str() {
                "max_length" | "padding" | "return_tensors" => true,
                "truncation" | "add_special_tokens" => *value != Value::Bool(false),
                _ => false,
            };
            if !followed {
                tracing::warn!(
                    "`{}`: `{key}` asks for `{name}` {}, which is not followed",
                    self.path.display(),
                    shortened(value)
                );
            }
        }
        self.positive(key, entry(&text, "max_length", &self.path)?)
    }

    fn positive(&self, key: &str, length: Option<usize>) -> Result<Option<usize>> {
        match length {
            Some(0) => Err(Error::config(&self.path, key, "is 0; expected at least 1")),
            length => Ok(length),
        }
    }

    /// The options that are written back.
    pub(super) fn kept(&self) -> Map<String, Value> {
        let kept = self.entries.iter();
        kept.filter(|(key, _)| KEPT.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}
