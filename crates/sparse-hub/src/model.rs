//! Which files of a repository are a model.

use std::path::PathBuf;

use crate::{Error, Hub, Repo, RepoFile, Result, Snapshot};

/// Folders with the model in other programs' formats, or with what is left of a training.
const OTHER_FOLDERS: [&str; 9] = [
    "onnx",
    "openvino",
    "coreml",
    "tflite",
    "flax",
    "runs",
    "eval",
    "logs",
    "last-checkpoint",
];

/// Endings of what a model is described by.
const DESCRIPTION: [&str; 6] = ["json", "txt", "model", "md", "spm", "jinja"];

/// Files of a training that a finished model doesn't need.
const OF_TRAINING: [&str; 3] = ["trainer_state.json", "training_args.bin", "metrics.json"];

impl Hub {
    /// Downloads a model, as far as it is not in the cache yet, and gives its directory: the snapshot's, or the subfolder of it
    /// that the options name.
    ///
    /// Configuration, tokenizer, model card and weights come; of weights in two formats only safetensors do, and nothing in
    /// formats of other programs.
    ///
    /// # Errors
    ///
    /// If the id is none, there is no such model, revision or subfolder, access is refused, or the network fails for good.
    pub fn model_directory(&self, id: &str) -> Result<PathBuf> {
        let subfolder = &self.settings.subfolder;
        Ok(self.model_snapshot(id)?.directory.join(subfolder))
    }

    /// Downloads a model as [`model_directory`](Self::model_directory) does, and tells its commit and files.
    ///
    /// # Errors
    ///
    /// As [`model_directory`](Self::model_directory).
    pub fn model_snapshot(&self, id: &str) -> Result<Snapshot> {
        let repo = Repo::model(id)?;
        let listing = self.listing(&repo)?;
        let paths = files_of_model(&listing.files, &self.settings.subfolder);
        if paths.is_empty() {
            return Err(self.no_model(&repo, &listing));
        }
        self.download(&repo, &listing, &paths)
    }

    fn no_model(&self, repo: &Repo, listing: &crate::Listing) -> Error {
        let subfolder = &self.settings.subfolder;
        let wanted = if subfolder.is_empty() {
            "config.json"
        } else {
            subfolder
        };
        self.file_not_found(repo, &self.settings.revision, listing, wanted)
    }
}

/// Paths of the files below a folder that are a model; none if there is no configuration among them.
fn files_of_model(files: &[RepoFile], subfolder: &str) -> Vec<String> {
    let prefix = if subfolder.is_empty() {
        String::new()
    } else {
        format!("{subfolder}/")
    };
    let inside: Vec<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(&prefix))
        .filter(|path| is_of_model(path))
        .collect();
    if !inside
        .iter()
        .any(|path| path.ends_with("config.json") || *path == "modules.json")
    {
        return Vec::new();
    }
    let folder_of = |path: &str| {
        path.rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_string()
    };
    let name_of = |path: &str| path.rsplit('/').next().unwrap_or_default().to_string();
    let has = |folder: &str, matches: &dyn Fn(&str) -> bool| {
        inside
            .iter()
            .any(|path| folder_of(path) == folder && matches(&name_of(path)))
    };
    inside
        .iter()
        .filter(|path| {
            let (folder, name) = (folder_of(path), name_of(path));
            if name.ends_with(".bin") || name.ends_with(".bin.index.json") {
                return !has(&folder, &|other| other.ends_with(".safetensors"));
            }
            let is_shard = name.starts_with("model-") && name.ends_with(".safetensors");
            !(is_shard && has(&folder, &|other| other == "model.safetensors"))
        })
        .map(|path| format!("{prefix}{path}"))
        .collect()
}

/// Whether a path, relative to the model's folder, may be of the model.
fn is_of_model(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let Some((name, folders)) = parts.split_last() else {
        return false;
    };
    let elsewhere = folders.iter().any(|folder| {
        folder.starts_with('.')
            || folder.starts_with("checkpoint-")
            || OTHER_FOLDERS.contains(folder)
    });
    if elsewhere || name.starts_with('.') || OF_TRAINING.contains(name) {
        return false;
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    match ending {
        "safetensors" => {
            stem == "model"
                || stem == "adapter_model"
                || (stem.starts_with("model-") && stem.contains("-of-"))
        }
        "bin" => stem == "pytorch_model" || stem.starts_with("pytorch_model-"),
        _ => DESCRIPTION.contains(&ending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], subfolder: &str) -> Vec<String> {
        let files: Vec<RepoFile> = paths
            .iter()
            .map(|path| RepoFile {
                path: (*path).to_string(),
                size: 1,
                oid: String::new(),
                large: None,
            })
            .collect();
        files_of_model(&files, subfolder)
    }

    #[test]
    fn weights_come_once_and_in_the_safe_format() {
        let files = [
            ".gitattributes",
            "1_SpladePooling/config.json",
            "README.md",
            "config.json",
            "last-checkpoint/config.json",
            "last-checkpoint/model.safetensors",
            "model.safetensors",
            "modules.json",
            "onnx/config.json",
            "onnx/model.onnx",
            "openvino/openvino_model.bin",
            "picture.png",
            "pytorch_model.bin",
            "tf_model.h5",
            "tokenizer.json",
            "training_args.bin",
        ];
        assert_eq!(
            chosen(&files, ""),
            [
                "1_SpladePooling/config.json",
                "README.md",
                "config.json",
                "model.safetensors",
                "modules.json",
                "tokenizer.json",
            ]
        );
        assert_eq!(
            chosen(&["config.json", "pytorch_model.bin", "vocab.txt"], ""),
            ["config.json", "pytorch_model.bin", "vocab.txt"]
        );
        let sharded = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.fp16.safetensors",
            "model.safetensors.index.json",
        ];
        assert_eq!(chosen(&sharded, "").len(), 4);
    }

    #[test]
    fn a_subfolder_stands_alone() {
        let files = [
            "a/config.json",
            "a/model.safetensors",
            "ab/config.json",
            "config.json",
        ];
        assert_eq!(
            chosen(&files, "a"),
            ["a/config.json", "a/model.safetensors"]
        );
        assert!(chosen(&files, "c").is_empty());
        assert!(chosen(&["README.md"], "").is_empty());
    }
}
