//! The hub's part of a run: asked before the first step, given each checkpoint, and the model at the end.

use std::path::Path;

use sparse_hub::Upload;
use sparse_model::PushOptions;

use super::Trainer;
use crate::arguments::SaveStrategy;
use crate::error::Result;
use crate::hub::{HubStrategy, Uploader, secret};

impl Trainer {
    /// Uploads the model as it is now, and gives the address of the commit. Waits for checkpoints that are on their way.
    ///
    /// The repository is `hub_model_id`, by default the name of `output_dir` in the namespace of the token's owner. It is made
    /// if it isn't there, and its model card is replaced. The token is `hub_token`, or that of the environment.
    ///
    /// # Errors
    ///
    /// If there is no token or it may not write there, the model can't be saved, or the network fails for good.
    pub fn push_to_hub(&mut self, commit_message: &str) -> Result<Upload> {
        let mut uploader = match self.uploader.take() {
            Some(uploader) => uploader,
            None => Uploader::new(&self.arguments, &self.hub)?,
        };
        self.tell(uploader.wait());
        self.notify(|callback, context, control| callback.on_push_begin(context, control));
        let mut hub = self.hub.clone();
        hub.token = secret(&self.arguments, &hub);
        let pushed = self.encoder().push_to_hub(
            uploader.repo_id(),
            &PushOptions {
                private: self.arguments.hub_private_repo,
                commit_message: Some(commit_message.to_owned()),
                revision: self.arguments.hub_revision.clone(),
                exist_ok: true,
                replace_model_card: true,
                hub,
                ..PushOptions::default()
            },
        );
        self.uploader = Some(uploader);
        Ok(pushed?)
    }

    /// Asks the hub, before anything is computed, whether uploads will work.
    pub(super) fn prepare_uploads(&mut self) -> Result<()> {
        let arguments = &self.arguments;
        if !arguments.push_to_hub {
            return Ok(());
        }
        if arguments.save_strategy == SaveStrategy::No && arguments.hub_strategy != HubStrategy::End
        {
            self.warn(
                "nothing is uploaded during the run, because `save_strategy` is \"no\": only the finished model is",
            );
        }
        if self.uploader.is_none() {
            self.uploader = Some(Uploader::new(&self.arguments, &self.hub)?);
        }
        Ok(())
    }

    /// Begins to upload a checkpoint. What fails is said and doesn't end the run.
    pub(super) fn upload_checkpoint(&mut self, checkpoint: &Path) {
        let step = self.state.global_step;
        match &self.uploader {
            Some(uploader) if uploader.takes_checkpoint(step) => {}
            _ => return,
        }
        self.notify(|callback, context, control| callback.on_push_begin(context, control));
        let Some(mut uploader) = self.uploader.take() else {
            return;
        };
        let at = match self.arguments.save_strategy {
            SaveStrategy::Epoch => format!("epoch {}", self.state.epoch),
            _ => format!("step {step}"),
        };
        let message = match self.arguments.hub_strategy {
            HubStrategy::Checkpoint | HubStrategy::AllCheckpoints => {
                format!("Training in progress, {at}, checkpoint")
            }
            _ => format!("Training in progress, {at}"),
        };
        let failures = uploader.on_save(checkpoint, step, &message);
        self.uploader = Some(uploader);
        self.tell(failures);
    }

    /// Waits for uploads at the end of a run.
    pub(super) fn finish_uploads(&mut self) {
        let failures = self.uploader.as_mut().map(Uploader::wait);
        self.tell(failures.unwrap_or_default());
    }

    fn tell(&mut self, failures: Vec<String>) {
        for failure in failures {
            self.warn(&format!(
                "an upload failed, and the run goes on; everything is saved in `{}`: {failure}",
                self.arguments.output_dir.display()
            ));
        }
    }
}
