//! Running means between logs.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::arguments::TrainingArguments;
use crate::callback::StepReport;

/// What happened since the last log, and over the whole call: sums, since a run may never log.
#[derive(Debug)]
pub(super) struct History {
    since_log: Sums,
    losses: f64,
    updates: usize,
    /// Time of a step and its texts, smoothed.
    pace: Option<(f64, f64)>,
    last: Instant,
    started: Instant,
    /// Tokens before this call.
    tokens_before: usize,
    /// Whether a loss that isn't finite is replaced.
    filters: bool,
}

/// Updates since the last log.
#[derive(Debug, Default)]
struct Sums {
    updates: usize,
    newest: StepReport,
    loss: f64,
    components: BTreeMap<String, f64>,
    query_active_dims: f64,
    document_active_dims: f64,
}

impl Sums {
    fn add(&mut self, report: StepReport) {
        self.updates += 1;
        self.loss += report.loss;
        self.query_active_dims += report.query_active_dims;
        self.document_active_dims += report.document_active_dims;
        for (name, value) in &report.components {
            match self.components.get_mut(name) {
                Some(sum) => *sum += value,
                None => {
                    self.components.insert(name.clone(), *value);
                }
            }
        }
        self.newest = report;
    }

    /// Mean over the updates; 0 before the first.
    fn mean(&self, sum: f64) -> f64 {
        sum / self.updates.max(1) as f64
    }

    /// Mean of a part of the loss; it counts as 0 in an update that has none of that name.
    fn component(&self, name: &str) -> f64 {
        self.mean(self.components.get(name).copied().unwrap_or(0.0))
    }
}

/// Weight of the past in the smoothed pace: about the last twenty steps count.
const SMOOTHING: f64 = 0.95;

impl History {
    /// Nothing yet; `tokens` were seen before this call.
    pub(super) fn new(arguments: &TrainingArguments, tokens: usize) -> Self {
        Self {
            started: Instant::now(),
            tokens_before: tokens,
            filters: arguments.logging_nan_inf_filter,
            since_log: Sums::default(),
            losses: 0.0,
            updates: 0,
            pace: None,
            last: Instant::now(),
        }
    }

    /// Restarts the clock after something that isn't a step.
    pub(super) fn restart_clock(&mut self) {
        self.last = Instant::now();
    }

    pub(super) fn record(&mut self, report: &StepReport) {
        let mut report = report.clone();
        if self.filters {
            self.filter(&mut report);
        }
        self.losses += report.loss;
        self.updates += 1;
        self.since_log.add(report);
    }

    /// Puts the means since the last log in the place of what isn't finite.
    fn filter(&self, report: &mut StepReport) {
        if !report.loss.is_finite() {
            report.loss = self.since_log.mean(self.since_log.loss);
        }
        for (name, value) in &mut report.components {
            if !value.is_finite() {
                *value = self.since_log.component(name);
            }
        }
    }

    /// `train_runtime` in seconds and `train_tokens_per_second` of this call.
    pub(super) fn token_speed(&self, tokens: usize) -> [(String, f64); 2] {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let tokens = tokens.saturating_sub(self.tokens_before) as f64;
        [
            ("train_runtime".to_owned(), seconds),
            ("train_tokens_per_second".to_owned(), tokens / seconds),
        ]
    }

    /// Fills in speed and time left.
    pub(super) fn pace(&mut self, report: &mut StepReport, steps_left: usize) {
        let seconds = self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        let (time, texts) = self
            .pace
            .map_or((seconds, report.texts as f64), |(time, texts)| {
                (
                    SMOOTHING * time + (1.0 - SMOOTHING) * seconds,
                    SMOOTHING * texts + (1.0 - SMOOTHING) * report.texts as f64,
                )
            });
        self.pace = Some((time, texts));
        report.texts_per_second = texts / time.max(1e-9);
        report.seconds_left = time * steps_left as f64;
    }

    /// Mean loss over all updates.
    pub(super) fn mean_loss(&self) -> f64 {
        self.losses / self.updates.max(1) as f64
    }

