//! `cargo xtask bench`.

mod head;
mod measure;
mod peer;
mod search;

use anyhow::Result;
use clap::Subcommand;

use crate::tools::{cargo, run};

/// Benchmarks of this workspace.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    /// Runs only the operations whose name contains this.
    filter: Option<String>,
    #[command(subcommand)]
    which: Option<Which>,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Time and memory of the lexical head over texts, tokens and vocabulary.
    Head,
    /// Training steps and encoding against the Python reference, run in turn.
    Peer(peer::Peer),
    /// Exact search against the Python reference's evaluation scoring and Seismic, on the same vectors.
    Search(search::Search),
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        match self.which {
            Some(Which::Head) => head::run(),
            Some(Which::Peer(peer)) => peer.run(),
            Some(Which::Search(search)) => search.run(),
            None => operations(self.filter.as_deref()),
        }
    }
}

/// The criterion benches, an operation each.
fn operations(filter: Option<&str>) -> Result<()> {
    let mut command = cargo();
    command.args(["bench", "--package", "sparse-benches", "--locked"]);
    if let Some(filter) = filter {
        command.args(["--", filter]);
    }
    run(&mut command)
}
