//! Learning rates that follow a metric: every evaluation may change them.

use serde::{Deserialize, Serialize};

use super::{SchedulerOptions, SchedulerType};
use crate::error::{Error, Result};

/// Whether a lower or a higher metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricMode {
    /// Lower is better.
    Min,
    /// Higher is better.
    Max,
}

/// What a `threshold` is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdMode {
    /// Share of the best metric.
    Rel,
    /// The metric's own units.
    Abs,
}

/// `reduce_lr_on_plateau` or `greedy`.
///
/// A metric is better if it is below `best·(1 − threshold)` (`min`, `rel`), and so on. `reduce_lr_on_plateau`: after more than
/// `patience` evaluations that were no better, every rate becomes `max(rate·factor, min_lr)` if that lowers it by more than
/// `eps`; then `cooldown` evaluations don't count. `greedy` ([2025](https://arxiv.org/abs/2512.14527)) also raises them, to
/// `min(rate / factor, max_lr)`, after more than `patience` that were, and begins anew once the rates have been asked
/// `reset_start` times to go below `min_lr`.
#[derive(Debug, Clone)]
pub(crate) struct MetricSchedule {
    greedy: bool,
    mode: MetricMode,
    threshold_mode: ThresholdMode,
    factor: f64,
    threshold: f64,
    patience: usize,
    cooldown: usize,
    warmup: usize,
    min_rate: f64,
    max_rate: f64,
    epsilon: f64,
    window: Option<usize>,
    reset_start: usize,
    state: MetricState,
}

/// What such a schedule remembers; part of a checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricState {
    best: Option<f64>,
    num_bad_epochs: usize,
    num_good_epochs: usize,
    cooldown_counter: usize,
    warmup_counter: usize,
    reset_start: i64,
    window: Vec<f64>,
    window_sum: f64,
    /// Each rate of the beginning and what has become of it.
    rates: Vec<[f64; 2]>,
}

impl MetricSchedule {
    pub(super) fn new(kind: SchedulerType, options: &SchedulerOptions) -> Result<Self> {
        let greedy = kind == SchedulerType::Greedy;
        let or = |plateau: f64, of_greedy: f64| if greedy { of_greedy } else { plateau };
        let schedule = Self {
            greedy,
            mode: options.mode.unwrap_or(MetricMode::Min),
            threshold_mode: options.threshold_mode.unwrap_or(if greedy {
                ThresholdMode::Abs
            } else {
                ThresholdMode::Rel
            }),
            factor: options.factor.unwrap_or(or(0.1, 0.95)),
            threshold: options.threshold.unwrap_or(or(1e-4, 1e-6)),
            patience: options.patience.unwrap_or(10),
            cooldown: options.cooldown.unwrap_or(0),
            warmup: options.warmup.unwrap_or(0),
            min_rate: options.min_lr.unwrap_or(or(0.0, 1e-3)),
            max_rate: options.max_lr.unwrap_or(or(f64::INFINITY, 1.0)),
            epsilon: options.eps.unwrap_or(1e-8),
            window: options
                .smooth
                .unwrap_or(false)
                .then(|| options.window_size.unwrap_or(50)),
            reset_start: options.reset_start.unwrap_or(500),
            state: MetricState::default(),
        };
        let refuse =
            |message: String| Err(Error::argument("arguments.lr_scheduler_kwargs", message));
        if !(schedule.factor > 0.0 && schedule.factor < 1.0) {
            return refuse(format!(
                "must have a `factor` between 0 and 1; got {}",
                schedule.factor
            ));
        }
        if schedule.window == Some(0) {
            return refuse("must have a `window_size` of at least 1; got 0".to_owned());
        }
        if schedule.min_rate > schedule.max_rate {
            return refuse(format!(
                "must have a `min_lr` below `max_lr`; got {} and {}",
                schedule.min_rate, schedule.max_rate
            ));
        }
        Ok(schedule)
    }

    /// Begins with these rates.
    pub(super) fn start(&mut self, rates: impl IntoIterator<Item = f64>) {
        self.state = MetricState {
            reset_start: self.reset_start as i64,
            ..MetricState::default()
        };
        for rate in rates {
            if !self.state.rates.iter().any(|[first, _]| *first == rate) {
                self.state.rates.push([rate, rate]);
            }
        }
    }

    /// What has become of a rate.
    pub(super) fn rate(&self, initial: f64) -> f64 {
        let found = self.state.rates.iter().find(|[first, _]| *first == initial);
        found.map_or(initial, |[_, now]| *now)
    }

    pub(super) fn state(&self) -> &MetricState {
        &self.state
    }

    pub(super) fn restore(&mut self, state: MetricState) {
        // Rates of the arguments that the checkpoint doesn't know begin as they are.
        let fresh = std::mem::replace(&mut self.state, state);
        for rate in fresh.rates {
            if !self.state.rates.iter().any(|[first, _]| *first == rate[0]) {
                self.state.rates.push(rate);
            }
        }
    }

