//! DeBERTa v2 and v3 ([He et al., 2020](https://arxiv.org/abs/2006.03654)).

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData, activation::softmax};
use serde::{Deserialize, Deserializer, Serialize};
use sparse_kernels::{Dropout, RowOffsets, dropout, embedding};

use super::bert::BertConfig;
use super::layers::{EncoderLayer, LayerKeys, LayerNorm, Linear};
use super::{Architecture, Family, HeadKeys, HeadSpec, LARGEST_SIZE, layers, positions, segments};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

const LAYER_KEYS: LayerKeys = LayerKeys {
    query: "attention.self.query_proj",
    key: "attention.self.key_proj",
    value: "attention.self.value_proj",
    ..LayerKeys::BERT
};

/// The part of `config.json` that DeBERTa reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DebertaConfig {
    #[serde(flatten)]
    base: BertConfig,
    #[serde(default)]
    relative_attention: bool,
    #[serde(default = "unlimited")]
    max_relative_positions: i64,
    #[serde(default = "unlimited")]
    position_buckets: i64,
    #[serde(default, deserialize_with = "attention_types")]
    pos_att_type: Vec<String>,
    #[serde(default)]
    share_att_key: bool,
    #[serde(default)]
    norm_rel_ebd: String,
    #[serde(default = "yes")]
    position_biased_input: bool,
    #[serde(default)]
    conv_kernel_size: usize,
    #[serde(default = "yes")]
    legacy: bool,
}

fn unlimited() -> i64 {
    -1
}

fn yes() -> bool {
    true
}

/// A list of names, or one string with `|` between them.
fn attention_types<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Spelling {
        List(Vec<String>),
        Joined(String),
        None,
    }
    Ok(match Spelling::deserialize(deserializer)? {
        Spelling::List(names) => names,
        Spelling::Joined(names) => names
            .split('|')
            .map(|name| name.trim().to_lowercase())
            .collect(),
        Spelling::None => Vec::new(),
    })
}

impl DebertaConfig {
    fn max_distance(&self) -> usize {
        usize::try_from(self.max_relative_positions)
            .ok()
            .filter(|distance| *distance > 0)
            .unwrap_or(self.base.max_position_embeddings)
    }

    /// Relative positions to either side that have an embedding.
    fn span(&self) -> usize {
        usize::try_from(self.position_buckets)
            .ok()
            .filter(|buckets| *buckets > 0)
            .unwrap_or(self.max_distance())
    }

    fn has(&self, kind: &str) -> bool {
        self.pos_att_type.iter().any(|name| name == kind)
    }
}

/// The encoder of DeBERTa: attention scores from content and from relative position apart.
#[derive(Module, Debug)]
pub(crate) struct Deberta {
    word: Param<Tensor<2>>,
    position: Option<Param<Tensor<2>>>,
    token_type: Option<Param<Tensor<2>>>,
    project: Option<Linear>,
    norm: LayerNorm,
    layers: Vec<DebertaLayer>,
    rel_embeddings: Option<Param<Tensor<2>>>,
    rel_norm: Option<LayerNorm>,
    #[module(skip)]
    settings: DebertaSettings,
}

/// A layer with the projections of relative positions, where they are its own.
#[derive(Module, Debug)]
struct DebertaLayer {
    layer: EncoderLayer,
    pos_key: Option<Linear>,
    pos_query: Option<Linear>,
}

#[derive(Debug, Clone, Copy)]
struct DebertaSettings {
    n_heads: usize,
    content_to_position: bool,
    position_to_content: bool,
    span: usize,
    /// Buckets of relative positions, where they are not exact.
    buckets: Option<usize>,
    max_distance: usize,
    attention_dropout: f64,
    hidden_dropout: f64,
}

impl Architecture for Deberta {
    type Config = DebertaConfig;

    fn family(config: &DebertaConfig) -> Result<Family, (&'static str, String)> {
        let base = &config.base;
        base.check()?;
        if config.conv_kernel_size > 0 {
            return Err((
                "conv_kernel_size",
                "asks for a convolution layer, which is not supported".to_string(),
            ));
        }
        if !config.legacy {
            return Err((
                "legacy",
                "is false; only the legacy head is supported".to_string(),
            ));
        }
        if let Some(other) = config
            .pos_att_type
            .iter()
            .find(|kind| !matches!(kind.as_str(), "c2p" | "p2c"))
        {
            return Err((
                "pos_att_type",
                format!("names `{other}`; expected `c2p` and `p2c`"),
            ));
        }
        for (key, value) in [
            ("position_buckets", config.position_buckets),
            ("max_relative_positions", config.max_relative_positions),
        ] {
            // Of a single bucket, half would be exact.
            if value == 1 || value > LARGEST_SIZE as i64 {
                let problem = format!("is {value}; expected between 2 and {LARGEST_SIZE}, or -1");
                return Err((key, problem));
            }
        }
        // Without absolute positions, a text may be of any length; the table says how long the model saw.
        Ok(Family {
            prefix: "deberta.",
            hidden_size: base.hidden_size,
            vocab_size: base.vocab_size,
            max_positions: Some(base.max_position_embeddings),
            tied: base.tie_word_embeddings,
            head: HeadSpec::new(
                HeadKeys::BERT,
                base.hidden_act,
                base.layer_norm_eps,
                base.embedding_size(),
            ),
        })
    }

