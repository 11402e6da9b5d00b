//! What evaluators have in common: progress, logs, the result file, and the names of figures.

use std::fmt;

use serde_json::{Map, Value};
use sparse_index::{SimilarityFunction, SparseMatrix, Sparsity};
use sparse_model::{EncodeOptions, SparseEncoder};

use super::common::{self, Primary, with_progress};
use super::{EvaluationRun, Evaluator};
use crate::encode_chunk::counted_from;
use crate::vector_store::VectorStore;
use crate::{EncodeChunk, Metrics, Result, csv};

/// A figure, declared once: by this name it is computed, announced and found in the result file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figure {
    name: String,
    /// What its column in the result file is called; `None` if it has none.
    column: Option<String>,
}

impl Figure {
    /// A figure whose column has its name.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            column: Some(name.clone()),
            name,
        }
    }

    /// The same figure under another name in the result file.
    pub(crate) fn in_column(self, column: impl Into<String>) -> Self {
        Self {
            column: Some(column.into()),
            ..self
        }
    }

    /// The same figure without a column.
    pub(crate) fn without_column(self) -> Self {
        Self {
            column: None,
            ..self
        }
    }

    /// `active_dims` and `sparsity_ratio`, led by each of `prefixes`.
    pub(crate) fn sparsity(prefixes: &[&str]) -> impl Iterator<Item = Self> {
        prefixes
            .iter()
            .flat_map(|prefix| common::sparsity_names(prefix))
            .map(Self::new)
    }
}

/// Settings that all evaluators have.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) batch_size: usize,
    pub(crate) max_active_dims: Option<usize>,
    pub(crate) write_csv: bool,
    /// The figure that stands for all, without the evaluator's name.
    pub(crate) primary: Primary,
}

/// The shared settings of a configuration, which calls them all by the same names.
macro_rules! shared {
    ($config:expr, $primary:expr) => {
        $crate::evaluator::measure::Shared {
            name: $config.name.clone(),
            batch_size: $config.batch_size,
            max_active_dims: $config.max_active_dims,
            write_csv: $config.write_csv,
            primary: $crate::evaluator::common::Primary::new($primary),
        }
    };
}
pub(crate) use shared;

/// What is particular to an evaluator. Whatever measures is an [`Evaluator`].
pub(crate) trait Measure: fmt::Debug + Send + Sync {
    /// See [`Evaluator::class_name`].
    const CLASS_NAME: &'static str;
    /// See [`Evaluator::description`].
    const DESCRIPTION: &'static str;
    /// What logs call it.
    const TITLE: &'static str;

    fn shared(&self) -> &Shared;

    /// Number of texts that one evaluation encodes, and what logs call what they form.
    fn texts(&self) -> (usize, &'static str);

    /// All figures in the order of the results, for a model of the similarity `own`.
    fn figures_for(&self, own: SimilarityFunction) -> Vec<Figure>;

    /// The figures of an encoder, the primary one named.
    fn measure(&self, texts: &mut Encoding<'_>) -> Result<Metrics>;

    fn file_name(&self) -> String;

    /// Names and values of the columns of the result file.
    fn columns(&self, own: SimilarityFunction, metrics: &Metrics) -> Vec<(String, f64)> {
        let figures = self.figures_for(own).into_iter();
        figures
            .filter_map(|figure| Some((figure.column?, metrics.get(&figure.name)?)))
            .collect()
    }

    fn log(&self, metrics: &Metrics) {
        tracing::info!("{metrics}");
    }

    /// See [`Evaluator::config`].
    fn shown(&self) -> Map<String, Value> {
        common::limit_config(self.shared().max_active_dims)
    }
}

/// As what texts are encoded, which decides on their prompt and route.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Neither,
    Query,
    Document,
}

/// Encodes the texts of an evaluation a chunk at a time, and reports how far it is.
#[derive(Debug)]
pub(crate) struct Encoding<'a> {
    pub(crate) encoder: &'a SparseEncoder,
    run: &'a EvaluationRun,
    options: EncodeOptions,
    texts: (usize, &'static str),
    done: usize,
}

impl Encoding<'_> {
    /// The similarity that the model is made for.
    pub(crate) fn own_similarity(&self) -> SimilarityFunction {
        self.encoder.similarity_fn()
    }

