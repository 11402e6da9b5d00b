//! Hidden states of tokens to one dense vector per text.

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::normalize::check_keys;
use super::{Features, Flow, Place, TokenFeatures};
use crate::pretrained::{DirectoryWriter, entry, read_object, to_pretty};
use crate::{Error, PackedTokens, Result};

/// How the tokens of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PoolingMode {
    /// The first token.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// The mean.
    Mean,
    /// The sum, divided by the root of the number of tokens.
    MeanSqrtLenTokens,
    /// The mean with weights 1, 2, 3, ...
    #[serde(rename = "weightedmean")]
    WeightedMean,
    /// The last token.
    #[serde(rename = "lasttoken")]
    LastToken,
}

/// The keys of a configuration, but for the flags.
const KEYS: [&str; 4] = [
    "embedding_dimension",
    "word_embedding_dimension",
    "pooling_mode",
    "include_prompt",
];

/// The flags that older configurations have instead of a mode, in the order in which their outputs are joined.
const FLAGS: [(&str, PoolingMode); 6] = [
    ("pooling_mode_cls_token", PoolingMode::Cls),
    ("pooling_mode_max_tokens", PoolingMode::Max),
    ("pooling_mode_mean_tokens", PoolingMode::Mean),
    (
        "pooling_mode_mean_sqrt_len_tokens",
        PoolingMode::MeanSqrtLenTokens,
    ),
    (
        "pooling_mode_weightedmean_tokens",
        PoolingMode::WeightedMean,
    ),
    ("pooling_mode_lasttoken", PoolingMode::LastToken),
];

/// Joins the outputs of its modes.
#[derive(Module, Debug)]
pub(crate) struct Pooling {
    #[module(skip)]
    modes: Vec<PoolingMode>,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    include_prompt: bool,
}

impl Pooling {
    /// The mean of `[n_tokens, width]`.
    pub(crate) fn mean(width: usize) -> Self {
        Self {
            modes: vec![PoolingMode::Mean],
            width,
            include_prompt: true,
        }
    }

    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let config = read_object(&path, "it says how the tokens of a text become one vector")?;
        let flags = FLAGS.iter().map(|(flag, _)| *flag);
        let known: Vec<&str> = KEYS.into_iter().chain(flags).collect();
        check_keys(&config, &known, &path)?;
        let mut width = None;
        for key in ["embedding_dimension", "word_embedding_dimension"] {
            width = width.or(entry::<usize>(&config, key, &path)?);
        }
        let width = width.ok_or_else(|| {
            Error::config(
                &path,
                "embedding_dimension",
                "is missing; expected the width of the tokens",
            )
        })?;
        let mode = |value: &Value| {
            serde_json::from_value(value.clone()).map_err(|_| {
                let known = "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken";
                Error::config(
                    &path,
                    "pooling_mode",
                    format!("is {value}; expected one of {known}, or a list of them"),
                )
            })
        };
        let modes = match config.get("pooling_mode") {
            Some(Value::Array(modes)) if !modes.is_empty() => {
                modes.iter().map(mode).collect::<Result<_>>()?
            }
            Some(single) => vec![mode(single)?],
            None => {
                let mut modes: Vec<PoolingMode> = Vec::new();
                for (flag, mode) in FLAGS {
                    if entry(&config, flag, &path)? == Some(true) {
                        modes.push(mode);
                    }
                }
                if modes.is_empty() {
                    vec![PoolingMode::Mean]
                } else {
                    modes
                }
            }
        };
        let include_prompt = entry(&config, "include_prompt", &path)?.unwrap_or(true);
        Ok(Self {
            modes,
            width,
            include_prompt,
        })
    }

    pub(crate) fn set_include_prompt(&mut self, include_prompt: bool) {
        self.include_prompt = include_prompt;
    }

    pub(crate) fn check(&self, flow: Flow) -> Result<Flow, String> {
        match flow {
            Flow::Hidden { width } if width == self.width => {
                Ok(Flow::Sentence { width: width * self.modes.len(), lexical: false })
            }
            Flow::Hidden { width } => Err(format!("has `embedding_dimension` {}, but the tokens have {width}", self.width)),
            _ => Err("needs the hidden states of a Transformer whose task is feature-extraction before it".to_string()),
        }
    }

    pub(crate) fn forward(&self, features: Features, tokens: &PackedTokens) -> Features {
        let Some(TokenFeatures::Hidden(hidden)) = features.tokens else {
            unreachable!("loading checks that hidden states come before pooling");
        };
        let skipped = if self.include_prompt {
            0
        } else {
            tokens.prompt_length
        };
        let outputs: Vec<Tensor<2>> = self
            .modes
            .iter()
            .map(|mode| pool(*mode, &hidden, tokens, skipped))
            .collect();
        Features {
            tokens: None,
            sentence: Some(Tensor::cat(outputs, 1)),
            ..features
        }
    }

    pub(crate) fn config(&self) -> Value {
        let mode = match self.modes.as_slice() {
            [single] => json!(single),
            several => json!(several),
        };
        json!({"embedding_dimension": self.width, "pooling_mode": mode, "include_prompt": self.include_prompt})
    }

    pub(crate) fn save(&self, writer: &DirectoryWriter, directory: &str) -> Result<()> {
        writer.write(
            &format!("{directory}/config.json"),
            &to_pretty(&self.config(), 4),
        )
    }
}

