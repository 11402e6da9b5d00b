//! Aligned texts that should find each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, Sparsity};
use sparse_model::SparseEncoder;

use super::common::{self, with_progress};
use super::{EvaluationRun, Evaluator};
use crate::error::check_lengths;
use crate::table::{self, Table};
use crate::{Error, Metrics, Result, csv};

/// Settings of a [`TranslationEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TranslationConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.tsv`, `.csv` or `.jsonl` file with the pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its columns: source text, target text.
    pub columns: [String; 2],
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Whether sources that find the wrong target are logged with the five best targets.
    pub print_wrong_matches: bool,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for TranslationConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            columns: ["source", "target"].map(str::to_owned),
            batch_size: 16,
            print_wrong_matches: false,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl TranslationConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        common::check_settings(self.batch_size, self.max_active_dims, None)
    }

    /// Reads the file and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or the file is wrong.
    pub fn init(&self) -> Result<TranslationEvaluator> {
        self.validate()?;
        let mut table = Table::read(table::required(&self.path)?, &self.columns)?;
        TranslationEvaluator::new(table.take(0), table.take(1), self.clone())
    }
}

/// Counts the source texts whose most similar target, by cosine, is their own, and the other way round.
///
/// Figures: `src2trg_accuracy`, `trg2src_accuracy`, `mean_accuracy`; then `active_dims` and `sparsity_ratio`. A target of
/// the same text as the right one is right too.
#[doc(alias = "SparseTranslationEvaluator")]
#[derive(Debug)]
pub struct TranslationEvaluator {
    sources: Vec<String>,
    targets: Vec<String>,
    config: TranslationConfig,
}

impl TranslationEvaluator {
    /// Builds an evaluator over aligned texts.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or are empty, or a setting is wrong.
    pub fn new(
        sources: Vec<String>,
        targets: Vec<String>,
        config: TranslationConfig,
    ) -> Result<Self> {
        config.validate()?;
        check_lengths(
            &["source_sentences", "target_sentences"],
            &[sources.len(), targets.len()],
        )?;
        if sources.is_empty() {
            return Err(Error::Data(
                "a translation evaluation needs at least one pair".to_owned(),
            ));
        }
        Ok(Self {
            sources,
            targets,
            config,
        })
    }

    /// The accuracies of a row-major matrix of similarities, sources by targets, without the evaluator's name.
    ///
    /// # Panics
    ///
    /// If the matrix is not as large as the texts.
    pub fn accuracies(&self, similarities: &[f32]) -> Metrics {
        let n = self.sources.len();
        assert_eq!(
            similarities.len(),
            n * n,
            "one similarity per source and target"
        );
        let row = |source: usize| best((0..n).map(|target| similarities[source * n + target]));
        let column = |target: usize| best((0..n).map(|source| similarities[source * n + target]));
        let accuracy = |texts: &[String], found: &dyn Fn(usize) -> usize| {
            (0..n)
                .filter(|&text| texts[found(text)] == texts[text])
                .count() as f64
                / n as f64
        };
        let forward = accuracy(&self.targets, &row);
        let backward = accuracy(&self.sources, &column);
        let mut metrics = Metrics::new().with_primary("mean_accuracy");
        metrics.insert("src2trg_accuracy", forward);
        metrics.insert("trg2src_accuracy", backward);
        metrics.insert("mean_accuracy", (forward + backward) / 2.0);
        metrics
    }

    fn log_wrong_matches(&self, similarities: &[f32]) {
        let n = self.sources.len();
        for (source, scores) in similarities.chunks(n).enumerate() {
            let found = best(scores.iter().copied());
            if self.targets[found] != self.targets[source] {
                let mut order = (0..n).collect::<Vec<_>>();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                let best = order
                    .iter()
                    .take(5)
                    .map(|&target| (scores[target], &self.targets[target]));
                tracing::info!(
                    "source {source} `{}` finds target {found} (score {:.4}), not its own (score {:.4}); best: {:?}",
                    self.sources[source],
                    scores[found],
                    scores[source],
                    best.collect::<Vec<_>>()
                );
            }
        }
    }
}

/// Position of the first of the largest values.
fn best(values: impl Iterator<Item = f32>) -> usize {
    let best = values
        .enumerate()
        .reduce(|best, entry| if entry.1 > best.1 { entry } else { best });
    best.map_or(0, |best| best.0)
}

impl Evaluator for TranslationEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "SparseTranslationEvaluator"
    }

    fn description(&self) -> &'static str {
        "Sparse Translation"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let options = common::options(self.config.batch_size, self.config.max_active_dims);
        let n = self.sources.len();
        let sources = encoder.encode(
            &self.sources,
            &with_progress(&options, run, "pairs", 0, 2 * n),
        )?;
        let targets = encoder.encode(
            &self.targets,
            &with_progress(&options, run, "pairs", n, 2 * n),
        )?;
        let similarities = SimilarityFunction::Cosine.matrix(&sources, &targets)?;
        if self.config.print_wrong_matches {
            self.log_wrong_matches(&similarities);
        }
        let mut metrics = self.accuracies(&similarities);
        let sparsity = common::mean_sparsity(Sparsity::of(&sources), Sparsity::of(&targets));
        metrics.extend(common::sparsity("", sparsity));

        tracing::info!(
            "translation matching accuracy{run} on the {} dataset",
            self.config.name
        );
        tracing::info!("{metrics}");
        if let Some(folder) = run.output_path.as_ref().filter(|_| self.config.write_csv) {
            let columns = metrics
                .iter()
                .filter(|(key, _)| *key != "mean_accuracy")
                .map(|(key, value)| (key.trim_end_matches("_accuracy").to_owned(), value));
            let file = format!(
                "translation_evaluation{}_results.csv",
                csv::suffix(&self.config.name)
            );
            csv::append(folder, &file, run, &columns.collect::<Vec<_>>())?;
        }
        Ok(metrics.prefixed(&self.config.name))
    }

    fn metric_names(&self, _: SimilarityFunction) -> Option<Vec<String>> {
        let accuracies =
            ["src2trg_accuracy", "trg2src_accuracy", "mean_accuracy"].map(str::to_owned);
        let names = accuracies.into_iter().chain(common::sparsity_names(""));
        Some(common::all_named(&self.config.name, names.collect()))
    }

    fn primary_metric(&self) -> Option<String> {
        Some(common::named(&self.config.name, "mean_accuracy"))
    }

    fn config(&self) -> Map<String, Value> {
        common::limit_config(self.config.max_active_dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_equally_right_and_ties_go_to_the_first() {
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let (sources, targets) = (texts(&["a", "b", "c"]), texts(&["x", "x", "y"]));
        let evaluator =
            TranslationEvaluator::new(sources, targets, TranslationConfig::default()).unwrap();
        // b finds the first x, whose text is right; c ties between both x and is wrong. Of the targets, the second x
        // and y find a and b.
        let metrics = evaluator.accuracies(&[0.9, 0.8, 0.1, 0.5, 0.4, 0.3, 0.2, 0.2, 0.2]);
        assert_eq!(metrics.get("src2trg_accuracy"), Some(2.0 / 3.0));
        assert_eq!(metrics.get("trg2src_accuracy"), Some(1.0 / 3.0));
        assert_eq!(metrics.get("mean_accuracy"), Some(0.5));
    }
}
