//! `train`: a training file from start to finished model.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sparse_encoder::eval::{EvaluationRun, Evaluator};
use sparse_encoder::model::EncodeOptions;
use sparse_encoder::train::distributed::{self, Communicator, Launch};
use sparse_encoder::train::{Interrupt, Resume, Trainer, TrainingFile};
use sparse_encoder::{Device, SparseEncoder};

use crate::Global;
use crate::failure::{Failure, Result};
use crate::output::{line, table, to_stderr};
use crate::progress::TrainingProgress;
use crate::staged_file::StagedFile;

/// Fine-tunes a model as a training file says.
///
/// The model goes to OUTPUT_DIR/final, the metrics as one JSON object to stdout. Ctrl-C ends after the current step with a
/// checkpoint and exit code 130; a second one ends at once.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: sparse-encoder train train.toml --set arguments.learning_rate=2e-5"
)]
pub(crate) struct Train {
    /// Training file.
    config: PathBuf,
    /// Sets a key of the file: --set arguments.seed=7
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Goes on from a checkpoint; without a directory from the last one of the output directory.
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
}

/// Exit code of an interrupted run, as shells have it for Ctrl-C.
const INTERRUPTED: u8 = 130;

impl Train {
    pub(crate) fn run(self, global: &Global) -> Result<ExitCode> {
        let communicator = distributed::start()?;
        match self.run_one(global, communicator.clone()) {
            Err(failure) if communicator.size() > 1 => end_all(failure, &*communicator),
            result => result,
        }
    }