/// One mode, over the tokens after the first `skipped` of each text.
fn pool(mode: PoolingMode, hidden: &Tensor<2>, tokens: &PackedTokens, skipped: usize) -> Tensor<2> {
    let ranges = tokens
        .rows
        .ranges()
        .map(|range| (range.start + skipped).min(range.end)..range.end);
    let starts = tokens.rows.ranges().map(|range| range.start);
    match mode {
        PoolingMode::Cls => pick(
            hidden,
            ranges.map(|range| range.start.min(range.end.saturating_sub(1))),
        ),
        PoolingMode::LastToken => pick(hidden, ranges.map(|range| range.end.saturating_sub(1))),
        PoolingMode::Max => {
            let [_, width] = hidden.dims();
            let rows = ranges.map(|range| match range.len() {
                0 => Tensor::zeros([1, width], &hidden.device()),
                length => hidden.clone().narrow(0, range.start, length).max_dim(0),
            });
            Tensor::cat(rows.collect(), 0)
        }
        PoolingMode::Mean => weighted(hidden, ranges, |_, length, _| 1.0 / length),
        PoolingMode::MeanSqrtLenTokens => {
            weighted(hidden, ranges, |_, length, _| 1.0 / length.sqrt())
        }
        PoolingMode::WeightedMean => {
            // Positions count from the start of the text, prompt included.
            let ranges: Vec<_> = ranges.zip(starts).collect();
            let total = |range: &std::ops::Range<usize>, start: usize| -> f64 {
                range.clone().map(|at| (at - start + 1) as f64).sum()
            };
            let sums: Vec<f64> = ranges
                .iter()
                .map(|(range, start)| total(range, *start))
                .collect();
            let starts: Vec<usize> = ranges.iter().map(|(_, start)| *start).collect();
            weighted(
                hidden,
                ranges.into_iter().map(|(range, _)| range),
                |row, _, at| (at - starts[row] + 1) as f64 / sums[row],
            )
        }
    }
}

fn pick(hidden: &Tensor<2>, rows: impl Iterator<Item = usize>) -> Tensor<2> {
    let rows: Vec<i32> = rows.map(|row| row as i32).collect();
    hidden.clone().select(
        0,
        Tensor::<1, Int>::from_data(rows.as_slice(), &hidden.device()),
    )
}

/// Sums of tokens with weights that depend on the text, its length and the token's place, as one product.
fn weighted(
    hidden: &Tensor<2>,
    ranges: impl ExactSizeIterator<Item = std::ops::Range<usize>>,
    weight: impl Fn(usize, f64, usize) -> f64,
) -> Tensor<2> {
    let [n_tokens, _] = hidden.dims();
    let n_texts = ranges.len();
    let mut weights = vec![0.0_f32; n_texts * n_tokens];
    for (row, range) in ranges.enumerate() {
        let length = range.len() as f64;
        for at in range {
            weights[row * n_tokens + at] = weight(row, length, at) as f32;
        }
    }
    Tensor::<2>::from_data(
        TensorData::new(weights, [n_texts, n_tokens]),
        &hidden.device(),
    )
    .matmul(hidden.clone())
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};

    use super::*;

    #[test]
    fn every_mode_by_hand() {
        let hidden = Tensor::<2>::from_data(
            [[1.0, -2.0], [3.0, 0.0], [5.0, -4.0], [7.0, 1.0]],
            &Device::default(),
        );
        let rows = [(vec![1, 2, 3], vec![0; 3]), (vec![4], vec![0])];
        let tokens = PackedTokens::from_rows(&rows, None, 1);
        let check = |mode, skipped, expected: [[f32; 2]; 2]| {
            let pooled = pool(mode, &hidden, &tokens, skipped);
            pooled
                .into_data()
                .assert_approx_eq::<f32>(&TensorData::from(expected), Tolerance::default());
        };
        check(PoolingMode::Cls, 0, [[1.0, -2.0], [7.0, 1.0]]);
        check(PoolingMode::LastToken, 0, [[5.0, -4.0], [7.0, 1.0]]);
        check(PoolingMode::Max, 0, [[5.0, 0.0], [7.0, 1.0]]);
        check(PoolingMode::Mean, 0, [[3.0, -2.0], [7.0, 1.0]]);
        // 9/√3 and −6/√3.
        check(
            PoolingMode::MeanSqrtLenTokens,
            0,
            [[5.196_152, -3.464_101_6], [7.0, 1.0]],
        );
        // (1·1 + 2·3 + 3·5)/6, (−2 − 12)/6.
        check(
            PoolingMode::WeightedMean,
            0,
            [[22.0 / 6.0, -14.0 / 6.0], [7.0, 1.0]],
        );
        // Without the first token of each text; the second text has no other.
        check(PoolingMode::Mean, 1, [[4.0, -2.0], [0.0, 0.0]]);
        check(PoolingMode::Max, 1, [[5.0, 0.0], [0.0, 0.0]]);
    }
}
