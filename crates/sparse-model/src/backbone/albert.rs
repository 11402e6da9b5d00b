//! ALBERT ([Lan et al., 2019](https://arxiv.org/abs/1909.11942)).

use burn::module::Module;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::bert::{BertConfig, BertEmbeddings};
use super::layers::{EncoderLayer, LayerKeys, LayerSettings, Linear};
use super::{Architecture, Family, HeadKeys, HeadSpec, layers, positions};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

const LAYER_KEYS: LayerKeys = LayerKeys {
    query: "attention.query",
    key: "attention.key",
    value: "attention.value",
    attention_output: "attention.dense",
    attention_norm: "attention.LayerNorm",
    intermediate: "ffn",
    output: "ffn_output",
    output_norm: "full_layer_layer_norm",
};

const HEAD_KEYS: HeadKeys = HeadKeys {
    dense: "predictions.dense",
    norm: "predictions.LayerNorm",
    bias: "predictions.bias",
    decoder: "predictions.decoder.weight",
    decoder_bias: Some("predictions.decoder.bias"),
};

/// The part of `config.json` that ALBERT reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AlbertConfig {
    #[serde(flatten)]
    base: BertConfig,
    #[serde(default = "one")]
    num_hidden_groups: usize,
    #[serde(default = "one")]
    inner_group_num: usize,
}

fn one() -> usize {
    1
}

/// The encoder of ALBERT: groups of layers, each applied several times.
#[derive(Module, Debug)]
pub(crate) struct Albert {
    embeddings: BertEmbeddings,
    project: Linear,
    groups: Vec<AlbertGroup>,
    #[module(skip)]
    n_layers: usize,
}

/// Layers that share their place.
#[derive(Module, Debug)]
struct AlbertGroup {
    layers: Vec<EncoderLayer>,
}

impl Architecture for Albert {
    type Config = AlbertConfig;

    fn family(config: &AlbertConfig) -> Result<Family, (&'static str, String)> {
        let base = &config.base;
        base.check()?;
        if config.num_hidden_groups == 0 || config.num_hidden_groups > base.num_hidden_layers {
            let problem = format!(
                "is {}; expected between 1 and `num_hidden_layers`",
                config.num_hidden_groups
            );
            return Err(("num_hidden_groups", problem));
        }
        super::check_layers(
            "inner_group_num",
            config
                .inner_group_num
                .saturating_mul(config.num_hidden_groups),
        )?;
        if config.inner_group_num == 0 {
            return Err(("inner_group_num", "is 0; expected at least 1".to_string()));
        }
        Ok(Family {
            prefix: "albert.",
            hidden_size: base.hidden_size,
            vocab_size: base.vocab_size,
            max_positions: Some(base.max_position_embeddings),
            tied: base.tie_word_embeddings,
            head: HeadSpec::new(
                HEAD_KEYS,
                base.hidden_act,
                base.layer_norm_eps,
                base.embedding_size(),
            ),
        })
    }

    fn load(config: &AlbertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        // The feed-forward part has no dropout of its own.
        let settings = LayerSettings {
            output_dropout: 0.0,
            ..config.base.layer_settings()
        };
        Ok(Self {
            embeddings: BertEmbeddings::load(&config.base, reader)?,
            project: Linear::load(
                "encoder.embedding_hidden_mapping_in",
                config.base.embedding_size(),
                config.base.hidden_size,
                reader,
            )?,
            groups: layers(
                "encoder.albert_layer_groups",
                config.num_hidden_groups,
                reader,
                |reader| {
                    let layers =
                        layers("albert_layers", config.inner_group_num, reader, |reader| {
                            EncoderLayer::load(&LAYER_KEYS, &settings, reader)
                        })?;
                    Ok(AlbertGroup { layers })
                },
            )?,
            n_layers: config.base.num_hidden_layers,
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded =
            self.project
                .forward(self.embeddings.forward(tokens, &positions(tokens), context));
        (0..self.n_layers).fold(embedded, |x, index| {
            let group = &self.groups[index * self.groups.len() / self.n_layers];
            let context = context.part("layer", index);
            group
                .layers
                .iter()
                .enumerate()
                .fold(x, |x, (inner, layer)| {
                    layer.forward(x, &tokens.rows, None, &context.part("inner", inner))
                })
        })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.embeddings.word()
    }
}
