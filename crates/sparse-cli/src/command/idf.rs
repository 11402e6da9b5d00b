//! `idf`: weights of tokens by their rarity, and an encoder whose queries need no transformer.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::Format;
use sparse_encoder::files::write as write_file;
use sparse_encoder::model::{DocumentFrequencies, check_target};

use super::load;
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Texts};
use crate::output::line;
use crate::same_file::refuse_overlap;

/// Computes how rare each token is in a corpus, and makes an inference-free encoder of a SPLADE model.
///
/// The weight of a token that is in n of N documents is ln(1 + (N - n + 0.5) / (n + 0.5)). In the encoder that --output names,
/// a query has the weights of its distinct tokens, without a transformer; documents go through the model as before.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["input", "weights"]),
    group = clap::ArgGroup::new("target").required(true).multiple(true).args(["output", "table"]),
    after_help = "Example: sparse-encoder idf --model runs/my-model/final --input corpus.jsonl --output inference-free"
)]
pub(crate) struct Idf {
    /// Model directory or hub id: a SPLADE model.
    #[arg(long)]
    model: String,
    /// File with the documents; `-` is stdin.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Format of an input whose name doesn't tell: csv, tsv, jsonl, parquet, arrow, txt.
    #[arg(long, requires = "input")]
    format: Option<Format>,
    /// Column of a document's text; several are joined with a space (default: `title` and `text`, or the only one).
    #[arg(long = "column", requires = "input")]
    columns: Vec<String>,
    /// JSON object of token to weight, such as idf.json, instead of a corpus.
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Directory to write the inference-free encoder to.
    #[arg(long)]
    output: Option<PathBuf>,
    /// File to write the weights to, as a JSON object of token to weight.
    #[arg(long)]
    table: Option<PathBuf>,
    /// Keeps training from changing the weights.
    #[arg(long, requires = "output")]
    frozen: bool,
    #[command(flatten)]
    limits: Limits,
}

/// Documents counted at a time: what stays in memory.
const CHUNK: usize = 8192;

impl Idf {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        if let Some(path) = &self.output {
            check_target(path)?;
        }
        refuse_overlap(
            &[("--table", self.table.as_deref())],
            &[
                ("--input", self.input.as_deref()),
                ("--weights", self.weights.as_deref()),
            ],
        )?;
        let corpus = match &self.input {
            Some(path) => Some(Texts::without_ids(
                path,
                &self.columns,
                self.format,
                self.limits,
            )?),
            None => None,
        };
        let encoder = load(&self.model, global)?;
        let weights = match (&corpus, &self.weights) {
            (Some(corpus), _) => count(corpus, &encoder)?,
            (None, Some(path)) => encoder.token_weights_from_json(path)?,
            (None, None) => return Err(Failure::input("--input or --weights is needed")),
        };
        if let Some(path) = &self.table {
            write_table(path, &encoder, &weights)?;
            line(&format!(
                "wrote the weights of {} tokens to `{}`",
                weights.len(),
                path.display()
            ))?;
        }
        if let Some(path) = &self.output {
            encoder
                .with_static_queries(weights, self.frozen)?
                .save_pretrained(path)?;
            line(&format!("wrote the encoder to `{}`", path.display()))?;
        }
        Ok(())
    }
}

fn count(corpus: &Texts, encoder: &SparseEncoder) -> Result<Vec<f32>> {
    let mut frequencies = DocumentFrequencies::new(encoder)?;
    let bar = crate::progress::bar(corpus.len(), "counting");
    let mut rows = corpus.rows();
    while let Some((_, texts)) = rows.take(CHUNK)? {
        frequencies.add(&texts)?;
        bar.set_position(rows.taken() as u64);
    }
    bar.finish();
    Ok(frequencies.weights())
}

/// Writes the weights beside their place and moves them there.
fn write_table(path: &Path, encoder: &SparseEncoder, weights: &[f32]) -> Result<()> {
    let entries: Map<String, Value> = (0u32..)
        .zip(weights)
        .filter_map(|(id, weight)| Some((encoder.id_to_token(id)?, Value::from(*weight))))
        .collect();
    let text = serde_json::to_string(&Value::Object(entries))
        .map_err(|error| Failure::run(error.to_string()))?;
    Ok(write_file(path, text + "\n")?)
}
