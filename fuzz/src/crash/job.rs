//! What is killed: commands, their inputs, and what may be there afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::training;
use crate::Result;
use crate::files::{self, Files};

/// A command that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    Train,
    Lines,
    Parquet,
    Index,
}

/// Texts of `encode` and `index`: writing them takes a part of the time that is worth hitting.
const TEXTS: usize = 600;

impl Job {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Lines => "encode-jsonl",
            Self::Parquet => "encode-parquet",
            Self::Index => "index",
        }
    }

    /// The file that is written, where it is one.
    fn output(self) -> Option<&'static str> {
        match self {
            Self::Train => None,
            Self::Lines => Some("vectors.jsonl"),
            Self::Parquet => Some("vectors.parquet"),
            Self::Index => Some("corpus.index"),
        }
    }

    /// Makes the inputs, and an older output that a kill must not harm.
    pub(super) fn prepare(self, folder: &Path, model: &Path) -> Result<()> {
        let mut made = Files::new();
        match self.output() {
            None => {
                made.insert("pairs.tsv".to_owned(), pairs().into());
                made.insert("train.toml".to_owned(), training::file(model).into());
            }
            Some(output) => {
                made.insert("texts.jsonl".to_owned(), texts().into());
                made.insert(output.to_owned(), b"an older result".to_vec());
            }
        }
        files::write(folder, &made)
    }

    /// What the binary is called with; training goes on where there is a checkpoint.
    pub(super) fn arguments(self, folder: &Path, model: &Path) -> Vec<String> {
        let model = model.to_string_lossy().into_owned();
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        match (self, self.output()) {
            (Self::Train, _) => {
                let mut all = words(&["train", "train.toml"]);
                if self.resumes(folder) {
                    all.push("--resume".to_owned());
                }
                all
            }
            (Self::Index, _) => words(&[
                "index",
                "--model",
                &model,
                "--input",
                "texts.jsonl",
                "--output",
                "corpus.index",
            ]),
            (_, output) => words(&[
                "encode",
                "--model",
                &model,
                "--input",
                "texts.jsonl",
                "--output",
                output.unwrap_or_default(),
            ]),
        }
    }

    /// Whether a start now goes on from what is there.
    pub(super) fn resumes(self, folder: &Path) -> bool {
        self == Self::Train && training::has_checkpoint(folder)
    }

    /// Where the kill found it.
    pub(super) fn phase(self, found: &Files, old: &Files) -> &'static str {
        match self.output() {
            None => training::phase(found),
            Some(output) if found.get(output) != old.get(output) => "after writing",
            Some(_) if found.len() > old.len() => "while writing",
            Some(_) => "before writing",
        }
    }

    /// What holds after a kill: everything under a final name is old or new.
    pub(super) fn check_kill(self, found: &Files, old: &Files, expected: &Files) -> Result<()> {
        let Some(output) = self.output() else {
            return training::check_kill(found, expected);
        };
        let now = found.get(output);
        if now.is_none() || (now != old.get(output) && now != expected.get(output)) {
            return Err(format!("`{output}` is neither the old nor the new").into());
        }
        self.check_inputs(found, old)
    }

    /// What holds after the end: the bytes of an undisturbed run.
    pub(super) fn check_end(self, found: &Files, expected: &Files) -> Result<()> {
        let Some(output) = self.output() else {
            return training::check_end(found, expected);
        };
        if found.get(output) != expected.get(output) {
            return Err(format!("`{output}` isn't what an undisturbed run writes").into());
        }
        self.check_inputs(found, expected)
    }

    fn check_inputs(self, found: &Files, old: &Files) -> Result<()> {
        if found.get("texts.jsonl") != old.get("texts.jsonl") {
            return Err("the input was changed".into());
        }
        Ok(())
    }

    /// Names of what was begun and not finished.
    pub(super) fn leftovers(self, folder: &Path, found: &Files) -> Result<BTreeSet<String>> {
        match self.output() {
            None => training::leftovers(folder),
            Some(output) => Ok(found
                .keys()
                .filter(|name| !["texts.jsonl", output].contains(&name.as_str()) && !is_lock(name))
                .cloned()
                .collect()),
        }
    }
}

/// A file that only says who is at work; one of a dead process is of no consequence.
pub(super) fn is_lock(name: &str) -> bool {
    name.ends_with(".lock") || name.ends_with("/lock")
}

fn texts() -> String {
    (0..TEXTS)
        .map(|row| {
            format!(
                "{{\"_id\": \"{row}\", \"text\": \"text {row} of {}\"}}\n",
                row % 7
            )
        })
        .collect()
}

fn pairs() -> String {
    let rows: String = [
        "cat", "dog", "cow", "hen", "fox", "owl", "bee", "ant", "bat", "elk", "emu", "gnu", "hog",
        "jay", "koi", "yak",
    ]
    .iter()
    .map(|animal| format!("what is a {animal}\tthe {animal} is an animal\n"))
    .collect();
    format!("query\tdocument\n{rows}")
}

/// The entries of a folder by name; empty where there is none.
pub(super) fn entries(folder: &Path) -> Result<BTreeSet<String>> {
    if !folder.is_dir() {
        return Ok(BTreeSet::new());
    }
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::model_path;

    fn with(output: &[u8]) -> Files {
        [
            ("texts.jsonl", texts().as_bytes()),
            ("vectors.jsonl", output),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .into()
    }

    #[test]
    fn an_output_is_old_or_new() {
        let (old, new) = (with(b"old"), with(b"new"));
        let check = |found: &Files| Job::Lines.check_kill(found, &old, &new).is_ok();
        assert!(check(&old) && check(&new));
        assert!(!check(&with(b"ne")) && !check(&Files::new()));
        assert!(Job::Lines.check_end(&new, &new).is_ok());
        assert!(Job::Lines.check_end(&old, &new).is_err());
    }

    #[test]
    fn a_kill_has_its_phase_and_its_leftovers() {
        let (old, new) = (with(b"old"), with(b"new"));
        let mut writing = old.clone();
        writing.insert("vectors.partial-7".to_owned(), Vec::new());
        let phase = |found: &Files| Job::Lines.phase(found, &old);
        assert_eq!(phase(&old), "before writing");
        assert_eq!(phase(&writing), "while writing");
        assert_eq!(phase(&new), "after writing");
        let left = Job::Lines.leftovers(Path::new(""), &writing).unwrap();
        assert_eq!(left, ["vectors.partial-7".to_owned()].into());
    }

    #[test]
    fn a_prepared_folder_has_an_older_output() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x");
        Job::Index.prepare(&place, &model_path()).unwrap();
        let names: Vec<String> = files::read(&place).unwrap().into_keys().collect();
        assert_eq!(names, ["corpus.index", "texts.jsonl"]);
        assert!(!Job::Train.resumes(&place));
    }
}
