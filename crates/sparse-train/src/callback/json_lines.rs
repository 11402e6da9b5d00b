//! Every log as a line of JSON.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Callback, CallbackContext, TrainerControl};
use crate::state::entry;

/// Appends each log to `logs.jsonl` in the output directory: an object of its figures with `epoch` and `step`.
///
/// A run that starts anew begins the file anew; one that goes on from a checkpoint drops the lines after it. A file that can't
/// be written is warned of once and doesn't end the run.
#[derive(Debug, Default)]
pub struct JsonLines {
    file: Option<File>,
}

/// The lines of a file up to a step; nothing where there is no such file.
fn kept(path: &Path, step: usize) -> io::Result<String> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        read => read?,
    };
    let up_to = |line: &&str| {
        let log: Option<serde_json::Value> = serde_json::from_str(line).ok();
        log.and_then(|log| log["step"].as_u64())
            .is_some_and(|logged| logged as usize <= step)
    };
    Ok(text
        .lines()
        .filter(up_to)
        .map(|line| format!("{line}\n"))
        .collect())
}

fn open(output_dir: &Path, step: usize) -> io::Result<File> {
    fs::create_dir_all(output_dir)?;
    let path = output_dir.join("logs.jsonl");
    let before = if step > 0 {
        kept(&path, step)?
    } else {
        String::new()
    };
    let staged: PathBuf = output_dir.join(format!(".logs.jsonl.{}", std::process::id()));
    fs::write(&staged, before)?;
    fs::rename(&staged, &path)?;
    OpenOptions::new().append(true).open(path)
}

impl Callback for JsonLines {
    fn on_train_begin(&mut self, context: &CallbackContext<'_>, _: &mut TrainerControl) {
        match open(&context.arguments.output_dir, context.state.global_step) {
            Ok(file) => self.file = Some(file),
            Err(error) => tracing::warn!(
                "there will be no `logs.jsonl` in `{}`: {error}",
                context.arguments.output_dir.display()
            ),
        }
    }

    fn on_log(
        &mut self,
        context: &CallbackContext<'_>,
        _: &mut TrainerControl,
        logs: &[(String, f64)],
    ) {
        let Some(file) = &mut self.file else {
            return;
        };
        let log = entry(logs, context.state.epoch, context.state.global_step);
        let line = format!("{}\n", serde_json::Value::Object(log));
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(
                "`logs.jsonl` in `{}` ends at step {}: {error}",
                context.arguments.output_dir.display(),
                context.state.global_step
            );
            self.file = None;
        }
    }

    fn on_train_end(&mut self, _: &CallbackContext<'_>, _: &mut TrainerControl) {
        self.file = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_a_checkpoint_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut file = open(folder.path(), 2).unwrap();
        file.write_all(b"{\"step\":3,\"again\":true}\n").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n"
        );
        drop(open(folder.path(), 0).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
