//! `mine`: hard negatives for training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use sparse_encoder::SparseEncoder;
use sparse_encoder::data::{DatasetConfig, Format, Retrieval, Table};
use sparse_encoder::eval::mining::{
    GivenScores, MinedNegatives, MiningConfig, MiningData, mine_hard_negatives, rescore_with,
};
use sparse_encoder::model::EncodeOptions;

use super::{load, positive};
use crate::Global;
use crate::failure::{Failure, Result};
use crate::input::{Limits, Texts, dataset};
use crate::output::{line, to_stderr};
use crate::same_file::{Named, refuse_overlap};

/// Mines hard negatives: documents that a model ranks high for a query although they are not relevant.
///
/// Writes JSON lines that `train` reads. What is relevant to a query once is never mined for it. A table of scores and of what
/// each rule dropped goes to stderr, and as JSON to --report.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("source").required(true).args(["retrieval", "pairs"]),
    group = clap::ArgGroup::new("rescoring").args(["rescore_model", "scores"]),
    after_help = "Example: sparse-encoder mine --model runs/my-model/final --retrieval data/scifact --split train --output triplets.jsonl"
)]
pub(crate) struct Mine {
    /// Model directory or hub id.
    #[arg(long)]
    model: String,
    /// Folder with `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`.
    #[arg(long)]
    retrieval: Option<PathBuf>,
    /// Which judgements of the folder to use.
    #[arg(long, default_value = "train", requires = "retrieval")]
    split: String,
    /// File with a query and a relevant document a row; `-` is stdin.
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// Format of --pairs, --corpus or --scores where the name doesn't tell: csv, tsv, jsonl, parquet, arrow, txt.
    #[arg(long)]
    format: Option<Format>,
    /// Columns of query and document, separated by a comma (default: the first two).
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "QUERY,DOCUMENT",
        requires = "pairs"
    )]
    columns: Vec<String>,
    /// File with more documents among which negatives are sought.
    #[arg(long, requires = "pairs")]
    corpus: Option<PathBuf>,
    /// Column of a document's text in --corpus; several are joined (default: `title` and `text`, or the only one).
    #[arg(long = "corpus-column", requires = "corpus")]
    corpus_columns: Vec<String>,
    /// Second model, whose scores replace those of the first.
    #[arg(long)]
    rescore_model: Option<String>,
    /// File with scores that replace those of the model: columns `query`, `document` and `score`; a candidate that has none is
    /// dropped.
    #[arg(long)]
    scores: Option<PathBuf>,
    /// File to write, .jsonl (default: stdout).
    #[arg(long)]
    output: Option<PathBuf>,
    /// File for the report, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    rules: Rules,
}

/// Which candidates become negatives, and what a row looks like.
#[derive(Debug, clap::Args)]
struct Rules {
    /// Negatives per query.
    #[arg(long, default_value_t = 3)]
    num_negatives: usize,
    /// How many of the best candidates to skip.
    #[arg(long, default_value_t = 0)]
    range_min: usize,
    /// How many of the best candidates to consider (default: enough for the other rules).
    #[arg(long)]
    range_max: Option<usize>,
    /// Drops candidates that score above this.
    #[arg(long, allow_hyphen_values = true)]
    max_score: Option<f32>,
    /// Drops candidates that score below this.
    #[arg(long, allow_hyphen_values = true)]
    min_score: Option<f32>,
    /// Drops candidates less than this below the query's weakest relevant document.
    #[arg(long, allow_hyphen_values = true)]
    absolute_margin: Option<f32>,
    /// Drops candidates that score more than p - |p| * margin, p the score of the query's weakest relevant document.
    #[arg(long, allow_hyphen_values = true)]
    relative_margin: Option<f32>,
    /// Which of the remaining candidates to take.
    #[arg(long, default_value = "top", value_parser = ["top", "random"])]
    sampling_strategy: String,
    /// Seed of random picks.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Leaves relevant documents among the candidates; rows are n-tuples then.
    #[arg(long)]
    include_positives: bool,
    /// What a row looks like.
    #[arg(long, default_value = "triplet", value_parser = ["triplet", "n-tuple", "labeled-pair", "labeled-list"])]
    output_format: String,
    /// Writes scores, in place of labels where the format has those.
    #[arg(long)]
    output_scores: bool,
    /// Text in front of every query, instead of the model's prompt.
    #[arg(long)]
    query_prompt: Option<String>,
    /// Name of the model's prompt for queries.
    #[arg(long)]
    query_prompt_name: Option<String>,
    /// Text in front of every document, instead of the model's prompt.
    #[arg(long)]
    corpus_prompt: Option<String>,
    /// Name of the model's prompt for documents.
    #[arg(long)]
    corpus_prompt_name: Option<String>,
    /// Texts per forward pass.
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch_size: usize,
}

