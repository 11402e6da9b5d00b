//! Retrieval over the small collections of NanoBEIR.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_hub::{Hub, HubOptions};
use sparse_index::{ActiveCounts, SimilarityFunction};
use sparse_model::SparseEncoder;

use super::common::{self, Primary};
use super::information_retrieval::{GRADES_REMEDY, choose_primary, csv_columns, sparsity_figures};
use super::{EvaluationRun, Evaluator, InformationRetrievalConfig, InformationRetrievalEvaluator};
use crate::retrieval::{Collection, RetrievalFiles, hub};
use crate::{Error, Metrics, Result, csv};

/// Short and long names of the collections, in the order of the default.
pub const NANO_BEIR_DATASETS: [(&str, &str); 13] = [
    ("climatefever", "NanoClimateFEVER"),
    ("dbpedia", "NanoDBPedia"),
    ("fever", "NanoFEVER"),
    ("fiqa2018", "NanoFiQA2018"),
    ("hotpotqa", "NanoHotpotQA"),
    ("msmarco", "NanoMSMARCO"),
    ("nfcorpus", "NanoNFCorpus"),
    ("nq", "NanoNQ"),
    ("quoraretrieval", "NanoQuoraRetrieval"),
    ("scidocs", "NanoSCIDOCS"),
    ("arguana", "NanoArguAna"),
    ("scifact", "NanoSciFact"),
    ("touche2020", "NanoTouche2020"),
];

/// A text for all collections, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a text, or a table with one for each collection"
)]
pub enum NanoBeirPrompts {
    /// The same for all.
    All(String),
    /// By short name, as given in `dataset_names`.
    PerDataset(BTreeMap<String, String>),
}

/// Settings of a [`NanoBeirEvaluator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NanoBeirConfig {
    /// Folder with one folder per collection, named `NanoMSMARCO` and so on, each with `corpus.jsonl`, `queries.jsonl` and
    /// `qrels/test.tsv`; `dataset_id` is loaded from the hub if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Short names of the collections; all thirteen if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_names: Option<Vec<String>>,
    /// Data set of the hub with the collections: configurations `corpus`, `queries` and `qrels`, a split for each long name.
    pub dataset_id: String,
    /// Directory that data of the hub are kept in; the usual one if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Uses nothing but that directory, no network.
    pub local_files_only: bool,
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
    /// Whether a document's gain in `ndcg` is its grade, as in `trec_eval`, rather than 1. Judgements of the hub have none.
    pub graded_gains: bool,
    /// Similarities to rank by; the model's own if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_functions: Option<Vec<SimilarityFunction>>,
    /// Similarity whose figure is the primary one; the best of the first evaluation if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_score_function: Option<SimilarityFunction>,
    /// Word for the mean in figure and file names.
    pub aggregate_key: String,
    /// Text in front of queries, instead of the model's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prompts: Option<NanoBeirPrompts>,
    /// Text in front of documents, instead of the model's prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corpus_prompts: Option<NanoBeirPrompts>,
    /// Texts per forward pass.
    pub batch_size: usize,
    /// Largest number of active dimensions per vector; the model's own limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active_dims: Option<usize>,
    /// Whether figures are appended to CSV files in the output folder.
    pub write_csv: bool,
    /// Whether rankings are written to the output folder.
    pub write_predictions: bool,
}

impl Default for NanoBeirConfig {
    fn default() -> Self {
        let retrieval = InformationRetrievalConfig::default();
        Self {
            folder: None,
            dataset_names: None,
            dataset_id: "sentence-transformers/NanoBEIR-en".to_owned(),
            cache_dir: None,
            local_files_only: false,
            mrr_at_k: retrieval.mrr_at_k,
            ndcg_at_k: retrieval.ndcg_at_k,
            accuracy_at_k: retrieval.accuracy_at_k,
            precision_recall_at_k: retrieval.precision_recall_at_k,
            map_at_k: retrieval.map_at_k,
            graded_gains: retrieval.graded_gains,
            score_functions: None,
            main_score_function: None,
            aggregate_key: "mean".to_owned(),
            query_prompts: None,
            corpus_prompts: None,
            batch_size: 32,
            max_active_dims: None,
            write_csv: true,
            write_predictions: false,
        }
    }
}

