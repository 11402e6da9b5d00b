//! Pairs that are alike or not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, SparseMatrix, Sparsity};
use sparse_model::SparseEncoder;

use super::common::{self, Primary, with_progress};
use super::{EvaluationRun, Evaluator};
use crate::error::check_lengths;
use crate::metric::{classification, reranking};
use crate::table::{self, Table};
use crate::{Error, Metrics, Result, csv};

/// Settings of a [`BinaryClassificationEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryClassificationConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.tsv`, `.csv` or `.jsonl` file with the pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its columns: first text, second text, label (0 or 1).
    pub columns: [String; 3],
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Similarities to evaluate; the model's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity_fn_names: Option<Vec<SimilarityFunction>>,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for BinaryClassificationConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            columns: ["sentence1", "sentence2", "label"].map(str::to_owned),
            batch_size: 32,
            similarity_fn_names: None,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl BinaryClassificationConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        common::check_settings(
            self.batch_size,
            self.max_active_dims,
            self.similarity_fn_names.as_ref(),
        )
    }

    /// Reads the file and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or the file is wrong.
    pub fn init(&self) -> Result<BinaryClassificationEvaluator> {
        self.validate()?;
        let mut table = Table::read(table::required(&self.path)?, &self.columns)?;
        let labels = table.labels(2)?;
        BinaryClassificationEvaluator::new(table.take(0), table.take(1), labels, self.clone())
    }
}

/// Tells pairs that are alike from pairs that are not, by a threshold on their similarity.
///
/// Figures per similarity `fn`: `fn_accuracy` and `fn_accuracy_threshold` at the best threshold for accuracy; `fn_f1`,
/// `fn_f1_threshold`, `fn_precision`, `fn_recall` and `fn_mcc` at the best one for F1; `fn_ap`, the average precision. With
/// several similarities also their maxima, as `max_…`. Then `active_dims` and `sparsity_ratio` over the distinct texts.
/// Thresholds of the distances are positive distances.
#[doc(alias = "SparseBinaryClassificationEvaluator")]
#[derive(Debug)]
pub struct BinaryClassificationEvaluator {
    sentences: [Vec<String>; 2],
    labels: Vec<bool>,
    config: BinaryClassificationConfig,
    primary: Primary,
}

/// The figures of one similarity, in the order of the results.
const FIGURES: [&str; 8] = [
    "accuracy",
    "accuracy_threshold",
    "f1",
    "f1_threshold",
    "precision",
    "recall",
    "ap",
    "mcc",
];
/// The same in the order of a result file.
const CSV_FIGURES: [&str; 8] = [
    "accuracy",
    "accuracy_threshold",
    "f1",
    "precision",
    "recall",
    "f1_threshold",
    "ap",
    "mcc",
];

impl BinaryClassificationEvaluator {
    /// Builds an evaluator over pairs; a label says whether the texts are alike.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or are empty, or a setting is wrong.
    pub fn new(
        sentences1: Vec<String>,
        sentences2: Vec<String>,
        labels: Vec<bool>,
        config: BinaryClassificationConfig,
    ) -> Result<Self> {
        config.validate()?;
        check_lengths(
            &["sentences1", "sentences2", "labels"],
            &[sentences1.len(), sentences2.len(), labels.len()],
        )?;
        if labels.is_empty() {
            return Err(Error::Data(
                "binary classification needs at least one pair".to_owned(),
            ));
        }
        Ok(Self {
            sentences: [sentences1, sentences2],
            labels,
            config,
            primary: Primary::default(),
        })
    }

    /// The figures of given similarities (distances negated), one list per function, without the evaluator's name.
    ///
    /// # Panics
    ///
    /// If a list is not as long as the pairs.
    pub fn figures(&self, similarities: &[(SimilarityFunction, Vec<f32>)]) -> Metrics {
        let mut metrics = Metrics::new();
        for (function, similarities) in similarities {
            let values = self.figures_of(*function, similarities);
            metrics.extend(
                FIGURES
                    .iter()
                    .zip(values)
                    .map(|(name, value)| (format!("{function}_{name}"), value)),
            );
        }
        let primary = match similarities {
            [(function, _)] => format!("{function}_ap"),
            _ => {
                for name in FIGURES {
                    let values = similarities
                        .iter()
                        .filter_map(|(function, _)| metrics.get(&format!("{function}_{name}")));
                    let maximum = values.fold(f64::NEG_INFINITY, f64::max);
                    metrics.insert(format!("max_{name}"), maximum);
                }
                "max_ap".to_owned()
            }
        };
        metrics.with_primary(primary)
    }

