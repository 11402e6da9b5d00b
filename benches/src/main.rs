//! One measurement in a process of its own, so that its peak memory is its own: `cargo xtask bench` starts it.
//!
//! The only argument is a [`Job`] as JSON, the only output a [`Measurement`] as JSON. `xtask/python/measure.py` takes and
//! gives the same for the reference.

mod head;
mod job;
mod training;

use std::io::Write;
use std::time::Instant;

use sparse_encoder::prelude::*;

use job::{EncodeJob, Job, Measurement};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    sparse_allocator::keep_freed_memory();
    let argument = std::env::args()
        .nth(1)
        .ok_or("expected a job as JSON, see benches/src/job.rs")?;
    let measurement = match serde_json::from_str(&argument)? {
        Job::Train(job) => training::measure(&job)?,
        Job::Encode(job) => encode(&job)?,
        Job::Head(job) => head::measure(&job)?,
    };
    writeln!(
        std::io::stdout(),
        "{}",
        serde_json::to_string(&measurement)?
    )?;
    Ok(())
}

/// Encodes the column `text` as documents, `repeat` times.
fn encode(job: &EncodeJob) -> Result<Measurement> {
    let encoder = SparseEncoder::from_pretrained_with(
        &job.model,
        &sparse_encoder::model::LoadOptions {
            max_seq_length: Some(job.max_seq_length),
            ..Default::default()
        },
        &device("cpu")?,
    )?;
    let table = Table::load(&DatasetConfig::from_path(&job.data))?;
    let n_texts = job.documents.unwrap_or(usize::MAX);
    let texts = (0..table.num_rows().min(n_texts))
        .map(|row| Ok(table.text("text", row)?.unwrap_or_default()))
        .collect::<Result<Vec<&str>>>()?;
    let options = EncodeOptions {
        batch_size: job.batch_size,
        ..EncodeOptions::default()
    };
    let mut measurement = Measurement::default();
    for _ in 0..job.repeat {
        let start = Instant::now();
        let vectors = encoder.encode_document(&texts, &options)?;
        measurement.seconds.push(start.elapsed().as_secs_f64());
        measurement.check = vectors.nnz() as f64 / vectors.n_rows() as f64;
    }
    measurement.peak_bytes = job::peak_bytes()?;
    Ok(measurement)
}
