//! `evaluate`: the evaluators of a training file, on any model.

mod files;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};
use sparse_encoder::SparseEncoder;
use sparse_encoder::burn::tensor::Device;
use sparse_encoder::eval::{
    Bootstrap, Contender, EvaluationRun, Evaluator, EvaluatorConfig, InformationRetrievalEvaluator,
    PruningTable, RetrievalRun, baselines,
};
use sparse_encoder::train::TrainingFile;

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{line, table, to_stderr};
use crate::same_file::{Named, refuse_overlap};
use files::{Files, Targets};

/// Runs the evaluators of a training file on a model.
///
/// Metrics go to stdout as JSON. Tables of what retrieval reached and cost go to stderr.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder evaluate train.toml --model runs/my-model/final --baselines --output metrics.json"
)]
pub(crate) struct Evaluate {
    /// Training file with at least one `[[evaluator]]`.
    config: PathBuf,
    /// Model directory or hub id, instead of the file's own.
    #[arg(long)]
    model: Option<String>,
    /// Sets a key of the file: --set evaluator.0.batch_size=64
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Writes the metrics here too.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Also evaluates BM25, queries weighted by IDF, and (with --model) the file's own model, on the same data.
    #[arg(long)]
    baselines: bool,
    /// Compares two models, or two TREC run files, query by query instead: interval of the difference by a paired bootstrap.
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["model", "baselines", "pruning"])]
    compare: Vec<String>,
    /// Figure that is compared, such as mrr@10 (default: the primary one).
    #[arg(long, requires = "compare")]
    figure: Option<String>,
    /// Writes every figure of every query here: Parquet with evaluator, run, query_id, figure, value.
    #[arg(long)]
    per_query: Option<PathBuf>,
    /// Writes every ranking into this folder as a TREC run file.
    #[arg(long)]
    runs: Option<PathBuf>,
    /// Evaluates documents cut to each number of active dimensions, such as 32,64,128,all.
    #[arg(long, value_delimiter = ',', value_parser = limit)]
    pruning: Vec<Limit>,
    /// The same for queries.
    #[arg(long, value_delimiter = ',', value_parser = limit, requires = "pruning", default_value = "all")]
    pruning_queries: Vec<Limit>,
    /// Folder for an SVG plot of each table.
    #[arg(long, requires = "pruning")]
    pruning_plots: Option<PathBuf>,
}

/// A number of active dimensions, or none.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<usize>);

fn limit(text: &str) -> Result<Limit, String> {
    match (text, text.parse()) {
        ("all", _) => Ok(Limit(None)),
        (_, Ok(limit)) if limit > 0 => Ok(Limit(Some(limit))),
        _ => Err("expected a number of at least 1, or `all`".to_owned()),
    }
}

/// What retrieval evaluations found out, in order.
type Reports = Arc<Mutex<Vec<Contender>>>;

impl Evaluate {
    pub(crate) fn run(self, global: &Global) -> Result<()> {
        let mut file = TrainingFile::load(&self.config, &self.overrides)?;
        let targets = Targets {
            output: self.output.clone(),
            per_query: self.per_query.clone(),
            runs: self.runs.clone(),
            pruning_plots: self.pruning_plots.clone(),
        };
        targets.check()?;
        if self.model.is_none() && self.compare.is_empty() {
            global.hub.lay_over(&mut file.model);
        }
        lay_over_evaluators(&mut file.evaluator, global);
        if file.evaluator.is_empty() {
            return Err(Failure::input(format!(
                "`{}` has no [[evaluator]]",
                self.config.display()
            )));
        }
        self.refuse_overlap(&file.evaluator)?;
        let device = sparse_encoder::device(&global.device)?;
        let evaluators = file
            .evaluator
            .iter()
            .map(|config| config.init())
            .collect::<Result<Vec<_>, _>>()?;
        let retrievals: Vec<&InformationRetrievalEvaluator> = evaluators
            .iter()
            .flat_map(|evaluator| evaluator.retrievals())
            .collect();
        let wants_retrieval = self.baselines
            || !self.compare.is_empty()
            || !self.pruning.is_empty()
            || self.per_query.is_some()
            || self.runs.is_some();
        if wants_retrieval && retrievals.is_empty() {
            return Err(Failure::input(format!(
                "`{}` has no [[evaluator]] in which queries search a corpus",
                self.config.display()
            )));
        }
        targets.check_names(&retrievals)?;
        let mut files = Files::new(targets);
        let result = match &self.compare[..] {
            [first, second] => {
                let sides = [first, second];
                self.compare(&file, sides, &retrievals, &device, global, &mut files)?
            }
            _ => self.evaluate(&file, &evaluators, &retrievals, &device, global, &mut files)?,
        };
        // Before the files: a disk that is full costs no figure.
        let text = format!("{:#}", Value::Object(result));
        line(&text)?;
        files.write(&text).map_err(Failure::after_changes)
    }

