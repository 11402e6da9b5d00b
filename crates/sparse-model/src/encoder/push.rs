//! Pushing a model to the hub.

use std::path::Path;

use sparse_files::TemporaryDirectory;
use sparse_hub::{Hub, HubOptions, Repo, Upload, UploadOptions};

use super::SparseEncoder;
use crate::{Error, Result};

/// What a model card calls a model that has no id yet.
const PLACEHOLDER_ID: &str = "sparse_encoder_model_id";

/// Puts the id of a repository into the card of a saved model, where the card has a placeholder for it.
///
/// # Errors
///
/// If the card can't be read or written.
pub fn name_model_card(directory: &Path, repo_id: &str) -> Result<()> {
    let card = directory.join("README.md");
    let text = std::fs::read_to_string(&card).map_err(|source| Error::read(&card, source))?;
    Ok(sparse_files::write(
        &card,
        text.replace(PLACEHOLDER_ID, repo_id),
    )?)
}

/// Options of [`SparseEncoder::push_to_hub`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PushOptions {
    /// Whether a new repository is private; the hub's default if absent.
    pub private: Option<bool>,
    /// First line of the commit; `Add new SparseEncoder model` by default.
    pub commit_message: Option<String>,
    /// Branch to commit to, made if it is not there; `main` by default.
    pub revision: Option<String>,
    /// Opens a pull request instead of committing to the branch.
    pub create_pr: bool,
    /// Whether the repository may be there already. A pull request implies it.
    pub exist_ok: bool,
    /// Replaces the model card that is in the repository already.
    pub replace_model_card: bool,
    /// Token and address of the hub; its revision and subfolder play no part.
    pub hub: HubOptions,
}

impl SparseEncoder {
    /// Saves the model and uploads it to a repository of the hub, which is made if it is not there. Gives the address of the
    /// commit or pull request.
    ///
    /// A pull request describes itself with the architecture and the lines that load the model from it.
    ///
    /// # Errors
    ///
    /// If the id is none, there is no token or it may not write, the repository is there and `exist_ok` is not set, the model
    /// can't be saved, or the network fails for good.
    pub fn push_to_hub(&self, repo_id: &str, options: &PushOptions) -> Result<Upload> {
        let push = |source| Error::Push {
            source: Box::new(source),
        };
        let repo = Repo::model(repo_id).map_err(push)?;
        let hub = Hub::new(HubOptions {
            revision: None,
            subfolder: None,
            ..options.hub.clone()
        })
        .map_err(push)?;
        let folder = TemporaryDirectory::create("sparse-model-")?;
        let directory = folder.path().join("model");
        self.save_pretrained(&directory)?;
        name_model_card(&directory, repo_id)?;
        let upload = UploadOptions {
            private: options.private,
            commit_message: options
                .commit_message
                .clone()
                .unwrap_or_else(|| "Add new SparseEncoder model".to_string()),
            commit_description: options.create_pr.then(|| self.description(repo_id)),
            revision: options.revision.clone(),
            create_pr: options.create_pr,
            exist_ok: options.exist_ok,
            keep_existing: if options.replace_model_card {
                Vec::new()
            } else {
                vec!["README.md".to_string()]
            },
        };
        hub.upload_folder(&repo, &directory, &upload).map_err(push)
    }

    /// What a pull request says of itself.
    fn description(&self, repo_id: &str) -> String {
        format!(
            "Hello!\n\n*This pull request has been made by a program.*\n\n## Overview\nThis pull request adds a new Sparse \
             Encoder model.\n\n## Full Model Architecture\n```\n{}\n```\n\n## Tip\nBefore merging, the model can be loaded from \
             this pull request:\n```python\nfrom sentence_transformers import SparseEncoder\n\nmodel = SparseEncoder(\n    \
             \"{repo_id}\",\n    revision=\"refs/pr/NUMBER\",  # the number of this pull request\n)\n```\n",
            self.architecture()
        )
    }
}
