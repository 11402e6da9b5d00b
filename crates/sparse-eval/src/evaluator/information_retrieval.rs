//! Retrieval: queries search a corpus.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sparse_index::{ActiveCounts, IndexCost, SimilarityFunction, SparseMatrix};
use sparse_model::{EncodeOptions, SparseEncoder};

use super::{EvaluationProgress, EvaluationRun, Evaluator};
use crate::csv;
use crate::retrieval::{Bm25, Collection, Cutoffs, Ranker, RetrievalFiles, RetrievalRun};
use crate::{Error, Metrics, Result};

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
    /// Documents that are held and searched at once, at most; figures do not depend on it.
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

impl Default for InformationRetrievalConfig {
    fn default() -> Self {
        let Cutoffs {
            mrr_at_k,
            ndcg_at_k,
            accuracy_at_k,
            precision_recall_at_k,
            map_at_k,
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
        }
    }

    /// Reads the files and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong.
    pub fn init(&self) -> Result<InformationRetrievalEvaluator> {
        self.validate()?;
        let collection = Collection::load(&self.files()?)?;
        InformationRetrievalEvaluator::new(collection, self.clone())
    }
}

/// Queries search a corpus; the rankings are compared with what is known to be relevant.
///
/// Figures per similarity function `fn`: `fn_accuracy@k`, `fn_precision@k`, `fn_recall@k`, `fn_ndcg@k`, `fn_mrr@k`,
/// `fn_map@k`; then what the vectors cost: `query_active_dims`, `query_sparsity_ratio`, `corpus_active_dims`,
/// `corpus_sparsity_ratio`, `avg_flops`. Documents of equal score are ranked by ascending id. No figure depends on batch
/// size, chunk size, threads or the order of the corpus.
#[doc(alias = "SparseInformationRetrievalEvaluator")]
#[derive(Debug)]
pub struct InformationRetrievalEvaluator {
    collection: Arc<Collection>,
    config: InformationRetrievalConfig,
    cutoffs: Cutoffs,
    /// Known after the first evaluation, unless the settings say it.
    primary: Mutex<Option<String>>,
}

/// All that an evaluation found out.
#[derive(Debug, Clone)]
pub struct RetrievalReport {
    /// The figures, without the evaluator's name.
    pub metrics: Metrics,
    /// The rankings behind them, one per similarity function.
    pub runs: Vec<RetrievalRun>,
    /// In how many queries each dimension is active.
    pub query_counts: ActiveCounts,
    /// In how many documents each dimension is active.
    pub corpus_counts: ActiveCounts,
    /// What searching cost, per similarity function.
    pub costs: Vec<SearchCost>,
}

/// What a search cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchCost {
    /// Name of the similarity function.
    pub name: String,
    /// Sizes of the index; 0 bytes for a similarity that works without.
    pub index: IndexCost,
    /// Mean time of a query in µs, searching in batches on all threads.
    pub microseconds_per_query: f64,
}

impl InformationRetrievalEvaluator {
    /// Most entries of the part of a corpus that is searched at once: what a dense model would make of a large corpus
    /// does not fit in memory.
    const MAX_ENTRIES: usize = 1 << 24;
    /// Documents per `encode` call.
    const ENCODE_SIZE: usize = 512;

    /// Builds an evaluator over `collection`; the file names of `config` are ignored.
    ///
    /// # Errors
    ///
    /// If a setting is wrong.
    pub fn new(
        collection: impl Into<Arc<Collection>>,
        config: InformationRetrievalConfig,
    ) -> Result<Self> {
        config.validate_settings()?;
        let cutoffs = config.cutoffs();
        let primary = config
            .main_score_function
            .map(|main| format!("{main}_{}", cutoffs.primary()));
        Ok(Self {
            collection: collection.into(),
            config,
            cutoffs,
            primary: Mutex::new(primary),
        })
    }

    /// The queries and documents.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The settings.
    pub fn settings(&self) -> &InformationRetrievalConfig {
        &self.config
    }

    /// The ranks at which figures are taken.
    pub fn cutoffs(&self) -> &Cutoffs {
        &self.cutoffs
    }