    /// Encodes columns of equal length, some rows at a time, so that all vectors in memory take about as much whatever their
    /// density. `take` gets the number of the first row and the vectors of every column. Gives the statistics of each column.
    pub(crate) fn encode<S: AsRef<str> + Sync, const N: usize>(
        &mut self,
        columns: [(Side, &[S]); N],
        mut take: impl FnMut(usize, [SparseMatrix; N]) -> Result<()>,
    ) -> Result<[Sparsity; N]> {
        let n_dims = self.encoder.embedding_dimension();
        let n_rows = columns.iter().map(|column| column.1.len()).min();
        let n_rows = n_rows.unwrap_or(0);
        let mut chunk = EncodeChunk::for_dims(Self::MOST, N * n_dims);
        let mut n_entries = [0; N];
        let mut start = 0;
        while start < n_rows {
            let end = (start + chunk.size()).min(n_rows);
            let mut vectors = [(); N].map(|()| SparseMatrix::new(n_dims));
            for (column, (side, texts)) in columns.iter().enumerate() {
                let rows = self.encode_side(*side, &texts[start..end]);
                vectors[column] = rows.map_err(|error| counted_from(start, error))?;
                n_entries[column] += vectors[column].nnz();
            }
            chunk.learn_rows(&vectors);
            take(start, vectors)?;
            start = end;
        }
        Ok(n_entries.map(|n_entries| Sparsity::from_counts(n_entries, n_rows, n_dims)))
    }

    /// Encodes texts whose vectors are needed again and again.
    pub(crate) fn encode_all<S: AsRef<str> + Sync>(
        &mut self,
        side: Side,
        texts: &[S],
    ) -> Result<(VectorStore, Sparsity)> {
        let mut store = VectorStore::new(self.encoder.embedding_dimension());
        let [sparsity] = self.encode([(side, texts)], |_, [rows]| store.append(&rows))?;
        Ok((store, sparsity))
    }

    /// Most texts encoded at a time.
    const MOST: usize = 8192;

    fn encode_side<S: AsRef<str> + Sync>(
        &mut self,
        side: Side,
        texts: &[S],
    ) -> sparse_model::Result<SparseMatrix> {
        let options = self.next(texts.len());
        match side {
            Side::Neither => self.encoder.encode(texts, &options),
            Side::Query => self.encoder.encode_query(texts, &options),
            Side::Document => self.encoder.encode_document(texts, &options),
        }
    }

    fn next(&mut self, n_texts: usize) -> EncodeOptions {
        let (total, stage) = self.texts;
        let options = with_progress(&self.options, self.run, stage, self.done, total);
        self.done += n_texts;
        options
    }
}

impl<T: Measure> Evaluator for T {
    fn name(&self) -> &str {
        &self.shared().name
    }

    fn class_name(&self) -> &'static str {
        Self::CLASS_NAME
    }

    fn description(&self) -> &'static str {
        Self::DESCRIPTION
    }

    fn evaluate(&self, encoder: &SparseEncoder, run: &EvaluationRun) -> Result<Metrics> {
        let shared = self.shared();
        let metrics = self.measure(&mut Encoding {
            encoder,
            run,
            options: common::options(shared.batch_size, shared.max_active_dims),
            texts: self.texts(),
            done: 0,
        })?;
        shared.primary.set(metrics.primary().unwrap_or_default());
        tracing::info!("{}{run} on the {} dataset", Self::TITLE, shared.name);
        self.log(&metrics);
        let own = encoder.similarity_fn();
        if let Some(folder) = run.output_path.as_ref().filter(|_| shared.write_csv) {
            csv::append(folder, &self.file_name(), run, &self.columns(own, &metrics))?;
        }
        debug_assert!(
            metrics
                .iter()
                .map(|(name, _)| name)
                .eq(self.figures_for(own).iter().map(|figure| &figure.name)),
            "a figure was not declared, or not computed"
        );
        Ok(metrics.prefixed(&shared.name))
    }

    fn metric_names(&self, own: SimilarityFunction) -> Option<Vec<String>> {
        let figures = self.figures_for(own).into_iter();
        let name = &self.shared().name;
        Some(
            figures
                .map(|figure| common::named(name, &figure.name))
                .collect(),
        )
    }

    fn primary_metric(&self) -> Option<String> {
        let primary = self.shared().primary.get()?;
        Some(common::named(&self.shared().name, &primary))
    }

    fn config(&self) -> Map<String, Value> {
        self.shown()
    }
}
