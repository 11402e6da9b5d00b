//! The learning rate as a function of the step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;

use super::metric::{MetricMode, MetricSchedule, MetricState, ThresholdMode};
use crate::error::{Error, Result};

/// Shape of the learning rate over a run, under the names of the reference.
///
/// With `W` warm-up steps, `T` steps in all and `p = (s − W) / (T − W)`, the rate of update `s` (0-based) is
/// `learning_rate · m(s)`. Before `W` every shape but `constant` and `cosine_warmup_with_min_lr` rises as `m(s) = s / W`, so
/// that with any warm-up the first update has rate 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// `m = 1 − p`.
    #[default]
    Linear,
    /// `m = ½(1 + cos(2π·c·p))`, `num_cycles` c = 0.5.
    Cosine,
    /// `m = ½(1 + cos(π·((c·p) mod 1)))`, `num_cycles` c = 1, 0 past the end.
    CosineWithRestarts,
    /// From `learning_rate` to `lr_end` (1e-7) as `(1 − p)^power` (1).
    Polynomial,
    /// `m = 1`, without warm-up.
    Constant,
    /// `m = 1` after the warm-up.
    ConstantWithWarmup,
    /// `m = 1 / sqrt((s + τ − W) / τ)`, `timescale` τ = W, or 10,000 without warm-up.
    InverseSqrt,
    /// `cosine` squeezed into `[r, 1]` by `min_lr` or `min_lr_rate` r.
    CosineWithMinLr,
    /// The same with a warm-up that starts above zero, `(s + 1) / W` or from `warmup_lr_rate`.
    CosineWarmupWithMinLr,
    /// Constant for `num_stable_steps`, then falling over `num_decay_steps` (required) to `min_lr_ratio`.
    WarmupStableDecay,
    /// Without warm-up; lower by `factor` (0.1) after more than `patience` (10) evaluations that were no better.
    ReduceLrOnPlateau,
    /// The same with `factor` 0.95, and raised again after more than `patience` evaluations that were better, between `min_lr`
    /// (1e-3) and `max_lr` (1).
    Greedy,
}

impl SchedulerType {
    /// Whether evaluations change the rate, not steps.
    pub(crate) fn follows_metric(self) -> bool {
        matches!(self, Self::ReduceLrOnPlateau | Self::Greedy)
    }

    /// Whether its rate rises over the warm-up steps.
    pub(crate) fn warms_up(self) -> bool {
        self != Self::Constant && !self.follows_metric()
    }

    /// Names of its options.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Linear | Self::Constant | Self::ConstantWithWarmup => &[],
            Self::Cosine | Self::CosineWithRestarts => &["num_cycles"],
            Self::Polynomial => &["lr_end", "power"],
            Self::InverseSqrt => &["timescale"],
            Self::CosineWithMinLr => &["num_cycles", "min_lr", "min_lr_rate"],
            Self::CosineWarmupWithMinLr => {
                &["num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"]
            }
            Self::WarmupStableDecay => &[
                "num_decay_steps",
                "num_stable_steps",
                "warmup_type",
                "decay_type",
                "min_lr_ratio",
                "num_cycles",
            ],
            Self::ReduceLrOnPlateau => &[
                "mode",
                "factor",
                "patience",
                "threshold",
                "threshold_mode",
                "cooldown",
                "min_lr",
                "eps",
            ],
            Self::Greedy => &[
                "mode",
                "factor",
                "patience",
                "threshold",
                "threshold_mode",
                "cooldown",
                "warmup",
                "min_lr",
                "max_lr",
                "eps",
                "smooth",
                "window_size",
                "reset_start",
            ],
        }
    }
}

