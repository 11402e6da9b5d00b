//! The kinds of modules, by the reference's names.

use std::fmt;

/// What a module is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleKind {
    /// A backbone, with its masked-language-model head where the task asks for one.
    Transformer,
    /// Token logits to one sparse vector per text.
    SpladePooling,
    /// Hidden states of tokens to one dense vector per text.
    Pooling,
    /// Vectors to unit length.
    Normalize,
    /// A linear layer with an activation function.
    Dense,
    /// A dense vector to a sparse one, by the largest latents.
    SparseAutoEncoder,
    /// A weight per distinct token.
    SparseStaticEmbedding,
    /// One way for queries and another for documents.
    Router,
}

impl ModuleKind {
    /// The reference's class name.
    pub fn name(self) -> &'static str {
        self.class().rsplit('.').next().unwrap_or_default()
    }

    /// The dotted class name that is written into `modules.json`.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Transformer => "sentence_transformers.base.modules.transformer.Transformer",
            Self::SpladePooling => {
                "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling"
            }
            Self::Pooling => "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
            Self::Normalize => "sentence_transformers.base.modules.normalize.Normalize",
            Self::Dense => "sentence_transformers.base.modules.dense.Dense",
            Self::SparseAutoEncoder => {
                "sentence_transformers.sparse_encoder.modules.sparse_auto_encoder.SparseAutoEncoder"
            }
            Self::SparseStaticEmbedding => {
                "sentence_transformers.sparse_encoder.modules.sparse_static_embedding.SparseStaticEmbedding"
            }
            Self::Router => "sentence_transformers.base.modules.router.Router",
        }
    }
}

impl fmt::Display for ModuleKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
