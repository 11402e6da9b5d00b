//! Candidates of a query, put in order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, SparseMatrix, Sparsity};
use sparse_model::{EncodeOptions, SparseEncoder};

use super::common::{self, with_progress};
use super::{EvaluationRun, Evaluator};
use crate::metric::reranking;
use crate::retrieval::for_each_line;
use crate::{Error, Metrics, Result, csv, table};

/// A query with candidates that are known to be relevant or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RerankingSample {
    /// The query.
    pub query: String,
    /// Relevant documents; a single text counts as a list of one.
    #[serde(deserialize_with = "one_or_many")]
    pub positive: Vec<String>,
    /// Documents that are not relevant; a single text counts as a list of one.
    #[serde(deserialize_with = "one_or_many")]
    pub negative: Vec<String>,
}

/// Reads a text or a list of texts.
pub(crate) fn one_or_many<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    })
}

/// Settings of a [`RerankingEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RerankingConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// A `.jsonl` file with an object `{"query", "positive", "negative"}` per line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Rank at which reciprocal rank and gain are taken.
    pub at_k: usize,
    /// How candidates are scored. Cosine unless said otherwise, whatever the model's own similarity.
    pub similarity_fct: SimilarityFunction,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Whether all samples are encoded together rather than one by one. One by one takes less memory, and the statistics
    /// of active dimensions become means over samples.
    pub use_batched_encoding: bool,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
}

impl Default for RerankingConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            path: None,
            at_k: 10,
            similarity_fct: SimilarityFunction::Cosine,
            batch_size: 64,
            use_batched_encoding: true,
            max_active_dims: None,
            write_csv: true,
        }
    }
}

impl RerankingConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        if self.at_k == 0 {
            return Err(Error::option("at_k", "must be at least 1; got 0"));
        }
        common::check_settings(self.batch_size, self.max_active_dims, None)
    }

    /// Reads the file and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or the file is wrong.
    pub fn init(&self) -> Result<RerankingEvaluator> {
        self.validate()?;
        let path = table::required(&self.path)?;
        let mut samples = Vec::new();
        for_each_line(path, |line, text| {
            let sample = serde_json::from_str(text).map_err(|error| {
                let expected = "expected an object with `query`, `positive` and `negative`";
                Error::line(path, line, format!("{expected}; {error}"))
            })?;
            samples.push(sample);
            Ok(())
        })?;
        RerankingEvaluator::new(samples, self.clone()).map_err(|error| error.in_file(path))
    }
}

/// Puts the candidates of each query in order and looks where the relevant ones end up.
///
/// Figures: `map`, `mrr@k` and `ndcg@k` over all candidates of a sample, averaged over samples; then active dimensions and
/// sparsity of queries and candidates. Candidates of equal score share their gain.
#[doc(alias = "SparseRerankingEvaluator")]
#[derive(Debug)]
pub struct RerankingEvaluator {
    samples: Vec<RerankingSample>,
    config: RerankingConfig,
}

impl RerankingEvaluator {
    /// Builds an evaluator; samples without a positive or without a negative are left out.
    ///
    /// # Errors
    ///
    /// If no sample is left or a setting is wrong.
    pub fn new(mut samples: Vec<RerankingSample>, config: RerankingConfig) -> Result<Self> {
        config.validate()?;
        samples.retain(|sample| !sample.positive.is_empty() && !sample.negative.is_empty());
        if samples.is_empty() {
            return Err(Error::Data(
                "no sample has both a positive and a negative document".to_owned(),
            ));
        }
        Ok(Self { samples, config })
    }

    /// The samples that are evaluated.
    pub fn samples(&self) -> &[RerankingSample] {
        &self.samples
    }

    /// The figures of given scores, per sample those of its positives, then those of its negatives, without the
    /// evaluator's name.
    ///
    /// # Panics
    ///
    /// If there are not as many scores as candidates.
    pub fn figures(&self, scores: &[Vec<f32>]) -> Metrics {
        assert_eq!(scores.len(), self.samples.len(), "scores for each sample");
        let k = self.config.at_k;
        let mut sums = [0.0; 3];
        for (sample, scores) in self.samples.iter().zip(scores) {
            let relevant = sample
                .positive
                .iter()
                .map(|_| true)
                .chain(sample.negative.iter().map(|_| false));
            let relevant = relevant.collect::<Vec<_>>();
            let scores = scores
                .iter()
                .map(|&score| f64::from(score))
                .collect::<Vec<_>>();
            sums[0] += reranking::average_precision(&relevant, &scores);
            sums[1] += reranking::reciprocal_rank(&relevant, &scores, k);
            sums[2] += reranking::ndcg(&relevant, &scores, k);
        }
        let names = ["map".to_owned(), format!("mrr@{k}"), format!("ndcg@{k}")];
        let means = sums.map(|sum| sum / scores.len() as f64);
        names
            .into_iter()
            .zip(means)
            .collect::<Metrics>()
            .with_primary(format!("ndcg@{k}"))
    }