/// Extra parameters of a schedule, `lr_scheduler_kwargs`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerOptions {
    /// Waves of the cosine shapes.
    pub num_cycles: Option<f64>,
    /// Last rate of `polynomial`.
    pub lr_end: Option<f64>,
    /// Exponent of `polynomial`.
    pub power: Option<f64>,
    /// τ of `inverse_sqrt`, in steps.
    pub timescale: Option<f64>,
    /// Lowest rate of the `min_lr` shapes.
    pub min_lr: Option<f64>,
    /// The same as a share of `learning_rate`.
    pub min_lr_rate: Option<f64>,
    /// Share of `learning_rate` at which the warm-up of `cosine_warmup_with_min_lr` starts.
    pub warmup_lr_rate: Option<f64>,
    /// Length of the fall of `warmup_stable_decay`, in steps.
    pub num_decay_steps: Option<usize>,
    /// Length of its plateau (default: what is left).
    pub num_stable_steps: Option<usize>,
    /// Shape of its rise.
    pub warmup_type: Option<Ramp>,
    /// Shape of its fall.
    pub decay_type: Option<Ramp>,
    /// Its lowest rate, as a share of `learning_rate`.
    pub min_lr_ratio: Option<f64>,
    /// Which metrics are better for `reduce_lr_on_plateau` and `greedy`. By default as for the best model, where the reference
    /// takes lower ones, whatever the metric.
    pub mode: Option<MetricMode>,
    /// What they multiply (or divide) rates by, in (0, 1).
    pub factor: Option<f64>,
    /// Evaluations in a row that change nothing yet.
    pub patience: Option<usize>,
    /// By how much a metric must be better to count as better.
    pub threshold: Option<f64>,
    /// What that is measured in.
    pub threshold_mode: Option<ThresholdMode>,
    /// Evaluations that don't count after rates were lowered.
    pub cooldown: Option<usize>,
    /// Evaluations that don't count after `greedy` has raised them.
    pub warmup: Option<usize>,
    /// Highest rate of `greedy`.
    pub max_lr: Option<f64>,
    /// Least change of a rate.
    pub eps: Option<f64>,
    /// Lets `greedy` see the mean of the last `window_size` metrics.
    pub smooth: Option<bool>,
    /// Length of that mean.
    pub window_size: Option<usize>,
    /// How often `greedy` must want rates below `min_lr` before it begins anew.
    pub reset_start: Option<usize>,
}

impl SchedulerOptions {
    /// Fails at an option that the shape doesn't read, or whose value makes no sense.
    fn check(&self, kind: SchedulerType) -> Result<()> {
        let refuse =
            |message: String| Err(Error::argument("arguments.lr_scheduler_kwargs", message));
        let known = kind.options();
        let given = serde_json::to_value(self).unwrap_or_default();
        let name = serde_json::to_value(kind).unwrap_or_default();
        for (option, value) in given.as_object().into_iter().flatten() {
            if !known.contains(&option.as_str()) {
                let name = name.as_str().unwrap_or_default();
                let of = if known.is_empty() {
                    "takes no options".to_owned()
                } else {
                    format!("takes {}", known.join(", "))
                };
                return refuse(format!("holds `{option}`, but `{name}` {of}"));
            }
            let least = match option.as_str() {
                "timescale" => f64::MIN_POSITIVE,
                _ => 0.0,
            };
            if value.as_f64().is_some_and(|value| value < least) || value.is_null() {
                return refuse(format!(
                    "must have a finite number of 0 or above as `{option}`; got {value}"
                ));
            }
        }
        Ok(())
    }
}

/// Shape of a rise or fall of `warmup_stable_decay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ramp {
    /// A straight line.
    Linear,
    /// Half a wave.
    Cosine,
    /// `1 − sqrt(x)`.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// Learning rate of every update of one run.
#[derive(Debug, Clone)]
pub struct LearningRateSchedule {
    kind: SchedulerType,
    options: SchedulerOptions,
    learning_rate: f64,
    warmup_steps: usize,
    total_steps: usize,
    metric: Option<MetricSchedule>,
}

