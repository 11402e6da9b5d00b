//! `cargo xtask fuzz` and `cargo xtask crash`: `fuzz/` does the work.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::features;
use crate::tools::{cargo, run};

/// Mutated inputs for every reader of foreign bytes. Fails if one panics, dies, takes more than 60 s or 2 GB, or refuses an
/// input without naming its file.
#[derive(Debug, clap::Args)]
pub(crate) struct Fuzz {
    /// The reader to feed (default: all).
    #[arg(long)]
    target: Option<String>,
    /// Inputs for each reader.
    #[arg(long, default_value_t = 20_000)]
    mutations: u64,
    /// Number of the first input: an input is a function of its number.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Training, encoding and indexing, killed at any instant and started again.
#[derive(Debug, clap::Args)]
pub(crate) struct Crash {
    /// Processes to start.
    #[arg(long, default_value_t = 1000)]
    cycles: u64,
    /// Of the instants.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let mut command = built("fuzz")?;
        if let Some(target) = &self.target {
            command.args(["--target", target]);
        }
        command.args(["--mutations", &self.mutations.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        run(&mut command)
    }
}

impl Crash {
    pub(crate) fn run(self) -> Result<()> {
        let mut command = built("crash")?;
        command.args(["--cycles", &self.cycles.to_string()]);
        command.args(["--seed", &self.seed.to_string()]);
        run(&mut command)
    }
}

/// Builds both programs, on the features that the tests share, and begins the command of one.
fn built(chore: &str) -> Result<Command> {
    run(cargo()
        .args([
            "build",
            "--locked",
            "--package",
            "sparse-fuzz",
            "--package",
            "sparse-cli",
        ])
        .args(features::optional()))?;
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--locked"])
        .output()
        .context("failed to start cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let folder = metadata["target_directory"]
        .as_str()
        .context("no target directory")?;
    let mut command = Command::new(PathBuf::from(folder).join("debug/sparse-fuzz"));
    command.arg(chore);
    Ok(command)
}
