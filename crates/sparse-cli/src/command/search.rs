//! `search`: the best documents of queries.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::VectorReader;
use sparse_encoder::eval::{CorpusIndex, EncodeChunk, RankingFormat};
use sparse_encoder::files::StagedFile;
use sparse_encoder::index::SparseMatrix;
use sparse_encoder::model::EncodeOptions;

use super::{load, load_from, positive};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Rows, Texts, id_texts, vectors};
use crate::output::{line, table};
use crate::same_file::refuse_overlap;
use crate::zero_vectors::ZeroVectors;

/// Finds the best documents of queries in an index that `index` built.
///
/// Exact: no document with a higher score is missed. Documents that share no dimension with the query are left out. Without a
/// query, --queries or --vectors, queries are read from stdin, one a line.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").args(["query", "queries", "vectors"]),
    after_help = "Example: sparse-encoder search --index corpus.index \"terminal music player\""
)]
pub(crate) struct Search {
    /// Index file.
    #[arg(long)]
    index: PathBuf,
    /// The query.
    query: Option<String>,
    /// File with queries: .txt, .jsonl, .csv, .tsv or .parquet; ids are in the column `_id` or `id`.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Format of queries whose file's name doesn't tell: csv, tsv, jsonl, parquet, arrow, txt.
    #[arg(long, requires = "queries")]
    queries_format: Option<sparse_encoder::data::Format>,
    /// Column with the queries' text (default: `text`, or the only one).
    #[arg(long = "column", requires = "queries")]
    columns: Vec<String>,
    /// File with vectors of queries, .jsonl or .parquet, as `encode --task query` writes them; needs no model.
    #[arg(long)]
    vectors: Option<PathBuf>,
    /// Model directory or hub id (default: the one the index was built with).
    #[arg(long, conflicts_with = "vectors")]
    model: Option<String>,
    /// Asks with a model that is not the one the index was built with, such as its inference-free form.
    #[arg(long, conflicts_with = "vectors")]
    force: bool,
    /// Documents per query.
    #[arg(long, default_value_t = 10, value_parser = positive)]
    top_k: usize,
    /// Largest number of active dimensions of a query.
    #[arg(long, value_parser = positive)]
    max_active_dims: Option<usize>,
    /// Queries per forward pass.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
    /// What to write (default: jsonl to a file, or what its ending .trec says; a table to the terminal).
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// File to write (default: stdout).
    #[arg(long)]
    output: Option<PathBuf>,
    /// Name of the run in a TREC file.
    #[arg(long, default_value = "sparse-encoder")]
    tag: String,
    /// Reads the whole index first and compares its checksum.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    limits: Limits,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// {"query_id", "query", "results": [{"corpus_id", "score"}, ...]}
    Jsonl,
    /// query-id Q0 document-id rank score tag
    Trec,
}

/// Most queries searched at a time: what stays in memory.
const CHUNK: usize = 1024;

impl Search {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        refuse_overlap(
            &[("--output", self.output.as_deref())],
            &[
                ("--index", Some(&self.index)),
                ("--queries", self.queries.as_deref()),
                ("--vectors", self.vectors.as_deref()),
            ],
        )?;
        let format = self.format();
        if format == Format::Trec && (self.tag.is_empty() || self.tag.contains(char::is_whitespace))
        {
            return Err(Failure::input(format!(
                "--tag must be one word in a TREC file; got `{}`",
                self.tag
            )));
        }
        let index = CorpusIndex::open(&self.index)?;
        if self.verify {
            index.verify()?;
        }
        let mut sink = Sink::open(self.output.as_deref())?;
        let mut spent = Spent::default();
        let mut zero = ZeroVectors::default();
        let mut answer = |ids: &[String], texts: &[String], rows: &SparseMatrix| -> Result<()> {
            let started = Instant::now();
            let found = index.search(rows, self.top_k)?;
            spent.time += started.elapsed();
            spent.queries += ids.len();
            zero.add(ids, rows);
            for (number, hits) in found.iter().enumerate() {
                let text = texts.get(number).map_or("", String::as_str);
                let query = (ids[number].as_str(), text);
                sink.write(&rendered(format, query, hits, &self.tag)?)?;
            }
            Ok(())
        };
        if let Some(path) = &self.vectors {
            for batch in VectorReader::open_with(path, index.n_dims(), self.limits.into())? {
                let (ids, mut rows) = vectors(batch?, index.n_dims())?;
                if let Some(limit) = self.max_active_dims {
                    rows = rows.prune(limit);
                }
                answer(&ids, &[], &rows)?;
            }
        } else {
            let queries = self.read_queries()?;
            let encoder = self.encoder(&index, global)?;
            let options = EncodeOptions::default()
                .with_batch_size(self.batch_size)
                .with_max_active_dims(self.max_active_dims);
            let mut chunk_size = EncodeChunk::new(CHUNK);
            let mut queries = queries.rows();
            let mut before = 0;
            while let Some((ids, texts)) = queries.take(chunk_size.size())? {
                let ids = id_texts(ids);
                let rows = encoder
                    .encode_query(&texts, &options)
                    .map_err(|error| error.of_text(|index| before + index))?;
                before += texts.len();
                chunk_size.learn(&rows);
                answer(&ids, &texts, &rows)?;
            }
        }
        if !global.quiet && (self.queries.is_some() || self.vectors.is_some()) {
            crate::output::to_stderr(&format!(
                "searched {} queries in {:.1} ms, {:.0} µs each",
                spent.queries,
                spent.time.as_secs_f64() * 1e3,
                spent.time.as_secs_f64() * 1e6 / spent.queries.max(1) as f64
            ));
        }
        sink.finish()?;
        zero.warn();
        Ok(())
    }

    fn format(&self) -> Format {
        let trec = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "trec");
        match (self.format, &self.output) {
            (Some(format), _) => format,
            (None, Some(path)) if trec(path) => Format::Trec,
            (None, Some(_)) => Format::Jsonl,
            (None, None) if io::stdout().is_terminal() || self.query.is_some() => Format::Table,
            (None, None) => Format::Jsonl,
        }
    }

    fn read_queries(&self) -> Result<Queries> {
        if let Some(path) = &self.queries {
            let texts = Texts::open(path, &self.columns, self.queries_format, self.limits)?;
            return Ok(Queries::File(texts));
        }
        if let Some(query) = &self.query {
            return Ok(Queries::Lines(vec![query.clone()]));
        }
        let lines = io::stdin().lock().lines();
        let lines = lines.collect::<io::Result<Vec<_>>>().map_err(|error| {
            Failure::input(format!("failed to read queries from stdin: {error}"))
        })?;
        Ok(Queries::Lines(lines))
    }

    /// The model that queries go through: the one of the index, unless told otherwise.
    fn encoder(&self, index: &CorpusIndex, global: &Global) -> Result<SparseEncoder> {
        let description = index.description();
        let built_with = format!("the model that `{}` was built with", self.index.display());
        let (model, encoder) = match (&self.model, &description.model) {
            (Some(model), _) => (model, load(model, global)?),
            (None, Some(model)) => {
                let mut hub = global.hub.options();
                hub.revision = hub.revision.or_else(|| description.revision.clone());
                hub.subfolder = hub.subfolder.or_else(|| description.subfolder.clone());
                let encoder = load_from(model, hub, global);
                (
                    model,
                    encoder.map_err(|failure| failure.about(&built_with))?,
                )
            }
            (None, None) => {
                return Err(Failure::input(format!(
                    "`{}` doesn't say which model it was built with; give --model",
                    self.index.display()
                )));
            }
        };
        let (dims, expected) = (encoder.embedding_dimension(), index.n_dims());
        if dims != expected {
            return Err(Failure::input(format!(
                "`{model}` makes vectors of {dims} dimensions, but `{}` holds vectors of {expected}",
                self.index.display()
            )));
        }
        if let Some(expected) = &description.fingerprint {
            let found = encoder.fingerprint()?;
            match (found == *expected, self.force) {
                (true, _) => {}
                (false, true) => tracing::warn!(
                    "`{model}` is not {built_with}: its fingerprint is {found}, expected {expected}"
                ),
                (false, false) => {
                    return Err(Failure::input(format!(
                        "`{model}` is not {built_with}, or has changed since: its fingerprint is {found}, expected {expected}; \
                         index the corpus again, or ask with this model all the same by --force"
                    )));
                }
            }
        }
        Ok(encoder)
    }
}

