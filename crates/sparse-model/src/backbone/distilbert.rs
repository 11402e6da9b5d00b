//! DistilBERT ([Sanh et al., 2019](https://arxiv.org/abs/1910.01108)).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use sparse_kernels::{HiddenActivation, dropout, embedding};

use super::layers::{EncoderLayer, LayerKeys, LayerNorm, LayerSettings};
use super::{
    Architecture, Family, HeadKeys, HeadSpec, check_rate, check_size, check_sizes, layers,
    positions,
};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

/// All norms of DistilBERT have this epsilon.
const EPSILON: f64 = 1e-12;

const LAYER_KEYS: LayerKeys = LayerKeys {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

const HEAD_KEYS: HeadKeys = HeadKeys {
    dense: "vocab_transform",
    norm: "vocab_layer_norm",
    bias: "vocab_projector.bias",
    decoder: "vocab_projector.weight",
    decoder_bias: None,
};

/// The part of `config.json` that DistilBERT reads; defaults are the architecture's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DistilBertConfig {
    vocab_size: usize,
    max_position_embeddings: usize,
    n_layers: usize,
    n_heads: usize,
    dim: usize,
    hidden_dim: usize,
    dropout: f64,
    attention_dropout: f64,
    activation: HiddenActivation,
    tie_word_embeddings: bool,
}

impl Default for DistilBertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            max_position_embeddings: 512,
            n_layers: 6,
            n_heads: 12,
            dim: 768,
            hidden_dim: 3072,
            dropout: 0.1,
            attention_dropout: 0.1,
            activation: HiddenActivation::Gelu,
            tie_word_embeddings: true,
        }
    }
}

/// The encoder of DistilBERT.
#[derive(Module, Debug)]
pub(crate) struct DistilBert {
    word: Param<Tensor<2>>,
    position: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<EncoderLayer>,
    #[module(skip)]
    dropout: f64,
}

impl Architecture for DistilBert {
    type Config = DistilBertConfig;

    fn family(config: &DistilBertConfig) -> Result<Family, (&'static str, String)> {
        check_sizes(
            ("n_layers", config.n_layers),
            ("n_heads", config.n_heads),
            config.dim,
        )?;
        check_size("vocab_size", config.vocab_size)?;
        check_size("max_position_embeddings", config.max_position_embeddings)?;
        check_size("hidden_dim", config.hidden_dim)?;
        check_rate("dropout", config.dropout)?;
        check_rate("attention_dropout", config.attention_dropout)?;
        Ok(Family {
            prefix: "distilbert.",
            hidden_size: config.dim,
            vocab_size: config.vocab_size,
            max_positions: Some(config.max_position_embeddings),
            tied: config.tie_word_embeddings,
            head: HeadSpec::new(HEAD_KEYS, config.activation, EPSILON, config.dim),
        })
    }

    fn load(config: &DistilBertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let settings = LayerSettings {
            hidden_size: config.dim,
            intermediate_size: config.hidden_dim,
            n_heads: config.n_heads,
            activation: config.activation,
            epsilon: EPSILON,
            attention_dropout: config.attention_dropout,
            attention_output_dropout: 0.0,
            output_dropout: config.dropout,
        };
        Ok(Self {
            word: reader.matrix(
                "embeddings.word_embeddings.weight",
                [config.vocab_size, config.dim],
            )?,
            position: reader.matrix(
                "embeddings.position_embeddings.weight",
                [config.max_position_embeddings, config.dim],
            )?,
            norm: LayerNorm::load("embeddings.LayerNorm", config.dim, EPSILON, reader)?,
            layers: layers("transformer.layer", config.n_layers, reader, |reader| {
                EncoderLayer::load(&LAYER_KEYS, &settings, reader)
            })?,
            dropout: config.dropout,
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let sum = embedding(self.word.val(), &tokens.input_ids)
            + embedding(self.position.val(), &positions(tokens));
        let embedded = dropout(
            self.norm.forward(sum, None),
            context.dropout("embeddings", self.dropout).as_ref(),
        );
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                layer.forward(x, &tokens.rows, None, &context.part("layer", index))
            })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.word.val()
    }
}
