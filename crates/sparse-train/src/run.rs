//! From a training file to a trainer, and from a trained model to its directory.

use std::path::PathBuf;

use burn::tensor::Device;
use sparse_data::Dataset;
use sparse_model::{HubOptions, LoadOptions, SparseEncoder};

use crate::config::TrainingFile;
use crate::error::Result;
use crate::trainer::{Trainer, TrainerBuilder};

impl TrainingFile {
    /// Loads the model of `[model]`.
    ///
    /// # Errors
    ///
    /// If the model can't be found or its files are broken.
    pub fn load_encoder(&self, device: &Device) -> Result<SparseEncoder> {
        let options = LoadOptions {
            prompts: self.model.prompts.clone().into_iter().collect(),
            max_seq_length: self.model.max_seq_length,
            max_active_dims: self.model.max_active_dims,
            hub: HubOptions {
                revision: self.model.revision.clone(),
                subfolder: self.model.subfolder.clone(),
                cache_dir: self.model.cache_dir.clone(),
                local_files_only: self.model.local_files_only,
                ..HubOptions::default()
            },
            ..LoadOptions::default()
        };
        Ok(SparseEncoder::from_pretrained_with(
            &self.model.name_or_path,
            &options,
            device,
        )?)
    }

    /// Loads everything that the file names and puts the run together.
    ///
    /// # Errors
    ///
    /// If a file is missing or broken, or data, loss and arguments don't fit each other. Nothing has been written then.
    pub fn trainer(&self, device: &Device) -> Result<TrainerBuilder> {
        let mut builder = Trainer::builder(self.load_encoder(device)?, self.arguments.clone())
            .regularizer_schedule(self.regularizer_schedule.clone())
            .model_card(self.model_card.clone())
            .guards(self.guards)
            .warnings(self.warnings.clone())
            .hub(HubOptions {
                cache_dir: self.model.cache_dir.clone(),
                ..HubOptions::default()
            });
        if let Some(schedule) = &self.top_k_schedule {
            builder = builder.top_k_schedule(schedule.clone());
        }
        for config in &self.train_dataset {
            builder = builder.train_dataset(Dataset::load(config)?);
        }
        for config in &self.eval_dataset {
            builder = builder.eval_dataset(Dataset::load(config)?);
        }
        if let Some(loss) = &self.loss {
            builder = builder.loss(loss.clone());
        }
        for (name, loss) in &self.losses {
            builder = builder.dataset_loss(name, loss.clone());
        }
        for config in &self.evaluator {
            builder = builder.evaluator(config.init()?);
        }
        Ok(builder)
    }

    /// Where the trained model goes: `final` in the output directory.
    pub fn final_dir(&self) -> PathBuf {
        self.arguments.output_dir.join("final")
    }
}