    /// What one process of the run does, alone or one of several.
    fn run_one(self, global: &Global, communicator: Arc<dyn Communicator>) -> Result<ExitCode> {
        let speaks = communicator.rank() == 0;
        let mut file = TrainingFile::load(&self.config, &self.overrides)?;
        global.hub.lay_over(&mut file.model);
        let device = sparse_encoder::device(&own_device(&global.device))?;
        let interrupt = Interrupt::default();
        let mut trainer = file
            .trainer(&device)?
            .interrupt(interrupt.clone())
            .communicator(communicator)
            .callback(TrainingProgress::new(global.quiet))
            .build()?;
        stop_on_signal(interrupt)?;
        greet(&trainer, &device);

        let output = trainer.train_from(&match self.resume {
            None => Resume::No,
            Some(None) => Resume::Last,
            Some(Some(directory)) => Resume::From(directory),
        })?;
        if !speaks {
            let interrupted = output.interrupted.is_some();
            return Ok(ExitCode::from(if interrupted { INTERRUPTED } else { 0 }));
        }
        if let Some(checkpoint) = output.interrupted {
            to_stderr(&format!(
                "interrupted after step {}; go on with: --resume {}",
                output.global_step,
                checkpoint.display()
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let encoder = trainer.encoder();
        encoder.save_pretrained(file.final_dir())?;
        tracing::info!("saved the model to `{}`", file.final_dir().display());

        let mut metrics: serde_json::Map<String, serde_json::Value> = output
            .metrics
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        let run = EvaluationRun {
            output_path: Some(file.arguments.output_dir.join("eval")),
            epoch: Some(trainer.state().epoch),
            steps: Some(trainer.state().global_step as u64),
            ..EvaluationRun::default()
        };
        let mut measured = Vec::new();
        for evaluator in trainer.evaluators() {
            let name = match evaluator.name() {
                "" => evaluator.class_name(),
                name => name,
            };
            tracing::info!("evaluating the final model on `{name}`");
            let after = evaluator.evaluate(&encoder, &run);
            let compared = after.map_err(Failure::from).and_then(|after| {
                compare(&trainer, evaluator.as_ref(), &after)?;
                Ok(after)
            });
            let after = match compared {
                Ok(after) => after,
                Err(failure) => {
                    // What was measured before isn't lost.
                    line(&serde_json::Value::Object(metrics).to_string())?;
                    return Err(failure.about(&format!("the evaluator `{name}`")));
                }
            };
            metrics.extend(
                after
                    .iter()
                    .map(|(name, value)| (name.to_owned(), value.into())),
            );
            measured.push(after);
        }
        // Before the files: a disk that is full costs no figure.
        line(&serde_json::Value::Object(metrics).to_string())?;
        for (index, metrics) in measured.iter().enumerate() {
            trainer.record_evaluation(index, metrics);
        }
        if let Some(card) = trainer.model_card() {
            let mut file_of_card = StagedFile::create(&file.final_dir().join("README.md"))?;
            file_of_card.line(card.trim_end())?;
            file_of_card.finish()?;
        }
        if !global.quiet {
            show_samples(&trainer, &encoder)?;
        }
        if file.arguments.push_to_hub {
            // Last, so that what fails here has lost nothing.
            let upload = trainer.push_to_hub("End of training")?;
            tracing::info!("uploaded the model: {}", upload.url);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Time that process 0 has to say first what may have failed in every process.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// Says what failed here, and ends the other processes too, which would wait for this one.
fn end_all(failure: Failure, communicator: &dyn Communicator) -> ! {
    if communicator.rank() > 0 {
        std::thread::sleep(FIRST_WORD);
    }
    let code = failure.code();
    failure
        .of_process(communicator.rank(), communicator.size())
        .report();
    communicator.abort(code.into())
}

/// The device of this process: where a run has several and the name of a GPU has no number, the one of its place on the
/// machine.
fn own_device(name: &str) -> String {
    match Launch::detect() {
        Some(launch) if launch.size > 1 && ["cuda", "rocm"].contains(&name) => {
            format!("{name}:{}", launch.local_rank)
        }
        _ => name.to_owned(),
    }
}

/// The first signal ends the run after its step, the second at once.
fn stop_on_signal(interrupt: Interrupt) -> Result<()> {
    ctrlc::set_handler(move || {
        if interrupt.is_requested() {
            std::process::exit(INTERRUPTED.into());
        }
        interrupt.request();
        to_stderr("stopping after this step; once more to stop at once");
    })
    .map_err(|error| Failure::run(format!("failed to listen for Ctrl-C: {error}")))
}

fn greet(trainer: &Trainer, device: &Device) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let model = trainer.encoder();
    tracing::info!(
        "model of {} parameters on {device:?} with {threads} threads",
        model
            .named_parameters()
            .iter()
            .map(|parameter| parameter.shape.iter().product::<usize>())
            .sum::<usize>(),
    );
    for (name, rows, columns) in trainer.datasets() {
        tracing::info!(
            "training data `{name}`: {rows} rows of {}",
            columns.join(", ")
        );
    }
}

/// Figures before and after training beside a baseline, where they are known.
fn compare(
    trainer: &Trainer,
    evaluator: &dyn Evaluator,
    after: &sparse_encoder::eval::Metrics,
) -> Result<()> {
    let Some(primary) = evaluator.primary_metric() else {
        return Ok(());
    };
    // The other figures of the same family, then what the vectors cost.
    let stem = primary.rsplit_once('_').map_or("", |(stem, _)| stem);
    let shown: Vec<&str> = ["ndcg@10", "mrr@10", "recall@100", "recall@10", "map@100"]
        .into_iter()
        .filter(|figure| after.get(&format!("{stem}_{figure}")).is_some())
        .collect();
    if shown.is_empty() {
        return Ok(());
    }
    let prefix = if evaluator.name().is_empty() {
        String::new()
    } else {
        format!("{}_", evaluator.name())
    };
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let row = |name: &str, get: &dyn Fn(&str) -> Option<f64>| {
        let mut row = vec![name.to_owned()];
        row.extend(
            shown
                .iter()
                .map(|figure| number(get(&format!("{stem}_{figure}")), 4)),
        );
        row.push(number(get(&format!("{prefix}query_active_dims")), 1));
        row.push(number(get(&format!("{prefix}corpus_active_dims")), 1));
        row
    };
    let mut rows = Vec::new();
    if let Some(baseline) = evaluator.baseline()? {
        let get = |name: &str| {
            let figure = name.rsplit_once('_').map_or(name, |(_, figure)| figure);
            baseline
                .iter()
                .find(|(key, _)| key.ends_with(&format!("_{figure}")))
                .map(|(_, value)| value)
        };
        let mut cells = row("BM25", &get);
        let dims = cells.len() - 2;
        cells[dims..].fill("-".to_owned());
        rows.push(cells);
    }
    if let Some(before) = trainer.metrics_before() {
        rows.push(row("before", &|name| {
            before
                .iter()
                .find(|(key, _)| *key == format!("eval_{name}"))
                .map(|(_, value)| *value)
        }));
    }
    rows.push(row("after", &|name| after.get(name)));
    let mut header = vec![if evaluator.name().is_empty() {
        "model"
    } else {
        evaluator.name()
    }];
    header.extend(&shown);
    header.extend(["query dims", "corpus dims"]);
    to_stderr(&format!("\n{}", table(&header, &rows)));
    Ok(())
}

/// A few texts of the training data with their heaviest tokens.
fn show_samples(trainer: &Trainer, encoder: &SparseEncoder) -> Result<()> {
    const TEXTS: usize = 3;
    const TOKENS: usize = 12;
    let texts = trainer.sample_texts(TEXTS)?;
    if texts.is_empty() || !encoder.is_splade() {
        return Ok(());
    }
    let embeddings = encoder.encode_query(&texts, &EncodeOptions::default())?;
    to_stderr("\nwhat the model makes of a few texts:");
    for (text, tokens) in texts.iter().zip(encoder.decode(&embeddings, Some(TOKENS))?) {
        let tokens: Vec<String> = tokens
            .iter()
            .map(|(token, weight)| format!("{token} {weight:.2}"))
            .collect();
        to_stderr(&format!("  {text}\n    {}", tokens.join(", ")));
    }
    Ok(())
}
