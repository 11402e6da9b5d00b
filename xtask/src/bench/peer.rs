//! Training steps and encoding against the Python reference, on the same weights, texts and threads.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::measure::{Measurement, THREADS, build, bytes, machine, measure, median};
use crate::tools::run;

const REQUIREMENTS: &[&str] = &[
    "sentence-transformers[train]==6.2.0",
    "transformers==5.24.0",
    "torch",
];

/// Options of `cargo xtask bench peer`.
#[derive(Debug, clap::Args)]
pub(crate) struct Peer {
    /// Only the workloads whose name contains this.
    workload: Option<String>,
    /// A Python that has the reference; without it a virtual environment is made in the target directory.
    #[arg(long)]
    python: Option<PathBuf>,
    /// A folder in BEIR layout whose texts are the real documents (SciFact, for figures to compare).
    #[arg(long, default_value = "examples/data/debian-packages")]
    retrieval: PathBuf,
    /// Times that both sides run, in turn.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Both sides train with `bf16 = true`; leaves the encoding out.
    #[arg(long)]
    bf16: bool,
    /// Encodes no more documents than this.
    #[arg(long)]
    documents: Option<usize>,
    /// Measures a release build instead of that of the tests and the quickstart.
    #[arg(long)]
    release: bool,
    /// A Markdown file to write the table to as well.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// One line of the table.
struct Workload {
    name: &'static str,
    what: &'static str,
    model: &'static str,
    data: &'static str,
    task: Task,
    max_seq_length: usize,
}

enum Task {
    Train { batch_size: usize, steps: usize },
    Encode { batch_size: usize },
}

const fn train(batch_size: usize, steps: usize) -> Task {
    Task::Train { batch_size, steps }
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "tiny-real",
        what: "splade-tiny-bert, 32 pairs of package descriptions up to 256 tokens",
        model: "examples/data/splade-tiny-bert",
        data: "tiny.jsonl",
        task: train(32, 8),
        max_seq_length: 256,
    },
    Workload {
        name: "minilm-flat",
        what: "BERT 6×384, random weights, 16 pairs of 16 and 64 tokens",
        model: "minilm",
        data: "flat.jsonl",
        task: train(16, 10),
        max_seq_length: 256,
    },
    Workload {
        name: "minilm-real",
        what: "BERT 6×384, random weights, 16 real pairs up to 256 tokens",
        model: "minilm",
        data: "real.jsonl",
        task: train(16, 8),
        max_seq_length: 256,
    },
    Workload {
        name: "base-real",
        what: "BERT 12×768, random weights, 8 real pairs up to 128 tokens",
        model: "base",
        data: "real.jsonl",
        task: train(8, 6),
        max_seq_length: 128,
    },
    Workload {
        name: "xlmr-vocab",
        what: "XLM-R 4×256, vocabulary 250,002, random weights, 16 pairs of 16 and 64 tokens",
        model: "xlmr",
        data: "flat-xlmr.jsonl",
        task: train(16, 5),
        max_seq_length: 256,
    },
    Workload {
        name: "encode-tiny",
        what: "splade-tiny-bert, 2,000 real documents up to 256 tokens",
        model: "examples/data/splade-tiny-bert",
        data: "documents.jsonl",
        task: Task::Encode { batch_size: 32 },
        max_seq_length: 256,
    },
    Workload {
        name: "encode-minilm",
        what: "BERT 6×384, random weights, 2,000 real documents up to 256 tokens",
        model: "minilm",
        data: "documents.jsonl",
        task: Task::Encode { batch_size: 32 },
        max_seq_length: 256,
    },
];

impl Peer {
    pub(crate) fn run(self) -> Result<()> {
        let chosen: Vec<&Workload> = WORKLOADS
            .iter()
            .filter(|workload| {
                self.workload
                    .as_ref()
                    .is_none_or(|part| workload.name.contains(part.as_str()))
            })
            .filter(|workload| !self.bf16 || matches!(workload.task, Task::Train { .. }))
            .collect();
        if chosen.is_empty() {
            let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
            bail!("no workload has that name; there are {}", names.join(", "));
        }
        ensure!(self.rounds > 0, "--rounds: expected at least 1");
        let program = build(self.release)?;
        let folder = program
            .parent()
            .and_then(Path::parent)
            .context("the target directory has no parent")?
            .join("peer");
        let python = match &self.python {
            Some(python) => python.clone(),
            None => virtual_environment(&folder)?,
        };
        let marker = folder.join("workloads-of.txt");
        let origin = self.retrieval.display().to_string();
        if std::fs::read_to_string(&marker).ok().as_deref() != Some(&origin) {
            run(Command::new(&python)
                .arg("xtask/python/prepare_workloads.py")
                .arg("examples/data/splade-tiny-bert")
                .arg(&self.retrieval)
                .arg("examples/data/debian-packages")
                .arg(&folder))?;
            std::fs::write(&marker, &origin)?;
        }
        let mut table = self.heading(&python)?;
        for workload in chosen {
            let row = self.compare(workload, &program, &python, &folder)?;
            // A run takes long: what is known is shown at once.
            eprintln!("{row}");
            writeln!(table, "{row}")?;
        }
        if let Some(output) = &self.output {
            std::fs::write(output, &table)
                .with_context(|| format!("failed to write {}", output.display()))?;
        }
        std::io::Write::write_all(&mut std::io::stdout().lock(), table.as_bytes())?;
        Ok(())
    }

