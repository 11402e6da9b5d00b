//! Options of the encoder's calls.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How far an `encode` call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeProgress {
    /// Texts encoded so far.
    pub done: usize,
    /// Texts in all.
    pub total: usize,
    /// Tokens of the batch just finished.
    pub tokens: usize,
}

/// Options of [`SparseEncoder::encode`](crate::SparseEncoder::encode) and its two siblings.
#[derive(Clone)]
pub struct EncodeOptions {
    /// Texts per forward pass, at least 1. Default 32.
    pub batch_size: usize,
    /// Text laid before every input. `Some("")` means no prompt, whatever the other options say.
    pub prompt: Option<String>,
    /// Name of one of the model's prompts. Ignored, with a warning, if `prompt` is given.
    pub prompt_name: Option<String>,
    /// Largest number of active dimensions per text, at least 1. `None` means the model's own value.
    pub max_active_dims: Option<usize>,
    /// Route of a router, usually `query` or `document`.
    pub task: Option<String>,
    /// Called after every batch.
    pub progress: Option<Arc<dyn Fn(EncodeProgress) + Send + Sync>>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            batch_size: 32,
            prompt: None,
            prompt_name: None,
            max_active_dims: None,
            task: None,
            progress: None,
        }
    }
}

impl EncodeOptions {
    /// Sets the number of texts per forward pass.
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets the text laid before every input.
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Chooses one of the model's prompts by name.
    pub fn with_prompt_name(mut self, name: impl Into<String>) -> Self {
        self.prompt_name = Some(name.into());
        self
    }

    /// Limits the number of active dimensions per text.
    pub fn with_max_active_dims(mut self, max_active_dims: impl Into<Option<usize>>) -> Self {
        self.max_active_dims = max_active_dims.into();
        self
    }

    /// Chooses the route of a router.
    pub fn with_task(mut self, task: impl Into<String>) -> Self {
        self.task = Some(task.into());
        self
    }

    /// Calls `progress` after every batch.
    pub fn with_progress(
        mut self,
        progress: impl Fn(EncodeProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        if self.batch_size == 0 {
            return Err(Error::Option {
                name: "batch_size",
                problem: "must be at least 1; got 0".to_string(),
            });
        }
        if self.max_active_dims == Some(0) {
            return Err(Error::Option {
                name: "max_active_dims",
                problem: "must be at least 1; got 0".to_string(),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for EncodeOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EncodeOptions")
            .field("batch_size", &self.batch_size)
            .field("prompt", &self.prompt)
            .field("prompt_name", &self.prompt_name)
            .field("max_active_dims", &self.max_active_dims)
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Options of [`SparseEncoder::preprocess`](crate::SparseEncoder::preprocess).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreprocessOptions {
    /// Text laid before every input; none if absent or empty.
    pub prompt: Option<String>,
    /// Route of a router, usually `query` or `document`.
    pub task: Option<String>,
}

impl PreprocessOptions {
    /// Sets the text laid before every input.
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Chooses the route of a router.
    pub fn with_task(mut self, task: impl Into<String>) -> Self {
        self.task = Some(task.into());
        self
    }
}

/// Options of [`SparseEncoder::add_adapter`](crate::SparseEncoder::add_adapter).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraOptions {
    /// Rank of the factors, at least 1.
    pub rank: usize,
    /// The product of the factors is multiplied by `alpha / rank`.
    pub alpha: f64,
    /// Names of the modules whose matrices get factors, in full or by their last parts, such as `query`.
    pub target_modules: Vec<String>,
    /// Seed of the random factors.
    pub seed: u64,
}

impl Default for LoraOptions {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            target_modules: vec!["query".to_string(), "value".to_string()],
            seed: 0,
        }
    }
}

impl LoraOptions {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If the rank is 0 or `alpha` is not finite.
    pub fn validate(&self) -> Result<()> {
        if self.rank == 0 {
            return Err(Error::Option {
                name: "rank",
                problem: "must be at least 1; got 0".to_string(),
            });
        }
        if !self.alpha.is_finite() {
            return Err(Error::Option {
                name: "alpha",
                problem: format!("must be finite; got {}", self.alpha),
            });
        }
        Ok(())
    }
}

/// Number type of saved weights. In memory they are f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightType {
    /// 32 bits: what is loaded again equals what was saved.
    #[default]
    F32,
    /// 16 bits, of which 10 for the fraction; the range ends at 65,504.
    F16,
    /// 16 bits, of which 7 for the fraction, with the range of f32.
    Bf16,
}

impl WeightType {
    /// The name in `config.json`.
    pub(crate) fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// The largest value that the type holds.
    fn largest(self) -> f32 {
        match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
            Self::Bf16 => bf16::MAX.to_f32(),
        }
    }

    /// Refuses finite values that would become infinite in this type.
    pub(crate) fn check_range(self, key: &str, values: &[f32]) -> Result<()> {
        let overflows = |value: f32| {
            value.is_finite()
                && match self {
                    Self::F32 => false,
                    Self::F16 => f16::from_f32(value).is_infinite(),
                    Self::Bf16 => bf16::from_f32(value).is_infinite(),
                }
        };
        let mut lost = values.iter().copied().filter(|value| overflows(*value));
        match lost.next() {
            None => Ok(()),
            Some(example) => Err(Error::OutOfRange {
                key: key.to_string(),
                count: 1 + lost.count(),
                example,
                dtype: self.torch_name(),
                largest: self.largest(),
            }),
        }
    }

    /// The name in a weights file, the bytes of an element, and the elements themselves.
    pub(crate) fn encode(self, values: &[f32]) -> (&'static str, usize, Vec<u8>) {
        match self {
            Self::F32 => {
                let mut bytes = Vec::with_capacity(values.len() * 4);
                values
                    .iter()
                    .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
                ("F32", 4, bytes)
            }
            Self::F16 => (
                "F16",
                2,
                values
                    .iter()
                    .flat_map(|value| f16::from_f32(*value).to_le_bytes())
                    .collect(),
            ),
            Self::Bf16 => (
                "BF16",
                2,
                values
                    .iter()
                    .flat_map(|value| bf16::from_f32(*value).to_le_bytes())
                    .collect(),
            ),
        }
    }
}

/// Options of [`SparseEncoder::from_pretrained_with`](crate::SparseEncoder::from_pretrained_with). What is absent is taken
/// from the model's files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadOptions {
    /// Prompts by name; they win over those of the model.
    pub prompts: Vec<(String, String)>,
    /// Prompt used by `encode` when none is asked for.
    pub default_prompt_name: Option<String>,
    /// Longest text in tokens, special ones included.
    pub max_seq_length: Option<usize>,
    /// Largest number of active dimensions per text.
    pub max_active_dims: Option<usize>,
    /// Seed of weights that no file has: a fresh sparse autoencoder.
    pub seed: u64,
    /// How two embeddings are compared.
    pub similarity_fn: Option<sparse_index::SimilarityFunction>,
    /// Where and how a model of the hub is found: revision, token, cache and more. Of these, a directory on the disk has only
    /// the subfolder.
    pub hub: sparse_hub::HubOptions,
}