    /// Evaluates `encoder` for queries and `corpus_encoder` for documents, and returns rankings and costs beside the figures.
    ///
    /// # Errors
    ///
    /// If an encoder fails or the two differ in dimension.
    pub fn report(
        &self,
        encoder: &SparseEncoder,
        corpus_encoder: &SparseEncoder,
        run: &EvaluationRun,
    ) -> Result<RetrievalReport> {
        let queries = self.encode_queries(encoder, run)?;
        let mut judge = self.judge(&queries, encoder.similarity_fn());
        let documents = self.collection.documents();
        let options = self.options(&self.config.corpus_prompt, &self.config.corpus_prompt_name);
        let piece = Self::ENCODE_SIZE.min(self.config.corpus_chunk_size);
        for (number, texts) in documents.chunks(piece).enumerate() {
            let options = with_progress(&options, run, "corpus", number * piece, documents.len());
            judge.add(corpus_encoder.encode_document(texts, &options)?)?;
        }
        judge.finish()
    }

    /// Evaluates given vectors: one row per query and per document, in the order of [`Collection::query_ids`] and
    /// [`Collection::document_ids`]. `own` is the similarity to use where the settings name none.
    ///
    /// # Errors
    ///
    /// If the number of rows or their dimensions do not fit.
    pub fn report_on_vectors(
        &self,
        queries: &SparseMatrix,
        corpus: &SparseMatrix,
        own: SimilarityFunction,
    ) -> Result<RetrievalReport> {
        let expected = [
            self.collection.query_ids().len(),
            self.collection.document_ids().len(),
        ];
        for (name, expected, matrix) in [
            ("query", expected[0], queries),
            ("document", expected[1], corpus),
        ] {
            if matrix.n_rows() != expected {
                let actual = matrix.n_rows();
                return Err(Error::Data(format!(
                    "expected {expected} {name} vectors, got {actual}"
                )));
            }
        }
        let mut judge = self.judge(queries, own);
        let rows = (0..corpus.n_rows()).collect::<Vec<_>>();
        for rows in rows.chunks(self.config.corpus_chunk_size) {
            judge.add(corpus.select(rows))?;
        }
        judge.finish()
    }

    /// Vectors of the queries.
    ///
    /// # Errors
    ///
    /// If the encoder fails.
    pub fn encode_queries(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
    ) -> Result<SparseMatrix> {
        let queries = self.collection.queries();
        let options = self.options(&self.config.query_prompt, &self.config.query_prompt_name);
        let options = with_progress(&options, run, "queries", 0, queries.len());
        Ok(encoder.encode_query(queries, &options)?)
    }

