//! Settings of retrieval evaluations.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sparse_index::SimilarityFunction;

use super::InformationRetrievalEvaluator;
use crate::retrieval::{Collection, Cutoffs, RetrievalFiles};
use crate::{Error, Result};

/// Settings of an [`InformationRetrievalEvaluator`], with its files when it comes from a configuration file: either
/// `retrieval` and `split`, or `queries`, `corpus` and `qrels`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InformationRetrievalConfig {
    /// Prefix of the figures' names and part of file names.
    pub name: String,
    /// Folder with `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<PathBuf>,
    /// Which judgements of the folder to use.
    pub split: String,
    /// JSON lines `{"_id": …, "text": …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queries: Option<PathBuf>,
    /// JSON lines `{"_id": …, "title": …, "text": …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus: Option<PathBuf>,
    /// Tab-separated `query-id`, `corpus-id`, `score`, with or without a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qrels: Option<PathBuf>,
    /// Documents after which the vectors held are searched and dropped; figures do not depend on it.
    pub corpus_chunk_size: usize,
    /// Ranks for the reciprocal rank.
    pub mrr_at_k: Vec<usize>,
    /// Ranks for the normalized discounted cumulative gain; the largest gives the primary figure.
    pub ndcg_at_k: Vec<usize>,
    /// Ranks for the share of queries with any relevant document.
    pub accuracy_at_k: Vec<usize>,
    /// Ranks for precision and recall.
    pub precision_recall_at_k: Vec<usize>,
    /// Ranks for the mean average precision.
    pub map_at_k: Vec<usize>,
    /// Whether a document's gain in `ndcg` is its grade, as in `trec_eval`, rather than 1, as in the reference.
    pub graded_gains: bool,
    /// Similarities to rank by; the model's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_functions: Option<Vec<SimilarityFunction>>,
    /// Similarity whose figure is the primary one; the best of the first evaluation if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_score_function: Option<SimilarityFunction>,
    /// Text in front of every query, instead of the model's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prompt: Option<String>,
    /// Name of the model's prompt for queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prompt_name: Option<String>,
    /// Text in front of every document, instead of the model's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus_prompt: Option<String>,
    /// Name of the model's prompt for documents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus_prompt_name: Option<String>,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to a CSV file in the output folder.
    pub write_csv: bool,
    /// Whether rankings are written to the output folder.
    pub write_predictions: bool,
}

/// What tells grades apart.
pub(crate) const GRADES_REMEDY: &str =
    ", as in the reference; `graded_gains = true` makes them the gains of ndcg, as in trec_eval";

impl Default for InformationRetrievalConfig {
    fn default() -> Self {
        let Cutoffs {
            mrr_at_k,
            ndcg_at_k,
            accuracy_at_k,
            precision_recall_at_k,
            map_at_k,
            graded_gains,
        } = Cutoffs::default();
        Self {
            name: String::new(),
            retrieval: None,
            split: "test".to_owned(),
            queries: None,
            corpus: None,
            qrels: None,
            corpus_chunk_size: 50_000,
            mrr_at_k,
            ndcg_at_k,
            accuracy_at_k,
            precision_recall_at_k,
            map_at_k,
            graded_gains,
            score_functions: None,
            main_score_function: None,
            query_prompt: None,
            query_prompt_name: None,
            corpus_prompt: None,
            corpus_prompt_name: None,
            batch_size: 32,
            max_active_dims: None,
            write_csv: true,
            write_predictions: false,
        }
    }
}

impl InformationRetrievalConfig {
    /// Checks the settings and which files are named, without reading them.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        self.files()?;
        self.validate_settings()
    }

    pub(crate) fn validate_settings(&self) -> Result<()> {
        self.cutoffs().validate()?;
        let sizes = [
            ("corpus_chunk_size", Some(self.corpus_chunk_size)),
            ("batch_size", Some(self.batch_size)),
            ("max_active_dims", self.max_active_dims),
        ];
        if let Some((name, _)) = sizes.into_iter().find(|size| size.1 == Some(0)) {
            return Err(Error::option(name, "must be at least 1; got 0"));
        }
        if self.score_functions.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::option(
                "score_functions",
                "must name at least one similarity",
            ));
        }
        if let (Some(main), Some(functions)) = (self.main_score_function, &self.score_functions)
            && !functions.contains(&main)
        {
            let problem = format!("must be one of `score_functions`; got {main}");
            return Err(Error::option("main_score_function", problem));
        }
        Ok(())
    }

    /// Where the collection lies.
    ///
    /// # Errors
    ///
    /// If neither a folder nor three files are given, or both.
    pub fn files(&self) -> Result<RetrievalFiles> {
        let given = [
            ("queries", &self.queries),
            ("corpus", &self.corpus),
            ("qrels", &self.qrels),
        ];
        match (&self.retrieval, &self.queries, &self.corpus, &self.qrels) {
            (Some(folder), None, None, None) => Ok(RetrievalFiles::in_folder(folder, &self.split)),
            (None, Some(queries), Some(corpus), Some(qrels)) => Ok(RetrievalFiles {
                queries: queries.clone(),
                corpus: corpus.clone(),
                qrels: qrels.clone(),
            }),
            (Some(_), ..) => Err(Error::option(
                "retrieval",
                "names a folder; give it or `queries`, `corpus` and `qrels`, not both",
            )),
            _ => {
                let missing = given
                    .iter()
                    .find(|file| file.1.is_none())
                    .map_or("qrels", |file| file.0);
                Err(Error::option(
                    missing,
                    "is missing: give `queries`, `corpus` and `qrels`, or a `retrieval` folder",
                ))
            }
        }
    }

    /// The ranks at which figures are taken.
    pub fn cutoffs(&self) -> Cutoffs {
        Cutoffs {
            mrr_at_k: self.mrr_at_k.clone(),
            ndcg_at_k: self.ndcg_at_k.clone(),
            accuracy_at_k: self.accuracy_at_k.clone(),
            precision_recall_at_k: self.precision_recall_at_k.clone(),
            map_at_k: self.map_at_k.clone(),
            graded_gains: self.graded_gains,
        }
    }

    /// Reads the files and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong.
    pub fn init(&self) -> Result<InformationRetrievalEvaluator> {
        self.validate()?;
        let files = self.files()?;
        let collection = Collection::load(&files)?;
        if !self.graded_gains {
            collection.warn_of_grades(&files.qrels, GRADES_REMEDY);
        }
        InformationRetrievalEvaluator::new(collection, self.clone())
    }
}
