//! Two rankings made one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::SimilarityFunction;
use sparse_model::SparseEncoder;

use super::reranking::one_or_many;
use super::{EvaluationRun, Evaluator, common};
use crate::metric::reranking;
use crate::retrieval::for_each_line;
use crate::{Error, Metrics, Result, csv};

/// A query with the ranking that one retriever made for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RankedSample {
    /// Id of the query.
    pub query_id: String,
    /// The query.
    pub query: String,
    /// Relevant documents; a single text counts as a list of one.
    #[serde(deserialize_with = "one_or_many")]
    pub positive: Vec<String>,
    /// Retrieved documents, best first.
    pub documents: Vec<String>,
}

/// Settings of a [`ReciprocalRankFusionEvaluator`], with its files when it comes from a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReciprocalRankFusionConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// Dense rankings: JSON lines `{"query_id", "query", "positive", "documents"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dense_samples: Option<PathBuf>,
    /// Sparse rankings of the same queries in the same order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparse_samples: Option<PathBuf>,
    /// Rank at which reciprocal rank and gain are taken.
    pub at_k: usize,
    /// Damping of the ranks: the larger, the less the first ranks weigh.
    pub rrf_k: usize,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
    /// Whether the fused rankings are written to the output folder.
    pub write_predictions: bool,
}

impl Default for ReciprocalRankFusionConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            dense_samples: None,
            sparse_samples: None,
            at_k: 10,
            rrf_k: 60,
            write_csv: true,
            write_predictions: false,
        }
    }
}

impl ReciprocalRankFusionConfig {
    /// Checks the settings and which files are named, without reading them.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        self.files().map(drop)?;
        check_rank(self.at_k)
    }

    /// Reads the files and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong.
    pub fn init(&self) -> Result<ReciprocalRankFusionEvaluator> {
        let [dense, sparse] = self.files()?;
        let (dense, sparse_samples) = (read_samples(dense)?, read_samples(sparse)?);
        ReciprocalRankFusionEvaluator::new(dense, sparse_samples, self.clone())
            .map_err(|error| error.in_file(sparse))
    }

    fn files(&self) -> Result<[&Path; 2]> {
        let missing = |name| Error::option(name, "is missing: a file of rankings, JSON lines");
        Ok([
            self.dense_samples
                .as_deref()
                .ok_or_else(|| missing("dense_samples"))?,
            self.sparse_samples
                .as_deref()
                .ok_or_else(|| missing("sparse_samples"))?,
        ])
    }
}

fn read_samples(path: &Path) -> Result<Vec<RankedSample>> {
    let mut samples = Vec::new();
    for_each_line(path, |number, line| {
        let sample = serde_json::from_str(line).map_err(|error| {
            let expected = "expected {\"query_id\", \"query\", \"positive\", \"documents\"}";
            Error::line(path, number, format!("{expected}; {error}"))
        })?;
        samples.push(sample);
        Ok(())
    })?;
    if samples.is_empty() {
        return Err(Error::File {
            path: path.to_owned(),
            problem: "holds no ranking".to_owned(),
        });
    }
    Ok(samples)
}

pub(super) fn check_rank(at_k: usize) -> Result<()> {
    match at_k {
        0 => Err(Error::option("at_k", "must be at least 1; got 0")),
        _ => Ok(()),
    }
}

/// Fuses rankings by reciprocal ranks ([Cormack et al., 2009](https://doi.org/10.1145/1571941.1572114)): a document's
/// score is the sum, over the rankings that hold it, of `1 / (rrf_k + rank)`, ranks from 1. Best first; documents of equal
/// score in the order in which they are first seen, ranking after ranking.
pub fn fuse<Id: Ord + Clone>(rankings: &[&[Id]], rrf_k: usize) -> Vec<(Id, f64)> {
    let mut positions = BTreeMap::new();
    let mut fused: Vec<(Id, f64)> = Vec::new();
    for ranking in rankings {
        for (rank, id) in (1u32..).zip(*ranking) {
            let position = *positions.entry(id.clone()).or_insert_with(|| {
                fused.push((id.clone(), 0.0));
                fused.len() - 1
            });
            fused[position].1 += 1.0 / (rrf_k as f64 + f64::from(rank));
        }
    }
    fused.sort_by(|a, b| b.1.total_cmp(&a.1));
    fused
}

