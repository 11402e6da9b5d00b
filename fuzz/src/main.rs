//! `sparse-fuzz fuzz | crash`, which `cargo xtask` starts, and the processes that these start.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sparse_fuzz::campaign::{self, Campaign};
use sparse_fuzz::crash::Crash;
use sparse_fuzz::targets::{TARGETS, find};
use sparse_fuzz::{Result, seeds, worker};

const USAGE: &str = "expected: fuzz [--target T] [--mutations N] [--seed S] | replay TARGET DIR | crash [--cycles N] [--seed S]";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether what was tested holds.
fn run(arguments: &[&str]) -> Result<bool> {
    match arguments {
        ["seeds", target, folder] => worker::write_seeds(find(target)?, Path::new(folder))?,
        ["worker", target, seeds, folder, first, end] => {
            let (seeds, folder) = (Path::new(seeds), Path::new(folder));
            worker::run(find(target)?, seeds, folder, first.parse()?, end.parse()?)?;
        }
        ["replay", target, folder] => worker::replay(find(target)?, Path::new(folder))?,
        ["fuzz", options @ ..] => return fuzz(&Options::parse(options)?),
        ["crash", options @ ..] => return crash(&Options::parse(options)?),
        _ => return Err(USAGE.into()),
    }
    Ok(true)
}

/// What `cargo xtask` was given.
#[derive(Debug, Default)]
struct Options {
    target: Option<String>,
    seed: u64,
    mutations: Option<u64>,
    cycles: Option<u64>,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        for pair in words.chunks(2) {
            match pair {
                ["--target", name] => options.target = Some((*name).to_owned()),
                ["--seed", number] => options.seed = number.parse()?,
                ["--mutations", number] => options.mutations = Some(number.parse()?),
                ["--cycles", number] => options.cycles = Some(number.parse()?),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

fn fuzz(options: &Options) -> Result<bool> {
    let targets = match &options.target {
        Some(name) => vec![find(name)?],
        None => TARGETS.iter().collect(),
    };
    let campaign = Campaign {
        program: std::env::current_exe()?,
        folder: built_folder()?.join("fuzz"),
        targets,
        mutations: options.mutations.unwrap_or(20_000),
        seed: options.seed,
        processes: 2,
    };
    let tallies = campaign.run()?;
    let failed = tallies.iter().any(|tally| tally.failed > 0);
    let mut out = std::io::stdout().lock();
    write!(out, "{}", campaign::report(&campaign, &tallies))?;
    if failed {
        writeln!(
            out,
            "\ninputs that failed: `{}`",
            campaign.failures().display()
        )?;
    }
    Ok(!failed)
}

fn crash(options: &Options) -> Result<bool> {
    let crash = Crash {
        binary: built_folder()?.join("debug/sparse-encoder"),
        folder: built_folder()?.join("crash"),
        model: seeds::model_path(),
        cycles: options.cycles.unwrap_or(1000),
        seed: options.seed,
    };
    let report = crash.run()?;
    write!(std::io::stdout(), "{report}")?;
    Ok(report.violations.is_empty())
}

/// The folder `target`, where this program was built.
fn built_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(Path::parent);
    Ok(folder.ok_or("this program has no folder")?.to_owned())
}
