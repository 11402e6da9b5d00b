//! One binary from text to search: trains, runs and measures learned sparse text encoders.

mod command;
mod failure;
mod input;
mod logging;
mod output;
mod progress;

use std::process::ExitCode;

use clap::Parser;

use command::Command;

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
}

fn main() -> ExitCode {
    sparse_allocator::keep_freed_memory();
    let arguments = Arguments::parse();
    logging::start(&arguments.global);
    match arguments.command.run(&arguments.global) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}
