//! What a forward pass is told, and what it gives.

use burn::tensor::Tensor;
use sparse_kernels::{Dropout, RandomStream};

/// The circumstances of a forward pass.
#[derive(Debug, Clone)]
pub struct ForwardContext {
    stream: Option<RandomStream>,
    autoencoder_branches: bool,
    max_active_dims: Option<usize>,
    /// Texts and tokens of the batch that come before a mini-batch.
    texts_before: usize,
    tokens_before: usize,
}

impl ForwardContext {
    /// Embeddings only, without dropout: what `encode` does.
    pub fn inference() -> Self {
        Self {
            stream: None,
            autoencoder_branches: false,
            max_active_dims: None,
            texts_before: 0,
            tokens_before: 0,
        }
    }

    /// Dropout from `stream`, and everything that the losses of an autoencoder need.
    pub fn training(stream: RandomStream) -> Self {
        Self {
            stream: Some(stream),
            autoencoder_branches: true,
            max_active_dims: None,
            texts_before: 0,
            tokens_before: 0,
        }
    }

    /// What a loss needs, without dropout and without a trace in the model: the loss on an evaluation set.
    pub fn evaluation() -> Self {
        Self {
            stream: None,
            autoencoder_branches: true,
            max_active_dims: None,
            texts_before: 0,
            tokens_before: 0,
        }
    }

    /// Limits the active dimensions of an autoencoder (its `k`).
    pub fn with_max_active_dims(mut self, max_active_dims: Option<usize>) -> Self {
        self.max_active_dims = max_active_dims;
        self
    }

    /// For a mini-batch: how many texts of the batch come before it, with how many tokens. Its dropout is then that of the
    /// same texts in a pass over the whole batch.
    pub fn with_offset(mut self, texts: usize, tokens: usize) -> Self {
        self.texts_before = texts;
        self.tokens_before = tokens;
        self
    }

    /// Whether dropout is on.
    pub fn is_training(&self) -> bool {
        self.stream.is_some()
    }

    pub(crate) fn autoencoder_branches(&self) -> bool {
        self.autoencoder_branches
    }

    pub(crate) fn max_active_dims(&self) -> Option<usize> {
        self.max_active_dims
    }

    /// The context of a part, with a random stream of its own.
    pub(crate) fn part(&self, name: &str, index: usize) -> Self {
        let stream = self
            .stream
            .as_ref()
            .map(|stream| stream.derive(name).derive_index(index as u64));
        Self { stream, ..*self }
    }

    /// Dropout of token vectors at one site of this part: none outside training or at rate 0.
    pub(crate) fn dropout(&self, site: &str, rate: f64) -> Option<Dropout> {
        self.dropout_from(site, rate, self.tokens_before)
    }

    /// Dropout within texts (of attention), likewise.
    pub(crate) fn dropout_of_texts(&self, site: &str, rate: f64) -> Option<Dropout> {
        self.dropout_from(site, rate, self.texts_before)
    }

    /// Dropout of a table that all texts share, likewise.
    pub(crate) fn dropout_of_table(&self, site: &str, rate: f64) -> Option<Dropout> {
        self.dropout_from(site, rate, 0)
    }

    fn dropout_from(&self, site: &str, rate: f64, first_row: usize) -> Option<Dropout> {
        let stream = self.stream.as_ref()?;
        (rate > 0.0).then(|| Dropout {
            first_row,
            ..Dropout::new(rate as f32, stream.derive(site))
        })
    }
}

/// Embeddings of a batch.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// One row per text, `[batch_size, n_dims]`, dense.
    pub sentence_embedding: Tensor<2>,
    /// What a sparse autoencoder leaves for its losses; absent in inference and for models without one.
    pub autoencoder: Option<AutoencoderOutput>,
}

/// Intermediate results of a sparse autoencoder (CSR), with input width `d` and `h` latents
/// ([Wen et al., 2025](https://arxiv.org/abs/2503.01776)).
#[derive(Debug, Clone)]
pub struct AutoencoderOutput {
    /// The autoencoder's input, `[batch_size, d]`.
    pub backbone: Tensor<2>,
    /// Pre-activations of all latents, `[batch_size, h]`.
    pub encoded: Tensor<2>,
    /// The `4·k` largest latents, `[batch_size, h]`.
    pub encoded_4k: Tensor<2>,
    /// The `k_aux` largest dead latents, `[batch_size, h]`; absent when `k_aux` is 0.
    pub auxiliary: Option<Tensor<2>>,
    /// Reconstruction from the `k` largest latents, `[batch_size, d]`.
    pub decoded_k: Tensor<2>,
    /// Reconstruction from the `4·k` largest latents, `[batch_size, d]`.
    pub decoded_4k: Tensor<2>,
    /// Reconstruction from the dead latents, `[batch_size, d]`; absent when `k_aux` is 0.
    pub decoded_auxiliary: Option<Tensor<2>>,
    /// `decoded_k` without the bias on the input side, `[batch_size, d]`.
    pub decoded_k_pre_bias: Tensor<2>,
}