    /// Writes the files that `run` and the settings ask for.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write(&self, report: &RetrievalReport, run: &EvaluationRun) -> Result<()> {
        let Some(folder) = &run.output_path else {
            return Ok(());
        };
        let stem = format!(
            "Information-Retrieval_evaluation{}",
            csv::suffix(&self.config.name)
        );
        if self.config.write_csv {
            let names = report
                .runs
                .iter()
                .map(|run| run.name.as_str())
                .collect::<Vec<_>>();
            let columns = csv_columns(&report.metrics, &names, &self.cutoffs);
            csv::append(folder, &format!("{stem}_results.csv"), run, &columns)?;
        }
        if self.config.write_predictions {
            std::fs::create_dir_all(folder).map_err(|source| Error::write(folder, source))?;
            for run in &report.runs {
                let path = folder.join(format!("{stem}_predictions_{}.jsonl", run.name));
                run.write_predictions(&self.collection, &path)?;
            }
        }
        Ok(())
    }

    fn options(&self, prompt: &Option<String>, prompt_name: &Option<String>) -> EncodeOptions {
        EncodeOptions {
            batch_size: self.config.batch_size,
            prompt: prompt.clone(),
            prompt_name: prompt_name.clone(),
            max_active_dims: self.config.max_active_dims,
            ..EncodeOptions::default()
        }
    }

    fn judge(&self, queries: &SparseMatrix, own: SimilarityFunction) -> Judge<'_> {
        let mut functions = self
            .config
            .score_functions
            .clone()
            .unwrap_or_else(|| vec![own]);
        if let Some(main) = self
            .config
            .main_score_function
            .filter(|main| !functions.contains(main))
        {
            functions.push(main);
        }
        let mut query_counts = ActiveCounts::new();
        query_counts.add(queries);
        let max_k = self.cutoffs.max_k();
        Judge {
            evaluator: self,
            rankers: functions
                .iter()
                .map(|&function| Ranker::new(function, queries, max_k))
                .collect(),
            query_counts,
            corpus_counts: ActiveCounts::new(),
            pending: SparseMatrix::new(queries.n_cols()),
        }
    }

    /// The primary figure: the one set or found before, if it was computed, else the best of the candidates.
    fn choose_primary(&self, metrics: &Metrics, runs: &[RetrievalRun]) -> String {
        let mut primary = self.primary.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = primary.as_ref().filter(|name| metrics.get(name).is_some()) {
            return name.clone();
        }
        let names = runs
            .iter()
            .map(|run| format!("{}_{}", run.name, self.cutoffs.primary()));
        // The first of equals, as in the reference.
        let best = names.reduce(|best, name| {
            if metrics.get(&name) > metrics.get(&best) {
                name
            } else {
                best
            }
        });
        let best = best.unwrap_or_default();
        *primary = Some(best.clone());
        best
    }

    fn log(&self, report: &RetrievalReport, run: &EvaluationRun) {
        let (name, collection) = (&self.config.name, &self.collection);
        tracing::info!("information retrieval evaluation{run} on the {name} dataset");
        tracing::info!(
            queries = collection.query_ids().len(),
            corpus = collection.document_ids().len()
        );
        for run in &report.runs {
            for name in self.cutoffs.names() {
                let key = format!("{}_{name}", run.name);
                let value = report.metrics.get(&key).unwrap_or(f64::NAN);
                match ["accuracy", "precision", "recall"]
                    .iter()
                    .any(|kind| name.starts_with(kind))
                {
                    true => tracing::info!("{key}: {:.2}%", value * 100.0),
                    false => tracing::info!("{key}: {value:.4}"),
                }
            }
        }
        for (side, counts) in [
            ("Query", &report.query_counts),
            ("Corpus", &report.corpus_counts),
        ] {
            let sparsity = counts.sparsity();
            let (dims, ratio) = (sparsity.active_dims, sparsity.sparsity_ratio);
            tracing::info!(
                "Model {side} Sparsity: Active Dimensions: {dims:.1}, Sparsity Ratio: {ratio:.4}"
            );
        }
        tracing::info!(
            "Average FLOPS: {:.2}",
            report.metrics.get("avg_flops").unwrap_or_default()
        );
    }
}

impl Evaluator for InformationRetrievalEvaluator {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn class_name(&self) -> &'static str {
        "SparseInformationRetrievalEvaluator"
    }

    fn description(&self) -> &'static str {
        "Sparse Information Retrieval"
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let report = self.report(encoder, encoder, run)?;
        self.log(&report, run);
        self.write(&report, run)?;
        Ok(report.metrics.prefixed(&self.config.name))
    }

    fn primary_metric(&self) -> Option<String> {
        let primary = self
            .primary
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()?;
        match self.config.name.as_str() {
            "" => Some(primary),
            name => Some(format!("{name}_{primary}")),
        }
    }

    fn config(&self) -> Map<String, Value> {
        let settings = &self.config;
        let prompts = [
            ("query_prompt", &settings.query_prompt),
            ("query_prompt_name", &settings.query_prompt_name),
            ("corpus_prompt", &settings.corpus_prompt),
            ("corpus_prompt_name", &settings.corpus_prompt_name),
        ];
        let prompts = prompts
            .into_iter()
            .filter_map(|(key, value)| Some((key, Value::from(value.clone()?))));
        let max_active_dims = settings
            .max_active_dims
            .map(|limit| ("max_active_dims", Value::from(limit)));
        max_active_dims
            .into_iter()
            .chain(prompts)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn is_retrieval(&self) -> bool {
        true
    }

    fn bm25(&self) -> Result<Option<Metrics>> {
        let run = Bm25::default().rank(&self.collection, self.cutoffs.max_k())?;
        let figures = self.cutoffs.figures(&self.collection, &run).into_iter();
        let metrics = figures
            .map(|(name, value)| (format!("bm25_{name}"), value))
            .collect::<Metrics>();
        let metrics = metrics.with_primary(format!("bm25_{}", self.cutoffs.primary()));
        Ok(Some(metrics.prefixed(&self.config.name)))
    }
}

/// An evaluation under way: takes documents in parts.
struct Judge<'a> {
    evaluator: &'a InformationRetrievalEvaluator,
    rankers: Vec<Ranker>,
    query_counts: ActiveCounts,
    corpus_counts: ActiveCounts,
    pending: SparseMatrix,
}

