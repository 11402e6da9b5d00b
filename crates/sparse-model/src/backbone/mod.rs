//! Architectures. A new one is a file here and a line in the registry below.

mod albert;
mod bert;
mod deberta;
mod distilbert;
mod electra;
mod head;
mod layers;
mod modernbert;
mod mpnet;
mod roberta;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Tensor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::error::nearest;
use crate::pretrained::{ParameterReader, from_object};
use crate::{Error, ForwardContext, PackedTokens, Result};

pub(crate) use head::{HeadKeys, HeadSpec, MlmHead, PoolerWeights};

/// What the loader must know of an architecture with a given configuration.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Prefix of the backbone's keys in a model with a head.
    pub(crate) prefix: &'static str,
    /// Width of the hidden states.
    pub(crate) hidden_size: usize,
    /// Rows of the embedding table.
    pub(crate) vocab_size: usize,
    /// Longest text, where positions are limited.
    pub(crate) max_positions: Option<usize>,
    /// Whether the head's output matrix is the embedding table.
    pub(crate) tied: bool,
    /// The masked-language-model head.
    pub(crate) head: HeadSpec,
}

/// An encoder architecture.
trait Architecture: Sized {
    /// What it reads from `config.json`; unknown keys are ignored.
    type Config: DeserializeOwned + Serialize;

    /// Describes the architecture, or says which key is wrong and why.
    fn family(config: &Self::Config) -> Result<Family, Problem>;

    /// Reads the backbone's parameters.
    fn load(config: &Self::Config, reader: &mut ParameterReader<'_>) -> Result<Self>;

    /// Hidden states of all tokens, `[n_tokens, hidden_size]`.
    fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2>;

    /// The embedding table, `[vocab_size, embedding_size]`.
    fn word_embeddings(&self) -> Tensor<2>;
}

macro_rules! architectures {
    ($($variant:ident($module:ty): $($model_type:literal),+;)+) => {
        /// One of the architectures.
        #[allow(clippy::large_enum_variant, reason = "there are few of them, and they hold handles")]
        #[derive(Module, Debug)]
        pub(crate) enum Backbone {
            $(
                #[doc = concat!("`model_type` ", $("`", $model_type, "` ",)+)]
                $variant($module),
            )+
        }

        /// The values of `model_type` that can be loaded.
        pub(crate) const MODEL_TYPES: &[&str] = &[$($($model_type),+),+];

        impl Backbone {
            /// Describes the architecture of a `config.json`.
            pub(crate) fn family(config: &Map<String, Value>, path: &Path) -> Result<Family> {
                match model_type(config, path)? {
                    $($($model_type)|+ => {
                        let parsed = parse::<<$module as Architecture>::Config>(config, path)?;
                        <$module as Architecture>::family(&parsed).map_err(|(key, problem)| Error::config(path, key, problem))
                    })+
                    other => Err(unknown(other, path)),
                }
            }

            /// What of a `config.json` decides about vectors: the keys that the architecture reads, but for those of training.
            pub(crate) fn vector_settings(config: &Map<String, Value>, path: &Path) -> Result<Value> {
                let settings = match model_type(config, path)? {
                    $($($model_type)|+ => json!(parse::<<$module as Architecture>::Config>(config, path)?),)+
                    other => return Err(unknown(other, path)),
                };
                let keys: BTreeMap<String, Value> = match settings {
                    Value::Object(entries) => entries.into_iter().filter(|(key, _)| !key.contains("dropout")).collect(),
                    _ => BTreeMap::new(),
                };
                Ok(json!(keys))
            }

            /// Reads the parameters of the architecture of a `config.json`.
            pub(crate) fn load(config: &Map<String, Value>, path: &Path, reader: &mut ParameterReader<'_>) -> Result<Self> {
                match model_type(config, path)? {
                    $($($model_type)|+ => {
                        let parsed = parse::<<$module as Architecture>::Config>(config, path)?;
                        reader.backbone(|reader| <$module as Architecture>::load(&parsed, reader)).map(Self::$variant)
                    })+
                    other => Err(unknown(other, path)),
                }
            }

            /// Hidden states of all tokens, `[n_tokens, hidden_size]`.
            pub(crate) fn forward(&self, tokens: &PackedTokens, context: &ForwardContext) -> Tensor<2> {
                match self {
                    $(Self::$variant(module) => module.forward(tokens, context),)+
                }
            }

            /// The embedding table.
            pub(crate) fn word_embeddings(&self) -> Tensor<2> {
                match self {
                    $(Self::$variant(module) => module.word_embeddings(),)+
                }
            }
        }
    };
}

architectures! {
    Bert(bert::Bert): "bert";
    DistilBert(distilbert::DistilBert): "distilbert";
    Roberta(roberta::Roberta): "roberta", "xlm-roberta", "camembert";
    MpNet(mpnet::MpNet): "mpnet";
    ModernBert(modernbert::ModernBert): "modernbert";
    Electra(electra::Electra): "electra";
    Albert(albert::Albert): "albert";
    Deberta(deberta::Deberta): "deberta-v2";
}

fn model_type<'a>(config: &'a Map<String, Value>, path: &Path) -> Result<&'a str> {
    match config.get("model_type") {
        Some(Value::String(model_type)) => Ok(model_type),
        Some(other) => Err(Error::config(
            path,
            "model_type",
            format!("is {other}; expected a string"),
        )),
        None => Err(Error::config(
            path,
            "model_type",
            format!("is missing; expected one of {}", MODEL_TYPES.join(", ")),
        )),
    }
}

