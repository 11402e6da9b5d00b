//! What `evaluate` writes: checked before anything is computed, written after everything is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sparse_encoder::eval::{
    Collection, Contender, Evaluator, InformationRetrievalEvaluator, PerQuery, PruningTable,
    RetrievalRun,
};
use sparse_encoder::files::{create_dir_all, write};

use crate::failure::{Failure, Result};

/// Where it goes.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) output: Option<PathBuf>,
    pub(super) per_query: Option<PathBuf>,
    pub(super) runs: Option<PathBuf>,
    pub(super) pruning_plots: Option<PathBuf>,
}

impl Targets {
    /// Refuses what can't be written.
    pub(super) fn check(&self) -> Result<()> {
        let files = [("--output", &self.output), ("--per-query", &self.per_query)];
        for (option, path) in files {
            if let Some(path) = path {
                check_file(option, path)?;
            }
        }
        let folders = [
            ("--runs", &self.runs),
            ("--pruning-plots", &self.pruning_plots),
        ];
        for (option, folder) in folders {
            let Some(folder) = folder else { continue };
            // The nearest that exists: what is missing below it is made.
            let existing = folder.ancestors().find(|ancestor| ancestor.exists());
            if let Some(existing) = existing.filter(|existing| !existing.is_dir()) {
                return Err(Failure::input(format!(
                    "{option} `{}` must be a directory; `{}` is a file",
                    folder.display(),
                    existing.display()
                )));
            }
        }
        Ok(())
    }

    /// Refuses evaluators whose files would have the same names.
    pub(super) fn check_names(&self, retrievals: &[&InformationRetrievalEvaluator]) -> Result<()> {
        if self.runs.is_none() && self.pruning_plots.is_none() {
            return Ok(());
        }
        for (index, evaluator) in retrievals.iter().enumerate() {
            let name = evaluator.name();
            if retrievals[..index].iter().any(|other| other.name() == name) {
                return Err(Failure::input(format!(
                    "two evaluators are called {name:?}, and so would be their files: give each a `name` of its own"
                )));
            }
        }
        Ok(())
    }
}

fn check_file(option: &str, path: &Path) -> Result<()> {
    if path.is_dir() {
        return Err(Failure::input(format!(
            "{option} `{}` is a directory; expected the name of a file",
            path.display()
        )));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(Failure::input(format!(
                "{option} `{}`: there is no directory `{}`",
                path.display(),
                folder.display()
            )))
        }
        _ => Ok(()),
    }
}

/// A ranking that goes into a file.
#[derive(Debug)]
struct Run {
    path: PathBuf,
    tag: String,
    run: RetrievalRun,
    collection: Arc<Collection>,
}

/// What goes there, as far as it is asked for.
#[derive(Debug)]
pub(super) struct Files {
    targets: Targets,
    runs: Vec<Run>,
    plots: Vec<(PathBuf, String)>,
    per_query: PerQuery,
}

impl Files {
    pub(super) fn new(targets: Targets) -> Self {
        Self {
            targets,
            runs: Vec::new(),
            plots: Vec::new(),
            per_query: PerQuery::new(),
        }
    }

    /// Keeps the figures of every query.
    pub(super) fn keep(
        &mut self,
        evaluator: &InformationRetrievalEvaluator,
        contender: &Contender,
    ) {
        if self.targets.per_query.is_some() {
            self.per_query.add(evaluator, contender);
        }
    }

    /// Keeps a ranking.
    pub(super) fn keep_run(
        &mut self,
        evaluator: &InformationRetrievalEvaluator,
        contender: &Contender,
    ) {
        if let Some(folder) = &self.targets.runs {
            self.runs.push(Run {
                path: folder.join(format!("{}.{}.trec", contender.evaluator, contender.name)),
                tag: contender.name.clone(),
                run: contender.run.clone(),
                collection: Arc::clone(evaluator.collection()),
            });
        }
    }

    /// Keeps the plot of a table.
    pub(super) fn keep_plot(
        &mut self,
        evaluator: &InformationRetrievalEvaluator,
        table: &PruningTable,
    ) {
        if let Some(folder) = &self.targets.pruning_plots {
            let name = match evaluator.name() {
                "" => "retrieval",
                name => name,
            };
            let path = folder.join(format!("{name}.pruning.svg"));
            self.plots.push((path, table.to_svg()));
        }
    }

    /// Writes it all; `metrics` are those of every evaluator.
    pub(super) fn write(&self, metrics: &str) -> Result<()> {
        if let Some(path) = &self.targets.output {
            write(path, format!("{metrics}\n"))?;
        }
        let folders = [&self.targets.runs, &self.targets.pruning_plots];
        for folder in folders.into_iter().flatten() {
            create_dir_all(folder)?;
        }
        for run in &self.runs {
            run.run.write_trec(&run.collection, &run.tag, &run.path)?;
        }
        for (path, plot) in &self.plots {
            write(path, plot)?;
        }
        if let Some(path) = &self.targets.per_query {
            self.per_query.write_parquet(path)?;
        }
        Ok(())
    }
}
