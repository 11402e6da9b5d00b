//! Chores of this workspace: `cargo xtask check | test | bench | fuzz | crash | docs`.

mod arrows;
mod bench;
mod circles;
mod features;
mod reliability;
mod tools;

use anyhow::Result;
use clap::{Parser, Subcommand};

use tools::{cargo, has_cargo_command, has_program, run};

#[derive(Debug, Parser)]
#[command(name = "xtask", about = "Chores of this workspace")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Format, spelling, crate arrows, lints, licences: cheapest first.
    Check,
    /// All tests, then the examples in the documentation.
    Test {
        /// Backend that the tensor tests run on.
        #[arg(long, default_value = "flex", value_parser = ["flex", "wgpu", "cuda", "tch"])]
        backend: String,
        /// Also the tests that need the network or much time.
        #[arg(long)]
        slow: bool,
    },
    /// Benchmarks.
    Bench(bench::Bench),
    /// Mutated inputs for every reader.
    Fuzz(reliability::Fuzz),
    /// Runs that are killed at any instant.
    Crash(reliability::Crash),
    /// Documentation with warnings denied.
    Docs,
}

fn main() -> Result<()> {
    match Arguments::parse().chore {
        Chore::Check => check(),
        Chore::Test { backend, slow } => test(&backend, slow),
        Chore::Bench(bench) => bench.run(),
        Chore::Fuzz(fuzz) => fuzz.run(),
        Chore::Crash(crash) => crash.run(),
        Chore::Docs => docs(),
    }
}

fn check() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    if has_program("typos") {
        run(&mut std::process::Command::new("typos"))?;
    }
    arrows::check()?;
    circles::check()?;
    run(cargo()
        .args(["clippy", "--workspace", "--all-targets", "--locked"])
        .args(features::optional())
        .args(["--", "-D", "warnings"]))?;
    if has_cargo_command("deny") {
        run(cargo().args(["deny", "check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

fn test(backend: &str, slow: bool) -> Result<()> {
    // Other backends run the tests of the kernels: everything above them only calls these. The benches have no tests.
    let (packages, features): (&[&str], Vec<String>) = match backend {
        "flex" => (
            &["--workspace", "--exclude", "sparse-benches"],
            features::optional(),
        ),
        other => (
            &["--package", "sparse-kernels"],
            vec!["--features".to_owned(), other.to_owned()],
        ),
    };
    let with_features = |command: &mut std::process::Command| {
        command.args(packages).arg("--locked").args(&features);
        if backend != "flex" {
            command.env("BURN_DEVICE", backend);
        }
    };
    let mut tests = cargo();
    if has_cargo_command("nextest") {
        tests.args(["nextest", "run", "--no-tests=pass"]);
        with_features(&mut tests);
        if slow {
            tests.args(["--run-ignored", "all"]);
        }
    } else {
        tests.args(["test", "--lib", "--bins", "--tests"]);
        with_features(&mut tests);
        if slow {
            tests.args(["--", "--include-ignored"]);
        }
    }
    run(&mut tests)?;
    if backend == "flex" {
        let mut examples = cargo();
        examples.args(["test", "--doc"]);
        with_features(&mut examples);
        run(&mut examples)?;
    }
    Ok(())
}

fn docs() -> Result<()> {
    let mut command = cargo();
    command
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .args(features::optional())
        .env("RUSTDOCFLAGS", "-D warnings");
    run(&mut command)
}
