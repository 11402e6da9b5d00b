//! `export`: vectors for a search engine.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::VectorReader;
use sparse_encoder::eval::EncodeChunk;
use sparse_encoder::export::{Engine, Exporter, Impacts, Keys, Options, Side, Vocabulary, Weights};
use sparse_encoder::index::SparseMatrix;
use sparse_encoder::model::EncodeOptions;

use super::export_check::{Judgements, check};
use super::{Task, load, positive};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Texts, id_texts, vectors};
use crate::output::line;

/// Writes vectors as a search engine loads them, with the statement, mapping or schema for them.
///
/// With --check, nothing is written: the queries are ranked exactly and with the engine's own arithmetic, and the two are compared.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["input", "vectors"]),
    after_help = "Example: sparse-encoder export --engine pgvector --vectors vectors.jsonl --dimensions 30522 --output pgvector/"
)]
pub(crate) struct Export {
    /// Search engine, and its kind of field.
    #[arg(long, value_parser = engine())]
    engine: Engine,
    /// Model directory or hub id; names the dimensions for engines that store tokens.
    #[arg(long, required_unless_present = "vectors")]
    model: Option<String>,
    /// File with texts to encode: .txt, .jsonl, .csv, .tsv or .parquet; ids are in the column `_id` or `id`.
    #[arg(long)]
    input: Option<PathBuf>,
    /// File with vectors, .jsonl or .parquet, as `encode` writes them.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Number of dimensions of the vectors (default: that of --model).
    #[arg(long, requires = "vectors")]
    dimensions: Option<usize>,
    /// Whose vectors they are: query or document.
    #[arg(long, value_enum, default_value = "document")]
    task: Task,
    /// Directory to write.
    #[arg(long, required_unless_present = "check")]
    output: Option<PathBuf>,
    /// Name of the collection, index or table (qdrant, seismic, anserini, ciff and bmp have none).
    #[arg(long, default_value = "documents")]
    collection: String,
    /// Name of the field or column of the vectors (seismic, anserini, ciff and bmp have none).
    #[arg(long, default_value = "vector")]
    field: String,
    /// Largest number of active dimensions of a vector.
    #[arg(long, value_parser = positive)]
    max_active_dims: Option<usize>,
    /// What a weight is multiplied by to become an integer (anserini, ciff, bmp; default: at most 100, and as much as fits).
    #[arg(long)]
    impact_scale: Option<f32>,
    /// Documents that each exported query asks for, and that --check compares.
    #[arg(long, default_value_t = 10, value_parser = positive)]
    top_k: usize,
    /// Compares the engine's ranking with the exact one, for the queries of --queries.
    #[arg(long, requires_all = ["vectors", "queries"], conflicts_with = "output")]
    check: bool,
    /// File with the vectors of queries, as `encode --task query` writes them.
    #[arg(long, requires = "check")]
    queries: Option<PathBuf>,
    /// Folder with corpus, queries and relevance judgements, as `evaluate` takes it: adds nDCG@10.
    #[arg(long, requires = "check")]
    data: Option<PathBuf>,
    /// Split of the judgements.
    #[arg(long, requires = "data", default_value = "test")]
    split: String,
    /// Texts per forward pass.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
    #[command(flatten)]
    limits: Limits,
}

/// Most texts encoded at a time: what stays in memory.
const CHUNK: usize = 8192;

/// The scale that the literature uses for integer impacts.
const USUAL_SCALE: f32 = 100.0;