    fn load(config: &DebertaConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let base = &config.base;
        let (narrow, wide) = (base.embedding_size(), base.hidden_size);
        let layer_settings = base.layer_settings();
        let (c2p, p2c) = (
            config.relative_attention && config.has("c2p"),
            config.relative_attention && config.has("p2c"),
        );
        let own = config.relative_attention && !config.share_att_key;
        Ok(Self {
            word: reader.matrix(
                "embeddings.word_embeddings.weight",
                [base.vocab_size, narrow],
            )?,
            position: match config.position_biased_input {
                true => Some(reader.matrix(
                    "embeddings.position_embeddings.weight",
                    [base.max_position_embeddings, narrow],
                )?),
                false => None,
            },
            token_type: match base.type_vocab_size {
                0 => None,
                kinds => Some(
                    reader.matrix("embeddings.token_type_embeddings.weight", [kinds, narrow])?,
                ),
            },
            project: match narrow == wide {
                true => None,
                false => Some(Linear::load_with(
                    "embeddings.embed_proj",
                    narrow,
                    wide,
                    false,
                    reader,
                )?),
            },
            norm: LayerNorm::load("embeddings.LayerNorm", wide, base.layer_norm_eps, reader)?,
            layers: layers("encoder.layer", base.num_hidden_layers, reader, |reader| {
                let side = |wanted: bool, name: &str, reader: &mut ParameterReader<'_>| {
                    if wanted {
                        Linear::load(name, wide, wide, reader).map(Some)
                    } else {
                        Ok(None)
                    }
                };
                Ok(DebertaLayer {
                    layer: EncoderLayer::load(&LAYER_KEYS, &layer_settings, reader)?,
                    pos_key: side(own && c2p, "attention.self.pos_key_proj", reader)?,
                    pos_query: side(own && p2c, "attention.self.pos_query_proj", reader)?,
                })
            })?,
            rel_embeddings: match config.relative_attention {
                true => Some(
                    reader.matrix("encoder.rel_embeddings.weight", [2 * config.span(), wide])?,
                ),
                false => None,
            },
            rel_norm: match config.relative_attention && config.norm_rel_ebd.contains("layer_norm")
            {
                true => Some(LayerNorm::load(
                    "encoder.LayerNorm",
                    wide,
                    base.layer_norm_eps,
                    reader,
                )?),
                false => None,
            },
            settings: DebertaSettings {
                n_heads: base.num_attention_heads,
                content_to_position: c2p,
                position_to_content: p2c,
                span: config.span(),
                buckets: usize::try_from(config.position_buckets)
                    .ok()
                    .filter(|buckets| *buckets > 0),
                max_distance: config.max_distance(),
                attention_dropout: base.attention_probs_dropout_prob,
                hidden_dropout: base.hidden_dropout_prob,
            },
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let mut sum = embedding(self.word.val(), &tokens.input_ids);
        if let Some(table) = &self.position {
            sum = sum + embedding(table.val(), &positions(tokens));
        }
        if let Some(table) = &self.token_type {
            sum = sum + embedding(table.val(), &segments(tokens, table.dims()[0]));
        }
        if let Some(project) = &self.project {
            sum = project.forward(sum);
        }
        let dropping = context.dropout("embeddings", self.settings.hidden_dropout);
        let embedded = dropout(self.norm.forward(sum, None), dropping.as_ref());
        let relative = self
            .rel_embeddings
            .as_ref()
            .map(|table| match &self.rel_norm {
                Some(norm) => norm.forward(table.val(), None),
                None => table.val(),
            });
        self.layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                let context = context.part("layer", index);
                layer.layer.forward_with(x, &context, |query, key, value| {
                    layer.attention(
                        query,
                        key,
                        value,
                        relative.clone(),
                        &tokens.rows,
                        &self.settings,
                        &context,
                    )
                })
            })
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.word.val()
    }
}

