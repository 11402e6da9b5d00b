//! Running other programs.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The cargo that runs this program, with the environment of a shell.
///
/// `cargo run` describes this package in variables. Some build scripts (`ring`) watch them: left in place, they would have
/// everything above those crates compiled anew whenever a command follows one outside of xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}").replace('"', "");
    let status = command
        .status()
        .with_context(|| format!("failed to start: {shown}"))?;
    ensure!(status.success(), "failed: {shown}");
    Ok(())
}

/// Whether a program is installed.
pub(crate) fn has_program(name: &str) -> bool {
    silent(Command::new(name).arg("--version"))
}

/// Whether cargo knows a command.
pub(crate) fn has_cargo_command(name: &str) -> bool {
    silent(cargo().args([name, "--version"]))
}

fn silent(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