impl Export {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        self.check_output()?;
        let stores_tokens = matches!(self.engine.profile().keys, Keys::Token { .. });
        let needs_names = stores_tokens && !self.check;
        let encoder = match &self.model {
            Some(model) if self.input.is_some() || self.dimensions.is_none() || needs_names => {
                Some(load(model, global)?)
            }
            None if needs_names => {
                return Err(Failure::input(format!(
                    "{} stores tokens: give --model, whose vocabulary names the dimensions",
                    self.engine
                )));
            }
            _ => None,
        };
        let n_dims = self
            .dimensions
            .or(encoder.as_ref().map(SparseEncoder::embedding_dimension))
            .ok_or_else(|| {
                Failure::input(
                    "the file of vectors doesn't say how many dimensions they have: give --dimensions, or --model",
                )
            })?;
        if let (Some(documents), Some(queries)) = (&self.vectors, &self.queries) {
            return self.check(documents, queries, n_dims);
        }
        let Some(output) = &self.output else {
            return Err(Failure::input("give --output, a directory"));
        };
        let mut options = Options::new(n_dims)
            .with_collection(&self.collection)
            .with_field(&self.field)
            .with_k(self.top_k);
        if let (true, Some(encoder)) = (stores_tokens, &encoder) {
            options = options.with_vocabulary(Vocabulary::new(encoder.dimension_tokens()?));
        }
        if let Some(impacts) = self.impacts(encoder.as_ref(), n_dims)? {
            options = options.with_impacts(impacts);
        }
        self.write(output, encoder.as_ref(), options)
    }

    /// Refuses a directory that holds an input: a file of the export might have its name.
    fn check_output(&self) -> Result<()> {
        let Some(output) = &self.output else {
            return Ok(());
        };
        let inputs = [("--input", &self.input), ("--vectors", &self.vectors)];
        for (option, path) in inputs {
            let folder = path.as_deref().and_then(|path| path.canonicalize().ok());
            let folder = folder.as_deref().and_then(Path::parent);
            if folder.is_some() && folder == output.canonicalize().ok().as_deref() {
                return Err(Failure::input(format!(
                    "{option} lies in --output `{}`, where a file of its name may be written: choose another directory",
                    output.display()
                )));
            }
        }
        Ok(())
    }

    fn write(
        &self,
        output: &Path,
        encoder: Option<&SparseEncoder>,
        options: Options,
    ) -> Result<()> {
        let side = match self.task {
            Task::Query => Side::Query,
            Task::Document => Side::Document,
        };
        let n_dims = options.n_dims;
        let mut exporter = Exporter::create(output, self.engine, side, options)?;
        self.each_part(encoder, n_dims, &mut |ids, rows| {
            Ok(exporter.push(&ids, &rows)?)
        })?;
        let summary = exporter.finish()?;
        if summary.n_empty > 0 {
            tracing::warn!(
                "{} vectors without an active dimension were left out: {} takes none",
                summary.n_empty,
                self.engine
            );
        }
        if summary.n_lost_weights > 0 {
            tracing::warn!(
                "{} weights became the impact 0 and were left out",
                summary.n_lost_weights
            );
        }
        line(&format!(
            "exported {} vectors of at most {} active dimensions for {} to `{}`",
            summary.n_written,
            summary.most_active,
            self.engine,
            output.display()
        ))
    }

    /// Goes through the vectors a part at a time.
    fn each_part(
        &self,
        encoder: Option<&SparseEncoder>,
        n_dims: usize,
        take: &mut dyn FnMut(Vec<String>, SparseMatrix) -> Result<()>,
    ) -> Result<()> {
        if let Some(path) = &self.vectors {
            return self.each_part_of(path, n_dims, take);
        }
        let (Some(encoder), Some(path)) = (encoder, &self.input) else {
            return Ok(());
        };
        let texts = Texts::open(path, &[], None, self.limits)?;
        let options = EncodeOptions::default()
            .with_batch_size(self.batch_size)
            .with_max_active_dims(self.max_active_dims);
        let bar = crate::progress::bar(texts.len(), "encoding");
        let (mut rows, mut chunk) = (texts.rows(), EncodeChunk::new(CHUNK));
        while let Some((ids, texts)) = rows.take(chunk.size())? {
            let before = rows.taken() - texts.len();
            let vectors = match self.task {
                Task::Query => encoder.encode_query(&texts, &options),
                Task::Document => encoder.encode_document(&texts, &options),
            }
            .map_err(|error| error.of_text(|index| before + index))?;
            chunk.learn(&vectors);
            take(id_texts(ids), vectors)?;
            bar.set_position(rows.taken() as u64);
        }
        bar.finish();
        Ok(())
    }

    fn each_part_of(
        &self,
        path: &Path,
        n_dims: usize,
        take: &mut dyn FnMut(Vec<String>, SparseMatrix) -> Result<()>,
    ) -> Result<()> {
        for batch in VectorReader::open_with(path, n_dims, self.limits.into())? {
            let (ids, mut rows) = vectors(batch?, n_dims)?;
            if let Some(limit) = self.max_active_dims {
                rows = rows.prune(limit);
            }
            take(ids, rows).map_err(|failure| failure.about(&format!("`{}`", path.display())))?;
        }
        Ok(())
    }

    /// How weights become integers, where the engine stores some. Without a given scale, the vectors are gone through once before.
    fn impacts(&self, encoder: Option<&SparseEncoder>, n_dims: usize) -> Result<Option<Impacts>> {
        let Weights::Impacts { max } = self.engine.profile().weights else {
            return match self.impact_scale {
                None => Ok(None),
                Some(_) => Err(Failure::input(format!(
                    "--impact-scale: {} stores floating-point weights",
                    self.engine
                ))),
            };
        };
        if let Some(scale) = self.impact_scale {
            return Ok(Some(Impacts::new(scale, max)?));
        }
        if self.input.is_some() {
            return Err(Failure::input(format!(
                "{} stores integers, and texts are encoded only once: give --impact-scale, such as {USUAL_SCALE}, or encode them \
                 first and give --vectors",
                self.engine
            )));
        }
        let mut largest = 0.0_f32;
        self.each_part(encoder, n_dims, &mut |_, rows| {
            largest = largest.max(Impacts::largest_weight(&rows));
            Ok(())
        })?;
        Ok(Some(Impacts::fitting(largest, max, USUAL_SCALE)?))
    }

    fn judgements(&self) -> Result<Option<Judgements>> {
        let read = |folder| Judgements::read(folder, &self.split, self.limits.into());
        self.data.as_deref().map(read).transpose()
    }

    /// Compares rankings.
    fn check(&self, documents: &Path, queries: &Path, n_dims: usize) -> Result<()> {
        let read = |path: &Path| -> Result<(Vec<String>, SparseMatrix)> {
            let (mut ids, mut all) = (Vec::new(), SparseMatrix::new(n_dims));
            self.each_part_of(path, n_dims, &mut |part_ids, rows| {
                ids.extend(part_ids);
                Ok(all.append(&rows)?)
            })?;
            Ok((ids, all))
        };
        let impacts = |vectors: &SparseMatrix| -> Result<Option<Impacts>> {
            let Weights::Impacts { max } = self.engine.profile().weights else {
                return Ok(None);
            };
            Ok(Some(match self.impact_scale {
                Some(scale) => Impacts::new(scale, max)?,
                None => Impacts::fitting(Impacts::largest_weight(vectors), max, USUAL_SCALE)?,
            }))
        };
        let (documents, queries) = (read(documents)?, read(queries)?);
        let scales = (impacts(&documents.1)?, impacts(&queries.1)?);
        check(
            self.engine,
            (&documents.0, &documents.1),
            (&queries.0, &queries.1),
            scales,
            self.judgements()?.as_ref(),
            self.top_k,
        )
    }
}

/// Reads the name of an engine; `--help` and mistakes list all.
fn engine() -> impl TypedValueParser<Value = Engine> {
    let names = Engine::ALL.iter().map(|engine| engine.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse())
}
