//! An end to a run that doesn't get better any more.

use serde_json::{Value, json};

use super::{Callback, CallbackContext, TrainerControl};

/// Ends the run after so many evaluations in a row in which `metric_for_best_model` didn't improve on the best value before
/// them by more than a threshold.
///
/// The counter is part of a checkpoint, under the reference's names. `early_stopping_patience` in the arguments adds one.
#[doc(alias = "EarlyStoppingCallback")]
#[derive(Debug, Clone, PartialEq)]
pub struct EarlyStopping {
    patience: usize,
    threshold: f64,
    counter: usize,
}

impl EarlyStopping {
    /// `patience` evaluations without an improvement of more than `threshold`, in units of the metric.
    pub fn new(patience: usize, threshold: f64) -> Self {
        Self {
            patience,
            threshold,
            counter: 0,
        }
    }

    /// Evaluations in a row without improvement.
    pub fn counter(&self) -> usize {
        self.counter
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.counter = 0;
        if !context.arguments.load_best_model_at_end {
            tracing::warn!(
                "early stopping without `load_best_model_at_end`: the run ends with its last model, not with its best"
            );
        }
    }

    fn on_evaluate(
        &mut self,
        context: &CallbackContext<'_>,
        control: &mut TrainerControl,
        metrics: &[(String, f64)],
    ) {
        let Some(name) = context.arguments.best_metric() else {
            return;
        };
        // A name that isn't there is an error of the trainer.
        let Some((_, value)) = metrics.iter().find(|(key, _)| *key == name) else {
            return;
        };
        let better = match context.state.best_metric {
            None => true,
            Some(best) if context.arguments.larger_is_better() => value - best > self.threshold,
            Some(best) => best - value > self.threshold,
        };
        self.counter = if better {
            0
        } else {
            self.counter.saturating_add(1)
        };
        if self.counter >= self.patience {
            tracing::info!(
                "stopped early at step {}: {name} didn't improve in {} evaluations",
                context.state.global_step,
                self.counter
            );
            control.should_training_stop = true;
        }
    }

    fn state(&self) -> Option<Value> {
        Some(json!({
            "args": {
                "early_stopping_patience": self.patience,
                "early_stopping_threshold": self.threshold,
            },
            "attributes": { "early_stopping_patience_counter": self.counter },
        }))
    }

    fn restore(&mut self, state: &Value) {
        let counter = &state["attributes"]["early_stopping_patience_counter"];
        self.counter = counter.as_u64().unwrap_or(0) as usize;
    }

    fn name(&self) -> &'static str {
        "EarlyStoppingCallback"
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use sparse_model::SparseEncoder;

    use super::*;
    use crate::arguments::TrainingArguments;
    use crate::callback::StepReport;
    use crate::state::TrainerState;

    /// Counters after evaluations with these values, each compared with the best before it, and where the run ends.
    fn follow(larger: bool, threshold: f64, values: &[f64]) -> (Vec<usize>, Option<usize>) {
        let arguments = TrainingArguments {
            metric_for_best_model: Some("score".into()),
            greater_is_better: Some(larger),
            ..TrainingArguments::default()
        };
        let encoder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../sparse-model/tests/golden/encoders/splade-max");
        let encoder =
            SparseEncoder::from_pretrained(encoder.to_str().unwrap(), &Device::flex()).unwrap();
        let mut stopping = EarlyStopping::new(2, threshold);
        let mut state = TrainerState::new();
        let step = StepReport::default();
        let mut control = TrainerControl::default();
        let (mut counters, mut stopped) = (Vec::new(), None);
        for (index, &value) in values.iter().enumerate() {
            let context = CallbackContext {
                arguments: &arguments,
                encoder: &encoder,
                state: &state,
                step: &step,
            };
            stopping.on_evaluate(&context, &mut control, &[("eval_score".into(), value)]);
            counters.push(stopping.counter());
            if control.should_training_stop && stopped.is_none() {
                stopped = Some(index);
            }
            let best = state.best_metric;
            if best.is_none_or(|best| if larger { value > best } else { value < best }) {
                state.best_metric = Some(value);
            }
        }
        (counters, stopped)
    }

    #[test]
    fn it_counts_as_the_reference_counts() {
        // The first value always counts as better; equal isn't better; NaN never is.
        assert_eq!(
            follow(true, 0.0, &[0.5, 0.5, 0.6, f64::NAN, 0.1]),
            (vec![0, 1, 0, 1, 2], Some(4))
        );
        // Creeping improvements below the threshold raise the best value and count as none.
        assert_eq!(
            follow(false, 0.1, &[3.0, 2.95, 2.9, 2.0]),
            (vec![0, 1, 2, 0], Some(2))
        );
    }

    #[test]
    fn the_counter_survives_a_checkpoint() {
        let mut stopping = EarlyStopping::new(3, 0.5);
        stopping.counter = 2;
        let state = stopping.state().unwrap();
        assert_eq!(
            state,
            json!({
                "args": { "early_stopping_patience": 3, "early_stopping_threshold": 0.5 },
                "attributes": { "early_stopping_patience_counter": 2 },
            })
        );
        let mut other = EarlyStopping::new(3, 0.5);
        other.restore(&state);
        assert_eq!(other, stopping);
    }
}
