//! Exact search against the reference's evaluation scoring and Seismic, on the same vectors.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::measure::machine;
use crate::tools::{cargo, run};

/// Options of `cargo xtask bench search`.
#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// A Python that has sentence-transformers 6.2, pyarrow and, for the comparison with Seismic, pyseismic-lsr.
    #[arg(long)]
    python: PathBuf,
    /// A folder in BEIR layout to encode (SciFact, for figures to compare).
    #[arg(long, default_value = "examples/data/debian-packages")]
    retrieval: PathBuf,
    /// The model that encodes it.
    #[arg(long, default_value = "examples/data/splade-tiny-bert")]
    model: PathBuf,
    /// Synthetic documents.
    #[arg(long, default_value_t = 100_000)]
    documents: usize,
    /// Times that all sides run, in turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Search {
    pub(crate) fn run(self) -> Result<()> {
        run(cargo().args(["build", "--package", "sparse-cli", "--locked"]))?;
        let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let target = PathBuf::from(target);
        let program = target.join("debug").join("sparse-encoder");
        ensure!(
            program.exists(),
            "{} isn't there after the build",
            program.display()
        );
        eprintln!("{}", machine());
        run(Command::new(&self.python)
            .arg("xtask/python/search_peer.py")
            .arg(
                program
                    .canonicalize()
                    .context("the program's path is odd")?,
            )
            .arg(target.join("search-peer"))
            .arg("--retrieval")
            .arg(&self.retrieval)
            .arg("--model")
            .arg(&self.model)
            .args(["--documents", &self.documents.to_string()])
            .args(["--rounds", &self.rounds.to_string()]))
    }
}