impl Judge<'_> {
    fn add(&mut self, documents: SparseMatrix) -> Result<()> {
        self.corpus_counts.add(&documents);
        match self.pending.n_rows() {
            0 => self.pending = documents,
            _ => self.pending.append(&documents)?,
        }
        let enough = self.pending.n_rows() >= self.evaluator.config.corpus_chunk_size
            || self.pending.nnz() >= InformationRetrievalEvaluator::MAX_ENTRIES;
        if enough { self.search() } else { Ok(()) }
    }

    fn search(&mut self) -> Result<()> {
        let documents = std::mem::replace(&mut self.pending, SparseMatrix::new(0));
        self.rankers
            .iter_mut()
            .try_for_each(|ranker| ranker.add(&documents))
    }

    fn finish(mut self) -> Result<RetrievalReport> {
        if self.pending.n_rows() > 0 {
            self.search()?;
        }
        let Self {
            evaluator,
            rankers,
            query_counts,
            corpus_counts,
            ..
        } = self;
        let costs = rankers
            .iter()
            .map(|ranker| (ranker.index_bytes(), ranker.elapsed()))
            .collect::<Vec<_>>();
        let runs = rankers.into_iter().map(Ranker::finish).collect::<Vec<_>>();
        let mut metrics = Metrics::new();
        for run in &runs {
            let figures = evaluator
                .cutoffs
                .figures(&evaluator.collection, run)
                .into_iter();
            metrics.extend(figures.map(|(name, value)| (format!("{}_{name}", run.name), value)));
        }
        let primary = evaluator.choose_primary(&metrics, &runs);
        metrics.extend(sparsity_figures(&query_counts, &corpus_counts));
        let costs = runs
            .iter()
            .zip(costs)
            .map(|(run, (n_bytes, elapsed))| SearchCost {
                name: run.name.clone(),
                index: IndexCost::new(corpus_counts.n_rows(), corpus_counts.counts(), n_bytes),
                microseconds_per_query: elapsed.as_secs_f64() * 1e6 / query_counts.n_rows() as f64,
            });
        let costs = costs.collect();
        Ok(RetrievalReport {
            metrics: metrics.with_primary(primary),
            runs,
            query_counts,
            corpus_counts,
            costs,
        })
    }
}

/// The five figures of what vectors cost.
pub(crate) fn sparsity_figures(
    queries: &ActiveCounts,
    corpus: &ActiveCounts,
) -> [(String, f64); 5] {
    let (query, document) = (queries.sparsity(), corpus.sparsity());
    [
        ("query_active_dims".to_owned(), query.active_dims),
        ("query_sparsity_ratio".to_owned(), query.sparsity_ratio),
        ("corpus_active_dims".to_owned(), document.active_dims),
        ("corpus_sparsity_ratio".to_owned(), document.sparsity_ratio),
        ("avg_flops".to_owned(), queries.avg_flops(corpus)),
    ]
}

/// Columns of a result file: per function, by name, those of the cut-offs, then what the vectors cost.
pub(crate) fn csv_columns(
    metrics: &Metrics,
    functions: &[&str],
    cutoffs: &Cutoffs,
) -> Vec<(String, f64)> {
    let mut functions = functions.to_vec();
    functions.sort_unstable();
    let value = |name: &str| metrics.get(name).unwrap_or(f64::NAN);
    let mut columns = Vec::new();
    for function in functions {
        for (title, figure) in cutoffs.csv_columns() {
            columns.push((
                format!("{function}-{title}"),
                value(&format!("{function}_{figure}")),
            ));
        }
    }
    let costs = [
        "query_active_dims",
        "query_sparsity_ratio",
        "corpus_active_dims",
        "corpus_sparsity_ratio",
        "avg_flops",
    ];
    columns.extend(costs.map(|name| (name.to_owned(), value(name))));
    columns
}

/// Passes the encoder's progress on.
pub(crate) fn with_progress(
    options: &EncodeOptions,
    run: &EvaluationRun,
    stage: &'static str,
    start: usize,
    total: usize,
) -> EncodeOptions {
    let Some(progress) = run.progress.clone() else {
        return options.clone();
    };
    options.clone().with_progress(move |encoded| {
        progress(EvaluationProgress {
            stage,
            done: start + encoded.done,
            total,
        });
    })
}