    fn heading(&self, python: &Path) -> Result<String> {
        let versions = Command::new(python)
            .args(["-c", "import torch, transformers, sentence_transformers as s; print(f'sentence-transformers {s.__version__}, transformers {transformers.__version__}, PyTorch {torch.__version__}')"])
            .output()
            .with_context(|| format!("failed to start {}", python.display()))?;
        ensure!(
            versions.status.success(),
            "{} lacks the reference: install {}",
            python.display(),
            REQUIREMENTS.join(" ")
        );
        Ok(format!(
            "{}; {THREADS} threads; {}; {} build; {}; medians over {} rounds in turn; documents of {}.\n\n\
             | workload | what | reference | here | ratio | memory of the reference | here | ratio | figure to agree on |\n\
             | --- | --- | --: | --: | --: | --: | --: | --: | --- |\n",
            machine(),
            if self.bf16 { "bf16" } else { "f32" },
            if self.release {
                "release"
            } else {
                "development"
            },
            String::from_utf8_lossy(&versions.stdout).trim(),
            self.rounds,
            self.retrieval
                .file_name()
                .unwrap_or_default()
                .to_string_lossy(),
        ))
    }

    /// Runs both sides in turn and gives the line of the table.
    fn compare(
        &self,
        workload: &Workload,
        program: &Path,
        python: &Path,
        folder: &Path,
    ) -> Result<String> {
        let job = workload.job(folder, self);
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            theirs.push(measure(
                Command::new(python).arg("xtask/python/measure.py"),
                &job,
            )?);
            ours.push(measure(&mut Command::new(program), &job)?);
        }
        let time = |runs: &[Measurement]| {
            median(
                &runs
                    .iter()
                    .flat_map(|run| run.seconds.clone())
                    .collect::<Vec<_>>(),
            )
        };
        let memory =
            |runs: &[Measurement]| runs.iter().map(|run| run.peak_bytes).fold(0.0, f64::max);
        let (their_time, our_time) = (time(&theirs), time(&ours));
        let (their_memory, our_memory) = (memory(&theirs), memory(&ours));
        Ok(format!(
            "| {} | {} | {} | {} | {:.1}× | {} | {} | 1/{:.1} | {} {:.5} and {:.5} |",
            workload.name,
            workload.what,
            seconds(their_time),
            seconds(our_time),
            their_time / our_time,
            bytes(their_memory),
            bytes(our_memory),
            their_memory / our_memory,
            match workload.task {
                Task::Train { .. } => "first loss",
                Task::Encode { .. } => "active dims",
            },
            theirs[0].check,
            ours[0].check,
        ))
    }
}

impl Workload {
    fn job(&self, folder: &Path, options: &Peer) -> Value {
        let model = if self.model.contains('/') {
            PathBuf::from(self.model)
        } else {
            folder.join(self.model)
        };
        let data = folder.join(self.data);
        match self.task {
            Task::Train { batch_size, steps } => json!({"train": {
                "model": model, "data": data, "batch_size": batch_size, "max_seq_length": self.max_seq_length,
                "steps": steps, "warm_up": 3, "bf16": options.bf16, "output": folder.join("run"),
            }}),
            Task::Encode { batch_size } => json!({"encode": {
                "model": model, "data": data, "batch_size": batch_size, "max_seq_length": self.max_seq_length,
                "repeat": 2, "documents": options.documents,
            }}),
        }
    }
}

fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else {
        format!("{value:.2} s")
    }
}

/// A virtual environment with the reference, made once.
fn virtual_environment(folder: &Path) -> Result<PathBuf> {
    let environment = folder.join("python");
    let python = environment.join("bin/python");
    if !python.exists() {
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(REQUIREMENTS))?;
    }
    Ok(python)
}
