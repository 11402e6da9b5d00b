//! What is asked of a measurement and what it answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A measurement to make.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Job {
    Train(TrainJob),
    Encode(EncodeJob),
    Head(HeadJob),
}

/// Whole training steps: batch, forward, loss, backward, clipping, AdamW.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainJob {
    pub(crate) model: String,
    /// JSON lines with two columns of text.
    pub(crate) data: PathBuf,
    pub(crate) batch_size: usize,
    pub(crate) max_seq_length: usize,
    /// Steps to time, after `warm_up` others.
    pub(crate) steps: usize,
    pub(crate) warm_up: usize,
    #[serde(default)]
    pub(crate) bf16: bool,
    pub(crate) output: PathBuf,
}

/// Texts to vectors, tokenization included.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncodeJob {
    pub(crate) model: String,
    /// JSON lines with the column `text`.
    pub(crate) data: PathBuf,
    pub(crate) batch_size: usize,
    pub(crate) max_seq_length: usize,
    /// No more rows than these.
    pub(crate) documents: Option<usize>,
    pub(crate) repeat: usize,
}

/// Forward and backward pass of the lexical head alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadJob {
    pub(crate) texts: usize,
    pub(crate) tokens: usize,
    pub(crate) width: usize,
    pub(crate) vocab_size: usize,
    /// Share of the vocabulary that is active in a text.
    pub(crate) density: f64,
    pub(crate) repeat: usize,
}

/// What came out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measurement {
    /// Wall time of each repetition.
    pub(crate) seconds: Vec<f64>,
    /// Most memory the process held, from the kernel's books.
    pub(crate) peak_bytes: u64,
    /// A figure that both sides must agree on: last loss, mean active dimensions.
    pub(crate) check: f64,
}

/// `VmHWM` of this process.
pub(crate) fn peak_bytes() -> crate::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("the kernel doesn't tell VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
