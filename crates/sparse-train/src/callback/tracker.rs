//! `report_to`: where logs go beside `trainer_state.json`.

use std::path::PathBuf;

use super::{Callback, EarlyStopping, EnergyMeter, JsonLines, TensorBoard};
use crate::arguments::{IntervalStrategy, Tracker, TrainingArguments};
use crate::error::{Error, Result};

impl TrainingArguments {
    /// Where event files go: `logging_dir`, or `runs/NAME` in the output directory, NAME being `run_name` or made of date, time
    /// and host.
    pub(crate) fn event_dir(&self, default_name: &str) -> PathBuf {
        self.logging_dir.clone().unwrap_or_else(|| {
            let name = self.run_name.as_deref().unwrap_or(default_name);
            self.output_dir.join("runs").join(name)
        })
    }

    pub(crate) fn validate_reports(&self) -> Result<()> {
        let refuse =
            |name: &str, message: &str| Err(Error::argument(format!("arguments.{name}"), message));
        if let Some(name) = &self.run_name
            && (name.is_empty()
                || name.contains(['/', '\\'])
                || name.contains(char::is_control)
                || name.len() > 255
                || name == "."
                || name == "..")
        {
            return refuse(
                "run_name",
                "names a folder of `runs`: it must not be empty, hold a slash or a line break, or be longer than 255 bytes",
            );
        }
        if !(self.carbon_intensity.is_finite() && self.carbon_intensity >= 0.0) {
            return refuse(
                "carbon_intensity",
                "must be 0 or above, in grams of CO2 for each kWh",
            );
        }
        if !(self.early_stopping_threshold.is_finite() && self.early_stopping_threshold >= 0.0) {
            return refuse("early_stopping_threshold", "must be 0 or above");
        }
        match self.early_stopping_patience {
            None if self.early_stopping_threshold > 0.0 => refuse(
                "early_stopping_threshold",
                "needs `early_stopping_patience`, the number of evaluations without improvement that end the run",
            ),
            None => Ok(()),
            Some(0) => refuse(
                "early_stopping_patience",
                "must be at least 1; leave it out to train to the end",
            ),
            Some(_) if self.eval_strategy == IntervalStrategy::No => refuse(
                "early_stopping_patience",
                "needs an `eval_strategy` of \"steps\" or \"epoch\"",
            ),
            Some(_) if self.best_metric().is_none() => refuse(
                "early_stopping_patience",
                "needs `metric_for_best_model`, the metric that has to improve",
            ),
            Some(_) => Ok(()),
        }
    }

    /// The callbacks that the arguments ask for, and the energy meter among them.
    pub(crate) fn callbacks(&self) -> (Vec<Box<dyn Callback>>, Option<EnergyMeter>) {
        let mut callbacks: Vec<Box<dyn Callback>> = Vec::new();
        let mut meter = None;
        if let Some(patience) = self.early_stopping_patience {
            let stopping = EarlyStopping::new(patience, self.early_stopping_threshold);
            callbacks.push(Box::new(stopping));
        }
        for tracker in &self.report_to {
            match tracker {
                Tracker::Jsonl => callbacks.push(Box::new(JsonLines::default())),
                Tracker::Tensorboard => callbacks.push(Box::new(TensorBoard::default())),
                Tracker::Codecarbon => {
                    let energy = EnergyMeter::new(self.carbon_intensity);
                    callbacks.push(Box::new(energy.clone()));
                    meter = Some(energy);
                }
            }
        }
        (callbacks, meter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        let refusal = |change: fn(&mut TrainingArguments)| {
            let mut arguments = TrainingArguments::default();
            change(&mut arguments);
            arguments.validate().unwrap_err().to_string()
        };
        let message = refusal(|a| a.early_stopping_patience = Some(2));
        assert!(message.contains("eval_strategy"), "{message}");
        let message = refusal(|a| {
            a.early_stopping_patience = Some(2);
            a.eval_strategy = IntervalStrategy::Epoch;
        });
        assert!(message.contains("metric_for_best_model"), "{message}");
        assert!(refusal(|a| a.early_stopping_patience = Some(0)).contains("at least 1"));
        assert!(refusal(|a| a.early_stopping_threshold = 0.1).contains("patience"));
        assert!(refusal(|a| a.run_name = Some("a/b".into())).contains("slash"));
        assert!(refusal(|a| a.carbon_intensity = -1.0).contains("carbon_intensity"));
    }
}
