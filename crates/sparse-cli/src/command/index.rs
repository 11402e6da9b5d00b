//! `index`: a corpus, ready for search.

use std::path::{Path, PathBuf};

use sparse_encoder::SparseEncoder;
use sparse_encoder::data::{Format, VectorReader};
use sparse_encoder::eval::{CorpusIndexBuilder, EncodeChunk, IndexDescription};
use sparse_encoder::index::SimilarityFunction;
use sparse_encoder::model::{EncodeOptions, ModelSource};

use super::{load, positive};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Texts, id_texts, vectors};
use crate::output::line;
use crate::same_file::refuse_overlap;
use crate::zero_vectors::ZeroVectors;

/// Builds an index for `search`, from texts or from vectors that `encode` wrote.
///
/// Texts and vectors are read in parts: beyond the index itself, one part of the corpus is in memory.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["input", "vectors"]),
    after_help = "Example: sparse-encoder index --model runs/my-model/final --input corpus.jsonl --output corpus.index"
)]
pub(crate) struct Index {
    /// Model directory or hub id; with --vectors, the model they come from, which `search` then uses.
    #[arg(long, required_unless_present = "vectors")]
    model: Option<String>,
    /// File with the documents: .txt, .jsonl, .csv, .tsv or .parquet; ids are in the column `_id` or `id`.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Format of an input whose name doesn't tell: csv, tsv, jsonl, parquet, arrow, txt.
    #[arg(long, requires = "input")]
    format: Option<Format>,
    /// Column of a document's text; several are joined (default: `title` and `text`, or the only one).
    #[arg(long = "column", requires = "input")]
    columns: Vec<String>,
    /// File with vectors, .jsonl or .parquet, as `encode` writes them.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Number of dimensions of the vectors (default: that of --model).
    #[arg(long, requires = "vectors")]
    dimensions: Option<usize>,
    /// How queries are compared with documents: dot or cosine (default: the model's own, or dot).
    #[arg(long)]
    similarity: Option<String>,
    /// Index file to write.
    #[arg(long)]
    output: PathBuf,
    /// Largest number of active dimensions of a document.
    #[arg(long, value_parser = positive)]
    max_active_dims: Option<usize>,
    /// Texts per forward pass.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
    #[command(flatten)]
    limits: Limits,
}

/// Most texts encoded at a time: what stays in memory.
const CHUNK: usize = 8192;

impl Index {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.output.is_dir() {
            return Err(Failure::input(format!(
                "`{}` is a directory; --output must name a file",
                self.output.display()
            )));
        }
        refuse_overlap(
            &[("--output", Some(&self.output))],
            &[
                ("--input", self.input.as_deref()),
                ("--vectors", self.vectors.as_deref()),
            ],
        )?;
        let asked = self.similarity.as_deref();
        let asked: Option<SimilarityFunction> = asked.map(str::parse).transpose()?;
        let texts = self.input.as_deref();
        let texts = texts
            .map(|path| Texts::open(path, &self.columns, self.format, self.limits))
            .transpose()?;
        // With vectors and their dimensions, the model is only a name.
        let encoder = match (&self.model, self.dimensions) {
            (Some(model), None) => Some(load(model, global)?),
            _ => None,
        };
        let own = encoder
            .as_ref()
            .map_or(SimilarityFunction::Dot, |encoder| encoder.similarity_fn());
        let n_dims = encoder
            .as_ref()
            .map(|encoder| encoder.embedding_dimension())
            .or(self.dimensions)
            .ok_or_else(|| {
                Failure::input(
                    "the file of vectors doesn't say how many dimensions they have: give --dimensions, or --model",
                )
            })?;
        let description = self.description(encoder.as_ref(), asked.unwrap_or(own))?;
        let mut builder = CorpusIndexBuilder::new(n_dims, description)?;
        let mut zero = ZeroVectors::default();
        if let (Some(encoder), Some(texts)) = (&encoder, &texts) {
            self.encode(encoder, texts, &mut builder, &mut zero)?;
        }
        if let Some(path) = &self.vectors {
            for batch in VectorReader::open_with(path, n_dims, self.limits.into())? {
                let (ids, mut rows) = vectors(batch?, n_dims)?;
                if let Some(limit) = self.max_active_dims {
                    rows = rows.prune(limit);
                }
                zero.add(&ids, &rows);
                builder.push(ids, &rows)?;
            }
        }
        let source = self.input.as_deref().or(self.vectors.as_deref());
        let index = builder.finish().map_err(|error| match source {
            Some(path) => Failure::from(error).about(&format!("`{}`", path.display())),
            None => error.into(),
        })?;
        index.save(&self.output)?;
        zero.warn();
        let cost = index.cost();
        line(&format!(
            "indexed {} documents, {:.1} active dimensions each, in `{}`: {:.1} MB; posting lists: {}, longest {}, mean {:.1}",
            cost.n_documents,
            cost.n_postings as f64 / cost.n_documents as f64,
            self.output.display(),
            cost.n_bytes as f64 / 1e6,
            cost.n_lists,
            cost.longest_list,
            cost.mean_list_length,
        ))?;
        Ok(())
    }

    /// What makes sure that `search` asks with the model that the vectors are from, wherever it is started.
    fn description(
        &self,
        encoder: Option<&SparseEncoder>,
        similarity: SimilarityFunction,
    ) -> Result<IndexDescription> {
        let mut description = IndexDescription::new(similarity);
        match encoder.and_then(SparseEncoder::source) {
            Some(ModelSource::Hub {
                id,
                commit,
                subfolder,
            }) => {
                description.model = Some(id.clone());
                description.revision = Some(commit.clone());
                description.subfolder.clone_from(subfolder);
            }
            Some(ModelSource::Directory { path }) => {
                description.model = Some(path.display().to_string());
            }
            // A model that is only named: a directory, or else an id of the hub.
            _ => {
                let absolute = |model: &String| match Path::new(model).canonicalize() {
                    Ok(path) if path.is_dir() => path.display().to_string(),
                    _ => model.clone(),
                };
                description.model = self.model.as_ref().map(absolute);
            }
        }
        // Vectors out of a file may be from any model.
        if let (Some(encoder), None) = (encoder, &self.vectors) {
            description.fingerprint = Some(encoder.fingerprint()?);
        }
        Ok(description)
    }

    /// Encodes the texts and hands their vectors to the index.
    fn encode(
        &self,
        encoder: &SparseEncoder,
        texts: &Texts,
        builder: &mut CorpusIndexBuilder,
        zero: &mut ZeroVectors,
    ) -> Result<()> {
        let options = EncodeOptions::default()
            .with_batch_size(self.batch_size)
            .with_max_active_dims(self.max_active_dims);
        let bar = crate::progress::bar(texts.len(), "encoding");
        let mut chunk_size = EncodeChunk::new(CHUNK);
        let mut rows = texts.rows();
        while let Some((ids, chunk)) = rows.take(chunk_size.size())? {
            let before = rows.taken() - chunk.len();
            let vectors = encoder
                .encode_document(&chunk, &options)
                .map_err(|error| error.of_text(|index| before + index))?;
            chunk_size.learn(&vectors);
            let ids = id_texts(ids);
            zero.add(&ids, &vectors);
            builder.push(ids, &vectors)?;
            bar.set_position(rows.taken() as u64);
        }
        bar.finish();
        Ok(())
    }
}
