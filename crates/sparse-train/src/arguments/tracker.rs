//! `report_to`: where logs go beside `trainer_state.json`.

use serde::{Deserialize, Deserializer, Serialize};

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
                    "\"wandb\" cannot be reported to: its run files have no specification, and no maintained writer of them exists \
                     outside Python; use \"tensorboard\", which wandb reads with `sync_tensorboard`, or \"jsonl\". Known: {known}"
                ));
            }
            other if OTHERS.contains(&other) => {
                return Err(format!(
                    "\"{other}\" cannot be reported to: it needs its Python client; use \"tensorboard\" or \"jsonl\", which it can \
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
}
