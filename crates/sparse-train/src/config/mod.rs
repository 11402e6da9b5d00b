//! The training file: one TOML file that says everything about a run.

mod model_card;
mod read;
mod suggest;

pub(crate) use suggest::nearest;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_with_macros::skip_serializing_none;
use sparse_data::DatasetConfig;
use sparse_eval::EvaluatorConfig;
use sparse_losses::{LossConfig, RegularizerScheduleConfig, TopKScheduleConfig};

use crate::arguments::TrainingArguments;
use crate::error::{Error, Result};
use crate::guard::GuardConfig;
use crate::names;

pub use model_card::ModelCardConfig;
pub(crate) use model_card::is_hub_id;

/// A training file, read and checked.
///
/// # Example
///
/// ```
/// use sparse_train::TrainingFile;
///
/// let file = TrainingFile::parse(
///     r#"
///     [model]
///     name_or_path = "distilbert/distilbert-base-uncased"
///
///     [[train_dataset]]
///     path = "pairs.tsv"
///
///     [arguments]
///     learning_rate = 2e-5
///     "#,
///     &["arguments.seed=7".to_owned()],
/// )?;
/// assert_eq!(file.arguments.seed, 7);
/// # Ok::<(), sparse_train::Error>(())
/// ```
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingFile {
    /// The model to start from.
    pub model: ModelConfig,
    /// What to train on; several data sets take turns.
    #[serde(default)]
    pub train_dataset: Vec<DatasetConfig>,
    /// What to compute the loss on during evaluation.
    #[serde(default)]
    pub eval_dataset: Vec<DatasetConfig>,
    /// The loss of every data set; the reference's default where neither this nor `losses` is given.
    pub loss: Option<LossConfig>,
    /// A loss for each data set, by its name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub losses: BTreeMap<String, LossConfig>,
    /// How the weights of regularizers grow.
    #[serde(default)]
    pub regularizer_schedule: RegularizerScheduleConfig,
    /// How many dimensions of each vector stay active, fewer and fewer.
    pub top_k_schedule: Option<TopKScheduleConfig>,
    /// What the model's card says beside what the run gives.
    #[serde(default)]
    pub model_card: ModelCardConfig,
    /// Which checks run.
    #[serde(default)]
    pub guards: GuardConfig,
    /// Everything else about the run.
    #[serde(default)]
    pub arguments: TrainingArguments,
    /// What to measure during and after training.
    #[serde(default)]
    pub evaluator: Vec<EvaluatorConfig>,
    /// What reading the file warned of: arguments of the reference that have no effect here. The trainer passes them on.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// `[model]` of a training file.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A directory or the id of a model on the hub.
    pub name_or_path: String,
    /// Branch, tag or commit of a model on the hub; `main` by default.
    pub revision: Option<String>,
    /// Folder of the directory or repository that holds the model.
    pub subfolder: Option<String>,
    /// Directory that models of the hub are kept in.
    pub cache_dir: Option<PathBuf>,
    /// Uses nothing but that directory, no network.
    #[serde(default)]
    pub local_files_only: bool,
    /// Text in front of queries and documents in `encode_query` and `encode_document`, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prompts: BTreeMap<String, String>,
    /// Longest text in tokens, special tokens included.
    pub max_seq_length: Option<usize>,
    /// Largest number of active dimensions of an embedding.
    pub max_active_dims: Option<usize>,
}

impl TrainingFile {
    /// Reads a training file and lays `overrides` (`key.path=value`, as `--set` takes them) over it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no TOML, holds an unknown key (with the nearest known one), a value of the wrong type, or
    /// a value outside its domain.
    pub fn load(path: &std::path::Path, overrides: &[String]) -> Result<Self> {
        let text = read::text(path)?;
        Self::parse(&text, overrides).map_err(|error| match error {
            error @ Error::InFile { .. } => error,
            error => Error::InFile {
                path: path.to_path_buf(),
                source: Box::new(error),
            },
        })
    }

    /// Reads a training file from its text; see [`Self::load`].
    ///
    /// # Errors
    ///
    /// As [`Self::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        let (mut file, warnings): (Self, _) = read::parse(text, overrides)?;
        file.warnings = warnings;
        file.arguments.output_dir = in_home(file.arguments.output_dir, std::env::home_dir());
        file.validate()?;
        Ok(file)
    }

    fn validate(&self) -> Result<()> {
        if self.model.name_or_path.is_empty() {
            return Err(Error::argument(
                "model.name_or_path",
                "must name a directory or a model of the hub",
            ));
        }
        if self.model.max_seq_length == Some(0) {
            return Err(Error::argument(
                "model.max_seq_length",
                "must be at least 1; got 0",
            ));
        }
        if self.model.max_active_dims == Some(0) {
            return Err(Error::argument(
                "model.max_active_dims",
                "must be at least 1; got 0",
            ));
        }
        if self.loss.is_some() && !self.losses.is_empty() {
            return Err(Error::argument(
                "losses",
                "cannot stand beside `[loss]`: give one loss for all data sets or one for each",
            ));
        }
        self.regularizer_schedule.validate()?;
        if let Some(schedule) = &self.top_k_schedule {
            schedule.validate()?;
        }
        self.model_card.validate()?;
        names::check_configs(&self.evaluator)?;
        self.arguments.validate()
    }
}

/// A path below `~` as one below the home directory.
fn in_home(path: PathBuf, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(below), Some(home)) => home.join(below),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_is_the_home_directory() {
        let of = |path: &str| in_home(path.into(), Some("/h/me".into()));
        assert_eq!(of("~/runs/x"), PathBuf::from("/h/me/runs/x"));
        assert_eq!(of("runs/~/x"), PathBuf::from("runs/~/x"));
        assert_eq!(of("~other/x"), PathBuf::from("~other/x"));
        assert_eq!(in_home("~/x".into(), None), PathBuf::from("~/x"));
    }

    /// The TOML blocks of a Markdown file.
    fn blocks(markdown: &str) -> impl Iterator<Item = &str> {
        markdown
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
    }

    #[test]
    fn the_files_of_the_documentation_are_read() {
        let quickstart = include_str!("../../../../examples/quickstart.toml");
        let documented = include_str!("../../../../docs/training-file.md");
        let callbacks = include_str!("../../../../docs/callbacks.md");
        let mut read = 0;
        for text in blocks(documented)
            .chain(blocks(callbacks))
            .chain([quickstart])
        {
            // A block that shows one table is laid over a file that is otherwise complete.
            let rest = if text.contains("[model]") {
                ""
            } else {
                "[model]\nname_or_path = \"m\"\n"
            };
            TrainingFile::parse(&format!("{rest}{text}"), &[]).unwrap();
            read += 1;
        }
        assert_eq!(read, 7);
    }
}
