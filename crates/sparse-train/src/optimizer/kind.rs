//! Which optimizer, and the text of its options.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Rule by which gradients change parameters, under the names of the reference. `η` is the learning rate, `λ` `weight_decay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerType {
    /// AdamW ([Loshchilov & Hutter, 2019](https://arxiv.org/abs/1711.05101)): Adam with `θ ← θ(1 − ηλ)` beside it.
    AdamwTorch,
    /// The same: which kernel computes it is no choice here, it is always one pass.
    #[default]
    AdamwTorchFused,
    /// Adafactor ([Shazeer & Stern, 2018](https://arxiv.org/abs/1804.04235)) with the rate of the schedule: second moments of
    /// a matrix by row and column, no first moment. The least memory beside `sgd`.
    Adafactor,
    /// Stochastic gradient descent. Options: `momentum`, `dampening`, `nesterov`.
    Sgd,
    /// Adagrad ([Duchi et al., 2011](https://jmlr.org/papers/v12/duchi11a.html)). Options: `lr_decay`, `eps`.
    Adagrad,
    /// RMSprop. Options: `alpha`, `eps`, `momentum`, `centered`.
    Rmsprop,
    /// Lion ([Chen et al., 2023](https://arxiv.org/abs/2302.06675)), with `adam_beta1` and `adam_beta2`: the sign of a mean of
    /// gradients. Wants a rate 3 to 10 times lower than AdamW.
    #[serde(rename = "lion_32bit", alias = "lion")]
    Lion,
}

/// Optimizers of the reference that need a package beside it, and what to set instead.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    ("adamw_hf", "adamw_torch"),
    ("adamw_apex_fused", "adamw_torch"),
    ("adamw_torch_xla", "adamw_torch"),
    ("adamw_torch_npu_fused", "adamw_torch"),
    ("adamw_anyprecision", "adamw_torch"),
    ("adamw_torch_4bit", "adafactor"),
    ("adamw_torch_8bit", "adafactor"),
    ("adamw_8bit", "adafactor"),
    ("adamw_bnb_8bit", "adafactor"),
    ("ademamix", "adamw_torch"),
    ("ademamix_8bit", "adafactor"),
    ("lion_8bit", "lion_32bit"),
    ("paged_adamw_32bit", "adamw_torch"),
    ("paged_adamw_8bit", "adafactor"),
    ("paged_ademamix_32bit", "adamw_torch"),
    ("paged_ademamix_8bit", "adafactor"),
    ("paged_lion_32bit", "lion_32bit"),
    ("paged_lion_8bit", "lion_32bit"),
    ("rmsprop_bnb", "rmsprop"),
    ("rmsprop_bnb_8bit", "rmsprop"),
    ("rmsprop_bnb_32bit", "rmsprop"),
    ("galore_adamw", "adafactor"),
    ("galore_adamw_8bit", "adafactor"),
    ("galore_adafactor", "adafactor"),
    ("galore_adamw_layerwise", "adafactor"),
    ("galore_adamw_8bit_layerwise", "adafactor"),
    ("galore_adafactor_layerwise", "adafactor"),
    ("lomo", "sgd"),
    ("adalomo", "adafactor"),
    ("grokadamw", "adamw_torch"),
    ("schedule_free_radam", "adamw_torch"),
    ("schedule_free_adamw", "adamw_torch"),
    ("schedule_free_sgd", "sgd"),
    ("apollo_adamw", "adafactor"),
    ("apollo_adamw_layerwise", "adafactor"),
    ("stable_adamw", "adamw_torch"),
    ("flash_adamw", "adamw_torch"),
    ("flash_adam", "adamw_torch"),
    ("flash_sgd", "sgd"),
    ("flash_sgdw", "sgd"),
    ("flash_lion", "lion_32bit"),
];

impl OptimizerType {
    /// Whether it reads `adam_beta1` and `adam_beta2`, and `adam_epsilon`.
    pub(crate) fn reads_adam(self) -> (bool, bool) {
        match self {
            Self::AdamwTorch | Self::AdamwTorchFused => (true, true),
            Self::Lion => (true, false),
            Self::Adafactor | Self::Sgd | Self::Adagrad | Self::Rmsprop => (false, false),
        }
    }

    /// Names of its options.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Sgd => &["momentum", "dampening", "nesterov"],
            Self::Adagrad => &["lr_decay", "eps"],
            Self::Rmsprop => &["momentum", "alpha", "eps", "centered"],
            Self::AdamwTorch | Self::AdamwTorchFused | Self::Adafactor | Self::Lion => &[],
        }
    }

    fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }
}

