//! `push`: a model to the hub.

use sparse_encoder::model::PushOptions;

use super::load;
use crate::Global;
use crate::failure::Result;
use crate::output::line;

/// Uploads a model to the hub and prints the address of the commit or pull request.
///
/// HF_TOKEN must be a token that may write.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder push --model runs/my-model/final --repo-id me/my-model --private"
)]
pub(crate) struct Push {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// Id of the repository on the hub, made if it is not there.
    #[arg(long)]
    repo_id: String,
    /// Makes a new repository private.
    #[arg(long)]
    private: bool,
    /// First line of the commit (default: "Add new SparseEncoder model").
    #[arg(long)]
    commit_message: Option<String>,
    /// Branch to commit to, made if it is not there (default: main).
    #[arg(long)]
    branch: Option<String>,
    /// Opens a pull request instead of committing.
    #[arg(long)]
    create_pr: bool,
    /// Adds to a repository that is there already.
    #[arg(long)]
    exist_ok: bool,
    /// Replaces the model card that is in the repository.
    #[arg(long)]
    replace_model_card: bool,
}

impl Push {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let encoder = load(&self.model, global)?;
        let options = PushOptions {
            private: self.private.then_some(true),
            commit_message: self.commit_message,
            revision: self.branch,
            create_pr: self.create_pr,
            exist_ok: self.exist_ok,
            replace_model_card: self.replace_model_card,
            hub: global.hub.options(),
        };
        let upload = encoder.push_to_hub(&self.repo_id, &options)?;
        line(&upload.url)?;
        Ok(())
    }
}
