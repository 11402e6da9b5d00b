//! Similarity of pairs against given scores.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_index::{SimilarityFunction, SparseMatrix, Sparsity};

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
use crate::error::check_lengths;
use crate::metric::correlation;
use crate::table::{self, Table};
use crate::vector_store::add_pairwise;
use crate::{Error, Metrics, Result, csv};

/// Settings of an [`EmbeddingSimilarityEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddingSimilarityConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.tsv`, `.csv` or `.jsonl` file with the pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its columns: first text, second text, score.
    pub columns: [String; 3],
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Similarity whose figure is the primary one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_similarity: Option<SimilarityFunction>,
    /// Similarities to evaluate; the main one, else the model's own, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity_fn_names: Option<Vec<SimilarityFunction>>,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for EmbeddingSimilarityConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            columns: ["sentence1", "sentence2", "score"].map(str::to_owned),
            batch_size: 16,
            main_similarity: None,
            similarity_fn_names: None,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl EmbeddingSimilarityConfig {
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
    pub fn init(&self) -> Result<EmbeddingSimilarityEvaluator> {
        self.validate()?;
        let mut table = Table::read(table::required(&self.path)?, &self.columns)?;
        let scores = table.numbers(2)?;
        EmbeddingSimilarityEvaluator::new(table.take(0), table.take(1), scores, self.clone())
    }
}

/// Correlates the similarity of text pairs with given scores of any scale.
///
/// Figures: `pearson_fn` and `spearman_fn` per similarity, their maxima `pearson_max` and `spearman_max` where there are
/// several; then `active_dims` and `sparsity_ratio`. Distances count negated. A constant column gives NaN.
#[doc(alias = "SparseEmbeddingSimilarityEvaluator")]
#[derive(Debug)]
pub struct EmbeddingSimilarityEvaluator {
    sentences: [Vec<String>; 2],
    scores: Vec<f64>,
    config: EmbeddingSimilarityConfig,
    shared: Shared,
}

/// The correlations.
const KINDS: [&str; 2] = ["pearson", "spearman"];

impl EmbeddingSimilarityEvaluator {
    /// Builds an evaluator over pairs and their scores.
    ///
    /// # Errors
    ///
    /// If the columns differ in length or hold fewer than two rows, or a setting is wrong.
    pub fn new(
        sentences1: Vec<String>,
        sentences2: Vec<String>,
        scores: Vec<f64>,
        config: EmbeddingSimilarityConfig,
    ) -> Result<Self> {
        config.validate()?;
        check_lengths(
            &["sentences1", "sentences2", "scores"],
            &[sentences1.len(), sentences2.len(), scores.len()],
        )?;
        if scores.len() < 2 {
            return Err(Error::Data(format!(
                "a correlation needs at least 2 pairs; got {}",
                scores.len()
            )));
        }
        let primary = config
            .main_similarity
            .map(|main| format!("spearman_{main}"));
        Ok(Self {
            sentences: [sentences1, sentences2],
            scores,
            shared: shared!(config, primary),
            config,
        })
    }

    /// The figures of given vectors, without the evaluator's name; `own` is the similarity to use where the settings name
    /// none.
    ///
    /// # Errors
    ///
    /// If the vectors are not one per text, or differ in dimension.
    pub fn figures(
        &self,
        first: &SparseMatrix,
        second: &SparseMatrix,
        own: SimilarityFunction,
    ) -> Result<Metrics> {
        check_lengths(&["vectors", "pairs"], &[first.n_rows(), self.scores.len()])?;
        let scores = self.functions(own);
        let scores = scores
            .iter()
            .map(|function| Ok((*function, function.pairwise(first, second)?)));
        let mut metrics = self.correlations(&scores.collect::<Result<Vec<_>>>()?);
        let sparsity = common::mean_sparsity(Sparsity::of(first), Sparsity::of(second));
        metrics.extend(common::sparsity("", sparsity));
        Ok(metrics)
    }

    fn functions(&self, own: SimilarityFunction) -> Vec<SimilarityFunction> {
        let asked = self.config.similarity_fn_names.as_ref();
        common::functions(asked, self.config.main_similarity, own)
    }

    /// The figures of given similarities, one list per function.
    ///
    /// # Panics
    ///
    /// If a list is not as long as the pairs.
    pub fn correlations(&self, similarities: &[(SimilarityFunction, Vec<f32>)]) -> Metrics {
        let mut metrics = Metrics::new();
        for (function, similarities) in similarities {
            let similarities = similarities
                .iter()
                .map(|&similarity| f64::from(similarity))
                .collect::<Vec<_>>();
            let pearson = correlation::pearson(&self.scores, &similarities);
            if pearson.is_nan() {
                tracing::warn!(
                    "the scores or the {function} similarities are all equal: no correlation"
                );
            }
            metrics.insert(format!("pearson_{function}"), pearson);
            metrics.insert(
                format!("spearman_{function}"),
                correlation::spearman(&self.scores, &similarities),
            );
        }
        if similarities.len() > 1 {
            for kind in KINDS {
                let values = similarities
                    .iter()
                    .filter_map(|(function, _)| metrics.get(&format!("{kind}_{function}")));
                let maximum = values.fold(f64::NAN, f64::max);
                metrics.insert(format!("{kind}_max"), maximum);
            }
        }
        let primary = match (self.config.main_similarity, similarities) {
            (Some(main), _) => format!("spearman_{main}"),
            (None, [(function, _)]) => format!("spearman_{function}"),
            _ => "spearman_max".to_owned(),
        };
        metrics.with_primary(primary)
    }
}

impl Measure for EmbeddingSimilarityEvaluator {
    const CLASS_NAME: &'static str = "SparseEmbeddingSimilarityEvaluator";
    const DESCRIPTION: &'static str = "Semantic Similarity";
    const TITLE: &'static str = "embedding similarity evaluation";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        (2 * self.scores.len(), "pairs")
    }

    /// In the result file `pearson_dot` is called `dot_pearson`, and the maxima are left out.
    fn figures_for(&self, own: SimilarityFunction) -> Vec<Figure> {
        let functions = self.functions(own);
        let figure = |kind: &str, function: &SimilarityFunction| {
            Figure::new(format!("{kind}_{function}")).in_column(format!("{function}_{kind}"))
        };
        let mut figures: Vec<Figure> = functions
            .iter()
            .flat_map(|function| KINDS.map(|kind| figure(kind, function)))
            .collect();
        if functions.len() > 1 {
            let maxima = KINDS.map(|kind| Figure::new(format!("{kind}_max")).without_column());
            figures.extend(maxima);
        }
        figures.extend(Figure::sparsity(&[""]));
        figures
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let functions = self.functions(texts.own_similarity());
        let mut similarities = Vec::new();
        similarities.extend(functions.into_iter().map(|function| (function, Vec::new())));
        let columns = self.sentences.each_ref();
        let columns = columns.map(|column| (Side::Neither, column.as_slice()));
        let [first, second] = texts.encode(columns, |_, [first, second]| {
            add_pairwise(&mut similarities, &first, &second)
        })?;
        let mut metrics = self.correlations(&similarities);
        metrics.extend(common::sparsity("", common::mean_sparsity(first, second)));
        Ok(metrics)
    }

    fn file_name(&self) -> String {
        let name = csv::suffix(&self.config.name);
        format!("similarity_evaluation{name}_results.csv")
    }
}