impl Rules {
    fn config(&self) -> Result<MiningConfig> {
        // The names of the two enumerations are those of configuration files.
        let named: MiningConfig = serde_json::from_value(json!({
            "sampling_strategy": self.sampling_strategy,
            "output_format": self.output_format,
        }))
        .map_err(|error| Failure::input(error.to_string()))?;
        Ok(MiningConfig {
            range_min: self.range_min,
            range_max: self.range_max,
            max_score: self.max_score,
            min_score: self.min_score,
            absolute_margin: self.absolute_margin,
            relative_margin: self.relative_margin,
            num_negatives: self.num_negatives,
            seed: self.seed,
            include_positives: self.include_positives,
            output_scores: self.output_scores,
            query_prompt: self.query_prompt.clone(),
            query_prompt_name: self.query_prompt_name.clone(),
            corpus_prompt: self.corpus_prompt.clone(),
            corpus_prompt_name: self.corpus_prompt_name.clone(),
            batch_size: self.batch_size,
            ..named
        })
    }
}

impl Mine {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let config = self.rules.config()?;
        self.refuse_overlap()?;
        let data = self.data()?;
        // Wrong settings are told before a model is loaded.
        config.range(data.max_positives())?;
        let given = self.given_scores()?;
        let encoder = load(&self.model, global)?;
        let second: Option<SparseEncoder> = match &self.rescore_model {
            Some(model) => Some(load(model, global)?),
            None => None,
        };
        let options = EncodeOptions::default().with_batch_size(config.batch_size);
        let mined = match (&second, &given) {
            (Some(second), _) => {
                let rescorer = |pairs: &[(&str, &str)]| rescore_with(second, pairs, &options);
                mine_hard_negatives(&encoder, &data, Some(&rescorer), &config)?
            }
            (None, Some(given)) => {
                let rescorer = |pairs: &[(&str, &str)]| Ok(given.scores(pairs));
                mine_hard_negatives(&encoder, &data, Some(&rescorer), &config)?
            }
            (None, None) => mine_hard_negatives(&encoder, &data, None, &config)?,
        };
        self.write(&mined, global)
    }

    fn refuse_overlap(&self) -> Result<()> {
        let folder = self.retrieval.as_deref();
        let files = folder.map(|folder| {
            [
                folder.join("corpus.jsonl"),
                folder.join("queries.jsonl"),
                folder.join("qrels").join(format!("{}.tsv", self.split)),
            ]
        });
        let in_folder = files.iter().flatten().map(PathBuf::as_path);
        let mut inputs: Vec<Named<'_>> =
            in_folder.map(|path| ("--retrieval", Some(path))).collect();
        inputs.extend([
            ("--pairs", self.pairs.as_deref()),
            ("--corpus", self.corpus.as_deref()),
            ("--scores", self.scores.as_deref()),
        ]);
        let outputs = [
            ("--output", self.output.as_deref()),
            ("--report", self.report.as_deref()),
        ];
        refuse_overlap(&outputs, &inputs)
    }

    fn data(&self) -> Result<MiningData> {
        if let Some(folder) = &self.retrieval {
            let retrieval = Retrieval::open_with(folder, self.limits.into())?;
            let mut judgements = retrieval.judgements(&self.split)?;
            judgements.retain(|judgement| judgement.score > 0.0);
            let (mut queries, mut positives) = (Vec::new(), Vec::new());
            for judgement in &judgements {
                queries.push(retrieval.query_text(judgement.query)?);
                positives.push(retrieval.document_text(judgement.document)?);
            }
            let corpus = (0..retrieval.num_documents())
                .map(|document| retrieval.document_text(document))
                .collect::<Result<Vec<_>, _>>()?;
            return Ok(MiningData::new(&queries, &positives, &corpus)?);
        }
        let path = self
            .pairs
            .as_deref()
            .ok_or_else(|| Failure::input("--retrieval or --pairs is needed"))?;
        let mut config = dataset(path, self.format_of(path), self.limits);
        // Rows of columns that aren't used may hold what they like.
        config.columns = (self.columns.len() == 2).then(|| self.columns.clone());
        let table = Table::load(&config)?;
        let names = table.column_names();
        let columns = match (&self.columns[..], &names[..]) {
            ([query, document], _) => [query.as_str(), document.as_str()],
            ([], [query, document, ..]) => [*query, *document],
            _ => {
                return Err(Failure::input(format!(
                    "`{}` must have a column of queries and one of documents; it has {}",
                    path.display(),
                    names.join(", ")
                )));
            }
        };
        let [query, document] = columns;
        let queries = column(path, &table, query)?;
        let positives = column(path, &table, document)?;
        let corpus = match &self.corpus {
            Some(path) => {
                let format = self.format_of(path);
                let texts = Texts::without_ids(path, &self.corpus_columns, format, self.limits)?;
                let (mut corpus, mut rows) = (Vec::with_capacity(texts.len()), texts.rows());
                while let Some((_, mut texts)) = rows.take(usize::MAX)? {
                    corpus.append(&mut texts);
                }
                corpus
            }
            None => Vec::new(),
        };
        Ok(MiningData::new(&queries, &positives, &corpus)?)
    }

    fn given_scores(&self) -> Result<Option<GivenScores>> {
        let given =
            |path: &PathBuf| given_scores(path, dataset(path, self.format_of(path), self.limits));
        self.scores.as_ref().map(given).transpose()
    }

    /// The format that was given, for a file whose name tells none.
    fn format_of(&self, path: &Path) -> Option<Format> {
        self.format.filter(|_| Format::from_path(path).is_none())
    }

    fn write(&self, mined: &MinedNegatives, global: &Global) -> Result<()> {
        match &self.output {
            Some(path) => mined.write_json_lines(path)?,
            None => {
                for row in mined.json_lines() {
                    line(&row)?;
                }
            }
        }
        if let Some(path) = &self.report {
            let text = serde_json::to_string_pretty(&mined.report)
                .map_err(|error| Failure::run(error.to_string()))?;
            sparse_encoder::files::write(path, text + "\n")?;
        }
        if !global.quiet {
            to_stderr(mined.report.to_string().trim_end());
            to_stderr(&format!(
                "{} rows for {} queries",
                mined.rows.len(),
                mined.report.n_queries
            ));
        }
        Ok(())
    }
}