/// Judges a dense ranking, a sparse ranking and their fusion: how much hybrid search would gain.
///
/// Figures: `dense_map`, `dense_mrr@k`, `dense_ndcg@k`, the same for `sparse_…`, and `map`, `mrr@k`, `ndcg@k` of the fusion.
/// Works on rankings made before: an encoder that it is given as an [`Evaluator`] plays no part.
#[doc(alias = "RRF")]
#[derive(Debug)]
pub struct ReciprocalRankFusionEvaluator {
    dense: Vec<RankedSample>,
    sparse: Vec<RankedSample>,
    config: ReciprocalRankFusionConfig,
}

impl ReciprocalRankFusionEvaluator {
    /// Builds an evaluator over rankings of the same queries; queries and relevant documents are taken from the dense side.
    ///
    /// # Errors
    ///
    /// If the lists differ in length or order of queries, hold no query, or a setting is wrong.
    pub fn new(
        dense: Vec<RankedSample>,
        sparse: Vec<RankedSample>,
        config: ReciprocalRankFusionConfig,
    ) -> Result<Self> {
        check_rank(config.at_k)?;
        crate::error::check_lengths(
            &["dense_samples", "sparse_samples"],
            &[dense.len(), sparse.len()],
        )?;
        if dense.is_empty() {
            return Err(Error::Data(
                "rank fusion needs at least one query".to_owned(),
            ));
        }
        let ids = dense
            .iter()
            .zip(&sparse)
            .map(|(dense, sparse)| (&dense.query_id, &sparse.query_id));
        if let Some((index, (dense, sparse))) = ids.enumerate().find(|(_, ids)| ids.0 != ids.1) {
            return Err(Error::Data(format!(
                "query ids differ at index {index}: `{dense}` and `{sparse}`"
            )));
        }
        Ok(Self {
            dense,
            sparse,
            config,
        })
    }

    /// Judges the rankings and writes what [`EvaluationRun::output_path`] asks for.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn judge(&self, run: &EvaluationRun) -> Result<Metrics> {
        let fused = self.fused();
        let documents = |samples: &[RankedSample]| {
            samples
                .iter()
                .map(|sample| sample.documents.clone())
                .collect()
        };
        let (dense, sparse): (Vec<_>, Vec<_>) = (documents(&self.dense), documents(&self.sparse));
        let k = self.config.at_k;
        let names = ["map".to_owned(), format!("mrr@{k}"), format!("ndcg@{k}")];
        let mut metrics = Metrics::new().with_primary(format!("ndcg@{k}"));
        let mut columns = Vec::new();
        for (prefix, title, rankings) in [
            ("dense_", "Dense", &dense),
            ("sparse_", "Sparse", &sparse),
            ("", "Fusion", &fused),
        ] {
            for (name, value) in names.iter().zip(self.figures(rankings)) {
                columns.push((format!("{title}_{}", name.to_uppercase()), value));
                metrics.insert(format!("{prefix}{name}"), value);
            }
        }

