//! One binary from text to search: trains, runs and measures learned sparse text encoders.

mod command;
mod failure;
mod input;
mod logging;
mod output;
mod progress;
mod same_file;
mod signals;
mod zero_vectors;

use std::process::ExitCode;

use clap::Parser;

use command::Command;
use sparse_encoder::model::HubOptions;
use sparse_encoder::train::ModelConfig;

/// Train, evaluate and run learned sparse text encoders.
#[derive(Debug, Parser)]
#[command(name = "sparse-encoder", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
struct Global {
    /// Where to compute: cpu, cuda:0, wgpu, ... as compiled in.
    #[arg(long, global = true, default_value = "cpu")]
    device: String,
    /// Shows results and errors only.
    #[arg(long, global = true)]
    quiet: bool,
    /// Least important messages to show: error, warn, info, debug, trace.
    #[arg(long, global = true, default_value = "info")]
    log_level: tracing::Level,
    #[command(flatten)]
    hub: FromHub,
}

/// Where a model of the hub is found. The token comes from HF_TOKEN, the hub's address from HF_ENDPOINT.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Models of the hub")]
struct FromHub {
    /// Branch, tag or commit of a model on the hub.
    #[arg(long, global = true)]
    revision: Option<String>,
    /// Folder of the model's directory or repository.
    #[arg(long, global = true)]
    subfolder: Option<String>,
    /// Directory for models of the hub (default: HF_HUB_CACHE, or hub/ in HF_HOME).
    #[arg(long, global = true)]
    cache_dir: Option<std::path::PathBuf>,
    /// Uses no network, as HF_HUB_OFFLINE=1 does.
    #[arg(long, global = true)]
    local_files_only: bool,
}

impl FromHub {
    fn options(&self) -> HubOptions {
        HubOptions {
            revision: self.revision.clone(),
            subfolder: self.subfolder.clone(),
            cache_dir: self.cache_dir.clone(),
            local_files_only: self.local_files_only,
            ..HubOptions::default()
        }
    }

    /// Lays what was given over the model of a training file.
    fn lay_over(&self, model: &mut ModelConfig) {
        let Self {
            revision,
            subfolder,
            cache_dir,
            local_files_only,
        } = self.clone();
        model.revision = revision.or(model.revision.take());
        model.subfolder = subfolder.or(model.subfolder.take());
        model.cache_dir = cache_dir.or(model.cache_dir.take());
        model.local_files_only |= local_files_only;
    }
}

fn main() -> ExitCode {
    sparse_allocator::keep_freed_memory();
    let arguments = Arguments::parse();
    logging::start(&arguments.global);
    let command = || signals::watch().and_then(|()| arguments.command.run(&arguments.global));
    match failure::without_panic(command) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}
