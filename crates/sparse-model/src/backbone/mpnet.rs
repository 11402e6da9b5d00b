//! MPNet ([Song et al., 2020](https://arxiv.org/abs/2004.09297)).

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};
use sparse_kernels::HiddenActivation;

use super::bert::{BertConfig, BertEmbeddings};
use super::layers::{EncoderLayer, LayerKeys};
use super::{
    Architecture, Family, HeadKeys, HeadSpec, layers, positions_after_padding,
    positions_beside_padding,
};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

const LAYER_KEYS: LayerKeys = LayerKeys {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..LayerKeys::BERT
};

/// Buckets of relative positions that are computed, whatever the size of the table.
const N_BUCKETS: usize = 32;

/// Distance from which on all fall into the last bucket.
const MAX_DISTANCE: f64 = 128.0;

/// The part of `config.json` that MPNet reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MpNetConfig {
    #[serde(flatten)]
    base: BertConfig,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
}

fn buckets() -> usize {
    N_BUCKETS
}

impl MpNetConfig {
    fn padding(&self) -> i32 {
        self.base.pad_token_id.unwrap_or(super::roberta::PADDING)
    }
}

/// The encoder of MPNet: BERT's without segments, with scores by relative position that all layers share.
#[derive(Module, Debug)]
pub(crate) struct MpNet {
    embeddings: BertEmbeddings,
    layers: Vec<EncoderLayer>,
    relative_attention_bias: Param<Tensor<2>>,
    #[module(skip)]
    padding: i32,
}

impl Architecture for MpNet {
    type Config = MpNetConfig;

    fn family(config: &MpNetConfig) -> Result<Family, (&'static str, String)> {
        let base = &config.base;
        base.check()?;
        if config.relative_attention_num_buckets < N_BUCKETS {
            let problem = format!(
                "is {}; expected at least {N_BUCKETS}",
                config.relative_attention_num_buckets
            );
            return Err(("relative_attention_num_buckets", problem));
        }
        Ok(Family {
            prefix: "mpnet.",
            hidden_size: base.hidden_size,
            vocab_size: base.vocab_size,
            max_positions: positions_beside_padding(
                base.max_position_embeddings,
                config.padding(),
            )?,
            tied: base.tie_word_embeddings,
            head: HeadSpec::new(
                HeadKeys::ROBERTA,
                HiddenActivation::Gelu,
                base.layer_norm_eps,
                base.hidden_size,
            ),
        })
    }

    fn load(config: &MpNetConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let base = BertConfig {
            embedding_size: None,
            type_vocab_size: 0,
            ..config.base.clone()
        };
        let settings = base.layer_settings();
        Ok(Self {
            embeddings: BertEmbeddings::load(&base, reader)?,
            layers: layers("encoder.layer", base.num_hidden_layers, reader, |reader| {
                EncoderLayer::load(&LAYER_KEYS, &settings, reader)
            })?,
            relative_attention_bias: reader.matrix(
                "encoder.relative_attention_bias.weight",
                [
                    config.relative_attention_num_buckets,
                    base.num_attention_heads,
                ],
            )?,
            padding: config.padding(),
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded = self.embeddings.forward(
            tokens,
            &positions_after_padding(tokens, self.padding),
            context,
        );
        let bias = self.relative_bias(tokens.rows.max_length());
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                layer.forward(
                    x,
                    &tokens.rows,
                    Some(bias.clone()),
                    &context.part("layer", index),
                )
            })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.embeddings.word()
    }
}

impl MpNet {
    /// Scores by distance, `[n_heads, 2·reach − 1]`, from `1 − reach` to `reach − 1`.
    fn relative_bias(&self, reach: usize) -> Tensor<2> {
        let reach = reach.max(1) as i64;
        let table = self.relative_attention_bias.val();
        let buckets: Vec<i32> = (1 - reach..reach)
            .map(|distance| bucket(distance) as i32)
            .collect();
        let buckets = Tensor::<1, Int>::from_data(buckets.as_slice(), &table.device());
        table.select(0, buckets).transpose()
    }
}

/// The bucket of a key `distance` tokens after the query: exact for small distances, by logarithm for large ones, in two
/// halves for the two directions.
fn bucket(distance: i64) -> usize {
    let half = N_BUCKETS / 2;
    let exact = half / 2;
    let offset = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    if distance < exact {
        return offset + distance;
    }
    let ratio = (distance as f64 / exact as f64).ln() / (MAX_DISTANCE / exact as f64).ln();
    offset + (exact + (ratio * (half - exact) as f64) as usize).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_then_logarithmic() {
        // Keys before the query use the first 16 buckets, keys after it the last 16.
        assert_eq!([0, -1, -7, 1, 7].map(bucket), [0, 1, 7, 17, 23]);
        // 8 + ln(16/8)/ln(128/8)·8 = 8 + 2.
        assert_eq!(
            [-8, -16, -127, -128, -5000].map(bucket),
            [8, 10, 15, 15, 15]
        );
        assert_eq!([16, 5000].map(bucket), [26, 31]);
    }
}
