//! Measurements in processes of their own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::tools::cargo;

/// Cores that both sides compute on.
pub(super) const THREADS: &str = "2";

/// What a process measured.
#[derive(Debug, Clone)]
pub(super) struct Measurement {
    pub(super) seconds: Vec<f64>,
    pub(super) peak_bytes: f64,
    pub(super) check: f64,
}

impl Measurement {
    pub(super) fn median(&self) -> f64 {
        median(&self.seconds)
    }
}

/// Builds the measuring program and says where it is.
pub(super) fn build(release: bool) -> Result<PathBuf> {
    let mut command = cargo();
    // The command line chooses the features of shared dependencies: with it, this is the build of the tests and the quickstart.
    command.args([
        "build",
        "--package",
        "sparse-benches",
        "--package",
        "sparse-cli",
        "--bin",
        "measure",
        "--locked",
        "--message-format",
        "json-render-diagnostics",
    ]);
    if release {
        command.arg("--release");
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start cargo build")?;
    ensure!(
        output.status.success(),
        "the measuring program doesn't build"
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == "measure" && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo didn't say where the measuring program is")
}

/// Runs a measuring program on a job.
pub(super) fn measure(command: &mut Command, job: &Value) -> Result<Measurement> {
    let output = command
        .arg(job.to_string())
        .envs([
            ("RAYON_NUM_THREADS", THREADS),
            ("OMP_NUM_THREADS", THREADS),
            ("TOKENIZERS_PARALLELISM", "true"),
            ("HF_HUB_OFFLINE", "1"),
        ])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start: {command:?}"))?;
    ensure!(
        output.status.success(),
        "a measurement failed: {job}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    let value: Value =
        serde_json::from_str(line).with_context(|| format!("expected a measurement: {line}"))?;
    let numbers = value["seconds"].as_array().context("no seconds")?;
    Ok(Measurement {
        seconds: numbers.iter().filter_map(Value::as_f64).collect(),
        peak_bytes: value["peak_bytes"].as_f64().context("no peak_bytes")?,
        check: value["check"].as_f64().context("no check")?,
    })
}

/// Middle value; the mean of the two middle ones of an even number.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The processor's name.
pub(super) fn machine() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map_or_else(
            || "unknown processor".to_owned(),
            |(_, name)| name.trim().to_owned(),
        )
}

/// `1.25 GB` and the like.
pub(super) fn bytes(value: f64) -> String {
    if value >= 1e9 {
        format!("{:.2} GB", value / 1e9)
    } else {
        format!("{:.0} MB", value / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert!(median(&[]).is_nan());
    }
}
