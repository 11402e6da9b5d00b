//! The modules that a model is made of, in a row or behind a router.

mod adapter;
mod dense;
mod flow;
mod kind;
mod normalize;
mod pooling;
pub(crate) mod router;
mod sparse_auto_encoder;
mod sparse_static_embedding;
mod splade_pooling;
mod tensors;
mod transformer;
mod transformer_options;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};

use crate::context::AutoencoderOutput;
use crate::parameter::ParameterEntry;
use crate::preprocessor::TaskTokenizers;
use crate::pretrained::{DirectoryWriter, FoundModel, python_literal};
use crate::tokenizer::TextTokenizer;
use crate::{
    Embeddings, Error, ForwardContext, NamedParameter, PackedTokens, Preprocessor, Result,
};

pub(crate) use adapter::base_of as adapter_base;
pub(crate) use dense::Dense;
pub(crate) use flow::{Flow, check_flow};
pub use kind::ModuleKind;
pub(crate) use normalize::Normalize;
pub(crate) use pooling::Pooling;
pub(crate) use router::Router;
pub(crate) use sparse_auto_encoder::{SparseAutoEncoder, SparseAutoEncoderConfig};
pub(crate) use sparse_static_embedding::{SparseStaticEmbedding, weights_from_json};
pub(crate) use splade_pooling::SpladePooling;
pub(crate) use tensors::tensors_to_save;
pub(crate) use transformer::{Task, Transformer};

/// What the modules hand on to each other.
#[derive(Debug, Default)]
pub(crate) struct Features {
    pub(crate) tokens: Option<TokenFeatures>,
    pub(crate) sentence: Option<Tensor<2>>,
    pub(crate) autoencoder: Option<AutoencoderOutput>,
}

/// What a backbone says about each token.
#[allow(
    clippy::large_enum_variant,
    reason = "there are few of them, and they hold handles"
)]
#[derive(Debug, Clone)]
pub(crate) enum TokenFeatures {
    /// Hidden states, `[n_tokens, hidden_size]`.
    Hidden(Tensor<2>),
    /// Logits over the vocabulary, as the factors whose product they are: `hidden · weightᵀ + bias`.
    Logits {
        /// `[n_tokens, width]`.
        hidden: Tensor<2>,
        /// `[vocab_size, width]`.
        weight: Tensor<2>,
        /// `[vocab_size]`.
        bias: Option<Tensor<1>>,
    },
}

impl Features {
    /// Vectors of texts, ready for the modules that take such.
    pub(crate) fn of_texts(vectors: Tensor<2>) -> Self {
        Self {
            sentence: Some(vectors),
            ..Self::default()
        }
    }

    /// The finished embeddings.
    ///
    /// # Panics
    ///
    /// If no module made any; loading refuses such models.
    pub(crate) fn into_embeddings(self) -> Embeddings {
        let sentence_embedding = self
            .sentence
            .expect("the last module of a model gives embeddings");
        Embeddings {
            sentence_embedding,
            autoencoder: self.autoencoder,
        }
    }
}

/// One module of a model.
#[allow(
    clippy::large_enum_variant,
    reason = "there are few of them, and they hold handles"
)]
#[derive(Module, Debug)]
pub(crate) enum PipelineModule {
    Transformer(Transformer),
    SpladePooling(SpladePooling),
    Pooling(Pooling),
    Normalize(Normalize),
    Dense(Dense),
    SparseAutoEncoder(SparseAutoEncoder),
    SparseStaticEmbedding(SparseStaticEmbedding),
    Router(Router),
}

/// Where a module is loaded from.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The module's own directory.
    pub(crate) directory: &'a Path,
    /// The file that names its class, for errors.
    pub(crate) listing: &'a Path,
    /// Name of the module in the encoder, such as `0.`.
    pub(crate) owner: String,
    /// Where the model's files come from.
    pub(crate) source: &'a FoundModel,
    pub(crate) device: &'a Device,
}

