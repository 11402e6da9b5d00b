//! How the regularizer weights grow during training.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::require;
use crate::{Error, Result};

const NAME: &str = "regularizer_schedule";

/// Shape of the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightScheduleType {
    /// Proportional to the step.
    Linear,
    /// Proportional to the square of the step, as in SPLADE.
    #[default]
    Quadratic,
    /// The full weight from the first step on.
    Constant,
}

impl WeightScheduleType {
    const NAMES: [(&'static str, Self); 3] = [
        ("linear", Self::Linear),
        ("quadratic", Self::Quadratic),
        ("constant", Self::Constant),
    ];
}

impl<'de> Deserialize<'de> for WeightScheduleType {
    /// Reads a name in any case, as the reference does.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::NAMES
            .into_iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map(|(_, value)| value).ok_or_else(|| {
            serde::de::Error::unknown_variant(&name, &["linear", "quadratic", "constant"])
        })
    }
}

/// Share of the maximum in force during `step`, the number of optimizer steps completed so far.
///
/// ```text
/// f(g) = 1                if g ≥ warmup or constant
///        g / warmup       linear
///        (g / warmup)²    quadratic
/// ```
///
/// The first step of a ramp therefore runs with weight 0.
pub fn weight_factor(kind: WeightScheduleType, step: u64, warmup_steps: u64) -> f64 {
    if kind == WeightScheduleType::Constant || step >= warmup_steps {
        return 1.0;
    }
    let share = step as f64 / warmup_steps as f64;
    match kind {
        WeightScheduleType::Quadratic => share * share,
        WeightScheduleType::Linear | WeightScheduleType::Constant => share,
    }
}

/// The ramp of the regularizer weights: its shape, and its length as a share of training or in steps.
///
/// The reference calls it `SpladeRegularizerWeightSchedulerCallback`; older pages of its documentation speak of
/// `SpladeLambdaSchedulerCallback` for the same thing, with λ for the weight.
#[doc(alias = "SpladeRegularizerWeightSchedulerCallback")]
#[doc(alias = "SpladeLambdaSchedulerCallback")]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegularizerScheduleConfig {
    /// Shape of the ramp: `linear`, `quadratic` (default) or `constant`.
    pub scheduler_type: WeightScheduleType,
    /// Length as a share of all optimizer steps, in (0, 1]; 1/3 when neither length is given.
    pub warmup_ratio: Option<f64>,
    /// Length in optimizer steps, at least 1; instead of `warmup_ratio`.
    pub warmup_steps: Option<u64>,
}

impl RegularizerScheduleConfig {
    /// Checks the values.
    ///
    /// # Errors
    ///
    /// If both lengths are given or one is outside its domain.
    pub fn validate(&self) -> Result<()> {
        if self.warmup_ratio.is_some() && self.warmup_steps.is_some() {
            return Err(Error::Conflict {
                loss: NAME,
                problem: "`warmup_ratio` and `warmup_steps` both give the length of the ramp"
                    .to_owned(),
                fix: "keep one of them".to_owned(),
            });
        }
        if let Some(ratio) = self.warmup_ratio {
            let holds = ratio > 0.0 && ratio <= 1.0;
            let expected = "greater than 0 and at most 1";
            require(holds, (NAME, "warmup_ratio"), expected, ratio)?;
        }
        let expected = "at least 1 (for no ramp, scheduler_type = \"constant\")";
        let holds = self.warmup_steps != Some(0);
        require(holds, (NAME, "warmup_steps"), expected, 0)
    }

    /// Length of the ramp in a run of `total_steps` optimizer steps: `max(1, floor(total · ratio))`.
    pub fn ramp_length(&self, total_steps: u64) -> u64 {
        self.warmup_steps.unwrap_or_else(|| {
            let ratio = self.warmup_ratio.unwrap_or(1.0 / 3.0);
            ((total_steps as f64 * ratio) as u64).max(1)
        })
    }

    /// The first step of a run that has the full weights.
    pub fn full_from(&self, total_steps: u64) -> u64 {
        match self.scheduler_type {
            WeightScheduleType::Constant => 0,
            WeightScheduleType::Linear | WeightScheduleType::Quadratic => {
                self.ramp_length(total_steps)
            }
        }
    }

    /// Share of the maxima in force during `step` of a run of `total_steps`; see [`weight_factor`].
    pub fn factor(&self, step: u64, total_steps: u64) -> f64 {
        weight_factor(self.scheduler_type, step, self.ramp_length(total_steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_by_hand() {
        let ramp = |kind| {
            (0..6)
                .map(|step| 2.0 * weight_factor(kind, step, 4))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ramp(WeightScheduleType::Linear),
            [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
        );
        // 2 · (g/4)²
        assert_eq!(
            ramp(WeightScheduleType::Quadratic),
            [0.0, 0.125, 0.5, 1.125, 2.0, 2.0]
        );
        assert_eq!(ramp(WeightScheduleType::Constant), [2.0; 6]);
    }

    #[test]
    fn the_default_is_a_quadratic_third_and_never_shorter_than_a_step() {
        let config = RegularizerScheduleConfig::default();
        assert_eq!(
            (config.scheduler_type, config.ramp_length(12)),
            (WeightScheduleType::Quadratic, 4)
        );
        assert_eq!(config.ramp_length(2), 1);
        let steps = RegularizerScheduleConfig {
            warmup_steps: Some(7),
            ..config
        };
        assert_eq!(steps.ramp_length(12), 7);
    }

    #[test]
    fn names_are_read_in_any_case() {
        let config: RegularizerScheduleConfig =
            serde_json::from_str(r#"{"scheduler_type": "LINEAR"}"#).unwrap();
        assert_eq!(config.scheduler_type, WeightScheduleType::Linear);
        let error =
            serde_json::from_str::<RegularizerScheduleConfig>(r#"{"scheduler_type": "cubic"}"#)
                .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("expected one of `linear`, `quadratic`, `constant`"),
            "{error}"
        );
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        let base = RegularizerScheduleConfig::default();
        for ratio in [0.0, -0.1, 1.5, f64::NAN] {
            let config = RegularizerScheduleConfig {
                warmup_ratio: Some(ratio),
                ..base.clone()
            };
            assert!(
                config
                    .validate()
                    .unwrap_err()
                    .to_string()
                    .contains("`warmup_ratio`")
            );
        }
        let both = RegularizerScheduleConfig {
            warmup_ratio: Some(0.5),
            warmup_steps: Some(3),
            ..base.clone()
        };
        assert!(
            both.validate()
                .unwrap_err()
                .to_string()
                .contains("keep one of them")
        );
        let zero = RegularizerScheduleConfig {
            warmup_steps: Some(0),
            ..base
        };
        assert!(
            zero.validate()
                .unwrap_err()
                .to_string()
                .contains("constant")
        );
    }
}
