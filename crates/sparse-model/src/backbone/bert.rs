//! BERT ([Devlin et al., 2018](https://arxiv.org/abs/1810.04805)), and the smaller ones of its shape: MiniLM, TinyBERT.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use sparse_kernels::{HiddenActivation, dropout, embedding};

use super::layers::{EncoderLayer, LayerKeys, LayerNorm, LayerSettings};
use super::{
    Architecture, Family, HeadKeys, HeadSpec, check_epsilon, check_rate, check_size, check_sizes,
    layers, positions, segments,
};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

/// The part of `config.json` that BERT and its descendants read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BertConfig {
    pub(crate) vocab_size: usize,
    pub(crate) hidden_size: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) max_position_embeddings: usize,
    #[serde(default = "two")]
    pub(crate) type_vocab_size: usize,
    #[serde(default = "gelu")]
    pub(crate) hidden_act: HiddenActivation,
    #[serde(default = "small_epsilon")]
    pub(crate) layer_norm_eps: f64,
    #[serde(default = "tenth")]
    pub(crate) hidden_dropout_prob: f64,
    #[serde(default = "tenth")]
    pub(crate) attention_probs_dropout_prob: f64,
    #[serde(default = "yes")]
    pub(crate) tie_word_embeddings: bool,
    #[serde(default)]
    pub(crate) pad_token_id: Option<i32>,
    #[serde(default)]
    pub(crate) position_embedding_type: Option<String>,
    /// Width of the embeddings where it is not the hidden size.
    #[serde(default)]
    pub(crate) embedding_size: Option<usize>,
}

fn two() -> usize {
    2
}

fn gelu() -> HiddenActivation {
    HiddenActivation::Gelu
}

fn small_epsilon() -> f64 {
    1e-12
}

fn tenth() -> f64 {
    0.1
}

fn yes() -> bool {
    true
}

impl BertConfig {
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        check_sizes(
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            self.hidden_size,
        )?;
        check_size("vocab_size", self.vocab_size)?;
        check_size("intermediate_size", self.intermediate_size)?;
        check_size("max_position_embeddings", self.max_position_embeddings)?;
        check_size("type_vocab_size", self.type_vocab_size.max(1))?;
        check_size("embedding_size", self.embedding_size())?;
        check_epsilon("layer_norm_eps", self.layer_norm_eps)?;
        check_rate("hidden_dropout_prob", self.hidden_dropout_prob)?;
        check_rate(
            "attention_probs_dropout_prob",
            self.attention_probs_dropout_prob,
        )?;
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(()),
            Some(other) => Err((
                "position_embedding_type",
                format!("is `{other}`; only `absolute` is supported"),
            )),
        }
    }

    pub(crate) fn layer_settings(&self) -> LayerSettings {
        LayerSettings {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            n_heads: self.num_attention_heads,
            activation: self.hidden_act,
            epsilon: self.layer_norm_eps,
            attention_dropout: self.attention_probs_dropout_prob,
            attention_output_dropout: self.hidden_dropout_prob,
            output_dropout: self.hidden_dropout_prob,
        }
    }

    /// Width of the embeddings.
    pub(crate) fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }
}

/// Sum of word, position and segment embeddings, normalized.
#[derive(Module, Debug)]
pub(crate) struct BertEmbeddings {
    word: Param<Tensor<2>>,
    position: Param<Tensor<2>>,
    token_type: Option<Param<Tensor<2>>>,
    norm: LayerNorm,
    #[module(skip)]
    dropout: f64,
}

impl BertEmbeddings {
    /// Reads `embeddings.*`.
    pub(crate) fn load(config: &BertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let width = config.embedding_size();
        reader.scope("embeddings", |reader| {
            Ok(Self {
                word: reader.matrix("word_embeddings.weight", [config.vocab_size, width])?,
                position: reader.matrix(
                    "position_embeddings.weight",
                    [config.max_position_embeddings, width],
                )?,
                token_type: match config.type_vocab_size {
                    0 => None,
                    kinds => Some(reader.matrix("token_type_embeddings.weight", [kinds, width])?),
                },
                norm: LayerNorm::load("LayerNorm", width, config.layer_norm_eps, reader)?,
                dropout: config.hidden_dropout_prob,
            })
        })
    }

    /// `[n_tokens, width]`, with each token's position given.
    pub(crate) fn forward(
        &self,
        tokens: &PackedTokens,
        positions: &[i32],
        context: &ForwardContext,
    ) -> Tensor<2> {
        let mut sum = embedding(self.word.val(), &tokens.input_ids)
            + embedding(self.position.val(), positions);
        if let Some(table) = &self.token_type {
            sum = sum + embedding(table.val(), &segments(tokens, table.dims()[0]));
        }
        dropout(
            self.norm.forward(sum, None),
            context.dropout("embeddings", self.dropout).as_ref(),
        )
    }

    /// The embedding table.
    pub(crate) fn word(&self) -> Tensor<2> {
        self.word.val()
    }
}

/// The encoder of BERT.
#[derive(Module, Debug)]
pub(crate) struct Bert {
    embeddings: BertEmbeddings,
    layers: Vec<EncoderLayer>,
}

impl Architecture for Bert {
    type Config = BertConfig;

    fn family(config: &BertConfig) -> Result<Family, (&'static str, String)> {
        config.check()?;
        Ok(Family {
            prefix: "bert.",
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: Some(config.max_position_embeddings),
            tied: config.tie_word_embeddings,
            head: HeadSpec::new(
                HeadKeys::BERT,
                config.hidden_act,
                config.layer_norm_eps,
                config.hidden_size,
            ),
        })
    }

    fn load(config: &BertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let settings = config.layer_settings();
        let config = BertConfig {
            embedding_size: None,
            ..config.clone()
        };
        Ok(Self {
            embeddings: BertEmbeddings::load(&config, reader)?,
            layers: layers(
                "encoder.layer",
                config.num_hidden_layers,
                reader,
                |reader| EncoderLayer::load(&LayerKeys::BERT, &settings, reader),
            )?,
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded = self.embeddings.forward(tokens, &positions(tokens), context);
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                layer.forward(x, &tokens.rows, None, &context.part("layer", index))
            })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.embeddings.word()
    }
}
