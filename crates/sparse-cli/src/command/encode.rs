//! `encode`: texts to sparse vectors.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::{Format, VectorFile};
use sparse_encoder::eval::EncodeChunk;
use sparse_encoder::files::StagedFile;
use sparse_encoder::index::SparseMatrix;
use sparse_encoder::model::{EncodeOptions, EncoderPool};

use super::{Task, load, positive};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Texts, id_texts};
use crate::output::line;
use crate::same_file::refuse_overlap;
use crate::zero_vectors::ZeroVectors;

/// Turns texts into sparse vectors.
///
/// Reads .txt (a text a line), .jsonl, .csv, .tsv or .parquet; writes JSON lines {"id", "indices", "values"}, or .parquet.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder encode --model runs/my-model/final --input corpus.jsonl --output vectors.jsonl"
)]
pub(crate) struct Encode {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// File with the texts; `-` is stdin.
    #[arg(long)]
    input: PathBuf,
    /// Format of an input whose name doesn't tell: csv, tsv, jsonl, parquet, arrow, txt.
    #[arg(long)]
    format: Option<Format>,
    /// Column of a text; several are joined with a blank (default: `title` and `text`, or the only one).
    #[arg(long = "column")]
    columns: Vec<String>,
    /// Side of the model: query or document.
    #[arg(long, value_enum, default_value = "document")]
    task: Task,
    /// File to write, .jsonl or .parquet (default: JSON lines on stdout).
    #[arg(long)]
    output: Option<PathBuf>,
    /// Largest number of active dimensions of a vector.
    #[arg(long, value_parser = positive)]
    max_active_dims: Option<usize>,
    /// Texts per forward pass.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
    /// Devices that share the work, separated by commas; one may stand several times (default: the one of --device).
    #[arg(long, value_delimiter = ',')]
    devices: Vec<String>,
    /// Writes {"token": weight} instead of indices and values.
    #[arg(long)]
    tokens: bool,
    #[command(flatten)]
    limits: Limits,
}

/// Most texts encoded and written at a time: what stays in memory.
const CHUNK: usize = 8192;

impl Encode {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let parquet = self
            .output
            .as_deref()
            .is_some_and(|path| path.extension().is_some_and(|end| end == "parquet"));
        if parquet && self.tokens {
            return Err(Failure::input(
                "--tokens writes JSON lines: give --output a name that ends in .jsonl",
            ));
        }
        refuse_overlap(
            &[("--output", self.output.as_deref())],
            &[("--input", Some(&self.input))],
        )?;
        let texts = Texts::open(&self.input, &self.columns, self.format, self.limits)?;
        let encoder = load(&self.model, global)?;
        let options = EncodeOptions::default()
            .with_batch_size(self.batch_size)
            .with_max_active_dims(self.max_active_dims);
        let mut devices = self
            .devices
            .iter()
            .map(|name| sparse_encoder::device(name))
            .collect::<Result<Vec<_>, _>>()?;
        if devices.is_empty() {
            devices.push(encoder.device());
        }
        let pool = EncoderPool::new(&encoder, &devices)?;
        let mut sink = Sink::open(self.output.as_deref(), parquet, self.tokens)?;
        let bar = crate::progress::bar(texts.len(), "encoding");
        let (mut chunk_size, mut zero) = (EncodeChunk::new(CHUNK), ZeroVectors::default());
        let mut rows = texts.rows();
        while let Some((ids, chunk)) = rows.take(chunk_size.size())? {
            let before = rows.taken() - chunk.len();
            let embeddings = match self.task {
                Task::Query => pool.encode_query(&chunk, &options),
                Task::Document => pool.encode_document(&chunk, &options),
            }
            .map_err(|error| error.of_text(|index| before + index))?;
            chunk_size.learn(&embeddings);
            sink.write(&encoder, &ids, &embeddings)?;
            zero.add(&id_texts(ids), &embeddings);
            bar.set_position(rows.taken() as u64);
        }
        bar.finish();
        sink.finish()?;
        zero.warn();
        Ok(())
    }
}

/// Where vectors go. A file appears under its name only when it is complete.
#[derive(Debug)]
enum Sink {
    Stdout { tokens: bool },
    Lines { tokens: bool, file: StagedFile },
    Parquet { file: Box<VectorFile> },
}

impl Sink {
    fn open(path: Option<&Path>, parquet: bool, tokens: bool) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout { tokens });
        };
        if path.is_dir() {
            return Err(Failure::input(format!(
                "`{}` is a directory; --output must name a file",
                path.display()
            )));
        }
        if parquet {
            return Ok(Self::Parquet {
                file: Box::new(VectorFile::create(path)?),
            });
        }
        Ok(Self::Lines {
            tokens,
            file: StagedFile::create(path)?,
        })
    }

    fn write(
        &mut self,
        encoder: &SparseEncoder,
        ids: &[Value],
        embeddings: &SparseMatrix,
    ) -> Result<()> {
        match self {
            Self::Stdout { tokens } => {
                for (row, id) in ids.iter().enumerate() {
                    line(&record(encoder, id, embeddings, row, *tokens)?)?;
                }
            }
            Self::Lines { tokens, file } => {
                for (row, id) in ids.iter().enumerate() {
                    writeln!(file, "{}", record(encoder, id, embeddings, row, *tokens)?)?;
                }
            }
            Self::Parquet { file } => {
                let rows = (0..embeddings.n_rows()).map(|row| {
                    let row = embeddings.row(row);
                    (row.indices(), row.values())
                });
                let ids: Vec<String> = ids
                    .iter()
                    .map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned))
                    .collect();
                file.append(&ids, rows)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Stdout { .. } => Ok(()),
            Self::Lines { file, .. } => Ok(file.finish()?),
            Self::Parquet { file } => Ok(file.finish()?),
        }
    }
}

/// The JSON object of a row.
fn record(
    encoder: &SparseEncoder,
    id: &Value,
    embeddings: &SparseMatrix,
    row: usize,
    tokens: bool,
) -> Result<String> {
    if tokens {
        let decoded = encoder.decode(&embeddings.select(&[row]), None)?;
        let weights: Map<String, Value> = decoded
            .into_iter()
            .flatten()
            .map(|(token, weight)| (token, weight.into()))
            .collect();
        return Ok(Value::Object(weights).to_string());
    }
    let row = embeddings.row(row);
    Ok(json!({ "id": id, "indices": row.indices(), "values": row.values() }).to_string())
}
