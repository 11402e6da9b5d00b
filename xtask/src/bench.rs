//! `cargo xtask bench`.

use anyhow::Result;

use crate::tools::{cargo, run};

/// Benchmarks of this workspace.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// Runs only the benchmarks whose name contains this.
    filter: Option<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let mut command = cargo();
        command.args(["bench", "--package", "sparse-benches", "--locked"]);
        if let Some(filter) = &self.filter {
            command.args(["--", filter]);
        }
        run(&mut command)
    }
}