fn column(path: &Path, table: &Table, name: &str) -> Result<Vec<String>> {
    let cell = |row: usize| -> Result<String> {
        let text = table.text(name, row)?;
        let text = text.ok_or_else(|| {
            Failure::input(format!(
                "`{}`, row {}, column `{name}`: has no text (null)",
                path.display(),
                row + 1
            ))
        })?;
        Ok(text.to_owned())
    };
    (0..table.num_rows()).map(cell).collect()
}

fn given_scores(path: &Path, mut config: DatasetConfig) -> Result<GivenScores> {
    config.columns = Some(["query", "document", "score"].map(str::to_owned).to_vec());
    let table = Table::load(&config)?;
    let mut scores = GivenScores::default();
    let queries = column(path, &table, "query")?;
    let documents = column(path, &table, "document")?;
    let mut seen = BTreeMap::new();
    for (row, (query, document)) in queries.iter().zip(&documents).enumerate() {
        let text = table.value_as_text("score", row)?;
        let place = format!("`{}`, row {}", path.display(), row + 1);
        let score = text.parse().ok().filter(|score: &f32| score.is_finite());
        let score = score.ok_or_else(|| {
            Failure::input(format!(
                "{place}: `score` must be a finite number; got `{text}`"
            ))
        })?;
        if let Some((first, other)) = seen.insert((query, document), (row + 1, score))
            && other != score
        {
            return Err(Failure::input(format!(
                "{place}: the score {score} of this query and document contradicts that of row {first}, {other}"
            )));
        }
        scores.insert(query, document, score)?;
    }
    Ok(scores)
}
