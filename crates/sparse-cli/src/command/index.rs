//! `index`: a corpus, ready for search.

use std::path::PathBuf;

use sparse_encoder::data::{Format, VectorReader};
use sparse_encoder::eval::{CorpusIndexBuilder, IndexDescription};
use sparse_encoder::index::SimilarityFunction;
use sparse_encoder::model::EncodeOptions;

use super::load;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Texts, id_texts, vectors};
use crate::output::line;

/// Builds an index for `search`, from texts or from vectors that `encode` wrote.
///
/// Vectors are read in parts: beyond the index itself, one part of the corpus is in memory.
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
    #[arg(long)]
    max_active_dims: Option<usize>,
    /// Texts per forward pass.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
}

/// Texts encoded at a time: what stays in memory.
const CHUNK: usize = 8192;

impl Index {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if self.output.is_dir() {
            return Err(Failure::input(format!(
                "`{}` is a directory; --output must name a file",
                self.output.display()
            )));
        }
        if self.max_active_dims == Some(0) {
            return Err(Failure::input("--max-active-dims must be at least 1"));
        }
        let asked = self.similarity.as_deref();
        let asked: Option<SimilarityFunction> = asked.map(str::parse).transpose()?;
        let texts = self.input.as_deref();
        let texts = texts
            .map(|path| Texts::open(path, &self.columns, self.format))
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
        let description = IndexDescription {
            model: self.model.clone(),
            similarity: asked.unwrap_or(own),
        };
        let mut builder = CorpusIndexBuilder::new(n_dims, description)?;
        if let (Some(encoder), Some(texts)) = (&encoder, &texts) {
            let options = EncodeOptions::default()
                .with_batch_size(self.batch_size)
                .with_max_active_dims(self.max_active_dims);
            let bar = crate::progress::bar(texts.len(), "encoding");
            let mut start = 0;
            while start < texts.len() {
                let end = (start + CHUNK).min(texts.len());
                let (ids, chunk) = texts.rows(start, end)?;
                builder.push(id_texts(ids), &encoder.encode_document(&chunk, &options)?)?;
                bar.set_position(end as u64);
                start = end;
            }
            bar.finish();
        }
        if let Some(path) = &self.vectors {
            for batch in VectorReader::open(path, n_dims)? {
                let (ids, rows) = vectors(batch?, n_dims)?;
                match self.max_active_dims {
                    Some(limit) => builder.push(ids, &rows.prune(limit))?,
                    None => builder.push(ids, &rows)?,
                }
            }
        }
        let index = builder.finish()?;
        index.save(&self.output)?;
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
}