impl PipelineModule {
    /// Loads the module of a class, given without its path.
    pub(crate) fn load(class: &str, place: &Place<'_>) -> Result<Self> {
        match class {
            "Transformer" => {
                Transformer::load(Task::FeatureExtraction, false, place).map(Self::Transformer)
            }
            "MLMTransformer" => {
                Transformer::load(Task::FillMask, true, place).map(Self::Transformer)
            }
            "SpladePooling" => SpladePooling::load(place).map(Self::SpladePooling),
            "Pooling" => Pooling::load(place).map(Self::Pooling),
            "Normalize" => Normalize::load(place).map(Self::Normalize),
            "Dense" => Dense::load(place).map(Self::Dense),
            "SparseAutoEncoder" => SparseAutoEncoder::load(place).map(Self::SparseAutoEncoder),
            "SparseStaticEmbedding" => {
                SparseStaticEmbedding::load(place).map(Self::SparseStaticEmbedding)
            }
            "Router" | "Asym" => Router::load(place).map(Self::Router),
            other => Err(Error::config(
                place.listing,
                "type",
                format!("names the unknown module class `{other}`"),
            )),
        }
    }

    pub(crate) fn kind(&self) -> ModuleKind {
        match self {
            Self::Transformer(_) => ModuleKind::Transformer,
            Self::SpladePooling(_) => ModuleKind::SpladePooling,
            Self::Pooling(_) => ModuleKind::Pooling,
            Self::Normalize(_) => ModuleKind::Normalize,
            Self::Dense(_) => ModuleKind::Dense,
            Self::SparseAutoEncoder(_) => ModuleKind::SparseAutoEncoder,
            Self::SparseStaticEmbedding(_) => ModuleKind::SparseStaticEmbedding,
            Self::Router(_) => ModuleKind::Router,
        }
    }

    pub(crate) fn transformer(&self) -> Option<&Transformer> {
        match self {
            Self::Transformer(module) => Some(module),
            _ => None,
        }
    }