    fn figures_of(&self, function: SimilarityFunction, similarities: &[f32]) -> [f64; 8] {
        let distances = matches!(
            function,
            SimilarityFunction::Euclidean | SimilarityFunction::Manhattan
        );
        let scores = match distances {
            true => similarities
                .iter()
                .map(|similarity| 0.0 - similarity)
                .collect(),
            false => similarities.to_vec(),
        };
        let accuracy = classification::best_accuracy(&scores, &self.labels, distances);
        let f1 = classification::best_f1(&scores, &self.labels, distances);
        let alike = |&score: &f32| {
            if distances {
                score <= f1.threshold
            } else {
                score >= f1.threshold
            }
        };
        let called_alike = scores.iter().map(alike).collect::<Vec<_>>();
        let wide = similarities
            .iter()
            .map(|&similarity| f64::from(similarity))
            .collect::<Vec<_>>();
        if !self.labels.contains(&true) {
            tracing::warn!("no pair is labelled 1: the average precision is 0");
        }
        [
            accuracy.accuracy,
            f64::from(accuracy.threshold),
            f1.f1,
            f64::from(f1.threshold),
            f1.precision,
            f1.recall,
            reranking::average_precision(&self.labels, &wide),
            classification::matthews_correlation(&called_alike, &self.labels),
        ]
    }

    /// Distinct texts, and for either column which of them each row holds.
    fn distinct(&self) -> (Vec<&str>, [Vec<usize>; 2]) {
        let mut numbers = BTreeMap::new();
        let mut texts = Vec::new();
        let columns = self.sentences.each_ref().map(|column| {
            let rows = column.iter().map(|text| {
                *numbers.entry(text.as_str()).or_insert_with(|| {
                    texts.push(text.as_str());
                    texts.len() - 1
                })
            });
            rows.collect()
        });
        (texts, columns)
    }
}

impl Evaluator for BinaryClassificationEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "SparseBinaryClassificationEvaluator"
    }

    fn description(&self) -> &'static str {
        "Sparse Binary Classification"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let (texts, [first, second]) = self.distinct();
        let options = common::options(self.config.batch_size, self.config.max_active_dims);
        let vectors: SparseMatrix = encoder.encode(
            &texts,
            &with_progress(&options, run, "pairs", 0, texts.len()),
        )?;
        let (first, second) = (vectors.select(&first), vectors.select(&second));
        let functions = common::functions(
            self.config.similarity_fn_names.as_ref(),
            None,
            encoder.similarity_fn(),
        );
        let similarities = functions
            .iter()
            .map(|function| Ok((*function, function.pairwise(&first, &second)?)));
        let mut metrics = self.figures(&similarities.collect::<Result<Vec<_>>>()?);
        metrics.extend(common::sparsity("", Sparsity::of(&vectors)));
        self.primary.set(metrics.primary().unwrap_or_default());

        tracing::info!(
            "binary classification evaluation{run} on the {} dataset",
            self.config.name
        );
        tracing::info!("{metrics}");
        if let Some(folder) = run.output_path.as_ref().filter(|_| self.config.write_csv) {
            let names = functions
                .iter()
                .flat_map(|function| CSV_FIGURES.map(|figure| format!("{function}_{figure}")));
            let names = names.chain(["active_dims".to_owned(), "sparsity_ratio".to_owned()]);
            let columns = names
                .filter_map(|name| metrics.get(&name).map(|value| (name, value)))
                .collect::<Vec<_>>();
            let file = format!(
                "binary_classification_evaluation{}_results.csv",
                csv::suffix(&self.config.name)
            );
            csv::append(folder, &file, run, &columns)?;
        }
        Ok(metrics.prefixed(&self.config.name))
    }

    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        let functions = common::functions(self.config.similarity_fn_names.as_ref(), None, own);
        let mut names: Vec<String> = functions
            .iter()
            .flat_map(|function| FIGURES.map(|figure| format!("{function}_{figure}")))
            .collect();
        if functions.len() > 1 {
            names.extend(FIGURES.map(|figure| format!("max_{figure}")));
        }
        names.extend(common::sparsity_names(""));
        Some(common::all_named(&self.config.name, names))
    }

    fn primary_metric(&self) -> Option<String> {
        self.primary
            .get()
            .map(|primary| common::named(&self.config.name, &primary))
    }

    fn config(&self) -> Map<String, Value> {
        common::limit_config(self.config.max_active_dims)
    }
}
