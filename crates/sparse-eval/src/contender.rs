//! A model beside what it must beat: quality and cost on the same data.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use sparse_data::{Column, Table};
use sparse_index::SimilarityFunction;
use sparse_model::{DocumentFrequencies, SparseEncoder};

use crate::{
    Bm25, Collection, Cutoffs, EvaluationRun, InformationRetrievalConfig,
    InformationRetrievalEvaluator, Metrics, Result, RetrievalReport, RetrievalRun, SearchCost,
};

/// What one way of ranking reaches on one collection, and what that costs.
#[derive(Debug, Clone)]
pub struct Contender {
    /// Name of the evaluation, or `retrieval` if it has none.
    pub evaluator: String,
    /// Who ranked: `model`, `before`, `idf_queries`, `bm25`, or what it was called.
    pub name: String,
    /// `ndcg@10` and so on, by the similarity of the primary figure; then what the vectors cost.
    pub metrics: Metrics,
    /// What searching cost.
    pub cost: SearchCost,
    /// The ranking behind the figures.
    pub run: RetrievalRun,
}

impl Contender {
    /// Takes the primary similarity of a report; nothing if the report ranked by none.
    pub fn new(
        evaluator: &InformationRetrievalEvaluator,
        name: impl Into<String>,
        report: &RetrievalReport,
    ) -> Option<Self> {
        let primary = report.metrics.primary().unwrap_or_default();
        let of_primary = |run: &RetrievalRun| primary.starts_with(&format!("{}_", run.name));
        let position = report.runs.iter().position(of_primary)?;
        let run = report.runs[position].clone();
        let mut metrics = Metrics::new().with_primary(evaluator.cutoffs().primary());
        metrics.extend(evaluator.cutoffs().figures(evaluator.collection(), &run));
        for cost in ["query_active_dims", "corpus_active_dims", "avg_flops"] {
            metrics.extend(
                report
                    .metrics
                    .get(cost)
                    .map(|value| (cost.to_owned(), value)),
            );
        }
        Some(Self {
            evaluator: label(evaluator),
            name: name.into(),
            metrics,
            cost: report.costs[position].clone(),
            run,
        })
    }

    /// As a JSON object: evaluator, name, metrics, cost.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "evaluator": self.evaluator,
            "name": self.name,
            "metrics": self.metrics.to_json(),
            "cost": self.cost,
        })
    }
}

fn label(evaluator: &InformationRetrievalEvaluator) -> String {
    match evaluator.settings().name.as_str() {
        "" => "retrieval".to_owned(),
        name => name.to_owned(),
    }
}

/// What a model must beat on the data of `evaluator`: BM25; `encoder` with inference-free queries, the weights of whose tokens
/// are their inverse document frequencies in the corpus; and the model `before` training, if given.
///
/// A model that can't be given such queries, because it has a query side of its own or is no SPLADE model, has no `idf_queries`.
///
/// # Errors
///
/// If an encoder fails.
pub fn baselines(
    evaluator: &InformationRetrievalEvaluator,
    encoder: &SparseEncoder,
    before: Option<&SparseEncoder>,
    run: &EvaluationRun,
) -> Result<Vec<Contender>> {
    let collection = evaluator.collection();
    let mut contenders = Vec::new();

    let (queries, documents) = Bm25::default().vectors(collection)?;
    let by_dot = by_dot_product(evaluator)?;
    let report = by_dot.report_on_vectors(&queries, &documents, SimilarityFunction::Dot)?;
    contenders.extend(Contender::new(&by_dot, "bm25", &report));

    match idf_queries(encoder, collection) {
        Ok(inference_free) => {
            let report = by_dot.report(&inference_free, &inference_free, run)?;
            contenders.extend(Contender::new(&by_dot, "idf_queries", &report));
        }
        Err(error) => tracing::warn!("no baseline of IDF queries for this model: {error}"),
    }
    if let Some(before) = before {
        let fresh = InformationRetrievalEvaluator::new(
            Arc::clone(collection),
            evaluator.settings().clone(),
        )?;
        let report = fresh.report(before, before, run)?;
        contenders.extend(Contender::new(&fresh, "before", &report));
    }
    Ok(contenders)
}

/// The same evaluation by dot product, whatever the model's own similarity is, with the prompts of documents only.
fn by_dot_product(
    evaluator: &InformationRetrievalEvaluator,
) -> Result<InformationRetrievalEvaluator> {
    let config = InformationRetrievalConfig {
        score_functions: Some(vec![SimilarityFunction::Dot]),
        main_score_function: None,
        query_prompt: None,
        query_prompt_name: None,
        ..evaluator.settings().clone()
    };
    InformationRetrievalEvaluator::new(Arc::clone(evaluator.collection()), config)
}