    fn refuse_overlap(&self, evaluators: &[EvaluatorConfig]) -> Result<()> {
        let mut files = Vec::new();
        for evaluator in evaluators {
            if let EvaluatorConfig::InformationRetrieval(config) = evaluator
                && let Ok(found) = config.files()
            {
                files.extend([found.queries, found.corpus, found.qrels]);
            }
        }
        let mut inputs: Vec<Named<'_>> = vec![("the training file", Some(&self.config))];
        inputs.extend(
            self.compare
                .iter()
                .map(|side| ("--compare", Some(Path::new(side)))),
        );
        inputs.extend(
            files
                .iter()
                .map(|file| ("[[evaluator]]", Some(file.as_path()))),
        );
        let outputs = [
            ("--output", self.output.as_deref()),
            ("--per-query", self.per_query.as_deref()),
        ];
        refuse_overlap(&outputs, &inputs)
    }

    fn evaluate(
        &self,
        file: &TrainingFile,
        evaluators: &[Box<dyn Evaluator>],
        retrievals: &[&InformationRetrievalEvaluator],
        device: &Device,
        global: &Global,
        files: &mut Files,
    ) -> Result<Map<String, Value>> {
        let encoder = match &self.model {
            Some(model) => load(file, model, device, global)?,
            None => file.load_encoder(device)?,
        };
        let reports = Reports::default();
        let sink = Arc::clone(&reports);
        let run = EvaluationRun::default().with_on_report(move |evaluator, report| {
            let mut reports = sink.lock().unwrap_or_else(PoisonError::into_inner);
            reports.extend(Contender::new(evaluator, "model", report));
        });
        let mut result = Map::new();
        for evaluator in evaluators {
            let metrics = evaluator.evaluate(&encoder, &run);
            let metrics = metrics.map_err(|error| {
                Failure::from(error).about(&format!("the evaluator {}", title(evaluator.as_ref())))
            })?;
            for (name, value) in metrics.iter() {
                result.insert(name.to_owned(), value.into());
            }
        }
        let found = std::mem::take(&mut *reports.lock().unwrap_or_else(PoisonError::into_inner));
        let before = match (&self.model, self.baselines) {
            (Some(_), true) => Some(file.load_encoder(device)?),
            _ => None,
        };
        let mut contenders = Vec::new();
        for (evaluator, contender) in retrievals.iter().zip(found) {
            let mut group = vec![contender];
            if self.baselines {
                let quiet = EvaluationRun::default();
                group.extend(baselines(evaluator, &encoder, before.as_ref(), &quiet)?);
            }
            for contender in &group {
                files.keep(evaluator, contender);
                files.keep_run(evaluator, contender);
            }
            contenders.extend(group);
        }
        if !contenders.is_empty() && !global.quiet {
            to_stderr(&overview(&contenders));
        }
        if self.baselines {
            let contenders = contenders.iter().map(Contender::to_json).collect();
            result.insert("contenders".to_owned(), contenders);
        }
        if !self.pruning.is_empty() {
            let tables = self.prune(&encoder, retrievals, global, files)?;
            result.insert("pruning".to_owned(), tables);
        }
        Ok(result)
    }

    fn compare(
        &self,
        file: &TrainingFile,
        sides: [&String; 2],
        retrievals: &[&InformationRetrievalEvaluator],
        device: &Device,
        global: &Global,
        files: &mut Files,
    ) -> Result<Map<String, Value>> {
        let mut rankings: Vec<Vec<RetrievalRun>> = Vec::new();
        for side in sides {
            let path = Path::new(side);
            if path.is_file() {
                let runs = retrievals
                    .iter()
                    .map(|evaluator| RetrievalRun::read_trec(path, evaluator.collection()));
                rankings.push(runs.collect::<Result<_, _>>()?);
                continue;
            }
            let encoder = load(file, side, device, global)?;
            let mut runs = Vec::new();
            for evaluator in retrievals {
                let report = evaluator.report(&encoder, &encoder, &EvaluationRun::default())?;
                let contender = Contender::new(evaluator, side.as_str(), &report)
                    .ok_or_else(|| Failure::run("the evaluation made no ranking"))?;
                runs.push(contender.run.clone());
                files.keep(evaluator, &contender);
            }
            rankings.push(runs);
        }
        let (mut rows, mut comparisons) = (Vec::new(), Vec::new());
        for (position, evaluator) in retrievals.iter().enumerate() {
            let figure = match &self.figure {
                Some(figure) => figure.clone(),
                None => evaluator.cutoffs().primary(),
            };
            let values = |side: usize| {
                let run = &rankings[side][position];
                let values = evaluator
                    .cutoffs()
                    .per_query(evaluator.collection(), run, &figure);
                values.ok_or_else(|| {
                    Failure::input(format!(
                        "`{figure}` is no figure; expected one such as {}",
                        evaluator.cutoffs().names().join(", ")
                    ))
                })
            };
            let comparison = Bootstrap::default().compare(&values(0)?, &values(1)?)?;
            let name = match evaluator.name() {
                "" => "retrieval",
                name => name,
            };
            let [better, equal, worse] = comparison.better_equal_worse;
            rows.push(vec![
                format!("{name} {figure}"),
                format!("{:.4}", comparison.first),
                format!("{:.4}", comparison.second),
                format!("{:+.4}", comparison.difference),
                format!(
                    "{:+.4} to {:+.4}",
                    comparison.interval[0], comparison.interval[1]
                ),
                format!("{:.4}", comparison.p_value),
                format!("{better} / {equal} / {worse}"),
            ]);
            comparisons
                .push(json!({ "evaluator": name, "figure": figure, "comparison": comparison }));
        }
        if !global.quiet {
            let header = [
                "evaluation",
                "A",
                "B",
                "B - A",
                "95% interval",
                "p",
                "better / equal / worse",
            ];
            to_stderr(&table(&header, &rows));
        }
        let [first, second] = sides;
        let mut result = Map::new();
        result.insert("first".to_owned(), first.as_str().into());
        result.insert("second".to_owned(), second.as_str().into());
        result.insert("comparisons".to_owned(), comparisons.into());
        Ok(result)
    }

