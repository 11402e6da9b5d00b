//! ModernBERT ([Warner et al., 2024](https://arxiv.org/abs/2412.13663)).

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sparse_kernels::{AttentionOptions, HiddenActivation, dropout, embedding, packed_attention};

use super::layers::{LayerNorm, Linear};
use super::{
    Architecture, Family, HeadKeys, HeadSpec, Problem, check_epsilon, check_rate, check_size,
    check_sizes, positions,
};
use crate::pretrained::ParameterReader;
use crate::{ForwardContext, PackedTokens, Result};

const HEAD_KEYS: HeadKeys = HeadKeys {
    dense: "head.dense",
    norm: "head.norm",
    bias: "decoder.bias",
    decoder: "decoder.weight",
    decoder_bias: None,
};

/// What the configuration calls a layer that sees everything.
const GLOBAL: &str = "full_attention";

/// What it calls a layer that sees a window.
const LOCAL: &str = "sliding_attention";

/// The part of `config.json` that ModernBERT reads, in its newer and its older spelling.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ModernBertConfig {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    hidden_activation: HiddenActivation,
    max_position_embeddings: usize,
    norm_eps: f64,
    norm_bias: bool,
    attention_bias: bool,
    attention_dropout: f64,
    embedding_dropout: f64,
    mlp_bias: bool,
    mlp_dropout: f64,
    global_attn_every_n_layers: usize,
    local_attention: usize,
    layer_types: Option<Vec<String>>,
    rope_parameters: Value,
    global_rope_theta: f64,
    local_rope_theta: Option<f64>,
    classifier_bias: bool,
    classifier_activation: HiddenActivation,
    decoder_bias: bool,
    tie_word_embeddings: bool,
}

impl Default for ModernBertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 50_368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: HiddenActivation::Gelu,
            max_position_embeddings: 8192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            attention_dropout: 0.0,
            embedding_dropout: 0.0,
            mlp_bias: false,
            mlp_dropout: 0.0,
            global_attn_every_n_layers: 3,
            local_attention: 128,
            layer_types: None,
            rope_parameters: Value::Null,
            global_rope_theta: 160_000.0,
            local_rope_theta: Some(10_000.0),
            classifier_bias: false,
            classifier_activation: HiddenActivation::Gelu,
            decoder_bias: true,
            tie_word_embeddings: true,
        }
    }
}

impl ModernBertConfig {
    /// Checks what is read with a default, where a wrong value would count as none.
    fn check(&self) -> Result<(), Problem> {
        check_size("vocab_size", self.vocab_size)?;
        check_size("intermediate_size", self.intermediate_size)?;
        check_size("max_position_embeddings", self.max_position_embeddings)?;
        check_size("local_attention", self.local_attention)?;
        check_size(
            "global_attn_every_n_layers",
            self.global_attn_every_n_layers,
        )?;
        check_epsilon("norm_eps", self.norm_eps)?;
        check_rate("attention_dropout", self.attention_dropout)?;
        check_rate("embedding_dropout", self.embedding_dropout)?;
        check_rate("mlp_dropout", self.mlp_dropout)?;
        if let Some(types) = &self.layer_types {
            if types.len() != self.num_hidden_layers {
                let problem = format!(
                    "has {} entries, but there are {} layers",
                    types.len(),
                    self.num_hidden_layers
                );
                return Err(("layer_types", problem));
            }
            let known = |kind: &String| kind == GLOBAL || kind == LOCAL;
            if let Some(other) = types.iter().find(|kind| !known(kind)) {
                let problem = format!("names `{other}`; expected `{GLOBAL}` or `{LOCAL}`");
                return Err(("layer_types", problem));
            }
        }
        check_rope(&self.rope_parameters)?;
        for (key, theta) in [
            ("global_rope_theta", Some(self.global_rope_theta)),
            ("local_rope_theta", self.local_rope_theta),
        ] {
            if theta.is_some_and(|theta| theta <= 0.0) {
                return Err((key, "is not positive".to_string()));
            }
        }
        Ok(())
    }

    fn is_global(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_none_or(|kind| kind == GLOBAL),
            None => layer.is_multiple_of(self.global_attn_every_n_layers),
        }
    }

    fn theta(&self, global: bool) -> f64 {
        let kind = if global { GLOBAL } else { LOCAL };
        let named = self
            .rope_parameters
            .get(kind)
            .and_then(|parameters| parameters.get("rope_theta"))
            .and_then(Value::as_f64);
        let older = if global { None } else { self.local_rope_theta };
        named.or(older).unwrap_or(self.global_rope_theta)
    }
}