impl LearningRateSchedule {
    /// Schedule of a run of `total_steps` updates.
    ///
    /// # Errors
    ///
    /// If an option that the shape needs is missing or contradicts another one, or if the shape doesn't read it.
    pub fn new(
        kind: SchedulerType,
        options: SchedulerOptions,
        learning_rate: f64,
        warmup_steps: usize,
        total_steps: usize,
    ) -> Result<Self> {
        let refuse = |message: &str| {
            Err(Error::argument(
                "arguments.lr_scheduler_kwargs",
                message.to_owned(),
            ))
        };
        options.check(kind)?;
        match kind {
            SchedulerType::Polynomial if learning_rate <= options.lr_end.unwrap_or(1e-7) => {
                return refuse("must have an `lr_end` below `learning_rate` (default 1e-7)");
            }
            SchedulerType::CosineWithMinLr | SchedulerType::CosineWarmupWithMinLr
                if options.min_lr.is_some() == options.min_lr_rate.is_some() =>
            {
                return refuse("must have exactly one of `min_lr` and `min_lr_rate`");
            }
            SchedulerType::WarmupStableDecay if options.num_decay_steps.is_none() => {
                return refuse("must have `num_decay_steps` for `warmup_stable_decay`");
            }
            _ => {}
        }
        let mut metric = None;
        if kind.follows_metric() {
            let mut schedule = MetricSchedule::new(kind, &options)?;
            schedule.start([learning_rate]);
            metric = Some(schedule);
        }
        Ok(Self {
            metric,
            kind,
            options,
            learning_rate,
            warmup_steps,
            total_steps,
        })
    }