/// `optim_args`, read: `name=value,name=value`, without the spaces.
#[derive(Debug, Default)]
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    pub(crate) fn parse(kind: OptimizerType, text: Option<&str>) -> Result<Self> {
        let refuse = |message: String| Err(Error::argument("arguments.optim_args", message));
        let mut options = BTreeMap::new();
        let text = text.unwrap_or_default().replace(' ', "");
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return refuse(format!(
                    "must be `name=value,name=value`; got `{part}` in it"
                ));
            };
            let known = kind.options();
            if name == "weight_decay" {
                return refuse(
                    "cannot hold `weight_decay`: the reference ignores it there; set `weight_decay` itself".to_owned(),
                );
            }
            if !known.contains(&name) {
                let optimizer = kind.name();
                return refuse(match kind.reads_adam() {
                    (true, _) => format!(
                        "holds `{name}`, but `{optimizer}` takes no options: set `adam_beta1`, `adam_beta2` and `adam_epsilon` themselves"
                    ),
                    _ if known.is_empty() => {
                        format!("holds `{name}`, but `{optimizer}` takes no options")
                    }
                    _ => {
                        let near = crate::config::nearest(name, known.iter().copied())
                            .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
                        format!(
                            "holds `{name}`{near}, which `{optimizer}` doesn't know; it knows {}",
                            known.join(", ")
                        )
                    }
                });
            }
            if options.insert(name.to_owned(), value.to_owned()).is_some() {
                return refuse(format!("holds `{name}` twice"));
            }
        }
        Ok(Self(options))
    }

    /// A number of 0 or above.
    pub(super) fn number(&self, name: &str, default: f64) -> Result<f64> {
        let Some(text) = self.0.get(name) else {
            return Ok(default);
        };
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
            _ => Err(Error::argument(
                "arguments.optim_args",
                format!("must have a number of 0 or above as `{name}`; got `{text}`"),
            )),
        }
    }

    /// Yes or no.
    pub(super) fn switch(&self, name: &str) -> Result<bool> {
        match self.0.get(name).map(|text| text.to_lowercase()).as_deref() {
            None | Some("false" | "0" | "no") => Ok(false),
            Some("true" | "1" | "yes") => Ok(true),
            Some(text) => Err(Error::argument(
                "arguments.optim_args",
                format!("must have true or false as `{name}`; got `{text}`"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_without_spaces() {
        let options =
            Options::parse(OptimizerType::Sgd, Some("momentum = 0.9, nesterov=True")).unwrap();
        assert_eq!(options.number("momentum", 0.0).unwrap(), 0.9);
        assert_eq!(options.number("dampening", 0.0).unwrap(), 0.0);
        assert!(options.switch("nesterov").unwrap());
        let rmsprop = Options::parse(OptimizerType::Rmsprop, Some("")).unwrap();
        assert_eq!(rmsprop.number("alpha", 0.99).unwrap(), 0.99);
    }

    #[test]
    fn options_that_make_no_sense_are_named() {
        let refusal = |kind, text: &str| {
            let options = Options::parse(kind, Some(text));
            let checked = options.and_then(|options| {
                options.number("momentum", 0.0)?;
                options.switch("nesterov")
            });
            checked.unwrap_err().to_string()
        };
        assert_eq!(
            refusal(OptimizerType::Sgd, "momentun=0.9"),
            "`arguments.optim_args` holds `momentun` (did you mean `momentum`?), which `sgd` doesn't know; it knows momentum, dampening, nesterov"
        );
        assert_eq!(
            refusal(OptimizerType::AdamwTorchFused, "beta1=0.9"),
            "`arguments.optim_args` holds `beta1`, but `adamw_torch_fused` takes no options: set `adam_beta1`, `adam_beta2` and \
             `adam_epsilon` themselves"
        );
        for (text, expected) in [
            ("momentum", "must be `name=value,name=value`"),
            (
                "momentum=a",
                "must have a number of 0 or above as `momentum`; got `a`",
            ),
            ("momentum=-1", "got `-1`"),
            ("momentum=1,momentum=2", "holds `momentum` twice"),
            ("nesterov=2", "must have true or false as `nesterov`"),
            ("weight_decay=0.1", "set `weight_decay` itself"),
        ] {
            let message = refusal(OptimizerType::Sgd, text);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn what_is_elsewhere_names_something_that_is_here() {
        for (name, instead) in ELSEWHERE {
            let read = |name: &str| serde_json::from_value::<OptimizerType>(name.into());
            assert!(read(name).is_err(), "{name} is here");
            assert!(read(instead).is_ok(), "{instead} isn't here");
        }
    }
}
