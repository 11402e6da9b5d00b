//! Low-rank adapters.

use super::SparseEncoder;
use crate::module::PipelineModule;
use crate::{Error, LoraOptions, Result};

impl SparseEncoder {
    /// Freezes the backbone and its head, and puts trainable low-rank factors on the chosen matrices
    /// ([Hu et al., 2021](https://arxiv.org/abs/2106.09685)); nothing changes until they are trained.
    ///
    /// ```text
    /// W ← W + (alpha / rank) · B·A,   A: [rank, d_in] random,  B: [d_out, rank] zero
    /// ```
    ///
    /// Saving writes `adapter_config.json` and `adapter_model.safetensors`, as PEFT does, instead of the backbone's weights;
    /// such a directory loads where the base model still is.
    ///
    /// # Errors
    ///
    /// If the model does not begin with a backbone or has an adapter already, or an option is wrong.
    pub fn add_adapter(mut self, options: &LoraOptions) -> Result<Self> {
        if self.modules.is_empty() {
            return Err(Error::Unsupported("this model has no backbone".to_string()));
        }
        let first = self.modules.remove(0);
        let PipelineModule::Transformer(transformer) = first else {
            let problem = format!(
                "an adapter needs a model that begins with a Transformer, not {}",
                first.kind()
            );
            return Err(Error::Unsupported(problem));
        };
        let transformer = transformer.add_adapter(options, "0.model.")?;
        self.modules
            .insert(0, PipelineModule::Transformer(transformer));
        Ok(self)
    }

    /// Adds the adapter into the weights it is on, for good; all weights are trainable again. Nothing happens to a model
    /// without one.
    pub fn merge_adapter(mut self) -> Self {
        let merge = |module| match module {
            PipelineModule::Transformer(module) => {
                PipelineModule::Transformer(module.merge_adapter())
            }
            other => other,
        };
        self.modules = self.modules.into_iter().map(merge).collect();
        self
    }

    /// Whether the model has an adapter.
    pub fn has_adapter(&self) -> bool {
        self.modules.iter().any(|module| {
            module
                .transformer()
                .is_some_and(|module| module.has_adapter())
        })
    }
}
