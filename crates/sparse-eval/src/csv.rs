//! Result files that grow by a row per evaluation.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::evaluator::EvaluationRun;
use crate::{Error, Result};

/// Appends `epoch,steps` and the figures to `folder/file_name`; a new file gets the header first. Line ends are CRLF, as
/// in the reference's files.
pub(crate) fn append(
    folder: &Path,
    file_name: &str,
    run: &EvaluationRun,
    columns: &[(String, f64)],
) -> Result<()> {
    sparse_files::create_dir_all(folder)?;
    let path = folder.join(file_name);
    let names = columns
        .iter()
        .map(|(name, _)| format!(",{name}"))
        .collect::<String>();
    let header = format!("epoch,steps{names}");
    let mut text = String::new();
    match first_line(&path).map_err(|source| Error::read(&path, source))? {
        None => text = format!("{header}\r\n"),
        Some(line) if line == header => {}
        Some(_) => tracing::warn!(
            "the columns of `{}` are no longer those of its header",
            path.display()
        ),
    }
    text += &run.epoch.map_or("-1".to_owned(), number);
    text += ",";
    text += &run.steps.map_or("-1".to_owned(), |steps| steps.to_string());
    columns
        .iter()
        .for_each(|(_, value)| text = format!("{text},{}", number(*value)));
    text += "\r\n";
    let file = fs::OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::write(&path, source))
}

/// The first line of a file, without its end; `None` if there is no file or nothing in it.
fn first_line(path: &Path) -> std::io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().next().map(str::to_owned)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// `_NAME`, or nothing without a name.
pub(crate) fn suffix(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!("_{name}")
    }
}

/// As Python prints it: all digits, and `1.0` for a whole number.
fn number(value: f64) -> String {
    if value.is_nan() {
        "nan".to_owned()
    } else {
        format!("{value:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let columns = [
            ("dot-MRR@10".to_owned(), 0.25),
            ("avg_flops".to_owned(), f64::NAN),
        ];
        append(
            &folder.path().join("new"),
            "a.csv",
            &EvaluationRun::default(),
            &columns,
        )
        .unwrap();
        let later = EvaluationRun::default().with_position(2.0, 30);
        append(&folder.path().join("new"), "a.csv", &later, &columns).unwrap();
        let text = fs::read_to_string(folder.path().join("new/a.csv")).unwrap();
        assert_eq!(
            text,
            "epoch,steps,dot-MRR@10,avg_flops\r\n-1,-1,0.25,nan\r\n2.0,30,0.25,nan\r\n"
        );
    }
}