        tracing::info!(
            "reciprocal rank fusion{run} on the {} dataset",
            self.config.name
        );
        for name in &names {
            let value = |prefix: &str| metrics.get(&format!("{prefix}{name}")).unwrap_or_default();
            let (dense, sparse, fusion) = (value("dense_"), value("sparse_"), value(""));
            let gain = |base: f64| {
                if base > 0.0 {
                    (fusion - base) / base * 100.0
                } else {
                    0.0
                }
            };
            tracing::info!(
                "{name}: dense {dense:.4}, sparse {sparse:.4}, fusion {fusion:.4} ({:+.2}%, {:+.2}%)",
                gain(dense),
                gain(sparse)
            );
        }
        if let Some(folder) = &run.output_path {
            let stem = format!(
                "ReciprocalRankFusion_evaluation{}",
                csv::suffix(&self.config.name)
            );
            if self.config.write_csv {
                csv::append(folder, &format!("{stem}_results.csv"), run, &columns)?;
            }
            if self.config.write_predictions {
                self.write_predictions(&fused, &folder.join(format!("{stem}_predictions.jsonl")))?;
            }
        }
        Ok(metrics.prefixed(&self.config.name))
    }

    /// The fused ranking of every query.
    pub fn fused(&self) -> Vec<Vec<String>> {
        let pairs = self.dense.iter().zip(&self.sparse);
        let fused = pairs
            .map(|(dense, sparse)| fuse(&[&dense.documents, &sparse.documents], self.config.rrf_k));
        fused
            .map(|fused| fused.into_iter().map(|(document, _)| document).collect())
            .collect()
    }

    /// Means over queries of average precision, reciprocal rank and gain.
    fn figures(&self, rankings: &[Vec<String>]) -> [f64; 3] {
        let mut sums = [0.0; 3];
        for (sample, ranking) in self.dense.iter().zip(rankings) {
            let mut relevant = ranking
                .iter()
                .map(|document| sample.positive.contains(document))
                .collect::<Vec<_>>();
            if !relevant.contains(&true) {
                continue;
            }
            // Relevant documents that were not retrieved follow at the next ranks, as in the reference.
            let missing = sample
                .positive
                .iter()
                .filter(|positive| !ranking.contains(positive))
                .count();
            relevant.extend(std::iter::repeat_n(true, missing));
            let scores = (0..relevant.len())
                .rev()
                .map(|score| score as f64)
                .collect::<Vec<_>>();
            sums[0] += reranking::average_precision(&relevant, &scores);
            sums[1] += reranking::reciprocal_rank(&relevant, &scores, self.config.at_k);
            sums[2] += reranking::ndcg(&relevant, &scores, self.config.at_k);
        }
        sums.map(|sum| sum / rankings.len() as f64)
    }

    fn write_predictions(&self, fused: &[Vec<String>], path: &Path) -> Result<()> {
        #[derive(Serialize)]
        struct Prediction<'a> {
            query_id: &'a str,
            query: &'a str,
            positive: &'a [String],
            documents: &'a [String],
        }
        let mut text = Vec::new();
        for (sample, documents) in self.dense.iter().zip(fused) {
            let RankedSample {
                query_id,
                query,
                positive,
                ..
            } = sample;
            let written = serde_json::to_writer(
                &mut text,
                &Prediction {
                    query_id,
                    query,
                    positive,
                    documents,
                },
            );
            written
                .map_err(std::io::Error::from)
                .and_then(|()| text.write_all(b"\n"))
                .map_err(|source| Error::write(path, source))?;
        }
        Ok(sparse_files::write(path, text)?)
    }
}

/// Names of the figures, without the evaluator's name.
pub(crate) fn fusion_names(at_k: usize) -> Vec<String> {
    let sides = ["dense_", "sparse_", ""].into_iter();
    let figures = move |side| {
        [
            "map".to_owned(),
            format!("mrr@{at_k}"),
            format!("ndcg@{at_k}"),
        ]
        .map(|figure| format!("{side}{figure}"))
    };
    sides.flat_map(figures).collect()
}