impl NanoBeirConfig {
    /// The collections to evaluate: as they are called in `dataset_names`, and by their long names.
    ///
    /// # Errors
    ///
    /// If the list is empty, holds an unknown name, or a map of prompts lacks one of its names.
    pub fn datasets(&self) -> Result<Vec<(String, &'static str)>> {
        let all = || {
            NANO_BEIR_DATASETS
                .iter()
                .map(|entry| entry.0.to_owned())
                .collect()
        };
        let names = self.dataset_names.clone().unwrap_or_else(all);
        if names.is_empty() {
            return Err(Error::option(
                "dataset_names",
                "must name at least one data set",
            ));
        }
        let long = |name: &String| {
            NANO_BEIR_DATASETS
                .iter()
                .find(|entry| entry.0 == name.to_lowercase())
        };
        let unknown = names
            .iter()
            .filter(|name| long(name).is_none())
            .map(String::as_str)
            .collect::<Vec<_>>();
        if !unknown.is_empty() {
            let valid = NANO_BEIR_DATASETS.map(|entry| entry.0).join(", ");
            let problem = format!(
                "holds the unknown {}; valid names are {valid}",
                unknown.join(", ")
            );
            return Err(Error::option("dataset_names", problem));
        }
        for (setting, prompts) in [
            ("query_prompts", &self.query_prompts),
            ("corpus_prompts", &self.corpus_prompts),
        ] {
            if let Some(NanoBeirPrompts::PerDataset(prompts)) = prompts {
                let missing = names
                    .iter()
                    .filter(|name| !prompts.contains_key(*name))
                    .map(String::as_str);
                let missing = missing.collect::<Vec<_>>();
                if !missing.is_empty() {
                    return Err(Error::option(
                        setting,
                        format!("lacks {}", missing.join(", ")),
                    ));
                }
            }
        }
        Ok(names
            .into_iter()
            .filter_map(|name| long(&name).map(|entry| (name, entry.1)))
            .collect())
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        self.datasets()
            .and_then(|names| self.retrieval_config(&names[0]).validate_settings())
    }

    /// Reads the collections, in `folder` or from the hub, and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong, or the hub lacks the data set or is out of reach.
    pub fn init(&self) -> Result<NanoBeirEvaluator> {
        self.validate()?;
        let datasets = self.datasets()?;
        let collections = match &self.folder {
            Some(folder) => datasets
                .iter()
                .map(|(_, long)| {
                    let files = RetrievalFiles::in_folder(&folder.join(long), "test");
                    let collection = Collection::load_without_empty(&files)?;
                    if !self.graded_gains {
                        collection.warn_of_grades(&files.qrels, GRADES_REMEDY);
                    }
                    Ok(collection)
                })
                .collect::<Result<Vec<_>>>()?,
            None => {
                let hub = Hub::new(HubOptions {
                    cache_dir: self.cache_dir.clone(),
                    local_files_only: self.local_files_only,
                    ..HubOptions::default()
                })?;
                let splits = datasets.iter().map(|entry| entry.1).collect::<Vec<_>>();
                hub::load(&hub, &self.dataset_id, &splits)?
            }
        };
        NanoBeirEvaluator::new(collections, self.clone())
    }

    fn retrieval_config(&self, (name, long): &(String, &str)) -> InformationRetrievalConfig {
        let prompt = |prompts: &Option<NanoBeirPrompts>| match prompts {
            Some(NanoBeirPrompts::All(prompt)) => Some(prompt.clone()),
            Some(NanoBeirPrompts::PerDataset(prompts)) => prompts.get(name).cloned(),
            None => None,
        };
        InformationRetrievalConfig {
            name: self.with_limit(long),
            mrr_at_k: self.mrr_at_k.clone(),
            ndcg_at_k: self.ndcg_at_k.clone(),
            accuracy_at_k: self.accuracy_at_k.clone(),
            precision_recall_at_k: self.precision_recall_at_k.clone(),
            map_at_k: self.map_at_k.clone(),
            graded_gains: self.graded_gains,
            score_functions: self.score_functions.clone(),
            main_score_function: self.main_score_function,
            query_prompt: prompt(&self.query_prompts),
            corpus_prompt: prompt(&self.corpus_prompts),
            batch_size: self.batch_size,
            max_active_dims: self.max_active_dims,
            write_csv: self.write_csv,
            write_predictions: self.write_predictions,
            ..InformationRetrievalConfig::default()
        }
    }