fn parse<T: DeserializeOwned>(config: &Map<String, Value>, path: &Path) -> Result<T> {
    from_object(config, path)
}

fn unknown(model_type: &str, path: &Path) -> Error {
    let known = MODEL_TYPES.join(", ");
    let problem = format!(
        "is `{model_type}`; expected one of {known}{}",
        nearest(model_type, MODEL_TYPES)
    );
    Error::config(path, "model_type", problem)
}

/// More layers than any model has: a limit against damaged configurations.
const MOST_LAYERS: usize = 1000;

/// Larger than any size of a model: products of two of them, and ids, stay within their types.
const LARGEST_SIZE: usize = i32::MAX as usize;

/// What is wrong with a key.
type Problem = (&'static str, String);

/// Checks a number of rows, columns or positions.
fn check_size(key: &'static str, size: usize) -> Result<(), Problem> {
    if !(1..=LARGEST_SIZE).contains(&size) {
        return Err((
            key,
            format!("is {size}; expected between 1 and {LARGEST_SIZE}"),
        ));
    }
    Ok(())
}

/// Checks a share of what is dropped in training.
fn check_rate(key: &'static str, rate: f64) -> Result<(), Problem> {
    if !(0.0..1.0).contains(&rate) {
        return Err((
            key,
            format!("is {rate}; expected at least 0 and less than 1"),
        ));
    }
    Ok(())
}

/// Checks what a norm adds to a variance.
fn check_epsilon(key: &'static str, epsilon: f64) -> Result<(), Problem> {
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err((
            key,
            format!("is {epsilon}; expected a number that is not negative"),
        ));
    }
    Ok(())
}

fn check_layers(key: &'static str, n_layers: usize) -> Result<(), Problem> {
    if n_layers > MOST_LAYERS {
        return Err((
            key,
            format!("is {n_layers}; expected at most {MOST_LAYERS}"),
        ));
    }
    Ok(())
}

/// Checks the sizes that all architectures have.
fn check_sizes(
    (layers_key, n_layers): (&'static str, usize),
    (heads_key, n_heads): (&'static str, usize),
    hidden_size: usize,
) -> Result<(), Problem> {
    check_layers(layers_key, n_layers)?;
    if hidden_size > LARGEST_SIZE {
        return Err((
            heads_key,
            format!("divides the hidden size {hidden_size}; expected at most {LARGEST_SIZE}"),
        ));
    }
    if n_heads == 0 || hidden_size == 0 || !hidden_size.is_multiple_of(n_heads) {
        return Err((
            heads_key,
            format!("is {n_heads}, which does not divide the hidden size {hidden_size}"),
        ));
    }
    Ok(())
}

/// Reads `count` layers named `{name}.0`, `{name}.1`, ...
fn layers<T>(
    name: &str,
    count: usize,
    reader: &mut ParameterReader<'_>,
    mut load: impl FnMut(&mut ParameterReader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..count)
        .map(|index| reader.scope(&format!("{name}.{index}"), &mut load))
        .collect()
}

/// Segment of each token. A tokenizer may number segments for a model that knows fewer; that model sees zeros.
fn segments(tokens: &PackedTokens, n_segments: usize) -> Vec<i32> {
    let known = |kind: i32| usize::try_from(kind).is_ok_and(|kind| kind < n_segments);
    tokens
        .token_type_ids
        .iter()
        .map(|&kind| if known(kind) { kind } else { 0 })
        .collect()
}

/// Position of each token within its text.
fn positions(tokens: &PackedTokens) -> Vec<i32> {
    tokens
        .rows
        .lengths()
        .flat_map(|length| 0..length as i32)
        .collect()
}

/// Position of each token within its text, counted from after the padding token's id; padding tokens do not count.
fn positions_after_padding(tokens: &PackedTokens, padding: i32) -> Vec<i32> {
    let mut positions = Vec::with_capacity(tokens.n_tokens());
    for range in tokens.rows.ranges() {
        let mut next = padding;
        positions.extend(tokens.input_ids[range].iter().map(|&id| {
            if id == padding {
                return padding;
            }
            next += 1;
            next
        }));
    }
    positions
}

/// How many positions are left for tokens where the first ones belong to padding.
fn positions_beside_padding(n_positions: usize, padding: i32) -> Result<Option<usize>, Problem> {
    let reserved = usize::try_from(padding)
        .map_err(|_| ("pad_token_id", format!("is {padding}; expected an id")))?
        + 1;
    match n_positions.checked_sub(reserved) {
        Some(left) if left > 0 => Ok(Some(left)),
        _ => Err((
            "max_position_embeddings",
            format!("is {n_positions}, of which padding takes {reserved}"),
        )),
    }
}
