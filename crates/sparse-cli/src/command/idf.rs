//! `idf`: weights of tokens by their rarity, and an encoder whose queries need no transformer.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::{DatasetConfig, Table};
use sparse_encoder::files::write as write_file;
use sparse_encoder::model::{DocumentFrequencies, check_target};

use super::load;
use crate::Global;
use crate::failure::{Failure, Result};
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
    /// File with the documents.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Column of a document's text; several are joined with a space (default: `title` and `text`, as far as they are there).
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
            Some(path) => Some(Corpus::open(path, &self.columns)?),
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

/// Documents of one or more columns.
struct Corpus {
    table: Table,
    columns: Vec<String>,
}

impl Corpus {
    fn open(path: &Path, columns: &[String]) -> Result<Self> {
        let table = Table::load(&DatasetConfig::from_path(path))?;
        let known = table.column_names();
        let columns: Vec<String> = if columns.is_empty() {
            let usual = ["title", "text"]
                .into_iter()
                .filter(|name| known.contains(name));
            usual.map(str::to_owned).collect()
        } else {
            columns.to_vec()
        };
        if columns.is_empty() {
            return Err(Failure::input(format!(
                "`{}` has the columns {}; choose with --column",
                path.display(),
                known.join(", ")
            )));
        }
        for column in &columns {
            table.text(column, 0)?;
        }
        Ok(Self { table, columns })
    }

    /// The text of a row; what is null counts as empty.
    fn document(&self, row: usize) -> Result<String> {
        let mut document = String::new();
        for column in &self.columns {
            let text = self.table.text(column, row)?.unwrap_or_default();
            if !document.is_empty() && !text.is_empty() {
                document.push(' ');
            }
            document.push_str(text);
        }
        Ok(document)
    }
}

fn count(corpus: &Corpus, encoder: &SparseEncoder) -> Result<Vec<f32>> {
    let rows = corpus.table.num_rows();
    let mut frequencies = DocumentFrequencies::new(encoder)?;
    let bar = crate::progress::bar(rows, "counting");
    let mut start = 0;
    while start < rows {
        let end = (start + CHUNK).min(rows);
        let documents = (start..end)
            .map(|row| corpus.document(row))
            .collect::<Result<Vec<_>>>()?;
        frequencies.add(&documents)?;
        bar.set_position(end as u64);
        start = end;
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
