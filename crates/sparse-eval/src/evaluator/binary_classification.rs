//! Pairs that are alike or not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_index::SimilarityFunction;

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
use crate::error::check_lengths;
use crate::metric::{classification, reranking};
use crate::table::{self, Table};
use crate::{Error, Metrics, Result, csv, vector_store};

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
    shared: Shared,
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
            shared: shared!(config, None),
            config,
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

    fn functions(&self, own: SimilarityFunction) -> Vec<SimilarityFunction> {
        common::functions(self.config.similarity_fn_names.as_ref(), None, own)
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

impl Measure for BinaryClassificationEvaluator {
    const CLASS_NAME: &'static str = "SparseBinaryClassificationEvaluator";
    const DESCRIPTION: &'static str = "Sparse Binary Classification";
    const TITLE: &'static str = "binary classification evaluation";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        (self.distinct().0.len(), "pairs")
    }

    fn figures_for(&self, own: SimilarityFunction) -> Vec<Figure> {
        let functions = self.functions(own);
        let mut figures: Vec<Figure> = functions
            .iter()
            .flat_map(|function| FIGURES.map(|figure| format!("{function}_{figure}")))
            .map(Figure::new)
            .collect();
        if functions.len() > 1 {
            let maxima = FIGURES.map(|figure| format!("max_{figure}"));
            figures.extend(maxima.map(Figure::new));
        }
        figures.extend(Figure::sparsity(&[""]));
        figures
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let (distinct, [first, second]) = self.distinct();
        let (vectors, sparsity) = texts.encode_all(Side::Neither, &distinct)?;
        let functions = self.functions(texts.own_similarity());
        let similarities = vector_store::pairwise(&functions, [&vectors; 2], [&first, &second])?;
        let mut metrics = self.figures(&similarities);
        metrics.extend(common::sparsity("", sparsity));
        Ok(metrics)
    }

    fn file_name(&self) -> String {
        let name = csv::suffix(&self.config.name);
        format!("binary_classification_evaluation{name}_results.csv")
    }

    /// In another order than the results, and without the maxima.
    fn columns(&self, own: SimilarityFunction, metrics: &Metrics) -> Vec<(String, f64)> {
        let functions = self.functions(own);
        let names = functions
            .iter()
            .flat_map(|function| CSV_FIGURES.map(|figure| format!("{function}_{figure}")));
        names
            .chain(common::sparsity_names(""))
            .filter_map(|name| metrics.get(&name).map(|value| (name, value)))
            .collect()
    }
}