    /// Scores of all samples, and the statistics of queries and candidates.
    fn score(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
    ) -> Result<(Vec<Vec<f32>>, [Sparsity; 2])> {
        let options = common::options(self.config.batch_size, self.config.max_active_dims);
        let sizes = self
            .samples
            .iter()
            .map(|sample| sample.positive.len() + sample.negative.len());
        let n_documents = sizes.sum::<usize>();
        let total = self.samples.len() + n_documents;
        if self.config.use_batched_encoding {
            let options = |start| with_progress(&options, run, "samples", start, total);
            return self.score_samples(
                &self.samples,
                encoder,
                &options(0),
                &options(self.samples.len()),
            );
        }
        let (mut scores, mut done) = (Vec::new(), 0);
        let mut sums = [Sparsity {
            active_dims: 0.0,
            sparsity_ratio: 0.0,
        }; 2];
        for sample in self.samples.chunks(1) {
            let options = |start| with_progress(&options, run, "samples", start, total);
            let (score, sparsity) =
                self.score_samples(sample, encoder, &options(done), &options(done + 1))?;
            done += 1 + score[0].len();
            scores.extend(score);
            for (sum, sparsity) in sums.iter_mut().zip(sparsity) {
                sum.active_dims += sparsity.active_dims / self.samples.len() as f64;
                sum.sparsity_ratio += sparsity.sparsity_ratio / self.samples.len() as f64;
            }
        }
        Ok((scores, sums))
    }

    fn score_samples(
        &self,
        samples: &[RerankingSample],
        encoder: &SparseEncoder,
        query_options: &EncodeOptions,
        document_options: &EncodeOptions,
    ) -> Result<(Vec<Vec<f32>>, [Sparsity; 2])> {
        let queries = samples
            .iter()
            .map(|sample| sample.query.as_str())
            .collect::<Vec<_>>();
        let documents = samples
            .iter()
            .flat_map(|sample| sample.positive.iter().chain(&sample.negative));
        let documents = documents.map(String::as_str).collect::<Vec<_>>();
        let queries: SparseMatrix = encoder.encode_query(&queries, query_options)?;
        let documents: SparseMatrix = encoder.encode_document(&documents, document_options)?;
        let mut start = 0;
        let scores = samples.iter().enumerate().map(|(row, sample)| {
            let end = start + sample.positive.len() + sample.negative.len();
            let candidates = documents.select(&(start..end).collect::<Vec<_>>());
            start = end;
            Ok(self
                .config
                .similarity_fct
                .matrix(&queries.select(&[row]), &candidates)?)
        });
        let scores = scores.collect::<Result<Vec<_>>>()?;
        Ok((scores, [Sparsity::of(&queries), Sparsity::of(&documents)]))
    }
}

impl Evaluator for RerankingEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "SparseRerankingEvaluator"
    }

    fn description(&self) -> &'static str {
        "Sparse Reranking"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let (scores, [query, corpus]) = self.score(encoder, run)?;
        let mut metrics = self.figures(&scores);
        metrics.extend(common::sparsity("query_", query));
        metrics.extend(common::sparsity("corpus_", corpus));

        tracing::info!(
            "reranking evaluation{run} on the {} dataset",
            self.config.name
        );
        for (side, count) in [
            (
                "positives",
                (|sample| sample.positive.len()) as fn(&RerankingSample) -> usize,
            ),
            ("negatives", |sample| sample.negative.len()),
        ] {
            let counts = self.samples.iter().map(count);
            let mean = counts.clone().sum::<usize>() as f64 / self.samples.len() as f64;
            let (min, max) = (counts.clone().min().unwrap_or(0), counts.max().unwrap_or(0));
            tracing::info!(
                "{} queries, {side}: min {min}, mean {mean:.1}, max {max}",
                self.samples.len()
            );
        }
        tracing::info!("{metrics}");
        if let Some(folder) = run.output_path.as_ref().filter(|_| self.config.write_csv) {
            // The three figures in capitals.
            let columns = metrics.iter().enumerate().map(|(position, (key, value))| {
                (
                    if position < 3 {
                        key.to_uppercase()
                    } else {
                        key.to_owned()
                    },
                    value,
                )
            });
            let name = csv::suffix(&self.config.name);
            let file = format!("RerankingEvaluator{name}_results_@{}.csv", self.config.at_k);
            csv::append(folder, &file, run, &columns.collect::<Vec<_>>())?;
        }
        Ok(metrics.prefixed(&self.config.name))
    }

    fn metric_names(&self, _: SimilarityFunction) -> Option<Vec<String>> {
        let k = self.config.at_k;
        let figures = ["map".to_owned(), format!("mrr@{k}"), format!("ndcg@{k}")];
        let sides = ["query_", "corpus_"].into_iter();
        let names = figures
            .into_iter()
            .chain(sides.flat_map(common::sparsity_names));
        Some(common::all_named(&self.config.name, names.collect()))
    }

    fn primary_metric(&self) -> Option<String> {
        Some(common::named(
            &self.config.name,
            &format!("ndcg@{}", self.config.at_k),
        ))
    }

    fn config(&self) -> Map<String, Value> {
        let at_k = ("at_k".to_owned(), Value::from(self.config.at_k));
        std::iter::once(at_k)
            .chain(common::limit_config(self.config.max_active_dims))
            .collect()
    }
}
