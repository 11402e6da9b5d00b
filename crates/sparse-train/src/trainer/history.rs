//! Running means between logs.

use std::time::Instant;

use crate::callback::StepReport;

/// What happened since the last log, and over the whole call.
#[derive(Debug)]
pub(super) struct History {
    since_log: Vec<StepReport>,
    losses: f64,
    updates: usize,
    /// Time of a step and its texts, smoothed.
    pace: Option<(f64, f64)>,
    last: Instant,
}

/// Weight of the past in the smoothed pace: about the last twenty steps count.
const SMOOTHING: f64 = 0.95;

impl History {
    pub(super) fn new() -> Self {
        Self {
            since_log: Vec::new(),
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
        self.losses += report.loss;
        self.updates += 1;
        self.since_log.push(report.clone());
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
        let steps = std::mem::take(&mut self.since_log);
        let n = steps.len() as f64;
        let newest = steps.last()?;
        let mean = |value: &dyn Fn(&StepReport) -> f64| steps.iter().map(value).sum::<f64>() / n;
        let mut logs = vec![
            ("loss".to_owned(), mean(&|step| step.loss)),
            ("grad_norm".to_owned(), newest.grad_norm),
            ("learning_rate".to_owned(), newest.learning_rate),
        ];
        for (name, _) in &newest.components {
            let value = |step: &StepReport| {
                let component = step.components.iter().find(|(other, _)| other == name);
                component.map_or(0.0, |(_, value)| *value)
            };
            logs.push((name.clone(), mean(&value)));
        }
        if let Some(weights) = newest.weights {
            logs.push(("document_regularizer_weight".to_owned(), weights.document));
            if let Some(query) = weights.query {
                logs.push(("query_regularizer_weight".to_owned(), query));
            }
        }
        logs.push((
            "query_active_dims".to_owned(),
            mean(&|step| step.query_active_dims),
        ));
        logs.push((
            "document_active_dims".to_owned(),
            mean(&|step| step.document_active_dims),
        ));
        logs.push(("texts_per_second".to_owned(), last.texts_per_second));
        Some(logs)
    }
}
