//! Candidates of a query, put in order.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, Sparsity};

use super::common;
use super::measure::{Encoding, Figure, Measure, Shared, Side, shared};
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
    #[serde(untagged, expecting = "expected a text or a list of texts")]
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
    shared: Shared,
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
        let primary = format!("ndcg@{}", config.at_k);
        Ok(Self {
            samples,
            shared: shared!(config, Some(primary)),
            config,
        })
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
        let means = sums.map(|sum| sum / scores.len() as f64);
        self.ranking_figures()
            .into_iter()
            .zip(means)
            .collect::<Metrics>()
            .with_primary(format!("ndcg@{k}"))
    }

    /// Names of the figures of the ranking.
    fn ranking_figures(&self) -> [String; 3] {
        let k = self.config.at_k;
        ["map".to_owned(), format!("mrr@{k}"), format!("ndcg@{k}")]
    }

    /// Scores of all samples, and the statistics of queries and candidates.
    fn score(&self, texts: &mut Encoding<'_>) -> Result<(Vec<Vec<f32>>, [Sparsity; 2])> {
        if self.config.use_batched_encoding {
            return self.score_samples(&self.samples, texts);
        }
        let mut scores = Vec::new();
        let mut sums = [Sparsity {
            active_dims: 0.0,
            sparsity_ratio: 0.0,
        }; 2];
        for sample in self.samples.chunks(1) {
            let (score, sparsity) = self.score_samples(sample, texts)?;
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
        texts: &mut Encoding<'_>,
    ) -> Result<(Vec<Vec<f32>>, [Sparsity; 2])> {
        let queries = samples.iter().map(|sample| sample.query.as_str());
        let (queries, query_sparsity) =
            texts.encode_all(Side::Query, &queries.collect::<Vec<_>>())?;
        // Candidates of all samples in a row, and the sample of each.
        let mut documents = Vec::new();
        let mut owners = Vec::new();
        for (row, sample) in samples.iter().enumerate() {
            documents.extend(sample.positive.iter().chain(&sample.negative));
            owners.resize(documents.len(), row);
        }
        let mut scores = vec![Vec::new(); samples.len()];
        let columns = [(Side::Document, documents.as_slice())];
        let [sparsity] = texts.encode(columns, |start, [rows]| {
            let mut first = 0;
            for owners in owners[start..start + rows.n_rows()].chunk_by(|a, b| a == b) {
                let candidates = (first..first + owners.len()).collect::<Vec<_>>();
                let query = queries.select(&owners[..1])?;
                let found = self
                    .config
                    .similarity_fct
                    .matrix(&query, &rows.select(&candidates))?;
                scores[owners[0]].extend(found);
                first += owners.len();
            }
            Ok(())
        })?;
        Ok((scores, [query_sparsity, sparsity]))
    }
}

impl Measure for RerankingEvaluator {
    const CLASS_NAME: &'static str = "SparseRerankingEvaluator";
    const DESCRIPTION: &'static str = "Sparse Reranking";
    const TITLE: &'static str = "reranking evaluation";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn texts(&self) -> (usize, &'static str) {
        let sizes = self.samples.iter();
        let sizes = sizes.map(|sample| 1 + sample.positive.len() + sample.negative.len());
        (sizes.sum(), "samples")
    }

    /// In the result file the figures of the ranking stand in capitals.
    fn figures_for(&self, _: SimilarityFunction) -> Vec<Figure> {
        let figures = self.ranking_figures().into_iter().map(|name| {
            let column = name.to_uppercase();
            Figure::new(name).in_column(column)
        });
        let sparsity = Figure::sparsity(&["query_", "corpus_"]);
        figures.chain(sparsity).collect()
    }

    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics> {
        let (scores, [query, corpus]) = self.score(texts)?;
        let mut metrics = self.figures(&scores);
        metrics.extend(common::sparsity("query_", query));
        metrics.extend(common::sparsity("corpus_", corpus));
        Ok(metrics)
    }

    fn file_name(&self) -> String {
        let name = csv::suffix(&self.config.name);
        format!("RerankingEvaluator{name}_results_@{}.csv", self.config.at_k)
    }

    fn log(&self, metrics: &Metrics) {
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
    }

    fn shown(&self) -> Map<String, Value> {
        let at_k = ("at_k".to_owned(), Value::from(self.config.at_k));
        std::iter::once(at_k)
            .chain(common::limit_config(self.config.max_active_dims))
            .collect()
    }
}