    /// The dotted class name to save under.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Transformer(module) => module.class(),
            other => other.kind().class(),
        }
    }

    /// Name of the directory that the module is saved in, without its number.
    pub(crate) fn directory_name(&self) -> &'static str {
        self.class().rsplit('.').next().unwrap_or_default()
    }

    /// Whether the module takes texts, and so is saved in the root when it comes first.
    pub(crate) fn takes_texts(&self) -> bool {
        matches!(
            self,
            Self::Transformer(_) | Self::SparseStaticEmbedding(_) | Self::Router(_)
        )
    }

    /// Tokenizes texts for the modules from this one on.
    pub(crate) fn preprocess<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        prompt: Option<&str>,
        task: Option<&str>,
    ) -> Result<PackedTokens> {
        let tokens = match self {
            Self::Transformer(module) => module.tokenizers().get(task).pack(texts, prompt, true)?,
            Self::SparseStaticEmbedding(module) => module.preprocess(texts, prompt)?,
            Self::Router(module) => return module.preprocess(texts, prompt, task),
            _ => return Err(self.takes_no_texts()),
        };
        Ok(PackedTokens {
            task: task.map(str::to_string),
            ..tokens
        })
    }

    /// What of the module turns texts into tokens.
    pub(crate) fn preprocessor(&self) -> Result<Preprocessor> {
        match self {
            Self::Transformer(module) => Ok(Preprocessor::new(module.tokenizers().clone(), true)),
            Self::SparseStaticEmbedding(module) => {
                let tokenizers = TaskTokenizers {
                    tokenizer: module.tokenizer().clone(),
                    by_task: BTreeMap::new(),
                };
                Ok(Preprocessor::new(tokenizers, false))
            }
            Self::Router(module) => module.preprocessor(),
            _ => Err(self.takes_no_texts()),
        }
    }

    fn takes_no_texts(&self) -> Error {
        Error::Unsupported(format!("a model can not begin with {}", self.kind()))
    }

    /// Tokenizes pairs of texts.
    pub(crate) fn preprocess_pairs(
        &self,
        pairs: &[(&str, &str)],
        prompt: Option<&str>,
        task: Option<&str>,
    ) -> Result<PackedTokens> {
        let tokens = match self {
            Self::Transformer(module) => module
                .tokenizers()
                .get(task)
                .pack_pairs(pairs, prompt, true)?,
            Self::SparseStaticEmbedding(module) => {
                module.tokenizer().pack_pairs(pairs, prompt, false)?
            }
            Self::Router(module) => return module.preprocess_pairs(pairs, prompt, task),
            _ => {
                return Err(Error::Unsupported(format!(
                    "{} takes no pairs of texts",
                    self.kind()
                )));
            }
        };
        Ok(PackedTokens {
            task: task.map(str::to_string),
            ..tokens
        })
    }

    pub(crate) fn forward(
        &self,
        features: Features,
        tokens: &PackedTokens,
        context: &ForwardContext,
    ) -> Features {
        match self {
            Self::Transformer(module) => module.forward(features, tokens, context),
            Self::SpladePooling(module) => module.forward(features, tokens),
            Self::Pooling(module) => module.forward(features, tokens),
            Self::Normalize(module) => module.forward(features),
            Self::Dense(module) => module.forward(features),
            Self::SparseAutoEncoder(module) => module.forward(features, context),
            Self::SparseStaticEmbedding(module) => module.forward(features, tokens),
            Self::Router(module) => module.forward(tokens, context),
        }
    }

    /// [`Self::forward`] of the modules that may stand behind an autoencoder, which need no tokens.
    pub(crate) fn forward_vectors(&self, features: Features, context: &ForwardContext) -> Features {
        match self {
            Self::Normalize(module) => module.forward(features),
            Self::Dense(module) => module.forward(features),
            Self::SparseAutoEncoder(module) => module.forward(features, context),
            other => unreachable!("{} does not stand behind an autoencoder", other.kind()),
        }
    }

    /// Checks that the module can follow those whose output is described, and describes its own.
    pub(crate) fn check(&self, flow: Flow, path: &Path) -> Result<Flow> {
        let checked = match self {
            Self::Transformer(module) => Ok(module.flow()),
            Self::SpladePooling(_) => match flow {
                Flow::Logits { vocab_size } => Ok(Flow::Sentence {
                    width: vocab_size,
                    lexical: true,
                }),
                _ => Err(
                    "needs the logits of a Transformer whose task is fill-mask before it"
                        .to_string(),
                ),
            },
            Self::Pooling(module) => module.check(flow),
            Self::Normalize(_) => match flow {
                Flow::Sentence { .. } => Ok(flow),
                _ => Err("needs one vector per text before it".to_string()),
            },
            Self::Dense(module) => module.check(flow),
            Self::SparseAutoEncoder(module) => module.check(flow),
            Self::SparseStaticEmbedding(module) => Ok(module.flow()),
            Self::Router(module) => Ok(module.flow()),
        };
        let checked = match flow {
            Flow::Texts if !self.takes_texts() => {
                Err("can not come first: it takes no texts".to_string())
            }
            _ => checked,
        };
        checked.map_err(|problem| Error::config(path, self.kind().name(), problem))
    }

    pub(crate) fn tokenizer(&self) -> Option<&TextTokenizer> {
        match self {
            Self::Transformer(module) => Some(module.tokenizer()),
            Self::SparseStaticEmbedding(module) => Some(module.tokenizer()),
            Self::Router(module) => module.tokenizer(),
            _ => None,
        }
    }

    pub(crate) fn max_seq_length(&self) -> Option<usize> {
        match self {
            Self::Router(module) => module.max_seq_length(),
            Self::SparseStaticEmbedding(module) => module.max_seq_length(),
            _ => self.tokenizer().and_then(TextTokenizer::max_length),
        }
    }

    pub(crate) fn set_max_seq_length(&mut self, max_seq_length: usize) -> Result<()> {
        match self {
            Self::Transformer(module) => module.set_max_seq_length(max_seq_length),
            Self::SparseStaticEmbedding(module) => {
                module.set_max_seq_length(max_seq_length);
                Ok(())
            }
            Self::Router(module) => module.set_max_seq_length(max_seq_length),
            _ => Ok(()),
        }
    }

    /// The module's parameters; `prefix` is its place in the encoder, such as `0.`.
    pub(crate) fn named_parameters(&self, prefix: &str) -> Vec<NamedParameter> {
        let class = self.directory_name();
        match self {
            Self::Transformer(module) => module.named_parameters(&format!("{prefix}model."), class),
            Self::Dense(module) => named(prefix, class, module.entries(), true),
            Self::SparseAutoEncoder(module) => named(prefix, class, module.entries(), true),
            Self::SparseStaticEmbedding(module) => {
                named(prefix, class, module.entries(), module.is_trainable())
            }
            Self::Router(module) => module.named_parameters(prefix),
            Self::SpladePooling(_) | Self::Pooling(_) | Self::Normalize(_) => Vec::new(),
        }
    }

    /// What of the module's settings decides about vectors, for a fingerprint.
    pub(crate) fn vector_settings(&self) -> Value {
        let settings = match self {
            Self::Transformer(module) => module.vector_settings(),
            Self::SpladePooling(module) => module.vector_settings(),
            Self::Pooling(module) => module.config(),
            Self::Normalize(_) => Normalize::config(),
            Self::Dense(module) => module.config(),
            Self::SparseAutoEncoder(module) => module.vector_settings(),
            Self::SparseStaticEmbedding(module) => json!(module.tokenizer().fingerprint()),
            Self::Router(module) => module.vector_settings(),
        };
        json!([self.kind().name(), settings])
    }

    /// Writes the module into `directory` below the writer's. The flow is what comes out of it.
    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str, flow: Flow) -> Result<()> {
        match self {
            Self::Transformer(module) => module.save(writer, directory),
            Self::SpladePooling(module) => module.save(writer, directory, flow),
            Self::Pooling(module) => module.save(writer, directory),
            Self::Normalize(_) => Normalize::save(writer, directory),
            Self::Dense(module) => module.save(writer, directory),
            Self::SparseAutoEncoder(module) => module.save(writer, directory),
            Self::SparseStaticEmbedding(module) => module.save(writer, directory),
            Self::Router(module) => module.save(writer, directory),
        }
    }

    /// The words that a model's kind is made of.
    pub(crate) fn type_words(modules: &[Self]) -> Vec<&'static str> {
        let has = |kind: ModuleKind| {
            modules.iter().any(|module| {
                module.kind() == kind || matches!(module, Self::Router(router) if router.has(kind))
            })
        };
        let words = [
            (ModuleKind::Router, "Asymmetric"),
            (ModuleKind::SparseStaticEmbedding, "Inference-free"),
            (ModuleKind::SpladePooling, "SPLADE"),
            (ModuleKind::SparseAutoEncoder, "CSR"),
        ];
        words
            .into_iter()
            .filter(|(kind, _)| has(*kind))
            .map(|(_, word)| word)
            .collect()
    }

    /// The module as Python prints it.
    pub(crate) fn printed(&self, flow: Flow) -> String {
        let settings = match self {
            Self::Transformer(module) => module.printed_settings(),
            Self::SpladePooling(module) => module.config(flow),
            Self::Pooling(module) => module.config(),
            Self::Normalize(_) => Normalize::config(),
            Self::Dense(module) => module.config(),
            Self::SparseAutoEncoder(module) => module.config(),
            Self::SparseStaticEmbedding(module) => module.config(),
            Self::Router(module) => return module.printed(),
        };
        format!("{}({})", self.directory_name(), python_literal(&settings))
    }
}

/// Runs modules in their order.
pub(crate) fn run<'a>(
    modules: impl IntoIterator<Item = &'a PipelineModule>,
    tokens: &PackedTokens,
    context: &ForwardContext,
) -> Features {
    let modules = modules.into_iter().enumerate();
    modules.fold(Features::default(), |features, (index, module)| {
        module.forward(features, tokens, &context.part("module", index))
    })
}

fn named(
    prefix: &str,
    class: &str,
    entries: &[ParameterEntry],
    trainable: bool,
) -> Vec<NamedParameter> {
    entries
        .iter()
        .map(|entry| NamedParameter {
            name: format!("{prefix}{}", entry.name),
            class_name: format!("{class}.{}", entry.name),
            id: entry.id,
            shape: entry.shape.clone(),
            is_norm: entry.is_norm,
            trainable,
        })
        .collect()
}
