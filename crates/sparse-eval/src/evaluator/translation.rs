//! Aligned texts that should find each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_index::{SimilarityFunction, SparseMatrix};

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
use crate::error::check_lengths;
use crate::table::{self, Table};
use crate::vector_store::VectorStore;
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
    shared: Shared,
}

/// The figure that stands for all.
const PRIMARY: &str = "mean_accuracy";

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
            shared: shared!(config, Some(PRIMARY.to_owned())),
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
        let mut matches = Matches::default();
        similarities.chunks(n).for_each(|row| matches.add(row));
        self.accuracies_of(&matches)
    }

    fn accuracies_of(&self, matches: &Matches) -> Metrics {
        let accuracy = |texts: &[String], found: &mut dyn Iterator<Item = usize>| {
            let found = found.enumerate();
            let right = found.filter(|&(text, found)| texts[found] == texts[text]);
            right.count() as f64 / texts.len() as f64
        };
        let sources = matches.of_targets.iter().map(|best| best.0);
        let forward = accuracy(&self.targets, &mut matches.of_sources.iter().copied());
        let backward = accuracy(&self.sources, &mut { sources });
        let mut metrics = Metrics::new().with_primary(PRIMARY);
        metrics.insert("src2trg_accuracy", forward);
        metrics.insert("trg2src_accuracy", backward);
        metrics.insert(PRIMARY, (forward + backward) / 2.0);
        metrics
    }

    /// Logs the sources among those from `first` on that find another target; `similarities` are theirs, row-major.
    fn log_wrong_matches(&self, first: usize, similarities: &[f32]) {
        let n = self.targets.len();
        for (source, scores) in (first..).zip(similarities.chunks(n)) {
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

/// The best partners so far, each the first of equals.
#[derive(Default)]
struct Matches {
    /// Per source the best target.
    of_sources: Vec<usize>,
    /// Per target the best source and its similarity.
    of_targets: Vec<(usize, f32)>,
}

impl Matches {
    /// Takes the similarities of the next source with all targets.
    fn add(&mut self, row: &[f32]) {
        let source = self.of_sources.len();
        if source == 0 {
            self.of_targets = row.iter().map(|&similarity| (0, similarity)).collect();
        }
        for (best, &similarity) in self.of_targets.iter_mut().zip(row) {
            if similarity > best.1 {
                *best = (source, similarity);
            }
        }
        self.of_sources.push(best(row.iter().copied()));
    }
}

/// Cosines of all rows of `sources` and `targets`: row-major, sources by targets.
fn cosines(sources: &SparseMatrix, targets: &VectorStore) -> Result<Vec<f32>> {
    let width = targets.n_rows();
    let mut similarities = vec![0.0; sources.n_rows() * width];
    for part in targets.parts() {
        let (start, part) = part?;
        let found = SimilarityFunction::Cosine.matrix(sources, &part)?;
        let rows = similarities.chunks_mut(width);
        for (row, found) in rows.zip(found.chunks(part.n_rows())) {
            row[start..start + found.len()].copy_from_slice(found);
        }
    }
    Ok(similarities)
}

/// Position of the first of the largest values.
fn best(values: impl Iterator<Item = f32>) -> usize {
    let best = values
        .enumerate()
        .reduce(|best, entry| if entry.1 > best.1 { entry } else { best });
    best.map_or(0, |best| best.0)
}

impl Measure for TranslationEvaluator {
    const CLASS_NAME: &'static str = "SparseTranslationEvaluator";
    const DESCRIPTION: &'static str = "Sparse Translation";
    const TITLE: &'static str = "translation matching accuracy";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        (2 * self.sources.len(), "pairs")
    }

    fn figures_for(&self, _: SimilarityFunction) -> Vec<Figure> {
        let accuracies = [
            Figure::new("src2trg_accuracy").in_column("src2trg"),
            Figure::new("trg2src_accuracy").in_column("trg2src"),
            Figure::new(PRIMARY).without_column(),
        ];
        let figures = accuracies.into_iter();
        figures.chain(Figure::sparsity(&[""])).collect()
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let (targets, target_sparsity) = texts.encode_all(Side::Neither, &self.targets)?;
        let mut matches = Matches::default();
        let columns = [(Side::Neither, self.sources.as_slice())];
        let [sparsity] = texts.encode(columns, |start, [sources]| {
            // A few sources at a time: each has a similarity with every target.
            let rows = (0..sources.n_rows()).collect::<Vec<_>>();
            for rows in rows.chunks(256) {
                let similarities = cosines(&sources.select(rows), &targets)?;
                if self.config.print_wrong_matches {
                    self.log_wrong_matches(start + rows[0], &similarities);
                }
                let rows = similarities.chunks(targets.n_rows());
                rows.for_each(|row| matches.add(row));
            }
            Ok(())
        })?;
        let mut metrics = self.accuracies_of(&matches);
        let sparsity = common::mean_sparsity(sparsity, target_sparsity);
        metrics.extend(common::sparsity("", sparsity));
        Ok(metrics)
    }

    fn file_name(&self) -> String {
        let name = csv::suffix(&self.config.name);
        format!("translation_evaluation{name}_results.csv")
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