    /// Learning rate of update `step`, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        self.rate_of(self.learning_rate, step)
    }

    /// The same for parameters whose own peak rate is `learning_rate`.
    pub(crate) fn rate_of(&self, learning_rate: f64, step: usize) -> f64 {
        match &self.metric {
            Some(metric) => metric.rate(learning_rate),
            None => learning_rate * self.factor(step),
        }
    }

    /// Makes a schedule that follows a metric begin with these rates, beside that of the run.
    pub(crate) fn start(&mut self, rates: impl IntoIterator<Item = f64>) {
        if let Some(metric) = &mut self.metric {
            metric.start(std::iter::once(self.learning_rate).chain(rates));
        }
    }

    /// Shows a schedule that follows a metric the one of an evaluation.
    pub(crate) fn observe(&mut self, value: f64) {
        if let Some(metric) = &mut self.metric {
            metric.observe(value);
        }
    }

    /// What a schedule that follows a metric remembers.
    pub(crate) fn state(&self) -> Option<&MetricState> {
        self.metric.as_ref().map(MetricSchedule::state)
    }

    /// Goes on from what was remembered.
    pub(crate) fn restore(&mut self, state: MetricState) {
        if let Some(metric) = &mut self.metric {
            metric.restore(state);
        }
    }

    /// Multiplier of `learning_rate` at update `step`, counted from 0.
    pub fn factor(&self, step: usize) -> f64 {
        if self.metric.is_some() && self.learning_rate > 0.0 {
            return self.rate(step) / self.learning_rate;
        }
        let options = &self.options;
        let (s, w, t) = (
            step as f64,
            self.warmup_steps as f64,
            self.total_steps as f64,
        );
        let own_warmup = matches!(
            self.kind,
            SchedulerType::Constant
                | SchedulerType::CosineWarmupWithMinLr
                | SchedulerType::WarmupStableDecay
                | SchedulerType::ReduceLrOnPlateau
                | SchedulerType::Greedy
        );
        if step < self.warmup_steps && !own_warmup {
            return s / w.max(1.0);
        }
        let progress = (s - w) / (t - w).max(1.0);
        let cosine =
            |cycles: f64, progress: f64| 0.5 * (1.0 + (2.0 * PI * cycles * progress).cos());
        let cycles = options.num_cycles.unwrap_or(0.5);
        let min_rate = options
            .min_lr_rate
            .or(options.min_lr.map(|rate| rate / self.learning_rate))
            .unwrap_or(0.0);
        let squeeze = |factor: f64, floor: f64| (factor * (1.0 - floor) + floor).max(0.0);
        match self.kind {
            SchedulerType::Constant
            | SchedulerType::ConstantWithWarmup
            | SchedulerType::ReduceLrOnPlateau
            | SchedulerType::Greedy => 1.0,
            SchedulerType::Linear => ((t - s) / (t - w).max(1.0)).max(0.0),
            SchedulerType::Cosine => cosine(cycles, progress).max(0.0),
            SchedulerType::CosineWithRestarts if progress >= 1.0 => 0.0,
            SchedulerType::CosineWithRestarts => {
                let phase = (options.num_cycles.unwrap_or(1.0) * progress) % 1.0;
                (0.5 * (1.0 + (PI * phase).cos())).max(0.0)
            }
            SchedulerType::Polynomial => {
                let end = options.lr_end.unwrap_or(1e-7);
                if s > t {
                    return end / self.learning_rate;
                }
                let left = 1.0 - (s - w) / (t - w);
                let span = self.learning_rate - end;
                (span * left.powf(options.power.unwrap_or(1.0)) + end) / self.learning_rate
            }
            SchedulerType::InverseSqrt => {
                let fallback = if self.warmup_steps == 0 { 10_000.0 } else { w };
                let timescale = options.timescale.unwrap_or(fallback);
                1.0 / ((s + timescale - w) / timescale).sqrt()
            }
            SchedulerType::CosineWithMinLr => squeeze(cosine(cycles, progress), min_rate),
            SchedulerType::CosineWarmupWithMinLr if step < self.warmup_steps => {
                match options.warmup_lr_rate {
                    Some(start) => start + (1.0 - start) * s / (w - 1.0).max(1.0),
                    None => (s + 1.0) / w.max(1.0),
                }
            }
            SchedulerType::CosineWarmupWithMinLr => {
                let progress = (s - w + 1.0) / (t - w).max(1.0);
                squeeze(cosine(cycles, progress), min_rate)
            }
            SchedulerType::WarmupStableDecay => self.warmup_stable_decay(step, cycles, squeeze),
        }
    }

    fn warmup_stable_decay(
        &self,
        step: usize,
        cycles: f64,
        squeeze: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        let options = &self.options;
        let decay = options.num_decay_steps.unwrap_or(0);
        let stable = options.num_stable_steps.unwrap_or_else(|| {
            self.total_steps
                .saturating_sub(self.warmup_steps)
                .saturating_sub(decay)
        });
        let floor = options.min_lr_ratio.unwrap_or(0.0);
        if step < self.warmup_steps {
            let x = step as f64 / self.warmup_steps as f64;
            let factor = match options.warmup_type.unwrap_or(Ramp::Linear) {
                Ramp::Linear => x,
                Ramp::Cosine => 0.5 * (1.0 - (PI * x).cos()),
                Ramp::OneMinusSqrt => 1.0 - (1.0 - x).sqrt(),
            };
            return squeeze(factor, floor);
        }
        let into_decay = step - self.warmup_steps;
        if into_decay < stable {
            return 1.0;
        }
        if into_decay < stable.saturating_add(decay) {
            let x = (into_decay - stable) as f64 / decay.max(1) as f64;
            let factor = match options.decay_type.unwrap_or(Ramp::Cosine) {
                Ramp::Linear => 1.0 - x,
                Ramp::Cosine => 0.5 * (1.0 + (2.0 * PI * cycles * x).cos()),
                Ramp::OneMinusSqrt => 1.0 - x.sqrt(),
            };
            return squeeze(factor, floor);
        }
        floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_rises_to_the_peak_and_falls_to_zero() {
        let schedule = LearningRateSchedule::new(
            SchedulerType::Linear,
            SchedulerOptions::default(),
            2.0,
            2,
            4,
        )
        .unwrap();
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step)).collect();
        // 2·(0/2), 2·(1/2), 2·(4−2)/2, 2·(4−3)/2, 0, 0
        assert_eq!(rates, [0.0, 1.0, 2.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn every_reference_table_is_followed() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/lr_schedules.json")).unwrap();
        let base = golden["learning_rate"].as_f64().unwrap();
        let mut compared = 0;
        for case in golden["schedules"].as_array().unwrap() {
            let Some(expected) = case["lr_per_update"].as_array() else {
                continue; // a schedule that depends on a metric, not on the step
            };
            let schedule = LearningRateSchedule::new(
                serde_json::from_value(case["type"].clone()).unwrap(),
                serde_json::from_value(case["kwargs"].clone()).unwrap(),
                base,
                case["warmup"].as_u64().unwrap() as usize,
                case["total"].as_u64().unwrap() as usize,
            )
            .unwrap();
            for (step, expected) in expected.iter().enumerate() {
                let (expected, rate) = (expected.as_f64().unwrap(), schedule.rate(step));
                let scale = expected.abs().max(1e-6 * base);
                assert!(
                    (rate - expected).abs() <= 1e-12 * scale,
                    "{case}: step {step}: {rate} instead of {expected}"
                );
                compared += 1;
            }
        }
        assert!(compared > 1000, "{compared} rates compared");
    }
}