impl Evaluator for ReciprocalRankFusionEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "ReciprocalRankFusionEvaluator"
    }

    fn description(&self) -> &'static str {
        "Reciprocal Rank Fusion"
    }

    fn evaluate(&self, _: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        self.judge(run)
    }

    fn metric_names(&self, _: SimilarityFunction) -> Option<Vec<String>> {
        let names = fusion_names(self.config.at_k);
        Some(common::all_named(&self.config.name, names))
    }

    fn primary_metric(&self) -> Option<String> {
        Some(common::named(
            &self.config.name,
            &format!("ndcg@{}", self.config.at_k),
        ))
    }

    fn config(&self) -> Map<String, Value> {
        let entries = [
            ("at_k", Value::from(self.config.at_k)),
            ("rrf_k", Value::from(self.config.rrf_k)),
            (
                "write_predictions",
                Value::from(self.config.write_predictions),
            ),
        ];
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(positive: &str, documents: &[&str]) -> RankedSample {
        RankedSample {
            query_id: "q".to_owned(),
            query: String::new(),
            positive: vec![positive.to_owned()],
            documents: documents.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn ties_keep_the_dense_order() {
        // a and p tie at 1/61 + 1/62.
        let fused = fuse(&[&["a", "p", "b"], &["p", "a"]], 60);
        assert_eq!(
            fused.iter().map(|entry| entry.0).collect::<Vec<_>>(),
            ["a", "p", "b"]
        );
        assert_eq!(fused[0].1, 1.0 / 61.0 + 1.0 / 62.0);
    }

    #[test]
    fn a_document_of_both_rankings_outranks_the_first_of_one() {
        let fused = fuse(&[&["a", "b", "p"], &["c", "d", "p"]], 60);
        assert_eq!(fused[0].0, "p");
    }

    #[test]
    fn figures_of_the_reference() {
        let (dense, sparse) = (sample("p", &["a", "p", "b"]), sample("p", &["p", "a"]));
        let evaluator =
            ReciprocalRankFusionEvaluator::new(vec![dense], vec![sparse], Default::default())
                .unwrap();
        let metrics = evaluator.judge(&EvaluationRun::default()).unwrap();
        for (name, expected) in [
            ("dense_mrr@10", 0.5),
            ("dense_ndcg@10", 0.63093),
            ("sparse_mrr@10", 1.0),
            ("sparse_ndcg@10", 1.0),
            ("mrr@10", 0.5),
            ("ndcg@10", 0.63093),
        ] {
            let value = metrics.get(name).unwrap();
            assert!((value - expected).abs() < 1e-5, "{name}: {value}");
        }
    }

    #[test]
    fn a_single_retrieved_positive_is_perfect() {
        let one = || vec![sample("p", &["p"])];
        let evaluator =
            ReciprocalRankFusionEvaluator::new(one(), one(), Default::default()).unwrap();
        let metrics = evaluator.judge(&EvaluationRun::default()).unwrap();
        assert!(metrics.iter().all(|(_, value)| value == 1.0), "{metrics}");
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let line = |id: &str| {
            format!(
                "{{\"query_id\": \"{id}\", \"query\": \"\", \"positive\": \"p\", \"documents\": [\"p\"]}}\n"
            )
        };
        std::fs::write(path("dense"), line("q") + &line("r")).unwrap();
        let message = |sparse: &str| {
            std::fs::write(path("sparse"), sparse).unwrap();
            let config = ReciprocalRankFusionConfig {
                dense_samples: Some(path("dense")),
                sparse_samples: Some(path("sparse")),
                ..Default::default()
            };
            config.init().unwrap_err().to_string()
        };
        assert!(message("").ends_with("sparse` holds no ranking"));
        let short = message(&line("q"));
        assert!(
            short.contains("sparse` can't be used: dense_samples, sparse_samples"),
            "{short}"
        );
        let other = message(&(line("r") + &line("q")));
        assert!(
            other.contains("sparse` can't be used: query ids differ at index 0"),
            "{other}"
        );
    }

    #[test]
    fn no_damping_is_too_large() {
        let fused = fuse(&[&["a", "b"]], usize::MAX);
        assert!(fused.iter().all(|(_, score)| *score > 0.0));
    }
}