/// Queries with their ids: numbers from 0 for lines.
#[derive(Debug)]
enum Queries {
    File(Texts),
    Lines(Vec<String>),
}

impl Queries {
    fn rows(self) -> QueryRows {
        match self {
            Self::File(texts) => QueryRows::File(Box::new(texts.rows())),
            Self::Lines(lines) => QueryRows::Lines(lines.into_iter().enumerate()),
        }
    }
}

/// Queries that are taken a few at a time.
#[derive(Debug)]
enum QueryRows {
    File(Box<Rows>),
    Lines(std::iter::Enumerate<std::vec::IntoIter<String>>),
}

impl QueryRows {
    fn take(&mut self, most: usize) -> Result<Option<(Vec<Value>, Vec<String>)>> {
        match self {
            Self::File(rows) => rows.take(most),
            Self::Lines(lines) => {
                let taken = lines.by_ref().take(most);
                let (ids, texts): (Vec<Value>, Vec<String>) =
                    taken.map(|(id, text)| (id.into(), text)).unzip();
                Ok((!ids.is_empty()).then_some((ids, texts)))
            }
        }
    }
}

#[derive(Debug, Default)]
struct Spent {
    time: Duration,
    queries: usize,
}

/// The results of a query as text, without the last line end.
fn rendered(
    format: Format,
    (id, text): (&str, &str),
    hits: &[(&str, f32)],
    tag: &str,
) -> Result<String> {
    let format = match format {
        Format::Table => {
            let rows: Vec<Vec<String>> = (1..)
                .zip(hits)
                .map(|(rank, (id, score))| {
                    vec![(*id).to_owned(), format!("{rank}"), format!("{score:.4}")]
                })
                .collect();
            let title = if text.is_empty() { id } else { text };
            return Ok(match rows.len() {
                0 => format!("{title}\nno document shares a dimension with it\n"),
                _ => format!(
                    "{title}\n{}\n",
                    table(&["document", "rank", "score"], &rows)
                ),
            });
        }
        Format::Jsonl => RankingFormat::JsonLines,
        Format::Trec => RankingFormat::Trec,
    };
    let mut bytes = Vec::new();
    format
        .write(&mut bytes, (id, text), hits.iter().copied(), tag)
        .map_err(|error| Failure::input(error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes)
        .trim_end_matches('\n')
        .to_owned())
}

/// Where results go.
#[derive(Debug)]
enum Sink {
    Stdout,
    File(StagedFile),
}

impl Sink {
    fn open(path: Option<&Path>) -> Result<Self> {
        path.map_or(Ok(Self::Stdout), |path| {
            Ok(Self::File(StagedFile::create(path)?))
        })
    }

    fn write(&mut self, text: &str) -> Result<()> {
        match self {
            // A query without a result writes nothing to a TREC file.
            _ if text.is_empty() => Ok(()),
            Self::Stdout => line(text),
            Self::File(file) => Ok(writeln!(file, "{text}")?),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(file) => Ok(file.finish()?),
        }
    }
}