    fn prune(
        &self,
        encoder: &SparseEncoder,
        retrievals: &[&InformationRetrievalEvaluator],
        global: &Global,
        files: &mut Files,
    ) -> Result<Value> {
        let limits = |limits: &[Limit]| limits.iter().map(|limit| limit.0).collect::<Vec<_>>();
        let (documents, queries) = (limits(&self.pruning), limits(&self.pruning_queries));
        let mut tables = Vec::new();
        for evaluator in retrievals {
            let run = EvaluationRun::default();
            let table = PruningTable::new(
                evaluator,
                &evaluator.encode_queries(encoder, &run)?,
                &evaluator.encode_corpus(encoder, &run)?,
                encoder.similarity_fn(),
                &documents,
                &queries,
            )?;
            if !global.quiet {
                to_stderr(&format!("{}\n{table}", evaluator.name()));
            }
            files.keep_plot(evaluator, &table);
            tables.push(json!({ "evaluator": evaluator.name(), "table": table }));
        }
        Ok(tables.into())
    }
}

/// Another model than the file's: what the file says of where its own is found is not about this one.
fn load(
    file: &TrainingFile,
    model: &str,
    device: &Device,
    global: &Global,
) -> Result<SparseEncoder> {
    let mut file = file.clone();
    file.model.name_or_path = model.to_owned();
    file.model.revision = None;
    file.model.subfolder = None;
    global.hub.lay_over(&mut file.model);
    Ok(file.load_encoder(device)?)
}

/// An evaluator in a message.
fn title(evaluator: &dyn Evaluator) -> String {
    match evaluator.name() {
        "" => evaluator.class_name().to_owned(),
        name => format!("`{name}`"),
    }
}

/// Data of the hub are found where models are.
fn lay_over_evaluators(evaluators: &mut [EvaluatorConfig], global: &Global) {
    for evaluator in evaluators {
        match evaluator {
            EvaluatorConfig::NanoBeir(config) => {
                config.cache_dir = global.hub.cache_dir.clone().or(config.cache_dir.take());
                config.local_files_only |= global.hub.local_files_only;
            }
            EvaluatorConfig::Sequential(config) => {
                lay_over_evaluators(&mut config.evaluators, global);
            }
            _ => {}
        }
    }
}

/// Quality and cost side by side.
fn overview(contenders: &[Contender]) -> String {
    let number = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let rows: Vec<Vec<String>> = contenders
        .iter()
        .map(|contender| {
            let (metrics, cost) = (&contender.metrics, &contender.cost);
            vec![
                format!("{} {}", contender.evaluator, contender.name),
                metrics.primary().unwrap_or_default().to_owned(),
                number(metrics.primary().and_then(|name| metrics.get(name)), 4),
                number(metrics.get("query_active_dims"), 1),
                number(metrics.get("corpus_active_dims"), 1),
                number(metrics.get("avg_flops"), 2),
                format!("{:.0}", cost.index.mean_list_length),
                cost.index.longest_list.to_string(),
                format!("{:.1}", cost.index.n_bytes as f64 / 1e6),
                format!("{:.0}", cost.microseconds_per_query),
            ]
        })
        .collect();
    let header = [
        "evaluation",
        "figure",
        "value",
        "query dims",
        "corpus dims",
        "FLOPS",
        "mean list",
        "longest list",
        "index MB",
        "µs/query",
    ];
    table(&header, &rows)
}
