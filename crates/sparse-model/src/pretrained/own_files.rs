//! Which files of a directory are a model's, and which directories may become one.

use std::fs;
use std::path::{Component, Path};

use super::read_object_or_empty;
use crate::{Error, Result};

/// Files that a model consists of, in the layouts that are read: by name, or by how the name begins and ends.
const FILES: &[&str] = &[
    "README.md",
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "idf.json",
    "merges.txt",
    "modules.json",
    "processor_config.json",
    "preprocessor_config.json",
    "router_config.json",
    "sentence_bert_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "spm.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

const WEIGHTS: &[(&str, &[&str])] = &[
    ("adapter_model", &[".safetensors", ".bin"]),
    ("model", &[".safetensors", ".safetensors.index.json"]),
    ("pytorch_model", &[".bin", ".bin.index.json"]),
];

/// Any of these tells that a directory holds a model.
const SIGNS: &[&str] = &[
    "modules.json",
    "config_sentence_transformers.json",
    "adapter_config.json",
    "model.safetensors",
    "pytorch_model.bin",
];

/// Whether a file of a model directory, by its path there, belongs to the model.
pub(crate) fn is_of_model(relative: &Path) -> bool {
    let mut parts: Vec<&str> = relative
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let Some(name) = parts.pop() else {
        return false;
    };
    let is_weights = |(start, ends): &(&str, &[&str])| {
        name.starts_with(start) && ends.iter().any(|end| name.ends_with(end))
    };
    parts.into_iter().all(is_module) && (FILES.contains(&name) || WEIGHTS.iter().any(is_weights))
}

/// Whether a directory's name is one that modules get: `1_SpladePooling`, `query_0_SparseStaticEmbedding`.
fn is_module(name: &str) -> bool {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.rsplit('_');
    let class = parts.next().unwrap_or_default();
    class.bytes().any(|byte| byte.is_ascii_uppercase()) && parts.next().is_some_and(is_number)
}

/// Refuses to save a model where no model belongs: a file, or a directory that holds something else.
///
/// # Errors
///
/// If `target` is a file, or a directory that isn't empty (hidden files aside) and holds no model.
pub fn check_target(target: &Path) -> Result<()> {
    let refused = |problem: String| Error::Option {
        name: "path",
        problem,
    };
    if target.as_os_str().is_empty() {
        return Err(refused("is empty; expected a directory".to_owned()));
    }
    if !target.exists() {
        return Ok(());
    }
    if !target.is_dir() {
        return Err(refused(format!(
            "`{}` is a file; expected a directory",
            target.display()
        )));
    }
    let entries = fs::read_dir(target).map_err(|source| Error::read(target, source))?;
    let other = entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with('.'))
        .min();
    match other {
        Some(other) if !holds_model(target) => Err(refused(format!(
            "`{}` holds other files, such as `{}`, and no model; expected a new or empty directory, or one with a model",
            target.display(),
            other.display()
        ))),
        _ => Ok(()),
    }
}

fn holds_model(directory: &Path) -> bool {
    let config = read_object_or_empty(&directory.join("config.json"));
    SIGNS.iter().any(|name| directory.join(name).is_file())
        || config.is_ok_and(|config| config.contains_key("model_type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_files_are_told_from_others() {
        for name in [
            "config.json",
            "model-00001-of-00002.safetensors",
            "pytorch_model.bin.index.json",
            "1_SpladePooling/config.json",
            "query_0_SparseStaticEmbedding/tokenizer.json",
            "0_Router/document_0_Transformer/model.safetensors",
        ] {
            assert!(is_of_model(Path::new(name)), "{name}");
        }
        for name in [
            "notes.txt",
            "data/config.json",
            "onnx/model.onnx",
            "1_SpladePooling/notes.txt",
            "model.onnx",
            "models.json",
            "2024_results/config.json",
            "trainer_state.json",
            "optimizer.safetensors",
        ] {
            assert!(!is_of_model(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn only_a_place_for_a_model_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        check_target(&at("new")).unwrap();
        check_target(folder.path()).unwrap();
        fs::write(at(".gitattributes"), "").unwrap();
        check_target(folder.path()).unwrap();
        fs::write(at("thesis.tex"), "").unwrap();
        fs::write(at("config.json"), "{}").unwrap();
        let message = check_target(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("holds other files, such as `config.json`, and no model"),
            "{message}"
        );
        fs::write(at("config.json"), r#"{"model_type": "bert"}"#).unwrap();
        check_target(folder.path()).unwrap();
        assert!(check_target(&at("thesis.tex")).is_err());
        assert!(check_target(Path::new("")).is_err());
    }
}