    /// The name, followed by the limit of active dimensions if there is one.
    fn with_limit(&self, name: &str) -> String {
        self.max_active_dims
            .map_or_else(|| name.to_owned(), |limit| format!("{name}_{limit}"))
    }
}

/// Evaluates retrieval on several collections and averages their figures.
///
/// Figures: those of every collection, as `NanoMSMARCO_dot_ndcg@10`, and their means, as `NanoBEIR_mean_dot_ndcg@10`. Active
/// dimensions are averaged with the numbers of queries and documents as weights, `avg_flops` is computed from all collections
/// together.
#[doc(alias = "SparseNanoBEIREvaluator")]
#[derive(Debug)]
pub struct NanoBeirEvaluator {
    evaluators: Vec<InformationRetrievalEvaluator>,
    name: String,
    config: NanoBeirConfig,
    primary: Primary,
}

impl NanoBeirEvaluator {
    /// Builds an evaluator over collections in the order of [`NanoBeirConfig::datasets`].
    ///
    /// # Errors
    ///
    /// If a setting is wrong or there is not one collection per name.
    pub fn new(collections: Vec<Collection>, config: NanoBeirConfig) -> Result<Self> {
        config.validate()?;
        let datasets = config.datasets()?;
        crate::error::check_lengths(
            &["collections", "dataset_names"],
            &[collections.len(), datasets.len()],
        )?;
        let evaluators = datasets.iter().zip(collections).map(|(names, collection)| {
            InformationRetrievalEvaluator::new(collection, config.retrieval_config(names))
        });
        let evaluators = evaluators.collect::<Result<Vec<_>>>()?;
        let name = config.with_limit(&format!("NanoBEIR_{}", config.aggregate_key));
        let main = config.main_score_function;
        let primary = main.map(|main| format!("{main}_{}", evaluators[0].cutoffs().primary()));
        Ok(Self {
            evaluators,
            name,
            config,
            primary: Primary::new(primary),
        })
    }
}

impl Evaluator for NanoBeirEvaluator {
    fn name(&self) -> &str {
        &self.name
    }

