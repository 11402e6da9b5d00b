//! Token logits to one sparse vector per text.

use burn::module::Module;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sparse_kernels::{Activation, PoolingStrategy, lexical_head};

use super::{Features, Flow, Place, TokenFeatures};
use crate::pretrained::{DirectoryWriter, from_object, read_object, to_pretty};
use crate::{PackedTokens, Result};

/// SPLADE's pooling ([Formal et al., 2021](https://arxiv.org/abs/2109.10086)), one operation together with the product
/// that makes the logits.
///
/// ```text
/// y[b, v] = max or sum over the tokens t of text b of f(z[t, v]),   f(z) = ln(1 + max(0, z))
/// ```
///
/// All tokens of a text count, special ones and the prompt's included.
#[derive(Module, Debug)]
pub(crate) struct SpladePooling {
    #[module(skip)]
    config: SpladePoolingConfig,
}

/// `config.json` of the module.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpladePoolingConfig {
    pooling_strategy: PoolingStrategy,
    activation_function: Activation,
    #[serde(alias = "word_embedding_dimension")]
    embedding_dimension: Option<usize>,
    /// How much is computed at a time in the reference; here it plays no part.
    #[serde(skip_serializing)]
    chunk_size: Option<i64>,
}

impl SpladePooling {
    /// Maximum pooling, as for a model without a saved pipeline.
    pub(crate) fn new(pooling_strategy: PoolingStrategy, activation_function: Activation) -> Self {
        Self {
            config: SpladePoolingConfig {
                pooling_strategy,
                activation_function,
                embedding_dimension: None,
                chunk_size: None,
            },
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let needed_for = "it says how the tokens of a text become one vector";
        let config = from_object(&read_object(&path, needed_for)?, &path)?;
        Ok(Self { config })
    }

    /// How tokens become one vector, and how logits become weights.
    pub(crate) fn function(&self) -> (PoolingStrategy, Activation) {
        (
            self.config.pooling_strategy,
            self.config.activation_function,
        )
    }

    pub(crate) fn forward(&self, features: Features, tokens: &PackedTokens) -> Features {
        let Some(TokenFeatures::Logits {
            hidden,
            weight,
            bias,
        }) = features.tokens
        else {
            unreachable!("loading checks that logits come before SPLADE pooling");
        };
        let (pooling, activation) = self.function();
        let sentence = lexical_head(hidden, weight, bias, &tokens.rows, pooling, activation);
        Features {
            tokens: None,
            sentence: Some(sentence),
            ..features
        }
    }

    /// What decides about vectors.
    pub(crate) fn vector_settings(&self) -> Value {
        json!(self.function())
    }

    /// The settings as they are saved.
    pub(crate) fn config(&self, flow: Flow) -> Value {
        let embedding_dimension = match flow {
            Flow::Sentence { width, .. } => Some(width),
            _ => self.config.embedding_dimension,
        };
        json!(SpladePoolingConfig {
            embedding_dimension,
            ..self.config
        })
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str, flow: Flow) -> Result<()> {
        writer.write(
            &format!("{directory}/config.json"),
            &to_pretty(&self.config(flow), 4),
        )
    }
}
