//! `report_to`: where logs go beside `trainer_state.json`.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Callback, EarlyStopping, EnergyMeter, JsonLines, TensorBoard};
use crate::arguments::{IntervalStrategy, TrainingArguments};
use crate::error::{Error, Result};

/// A place where the logs of a run go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracker {
    /// `logs.jsonl` in the output directory: one JSON object for each log.
    Jsonl,
    /// Event files for TensorBoard, in `logging_dir`.
    Tensorboard,
    /// Energy and carbon estimate: `emissions.csv` in the output directory, and in the model card.
    Codecarbon,
}

impl Tracker {
    /// All of them, in the order of their names in the documentation.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::Tensorboard, Self::Codecarbon];

    fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Tensorboard => "tensorboard",
            Self::Codecarbon => "codecarbon",
        }
    }
}

/// Trackers of the reference that need a service or a package of another language.
const OTHERS: [&str; 12] = [
    "azure_ml", "clearml", "comet_ml", "dagshub", "dvclive", "flyte", "kubeflow", "mlflow",
    "neptune", "swanlab", "trackio", "wandb",
];

/// What `report_to` names: `none`, `all`, one name or a list of names.
fn trackers<S: AsRef<str>>(names: &[S]) -> Result<Vec<Tracker>, String> {
    let known = "jsonl, tensorboard, codecarbon, all, none";
    let mut trackers = Vec::new();
    for name in names {
        match name.as_ref() {
            "none" if names.len() == 1 => {}
            "none" => return Err("\"none\" stands alone or not at all".to_owned()),
            "all" => trackers.extend(Tracker::ALL),
            "wandb" => {
                return Err(format!(
                    "\"wandb\" can't be reported to: its run files have no specification, and no maintained writer of them exists \
                     outside Python; use \"tensorboard\", which wandb reads with `sync_tensorboard`, or \"jsonl\". Known: {known}"
                ));
            }
            other if OTHERS.contains(&other) => {
                return Err(format!(
                    "\"{other}\" can't be reported to: it needs its Python client; use \"tensorboard\" or \"jsonl\", which it can \
                     import. Known: {known}"
                ));
            }
            other => match Tracker::ALL
                .into_iter()
                .find(|tracker| tracker.name() == other)
            {
                Some(tracker) => trackers.push(tracker),
                None => return Err(format!("\"{other}\" is unknown; known: {known}")),
            },
        }
    }
    trackers.sort_unstable();
    trackers.dedup();
    Ok(trackers)
}

/// Reads one name or a list of names.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Tracker>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a name or a list of names")]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    let names = match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    };
    trackers(&names).map_err(serde::de::Error::custom)
}

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
    fn names_are_known_refused_with_the_alternative_or_unknown() {
        assert_eq!(trackers(&["none"]), Ok(vec![]));
        assert_eq!(trackers(&["all"]), Ok(Tracker::ALL.to_vec()));
        assert_eq!(
            trackers(&["tensorboard", "jsonl", "jsonl"]),
            Ok(vec![Tracker::Jsonl, Tracker::Tensorboard])
        );
        for name in OTHERS {
            let message = trackers(&[name]).unwrap_err();
            assert!(message.contains("\"tensorboard\""), "{message}");
        }
        let message = trackers(&["tensorbored"]).unwrap_err();
        assert!(message.contains("known: jsonl, tensorboard"), "{message}");
        assert!(trackers(&["none", "jsonl"]).is_err());
    }

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