fn idf_queries(
    encoder: &SparseEncoder,
    collection: &Collection,
) -> Result<SparseEncoder, sparse_model::Error> {
    let mut frequencies = DocumentFrequencies::new(encoder)?;
    for documents in collection.documents().chunks(4096) {
        frequencies.add(documents)?;
    }
    encoder
        .clone()
        .with_static_queries(frequencies.weights(), true)
}

/// Figures query by query, in a long table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PerQuery {
    evaluators: Vec<String>,
    names: Vec<String>,
    queries: Vec<String>,
    figures: Vec<String>,
    values: Vec<f64>,
}

impl PerQuery {
    /// No figure.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all figures of a contender on the data of `evaluator`.
    pub fn add(&mut self, evaluator: &InformationRetrievalEvaluator, contender: &Contender) {
        let (cutoffs, collection): (&Cutoffs, &Collection) =
            (evaluator.cutoffs(), evaluator.collection());
        for figure in cutoffs.names() {
            let values = cutoffs.per_query(collection, &contender.run, &figure);
            for (query, value) in collection
                .query_ids()
                .iter()
                .zip(values.unwrap_or_default())
            {
                self.evaluators.push(contender.evaluator.clone());
                self.names.push(contender.name.clone());
                self.queries.push(query.clone());
                self.figures.push(figure.clone());
                self.values.push(value);
            }
        }
    }

    /// Writes a Parquet file with the columns `evaluator`, `run`, `query_id`, `figure` and `value`.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write_parquet(&self, path: &Path) -> Result<()> {
        let table = Table::from_columns([
            ("evaluator", Column::from(self.evaluators.clone())),
            ("run", Column::from(self.names.clone())),
            ("query_id", Column::from(self.queries.clone())),
            ("figure", Column::from(self.figures.clone())),
            ("value", Column::from(self.values.clone())),
        ])?;
        Ok(table.write_parquet(path)?)
    }
}

#[cfg(test)]
mod tests {
    use sparse_data::DatasetConfig;
    use sparse_index::SparseMatrix;

    use super::*;

    #[test]
    fn figures_of_every_query_reach_the_file() {
        let pair = |id: &str| (id.to_owned(), format!("text {id}"));
        let relevant = ["q", "r"].map(|query| (query.to_owned(), ["b".to_owned()].into()));
        let collection =
            Collection::new(["q", "r"].map(pair), ["a", "b"].map(pair), &relevant.into()).unwrap();
        let config = InformationRetrievalConfig {
            name: "tiny".to_owned(),
            ..Default::default()
        };
        let evaluator = InformationRetrievalEvaluator::new(collection, config).unwrap();
        let corpus = SparseMatrix::from_dense(&[1.0, 0.0, 0.0, 1.0], 2, 2).unwrap();
        let report = evaluator
            .report_on_vectors(&corpus, &corpus, SimilarityFunction::Dot)
            .unwrap();
        let contender = Contender::new(&evaluator, "ours", &report).unwrap();
        assert_eq!(contender.metrics.get("mrr@10"), Some(0.75));
        assert_eq!(contender.metrics.get("corpus_active_dims"), Some(1.0));
        assert_eq!(contender.to_json()["cost"]["index"]["n_postings"], 2);

        let mut per_query = PerQuery::new();
        per_query.add(&evaluator, &contender);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("per_query.parquet");
        per_query.write_parquet(&path).unwrap();
        let table = Table::load(&DatasetConfig::from_path(&path)).unwrap();
        let n_figures = evaluator.cutoffs().names().len();
        assert_eq!(table.num_rows(), 2 * n_figures);
        let cells = |row: usize| {
            ["evaluator", "run", "query_id", "figure", "value"]
                .map(|column| table.value_as_text(column, row).unwrap())
        };
        // Query q finds its document second, r first.
        let mut reciprocal = (0..table.num_rows()).map(cells);
        let first = reciprocal.find(|row| row[3] == "mrr@10").unwrap();
        assert_eq!(first, ["tiny", "ours", "q", "mrr@10", "0.5"]);
        assert_eq!(
            reciprocal.next().unwrap(),
            ["tiny", "ours", "r", "mrr@10", "1.0"]
        );
    }
}