/// Checks the rotary positions of the newer spelling: an entry for each kind of layer, each with its base.
fn check_rope(parameters: &Value) -> Result<(), Problem> {
    const KEY: &str = "rope_parameters";
    let kinds = match parameters {
        Value::Null => return Ok(()),
        Value::Object(kinds) => kinds,
        other => return Err((KEY, format!("is {other}; expected an object"))),
    };
    for (kind, settings) in kinds {
        if kind != GLOBAL && kind != LOCAL {
            let problem = format!("has `{kind}`; expected `{GLOBAL}` and `{LOCAL}`");
            return Err((KEY, problem));
        }
        match settings.get("rope_type").map(Value::as_str) {
            None | Some(Some("default")) => {}
            Some(other) => {
                let problem = format!(
                    "has the `rope_type` {other:?} for `{kind}`; only `default` is supported"
                );
                return Err((KEY, problem));
            }
        }
        let theta = settings.get("rope_theta");
        if theta.is_some_and(|theta| theta.as_f64().is_none_or(|theta| theta <= 0.0)) {
            let problem = format!("has no positive `rope_theta` for `{kind}`");
            return Err((KEY, problem));
        }
    }
    Ok(())
}

/// The encoder of ModernBERT: rotary positions, norms before the parts, gated feed-forward, and layers that see a window
/// between layers that see everything.
#[derive(Module, Debug)]
pub(crate) struct ModernBert {
    tok_embeddings: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<ModernBertLayer>,
    final_norm: LayerNorm,
    #[module(skip)]
    embedding_dropout: f64,
}

/// One layer.
///
/// ```text
/// a = x + attention(norm(x)),   y = a + (act(u) ⊙ g)·Wᵀ,   (u, g) = norm(a)·Wᵢᵀ
/// ```
#[derive(Module, Debug)]
struct ModernBertLayer {
    attn_norm: Option<LayerNorm>,
    wqkv: Linear,
    wo: Linear,
    mlp_norm: LayerNorm,
    wi: Linear,
    mlp_wo: Linear,
    #[module(skip)]
    settings: ModernLayerSettings,
}

#[derive(Debug, Clone, Copy)]
struct ModernLayerSettings {
    n_heads: usize,
    activation: HiddenActivation,
    /// Tokens to either side that a token sees; `None` for all.
    window: Option<usize>,
    theta: f64,
    attention_dropout: f64,
    mlp_dropout: f64,
}

impl Architecture for ModernBert {
    type Config = ModernBertConfig;

    fn family(config: &ModernBertConfig) -> Result<Family, (&'static str, String)> {
        check_sizes(
            ("num_hidden_layers", config.num_hidden_layers),
            ("num_attention_heads", config.num_attention_heads),
            config.hidden_size,
        )?;
        if !(config.hidden_size / config.num_attention_heads).is_multiple_of(2) {
            return Err((
                "num_attention_heads",
                "gives heads of odd width, which rotary positions can not have".to_string(),
            ));
        }
        config.check()?;
        let mut head = HeadSpec::new(
            HEAD_KEYS,
            config.classifier_activation,
            config.norm_eps,
            config.hidden_size,
        );
        head.dense_bias = config.classifier_bias;
        head.norm_bias = config.norm_bias;
        head.output_bias = config.decoder_bias;
        Ok(Family {
            prefix: "model.",
            hidden_size: config.hidden_size,
            vocab_size: config.vocab_size,
            max_positions: Some(config.max_position_embeddings),
            tied: config.tie_word_embeddings,
            head,
        })
    }

