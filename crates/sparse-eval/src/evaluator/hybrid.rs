//! Hybrid search: what a dense ranking and the model's own would reach together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::SimilarityFunction;
use sparse_model::SparseEncoder;

use super::information_retrieval::{COST_NAMES, sparsity_figures};
use super::reciprocal_rank_fusion::{check_rank, fusion_names};
use super::{
    EvaluationRun, Evaluator, InformationRetrievalConfig, InformationRetrievalEvaluator,
    RankedSample, ReciprocalRankFusionConfig, ReciprocalRankFusionEvaluator, common,
};
use crate::retrieval::{Collection, RetrievalRun};
use crate::{Error, Metrics, Result};

/// Settings of a [`HybridEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HybridConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// Folder with `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<PathBuf>,
    /// Which judgements of the folder to use.
    pub split: String,
    /// Dense rankings of the same queries over the same corpus, as a TREC run file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dense_run: Option<PathBuf>,
    /// Documents of either ranking that are fused.
    pub top_k: usize,
    /// Rank at which reciprocal rank and gain are taken.
    pub at_k: usize,
    /// Damping of the ranks: the larger, the less the first ranks weigh.
    pub rrf_k: usize,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
    /// Whether the fused rankings are written to the output folder.
    pub write_predictions: bool,
}

impl Default for HybridConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            retrieval: None,
            split: "test".to_owned(),
            dense_run: None,
            top_k: 100,
            at_k: 10,
            rrf_k: 60,
            batch_size: 32,
            max_active_dims: None,
            write_csv: true,
            write_predictions: false,
        }
    }
}

impl HybridConfig {
    /// Checks the settings and which files are named, without reading them.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        self.dense_run()?;
        check_rank(self.at_k)?;
        if self.top_k == 0 {
            return Err(Error::option("top_k", "must be at least 1; got 0"));
        }
        self.search().validate()
    }

    /// Reads the files and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong, or the dense run lacks all queries or ranks an unknown document.
    pub fn init(&self) -> Result<HybridEvaluator> {
        self.validate()?;
        let search = self.search();
        let files = search.files()?;
        let collection = Collection::load(&files)?;
        collection.warn_of_grades(&files.qrels, "");
        let search = InformationRetrievalEvaluator::new(collection, search)?;
        let dense = RetrievalRun::read_trec(self.dense_run()?, search.collection())?;
        Ok(HybridEvaluator {
            search,
            dense,
            config: self.clone(),
        })
    }

    fn dense_run(&self) -> Result<&Path> {
        self.dense_run
            .as_deref()
            .ok_or_else(|| Error::option("dense_run", "is missing: a TREC run file"))
    }

    fn search(&self) -> InformationRetrievalConfig {
        InformationRetrievalConfig {
            name: self.name.clone(),
            retrieval: self.retrieval.clone(),
            split: self.split.clone(),
            map_at_k: vec![self.top_k],
            batch_size: self.batch_size,
            max_active_dims: self.max_active_dims,
            ..InformationRetrievalConfig::default()
        }
    }
}

/// Searches with an encoder and fuses what it finds with dense rankings made before, by
/// [reciprocal ranks](crate::fuse).
///
/// Figures: those of [`ReciprocalRankFusionEvaluator`], where relevant documents that the corpus lacks don't count, and what
/// the vectors cost. Documents that share no dimension with a query are not found by the sparse side.
#[derive(Debug)]
pub struct HybridEvaluator {
    search: InformationRetrievalEvaluator,
    dense: RetrievalRun,
    config: HybridConfig,
}

impl HybridEvaluator {
    /// Rankings by id, of the documents whose score is `found`.
    fn samples(&self, run: &RetrievalRun, found: fn(f32) -> bool) -> Vec<RankedSample> {
        let collection = self.search.collection();
        let id = |position: u32| collection.document_ids()[position as usize].clone();
        let sample = |(query, hits): (usize, &Vec<sparse_index::Hit>)| {
            let found = hits.iter().filter(|hit| found(hit.score));
            RankedSample {
                query_id: collection.query_ids()[query].clone(),
                query: collection.queries()[query].clone(),
                positive: collection.relevant(query).map(id).collect(),
                documents: found
                    .take(self.config.top_k)
                    .map(|hit| id(hit.document))
                    .collect(),
            }
        };
        run.rankings.iter().enumerate().map(sample).collect()
    }
}

impl Evaluator for HybridEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "ReciprocalRankFusionEvaluator"
    }

    fn description(&self) -> &'static str {
        "Reciprocal Rank Fusion"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let report = self.search.report(encoder, encoder, run)?;
        let sparse = report
            .runs
            .first()
            .map(|run| self.samples(run, |score| score != 0.0));
        let config = ReciprocalRankFusionConfig {
            name: self.config.name.clone(),
            at_k: self.config.at_k,
            rrf_k: self.config.rrf_k,
            write_csv: self.config.write_csv,
            write_predictions: self.config.write_predictions,
            ..ReciprocalRankFusionConfig::default()
        };
        let fusion = ReciprocalRankFusionEvaluator::new(
            self.samples(&self.dense, |_| true),
            sparse.unwrap_or_default(),
            config,
        )?;
        let mut metrics = fusion.judge(run)?;
        let costs = sparsity_figures(&report.query_counts, &report.corpus_counts);
        metrics.extend(costs.map(|(name, value)| (common::named(&self.config.name, &name), value)));
        Ok(metrics)
    }

    fn metric_names(&self, _: SimilarityFunction) -> Option<Vec<String>> {
        let names = fusion_names(self.config.at_k).into_iter();
        let names = names.chain(COST_NAMES.map(str::to_owned)).collect();
        Some(common::all_named(&self.config.name, names))
    }

    fn primary_metric(&self) -> Option<String> {
        let key = format!("ndcg@{}", self.config.at_k);
        Some(common::named(&self.config.name, &key))
    }

    fn config(&self) -> Map<String, Value> {
        let entries = [("at_k", self.config.at_k), ("rrf_k", self.config.rrf_k)];
        let entries = entries.map(|(key, value)| (key.to_owned(), Value::from(value)));
        entries
            .into_iter()
            .chain(common::limit_config(self.config.max_active_dims))
            .collect()
    }

    fn is_retrieval(&self) -> bool {
        true
    }
}