    fn class_name(&self) -> &'static str {
        "SparseNanoBEIREvaluator"
    }

    fn description(&self) -> &'static str {
        "Sparse Nano BEIR"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let mut metrics = Metrics::new();
        let mut sums = Metrics::new();
        let (mut queries, mut corpus) = (ActiveCounts::new(), ActiveCounts::new());
        let mut functions = Vec::new();
        for evaluator in &self.evaluators {
            let report = evaluator.report(encoder, encoder, run)?;
            evaluator.write(&report, run)?;
            metrics.extend(report.metrics.prefixed(evaluator.name()));
            queries.merge(&report.query_counts);
            corpus.merge(&report.corpus_counts);
            functions = report.runs.into_iter().map(|run| run.name).collect();
            for (name, value) in report.metrics {
                let sum = sums.get(&name).unwrap_or(0.0);
                sums.insert(name, sum + value);
            }
        }
        let count = self.evaluators.len() as f64;
        let mut means = sums
            .into_iter()
            .map(|(name, sum)| (name, sum / count))
            .collect::<Metrics>();
        means.extend(sparsity_figures(&queries, &corpus));

        let cutoffs = self.evaluators[0].cutoffs();
        let names = functions.iter().map(String::as_str);
        let primary = choose_primary(&self.primary, &means, names, cutoffs);

        tracing::info!(
            "NanoBEIR evaluation{run} on {} data sets",
            self.evaluators.len()
        );
        tracing::info!("Average Queries: {:.1}", queries.n_rows() as f64 / count);
        tracing::info!("Average Corpus: {:.1}", corpus.n_rows() as f64 / count);
        tracing::info!("{means}");
        if let Some(folder) = run.output_path.as_ref().filter(|_| self.config.write_csv) {
            let functions = functions.iter().map(String::as_str).collect::<Vec<_>>();
            let file = format!(
                "NanoBEIR_evaluation_{}_results.csv",
                self.config.aggregate_key
            );
            csv::append(
                folder,
                &file,
                run,
                &csv_columns(&means, &functions, cutoffs),
            )?;
        }
        metrics.extend(means.prefixed(&self.name));
        Ok(metrics.with_primary(common::named(&self.name, &primary)))
    }

    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        for evaluator in &self.evaluators {
            names.extend(evaluator.metric_names(own)?);
        }
        // The means have the names of one data set's figures.
        let first = self.evaluators.first()?;
        names.extend(common::all_named(&self.name, first.own_names(own)));
        Some(names)
    }

    fn primary_metric(&self) -> Option<String> {
        self.primary
            .get()
            .map(|primary| common::named(&self.name, &primary))
    }

    fn config(&self) -> Map<String, Value> {
        let names = self
            .config
            .datasets()
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.0);
        let mut config = Map::new();
        config.insert("dataset_names".to_owned(), names.collect());
        config.insert(
            "dataset_id".to_owned(),
            Value::from(self.config.dataset_id.clone()),
        );
        let prompts = [
            ("query_prompts", &self.config.query_prompts),
            ("corpus_prompts", &self.config.corpus_prompts),
        ];
        for (key, prompts) in prompts {
            if let Some(prompts) = prompts {
                config.insert(key.to_owned(), serde_json::json!(prompts));
            }
        }
        config.extend(common::limit_config(self.config.max_active_dims));
        config
    }

    fn is_retrieval(&self) -> bool {
        true
    }

    fn children(&self) -> Vec<&dyn Evaluator> {
        self.evaluators
            .iter()
            .map(|evaluator| evaluator as &dyn Evaluator)
            .collect()
    }

    fn retrievals(&self) -> Vec<&InformationRetrievalEvaluator> {
        self.evaluators.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_read_from_a_folder_without_empty_texts() {
        let folder = tempfile::tempdir().unwrap();
        let nq = folder.path().join("NanoNQ");
        std::fs::create_dir_all(nq.join("qrels")).unwrap();
        let write = |file: &str, text: &str| std::fs::write(nq.join(file), text).unwrap();
        write(
            "queries.jsonl",
            "{\"_id\": \"q\", \"text\": \"who\"}\n{\"_id\": \"r\", \"text\": \" \"}\n",
        );
        write(
            "corpus.jsonl",
            "{\"_id\": \"a\", \"text\": \"he\"}\n{\"_id\": \"b\", \"text\": \"\"}\n",
        );
        write("qrels/test.tsv", "q\ta\t1\nq\tb\t1\nr\ta\t1\n");
        let config = NanoBeirConfig {
            folder: Some(folder.path().to_owned()),
            dataset_names: Some(vec!["nq".to_owned()]),
            ..NanoBeirConfig::default()
        };
        let evaluator = config.init().unwrap();
        let collection = evaluator.evaluators[0].collection();
        assert_eq!(
            (collection.query_ids(), collection.document_ids()),
            (&["q".to_owned()][..], &["a".to_owned()][..])
        );
        assert_eq!(collection.n_relevant(0), 2);
        assert_eq!(
            (evaluator.name(), evaluator.children()[0].name()),
            ("NanoBEIR_mean", "NanoNQ")
        );
    }

    #[test]
    fn unknown_names_are_told_the_valid_ones() {
        let names = |names: &[&str]| NanoBeirConfig {
            dataset_names: Some(names.iter().map(|name| (*name).to_owned()).collect()),
            ..NanoBeirConfig::default()
        };
        let message = names(&["nothing", "MSMARCO"])
            .validate()
            .unwrap_err()
            .to_string();
        assert!(message.starts_with(
            "`dataset_names` holds the unknown nothing; valid names are climatefever, dbpedia"
        ));
        assert!(names(&[]).validate().is_err());
        assert_eq!(
            names(&["MSMARCO"]).datasets().unwrap(),
            [("MSMARCO".to_owned(), "NanoMSMARCO")]
        );
        assert_eq!(NanoBeirConfig::default().datasets().unwrap().len(), 13);
        let prompts = NanoBeirPrompts::PerDataset([("nq".to_owned(), "query: ".to_owned())].into());
        let config = NanoBeirConfig {
            query_prompts: Some(prompts),
            ..names(&["nq", "fever"])
        };
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "`query_prompts` lacks fever"
        );
    }
}