    fn load(config: &ModernBertConfig, reader: &mut ParameterReader<'_>) -> Result<Self> {
        let width = config.hidden_size;
        let norm = |name: &str, reader: &mut ParameterReader<'_>| {
            LayerNorm::load_with(name, width, config.norm_eps, config.norm_bias, reader)
        };
        Ok(Self {
            tok_embeddings: reader.matrix(
                "embeddings.tok_embeddings.weight",
                [config.vocab_size, width],
            )?,
            norm: norm("embeddings.norm", reader)?,
            layers: (0..config.num_hidden_layers)
                .map(|index| {
                    reader.scope(&format!("layers.{index}"), |reader| {
                        let global = config.is_global(index);
                        Ok(ModernBertLayer {
                            attn_norm: if index == 0 {
                                None
                            } else {
                                Some(norm("attn_norm", reader)?)
                            },
                            wqkv: Linear::load_with(
                                "attn.Wqkv",
                                width,
                                3 * width,
                                config.attention_bias,
                                reader,
                            )?,
                            wo: Linear::load_with(
                                "attn.Wo",
                                width,
                                width,
                                config.attention_bias,
                                reader,
                            )?,
                            mlp_norm: norm("mlp_norm", reader)?,
                            wi: Linear::load_with(
                                "mlp.Wi",
                                width,
                                2 * config.intermediate_size,
                                config.mlp_bias,
                                reader,
                            )?,
                            mlp_wo: Linear::load_with(
                                "mlp.Wo",
                                config.intermediate_size,
                                width,
                                config.mlp_bias,
                                reader,
                            )?,
                            settings: ModernLayerSettings {
                                n_heads: config.num_attention_heads,
                                activation: config.hidden_activation,
                                window: (!global).then_some(config.local_attention / 2),
                                theta: config.theta(global),
                                attention_dropout: config.attention_dropout,
                                mlp_dropout: config.mlp_dropout,
                            },
                        })
                    })
                })
                .collect::<Result<_>>()?,
            final_norm: norm("final_norm", reader)?,
            embedding_dropout: config.embedding_dropout,
        })
    }

    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
        let embedded = self.norm.forward(
            embedding(self.tok_embeddings.val(), &tokens.input_ids),
            None,
        );
        let embedded = dropout(
            embedded,
            context
                .dropout("embeddings", self.embedding_dropout)
                .as_ref(),
        );
        let positions = positions(tokens);
        let hidden = self
            .layers
            .iter()
            .enumerate()
            .fold(embedded, |x, (index, layer)| {
                layer.forward(x, tokens, &positions, &context.part("layer", index))
            });
        self.final_norm.forward(hidden, None)
    }

    fn word_embeddings(&self) -> Tensor<2> {
        self.tok_embeddings.val()
    }
}

impl ModernBertLayer {
    fn forward(
        &self,
        x: Tensor<2>,
        tokens: &PackedTokens,
        positions: &[i32],
        context: &ForwardContext,
    ) -> Tensor<2> {
        let ModernLayerSettings {
            n_heads,
            activation,
            window,
            theta,
            attention_dropout,
            mlp_dropout,
        } = self.settings;
        let [_, width] = x.dims();
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone(), None),
            None => x.clone(),
        };
        let [query, key, value] = thirds(self.wqkv.forward(normed), width);
        let rotation = Rotation::new(positions, width / n_heads, theta, &x.device());
        let options = AttentionOptions {
            local_window: window,
            dropout: context.dropout_of_texts("attention_probabilities", attention_dropout),
            ..AttentionOptions::new(1.0 / ((width / n_heads) as f32).sqrt())
        };
        let (query, key) = (rotation.apply(query, n_heads), rotation.apply(key, n_heads));
        let attended = packed_attention(query, key, value, n_heads, &tokens.rows, &options);
        let attended = dropout(
            self.wo.forward(attended),
            context
                .dropout("attention_output", attention_dropout)
                .as_ref(),
        );
        let attended = x + attended;

        let wide = self
            .wi
            .forward(self.mlp_norm.forward(attended.clone(), None));
        let half = wide.dims()[1] / 2;
        let gated =
            activation.forward(wide.clone().narrow(1, 0, half)) * wide.narrow(1, half, half);
        let gated = dropout(gated, context.dropout("mlp", mlp_dropout).as_ref());
        attended + self.mlp_wo.forward(gated)
    }
}

fn thirds(x: Tensor<2>, width: usize) -> [Tensor<2>; 3] {
    [0, 1, 2].map(|part| x.clone().narrow(1, part * width, width))
}

/// Rotary positions: each pair `(i, i + d/2)` of a head turns by `position · theta^(−2i/d)`
/// ([Su et al., 2021](https://arxiv.org/abs/2104.09864)).
struct Rotation {
    /// `[n_tokens, 1, d_head / 2]`.
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl Rotation {
    fn new(positions: &[i32], d_head: usize, theta: f64, device: &burn::tensor::Device) -> Self {
        let half = d_head / 2;
        let frequencies: Vec<f64> = (0..half)
            .map(|i| theta.powf(-2.0 * i as f64 / d_head as f64))
            .collect();
        let table = |function: fn(f64) -> f64| {
            let angles = positions.iter().flat_map(|&position| {
                frequencies
                    .iter()
                    .map(move |frequency| f64::from(position) * frequency)
            });
            let values: Vec<f32> = angles.map(|angle| function(angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, [positions.len(), 1, half]), device)
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    fn apply(&self, x: Tensor<2>, n_heads: usize) -> Tensor<2> {
        let [n_tokens, width] = x.dims();
        let half = width / n_heads / 2;
        let heads = x.reshape([n_tokens, n_heads, 2 * half]);
        let (first, second) = (
            heads.clone().narrow(2, 0, half),
            heads.narrow(2, half, half),
        );
        let turned = Tensor::cat(
            vec![
                first.clone() * self.cos.clone() - second.clone() * self.sin.clone(),
                second * self.cos.clone() + first * self.sin.clone(),
            ],
            2,
        );
        turned.reshape([n_tokens, width])
    }
}
