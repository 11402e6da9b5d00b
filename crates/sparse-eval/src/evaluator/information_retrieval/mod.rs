//! Retrieval: queries search a corpus.

mod config;
mod report;

use std::sync::Arc;

use serde_json::{Map, Value};
use sparse_index::{ActiveCounts, SimilarityFunction, SparseMatrix};
use sparse_model::{EncodeOptions, SparseEncoder};

pub(crate) use config::GRADES_REMEDY;
pub use config::InformationRetrievalConfig;
use report::Judge;
pub(crate) use report::{COST_NAMES, choose_primary, csv_columns, sparsity_figures};
pub use report::{RetrievalReport, SearchCost};

use super::common::{self, Primary};
use super::{EvaluationRun, Evaluator};
use crate::csv;
use crate::encode_chunk::encode_in_chunks;
use crate::retrieval::{Bm25, Collection, Cutoffs};
use crate::vector_store::VectorStore;
use crate::{Error, Metrics, Result};

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
    primary: Primary,
}

impl InformationRetrievalEvaluator {
    /// Most texts per `encode` call. No setting changes it, so that a text is encoded beside the same others.
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
            primary: Primary::new(primary),
        })
    }

    /// The queries and documents.
    pub fn collection(&self) -> &Arc<Collection> {
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
    /// Of the vectors a part is in memory; those of the queries that take more than 64 MiB are in a temporary file.
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
        let mut queries = VectorStore::new(encoder.embedding_dimension());
        let mut counts = ActiveCounts::new();
        self.encode_each_query(encoder, run, |rows| {
            counts.add(&rows);
            queries.append(&rows)
        })?;
        let functions = self.functions(encoder.similarity_fn());
        let mut judge = Judge::new(self, &functions, (queries, counts));
        self.encode_documents(corpus_encoder, run, |rows| judge.add(rows))?;
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
        let mut counts = ActiveCounts::new();
        counts.add(queries);
        let queries = (queries.clone().into(), counts);
        let mut judge = Judge::new(self, &self.functions(own), queries);
        let rows = (0..corpus.n_rows()).collect::<Vec<_>>();
        for rows in rows.chunks(self.config.corpus_chunk_size) {
            judge.add(corpus.select(rows))?;
        }
        judge.finish()
    }

    /// Vectors of the documents, all of them in memory.
    ///
    /// # Errors
    ///
    /// If the encoder fails.
    pub fn encode_corpus(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
    ) -> Result<SparseMatrix> {
        let mut corpus = SparseMatrix::new(encoder.embedding_dimension());
        self.encode_documents(encoder, run, |rows| Ok(corpus.append(&rows)?))?;
        Ok(corpus)
    }

    /// Hands the vectors of all documents to `take`, some at a time.
    fn encode_documents(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
        take: impl FnMut(SparseMatrix) -> Result<()>,
    ) -> Result<()> {
        let documents = self.collection.documents();
        let options = self.options(&self.config.corpus_prompt, &self.config.corpus_prompt_name);
        let encode = |done, texts: &[String]| {
            let options = common::with_progress(&options, run, "corpus", done, documents.len());
            encoder.encode_document(texts, &options)
        };
        let sizes = (Self::ENCODE_SIZE, encoder.embedding_dimension());
        encode_in_chunks(documents, sizes, encode, take)
    }

    /// Vectors of the queries, all of them in memory.
    ///
    /// # Errors
    ///
    /// If the encoder fails.
    pub fn encode_queries(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
    ) -> Result<SparseMatrix> {
        let mut queries = SparseMatrix::new(encoder.embedding_dimension());
        self.encode_each_query(encoder, run, |rows| Ok(queries.append(&rows)?))?;
        Ok(queries)
    }

    /// Hands the vectors of all queries to `take`, some at a time.
    fn encode_each_query(
        &self,
        encoder: &SparseEncoder,
        run: &EvaluationRun,
        take: impl FnMut(SparseMatrix) -> Result<()>,
    ) -> Result<()> {
        let queries = self.collection.queries();
        let options = self.options(&self.config.query_prompt, &self.config.query_prompt_name);
        let encode = |done, texts: &[String]| {
            let options = common::with_progress(&options, run, "queries", done, queries.len());
            encoder.encode_query(texts, &options)
        };
        let sizes = (Self::ENCODE_SIZE, encoder.embedding_dimension());
        encode_in_chunks(queries, sizes, encode, take)
    }

    /// Writes the files that `run` and the settings ask for, and hands the report to [`EvaluationRun::on_report`].
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn write(&self, report: &RetrievalReport, run: &EvaluationRun) -> Result<()> {
        if let Some(on_report) = &run.on_report {
            on_report(self, report);
        }
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
            sparse_files::create_dir_all(folder)?;
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

    fn functions(&self, own: SimilarityFunction) -> Vec<SimilarityFunction> {
        let asked = self.config.score_functions.clone();
        let mut functions = asked.unwrap_or_else(|| vec![own]);
        let main = self.config.main_score_function;
        functions.extend(main.filter(|main| !functions.contains(main)));
        functions
    }

    /// Names of the figures for a model with the similarity `own`, without the evaluator's name.
    pub(crate) fn own_names(&self, own: SimilarityFunction) -> Vec<String> {
        let figures = self.cutoffs.names();
        let functions = self.functions(own);
        let names = functions.iter().flat_map(|function| {
            figures
                .iter()
                .map(move |figure| format!("{function}_{figure}"))
        });
        names.chain(COST_NAMES.map(str::to_owned)).collect()
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

    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        Some(common::all_named(&self.config.name, self.own_names(own)))
    }

    fn primary_metric(&self) -> Option<String> {
        let primary = self.primary.get()?;
        Some(common::named(&self.config.name, &primary))
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
        let graded_gains = settings
            .graded_gains
            .then_some(("graded_gains", Value::from(true)));
        max_active_dims
            .into_iter()
            .chain(graded_gains)
            .chain(prompts)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    fn is_retrieval(&self) -> bool {
        true
    }

    fn retrievals(&self) -> Vec<&InformationRetrievalEvaluator> {
        vec![self]
    }

    fn baseline(&self) -> Result<Option<Metrics>> {
        let run = Bm25::default().rank(&self.collection, self.cutoffs.max_k())?;
        let figures = self.cutoffs.figures(&self.collection, &run).into_iter();
        let metrics = figures
            .map(|(name, value)| (format!("bm25_{name}"), value))
            .collect::<Metrics>();
        let metrics = metrics.with_primary(format!("bm25_{}", self.cutoffs.primary()));
        Ok(Some(metrics.prefixed(&self.config.name)))
    }
}
