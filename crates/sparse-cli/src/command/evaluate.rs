//! `evaluate`: the evaluators of a training file, on any model.

use std::fs;
use std::path::PathBuf;

use sparse_encoder::eval::EvaluationRun;
use sparse_encoder::train::TrainingFile;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::line;

/// Runs the evaluators of a training file on a model.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder evaluate train.toml --model runs/my-model/final --output metrics.json"
)]
pub(crate) struct Evaluate {
    /// Training file with at least one `[[evaluator]]`.
    config: PathBuf,
    /// Model directory or hub id, instead of the file's own.
    #[arg(long)]
    model: Option<String>,
    /// Sets a key of the file: --set evaluator.0.batch_size=64
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Writes the metrics here too.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Evaluate {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let mut file = TrainingFile::load(&self.config, &self.overrides)?;
        if let Some(model) = self.model {
            // Another model: what the file says of where its own is found is not about this one.
            file.model.name_or_path = model;
            file.model.revision = None;
            file.model.subfolder = None;
        }
        global.hub.lay_over(&mut file.model);
        if file.evaluator.is_empty() {
            return Err(Failure::input(format!(
                "`{}` has no [[evaluator]]",
                self.config.display()
            )));
        }
        let device = sparse_encoder::device(&global.device)?;
        let evaluators = file
            .evaluator
            .iter()
            .map(|config| config.init())
            .collect::<Result<Vec<_>, _>>()?;
        let encoder = file.load_encoder(&device)?;
        let mut metrics = serde_json::Map::new();
        for evaluator in &evaluators {
            for (name, value) in evaluator
                .evaluate(&encoder, &EvaluationRun::default())?
                .iter()
            {
                metrics.insert(name.to_owned(), value.into());
            }
        }
        let text = format!("{:#}", serde_json::Value::Object(metrics));
        if let Some(path) = &self.output {
            fs::write(path, format!("{text}\n")).map_err(|error| {
                Failure::run(format!("failed to write `{}`: {error}", path.display()))
            })?;
        }
        line(&text)?;
        Ok(())
    }
}