    pub(super) fn updates(&self) -> usize {
        self.updates
    }

    /// The log since the last one: means of loss and components, the rest of the last step. `None` without a step.
    pub(super) fn take_logs(&mut self, last: &StepReport) -> Option<Vec<(String, f64)>> {
        let sums = std::mem::take(&mut self.since_log);
        if sums.updates == 0 {
            return None;
        }
        let newest = &sums.newest;
        let mut logs = vec![
            ("loss".to_owned(), sums.mean(sums.loss)),
            ("grad_norm".to_owned(), newest.grad_norm),
            ("learning_rate".to_owned(), newest.learning_rate),
        ];
        if let Some((scale, skipped)) = newest.loss_scale {
            logs.push(("loss_scale".to_owned(), scale));
            logs.push(("skipped_steps".to_owned(), skipped as f64));
        }
        for (name, _) in &newest.components {
            logs.push((name.clone(), sums.component(name)));
        }
        if let Some(weights) = newest.weights {
            logs.push(("document_regularizer_weight".to_owned(), weights.document));
            if let Some(query) = weights.query {
                logs.push(("query_regularizer_weight".to_owned(), query));
            }
        }
        logs.push((
            "query_active_dims".to_owned(),
            sums.mean(sums.query_active_dims),
        ));
        logs.push((
            "document_active_dims".to_owned(),
            sums.mean(sums.document_active_dims),
        ));
        logs.push(("texts_per_second".to_owned(), last.texts_per_second));
        Some(logs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(loss: f64) -> StepReport {
        StepReport {
            loss,
            components: vec![("base_loss".to_owned(), loss)],
            ..StepReport::default()
        }
    }

    fn logged(filter: bool) -> Vec<(String, f64)> {
        let arguments = TrainingArguments {
            logging_nan_inf_filter: filter,
            ..TrainingArguments::default()
        };
        let mut history = History::new(&arguments, 0);
        for loss in [1.0, 3.0, f64::NAN] {
            history.record(&report(loss));
        }
        history.take_logs(&report(0.0)).unwrap()
    }

    #[test]
    fn a_loss_that_is_no_number_is_left_out_of_the_logs() {
        let value = |logs: &[(String, f64)], name: &str| {
            logs.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| *value)
        };
        // (1 + 3 + mean of 1 and 3) / 3
        let filtered = logged(true);
        assert_eq!(value(&filtered, "loss"), Some(2.0));
        assert_eq!(value(&filtered, "base_loss"), Some(2.0));
        let plain = logged(false);
        assert!(value(&plain, "loss").unwrap().is_nan());
        assert!(value(&plain, "base_loss").unwrap().is_nan());
    }

    #[test]
    fn a_part_that_some_updates_lack_counts_as_nothing_there() {
        let mut history = History::new(&TrainingArguments::default(), 0);
        history.record(&report(1.0));
        let mut other = report(4.0);
        other.components[0].0 = "document_regularizer_loss".to_owned();
        history.record(&other);
        history.record(&report(4.0));
        let logs = history.take_logs(&report(0.0)).unwrap();
        let value = |name: &str| logs.iter().find(|(key, _)| key == name).map(|(_, v)| *v);
        // (1 + 4 + 4) / 3, (1 + 0 + 4) / 3; what the last update lacks isn't logged.
        assert_eq!(value("loss"), Some(3.0));
        assert_eq!(value("base_loss"), Some(5.0 / 3.0));
        assert_eq!(value("document_regularizer_loss"), None);
        assert_eq!(history.take_logs(&report(0.0)), None);
    }

    #[test]
    fn tokens_are_those_of_the_call() {
        let history = History::new(&TrainingArguments::default(), 100);
        let [(_, seconds), (name, speed)] = history.token_speed(700);
        assert_eq!(name, "train_tokens_per_second");
        assert!(speed > 0.0 && speed * seconds <= 600.0 + 1e-6);
    }
}