    /// Takes the metric of an evaluation.
    pub(super) fn observe(&mut self, metric: f64) {
        let metric = self.smoothed(metric);
        let better = self.is_better(metric);
        let (cooldown, warmup, patience) = (self.cooldown, self.warmup, self.patience);
        let state = &mut self.state;
        if self.greedy {
            if state.cooldown_counter > 0 || state.warmup_counter > 0 {
                let counter = if state.cooldown_counter > 0 {
                    &mut state.cooldown_counter
                } else {
                    &mut state.warmup_counter
                };
                *counter -= 1;
                (state.num_bad_epochs, state.num_good_epochs) = (0, 0);
                return;
            }
            if better {
                state.best = Some(metric);
                state.num_bad_epochs = 0;
                state.num_good_epochs = state.num_good_epochs.saturating_add(1);
            } else {
                state.num_bad_epochs = state.num_bad_epochs.saturating_add(1);
                state.num_good_epochs = 0;
            }
            if state.num_good_epochs > patience {
                self.raise();
                self.state.warmup_counter = warmup;
                self.state.num_good_epochs = 0;
            } else if state.num_bad_epochs > patience {
                self.lower_or_reset();
                self.state.cooldown_counter = cooldown;
                self.state.num_bad_epochs = 0;
            }
            return;
        }
        if better {
            state.best = Some(metric);
            state.num_bad_epochs = 0;
        } else {
            state.num_bad_epochs = state.num_bad_epochs.saturating_add(1);
        }
        if state.cooldown_counter > 0 {
            state.cooldown_counter -= 1;
            state.num_bad_epochs = 0;
        }
        if state.num_bad_epochs > patience {
            state.cooldown_counter = cooldown;
            state.num_bad_epochs = 0;
            self.lower();
        }
    }

    fn smoothed(&mut self, metric: f64) -> f64 {
        let Some(size) = self.window else {
            return metric;
        };
        let state = &mut self.state;
        state.window.push(metric);
        state.window_sum += metric;
        if state.window.len() > size {
            state.window_sum -= state.window.remove(0);
        }
        state.window_sum / state.window.len() as f64
    }

    fn is_better(&self, metric: f64) -> bool {
        let Some(best) = self.state.best else {
            return !metric.is_nan();
        };
        match (self.mode, self.threshold_mode) {
            (MetricMode::Min, ThresholdMode::Rel) => metric < best * (1.0 - self.threshold),
            (MetricMode::Min, ThresholdMode::Abs) => metric < best - self.threshold,
            (MetricMode::Max, ThresholdMode::Rel) => metric > best * (1.0 + self.threshold),
            (MetricMode::Max, ThresholdMode::Abs) => metric > best + self.threshold,
        }
    }

    fn lower(&mut self) {
        for [_, now] in &mut self.state.rates {
            let lower = (*now * self.factor).max(self.min_rate);
            if *now - lower > self.epsilon {
                *now = lower;
            }
        }
    }

    fn raise(&mut self) {
        for [_, now] in &mut self.state.rates {
            let higher = (*now / self.factor).min(self.max_rate);
            if higher - *now > self.epsilon {
                *now = higher;
            }
        }
        self.state.reset_start = self.reset_start as i64;
    }

    fn lower_or_reset(&mut self) {
        self.lower();
        let state = &mut self.state;
        if state.rates.iter().any(|[_, now]| *now > self.min_rate) {
            return;
        }
        state.reset_start = state.reset_start.saturating_sub(1);
        if state.reset_start <= 0 {
            let first: Vec<f64> = state.rates.iter().map(|[first, _]| *first).collect();
            self.start(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plateau(options: SchedulerOptions) -> MetricSchedule {
        let mut schedule = MetricSchedule::new(SchedulerType::ReduceLrOnPlateau, &options).unwrap();
        schedule.start([1.0, 0.5]);
        schedule
    }

    #[test]
    fn a_plateau_lowers_every_rate() {
        let mut schedule = plateau(SchedulerOptions {
            patience: Some(1),
            factor: Some(0.5),
            min_lr: Some(0.3),
            ..SchedulerOptions::default()
        });
        let mut after = |metric: f64| {
            schedule.observe(metric);
            (schedule.rate(1.0), schedule.rate(0.5))
        };
        assert_eq!(after(1.0), (1.0, 0.5));
        // 0.99995 isn't below 1·(1 − 1e-4): twice no better is more than a patience of 1.
        assert_eq!(after(0.99995), (1.0, 0.5));
        assert_eq!(after(1.0), (0.5, 0.3));
        assert_eq!(after(0.9), (0.5, 0.3));
        assert_eq!(after(f64::NAN), (0.5, 0.3));
        assert_eq!(after(2.0), (0.3, 0.3));
    }

    #[test]
    fn every_table_of_the_reference_is_followed() {
        let golden: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/golden/metric_schedules.json")).unwrap();
        let initial: Vec<f64> = serde_json::from_value(golden["rates"].clone()).unwrap();
        let mut changes = 0;
        for case in golden["cases"].as_array().unwrap() {
            let kind = serde_json::from_value(case["type"].clone()).unwrap();
            let options = serde_json::from_value(case["kwargs"].clone()).unwrap();
            let mut schedule = MetricSchedule::new(kind, &options).unwrap();
            schedule.start(initial.iter().copied());
            let metrics = case["metrics"].as_array().unwrap();
            let expected = case["rates_after_each"].as_array().unwrap();
            for (index, (metric, expected)) in metrics.iter().zip(expected).enumerate() {
                // As if the run had been resumed after every evaluation.
                let text = serde_json::to_string(schedule.state()).unwrap();
                let mut resumed = MetricSchedule::new(kind, &options).unwrap();
                resumed.start(initial.iter().copied());
                resumed.restore(serde_json::from_str(&text).unwrap());
                schedule = resumed;
                schedule.observe(metric.as_f64().unwrap());
                for (initial, expected) in initial.iter().zip(expected.as_array().unwrap()) {
                    let (found, expected) = (schedule.rate(*initial), expected.as_f64().unwrap());
                    assert!(
                        (found - expected).abs() <= 1e-14 * expected,
                        "{} {}: evaluation {index}: {found} instead of {expected}",
                        case["type"],
                        case["kwargs"]
                    );
                    changes += usize::from(found != *initial);
                }
            }
        }
        assert!(changes > 100, "{changes} rates were changed");
    }
}
