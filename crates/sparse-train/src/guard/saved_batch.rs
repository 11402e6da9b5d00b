//! The rows of a step that went wrong, for a look at them.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sparse_data::Batch;

use crate::error::Result;

/// Writes `non-finite-step-STEP.jsonl` beside the checkpoints: a line for each row with its texts and label, which a
/// `[[train_dataset]]` can read.
pub(crate) fn save(output_dir: &Path, step: usize, batches: &[Batch]) -> Result<PathBuf> {
    let path = output_dir.join(format!("non-finite-step-{step}.jsonl"));
    let mut text = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            // Writing to memory can't fail.
            let _ = writeln!(text, "{}", Value::Object(line(batch, row)));
        }
    }
    sparse_files::create_dir_all(output_dir)?;
    sparse_files::write(&path, text)?;
    Ok(path)
}

fn line(batch: &Batch, row: usize) -> Map<String, Value> {
    let mut line: Map<String, Value> = batch
        .columns
        .iter()
        .map(|column| (column.name.clone(), json!(column.texts[row])))
        .collect();
    if let Some(labels) = &batch.labels {
        let values = &labels.values[row * labels.width..(row + 1) * labels.width];
        let value = match values {
            [value] if !labels.per_row_list => json!(value),
            values if labels.lists > 0 => {
                let lists = values.chunks((labels.width / labels.lists).max(1));
                json!(lists.collect::<Vec<_>>())
            }
            values => json!(values),
        };
        line.insert("label".to_owned(), value);
    }
    line
}