impl DebertaLayer {
    /// Attention within each text.
    ///
    /// ```text
    /// score(i, j) = (q_i·k_j + q_i·K[b(i−j)] + k_j·Q[b(i−j)]) / √(d · number of terms)
    /// ```
    #[expect(
        clippy::too_many_arguments,
        reason = "the three projections and what they are attended with"
    )]
    fn attention(
        &self,
        query: Tensor<2>,
        key: Tensor<2>,
        value: Tensor<2>,
        relative: Option<Tensor<2>>,
        rows: &RowOffsets,
        settings: &DebertaSettings,
        context: &ForwardContext,
    ) -> Tensor<2> {
        let DebertaSettings {
            n_heads,
            content_to_position,
            position_to_content,
            ..
        } = *settings;
        let [_, width] = query.dims();
        let d_head = width / n_heads;
        let terms = 1 + usize::from(content_to_position) + usize::from(position_to_content);
        let scale = 1.0 / ((d_head * terms) as f64).sqrt();
        let heads = |x: Tensor<2>| -> Tensor<3> {
            let [length, _] = x.dims();
            x.reshape([length, n_heads, d_head]).swap_dims(0, 1)
        };
        let relative = relative.map(|table| {
            dropout(
                table,
                context
                    .dropout_of_table("relative_positions", settings.hidden_dropout)
                    .as_ref(),
            )
        });
        let (shared_query, shared_key) = self.layer.query_and_key();
        let project = |wanted: bool, own: &Option<Linear>, shared: &Linear| {
            let table = relative.clone().filter(|_| wanted)?;
            Some(heads(own.as_ref().unwrap_or(shared).forward(table)).swap_dims(1, 2))
        };
        let position_keys = project(content_to_position, &self.pos_key, shared_key);
        let position_queries = project(position_to_content, &self.pos_query, shared_query);
        let mask = context.dropout_of_texts("attention_probabilities", settings.attention_dropout);

        let mut outputs = Vec::new();
        for (row, range) in rows
            .ranges()
            .enumerate()
            .filter(|(_, range)| !range.is_empty())
        {
            let length = range.len();
            let part = |x: &Tensor<2>| heads(x.clone().narrow(0, range.start, length));
            let (q, k, v) = (part(&query), part(&key), part(&value));
            let mut scores = q.clone().matmul(k.clone().swap_dims(1, 2));
            // `near[i, j]` is the embedding of the distance i − j.
            let near = |transposed: bool| {
                let at = |i: usize, j: usize| {
                    if transposed {
                        settings.place(j, i)
                    } else {
                        settings.place(i, j)
                    }
                };
                let places: Vec<i32> = (0..length)
                    .flat_map(|i| (0..length).map(move |j| at(i, j)))
                    .collect();
                let places = Tensor::<3, Int>::from_data(
                    TensorData::new(places, [1, length, length]),
                    &query.device(),
                );
                places.repeat_dim(0, n_heads)
            };
            if let Some(position_keys) = &position_keys {
                scores = scores + q.matmul(position_keys.clone()).gather(2, near(false));
            }
            if let Some(position_queries) = &position_queries {
                scores = scores
                    + k.matmul(position_queries.clone())
                        .gather(2, near(true))
                        .swap_dims(1, 2);
            }
            let probabilities = softmax(scores * scale, 2).reshape([n_heads * length, length]);
            let mask = mask.map(|mask| Dropout {
                stream: mask.stream.derive_index((mask.first_row + row) as u64),
                first_row: 0,
                ..mask
            });
            let probabilities =
                dropout(probabilities, mask.as_ref()).reshape([n_heads, length, length]);
            outputs.push(
                probabilities
                    .matmul(v)
                    .swap_dims(0, 1)
                    .reshape([length, width]),
            );
        }
        if outputs.is_empty() {
            query
        } else {
            Tensor::cat(outputs, 0)
        }
    }
}

impl DebertaSettings {
    /// The row of the table for the distance `i − j`.
    fn place(&self, i: usize, j: usize) -> i32 {
        let distance = i as i64 - j as i64;
        let bucket = match self.buckets {
            Some(buckets) => log_bucket(distance, buckets as i64, self.max_distance as i64),
            None => distance,
        };
        (bucket + self.span as i64).clamp(0, 2 * self.span as i64 - 1) as i32
    }
}

/// Distances up to half the buckets as they are, larger ones by logarithm.
fn log_bucket(distance: i64, buckets: i64, max_distance: i64) -> i64 {
    let middle = buckets / 2;
    if distance.abs() <= middle {
        return distance;
    }
    // f32, as the reference computes it: the ceiling makes a difference of the last digit visible.
    let ratio = (distance.unsigned_abs() as f32 / middle as f32).ln()
        / ((max_distance - 1) as f32 / middle as f32).ln();
    let bucket = (ratio * (middle - 1) as f32).ceil() as i64 + middle;
    bucket * distance.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_are_exact_and_far_ones_logarithmic() {
        // 16 buckets: exact up to 8; ⌈ln(64/8)/ln(127/8)·7⌉ + 8 = ⌈5.27⌉ + 8.
        assert_eq!(
            [0, 3, -8, 64, -64].map(|distance| log_bucket(distance, 16, 128)),
            [0, 3, -8, 14, -14]
        );
        assert_eq!(log_bucket(127, 16, 128), 15);
    }
}
