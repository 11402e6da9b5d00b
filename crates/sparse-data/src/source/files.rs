//! Which files a path stands for, and which split each belongs to.

use std::path::{Path, PathBuf};

use super::{Format, io_error};
use crate::error::{Error, Result, nearest};

/// Files of a split, in reading order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SplitFiles {
    pub(crate) name: String,
    pub(crate) files: Vec<PathBuf>,
}

/// Words in the name of a file or a folder, and the split that they stand for.
const SPLIT_WORDS: [(&str, &str); 10] = [
    ("train", "train"),
    ("training", "train"),
    ("validation", "validation"),
    ("valid", "validation"),
    ("dev", "validation"),
    ("val", "validation"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "test"),
    ("evaluation", "test"),
];

/// Fails if a file or directory does not exist, naming the nearest that does.
pub(crate) fn require(path: &Path) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let names: Vec<String> = std::fs::read_dir(parent)
        .map(|entries| {
            let mut names: Vec<String> = entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect();
            names.sort();
            names
        })
        .unwrap_or_default();
    let wanted = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Err(Error::MissingFile {
        path: path.to_owned(),
        nearest: nearest(wanted, names.iter().map(String::as_str)),
    })
}

/// The files that paths stand for, by split. A file, a pattern or a list is one split, `train`; the files of one
/// directory are told apart by the words in their names.
pub(crate) fn resolve(paths: &[String]) -> Result<Vec<SplitFiles>> {
    if let [path] = paths
        && Path::new(path).is_dir()
    {
        return directory_splits(Path::new(path));
    }
    let mut files = Vec::new();
    for path in paths {
        files.extend(expand(path)?);
    }
    Ok(vec![SplitFiles {
        name: "train".to_owned(),
        files,
    }])
}

fn expand(pattern: &str) -> Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    if path.is_dir() {
        return directory_files(path);
    }
    if path.exists() || !pattern.contains(['*', '?', '[']) {
        require(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let options = glob::MatchOptions {
        // As in a shell, `*` stands neither for a `/` nor for the dot of a hidden file.
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    let matches = glob::glob_with(pattern, options).map_err(|error| Error::Setting {
        key: "path",
        problem: format!("`{pattern}` is not a pattern: {error}"),
    })?;
    let mut files = Vec::new();
    for path in matches {
        let path = path.map_err(|error| Error::Io {
            path: error.path().to_owned(),
            source: error.into(),
        })?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(no_files(pattern));
    }
    Ok(files)
}

/// The data files in a directory and below, sorted; hidden ones are left out.
fn directory_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(current) = pending.pop() {
        let entries = std::fs::read_dir(&current).map_err(|source| io_error(&current, source))?;
        for entry in entries {
            let path = entry.map_err(|source| io_error(&current, source))?.path();
            if path
                .file_name()
                .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
            {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else if Format::from_path(&path).is_some() {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(no_files(&directory.display().to_string()));
    }
    Ok(files)
}

fn directory_splits(directory: &Path) -> Result<Vec<SplitFiles>> {
    if directory.join("corpus.jsonl").is_file() && directory.join("qrels").is_dir() {
        return Err(Error::Setting {
            key: "path",
            problem: format!(
                "= \"{0}\" is a retrieval folder; write `retrieval = \"{0}\"` to train on its pairs",
                directory.display()
            ),
        });
    }
    let files = directory_files(directory)?;
    let split_of = |file: &PathBuf| split_name(file.strip_prefix(directory).unwrap_or(file));
    let mut splits: Vec<SplitFiles> = ["train", "validation", "test"]
        .into_iter()
        .map(|name| SplitFiles {
            name: name.to_owned(),
            files: files
                .iter()
                .filter(|file| split_of(file) == Some(name))
                .cloned()
                .collect(),
        })
        .filter(|split| !split.files.is_empty())
        .collect();
    if splits.is_empty() {
        splits.push(SplitFiles {
            name: "train".to_owned(),
            files,
        });
        return Ok(splits);
    }
    for file in files.iter().filter(|file| split_of(file).is_none()) {
        tracing::warn!(
            "`{}` is not read: its name belongs to no split, others in `{}` do",
            file.display(),
            directory.display()
        );
    }
    Ok(splits)
}

/// The split that the words in a path stand for; the words of the file's own name count first.
fn split_name(path: &Path) -> Option<&'static str> {
    let text = path.to_str()?.to_lowercase();
    text.rsplit(['/', '\\']).find_map(|part| {
        part.split(|c: char| !c.is_alphabetic()).find_map(|word| {
            SPLIT_WORDS
                .iter()
                .find(|(known, _)| *known == word)
                .map(|(_, split)| *split)
        })
    })
}

/// The name under which a split of a directory is known: `dev` is `validation`.
pub(crate) fn canonical_split(name: &str) -> &str {
    SPLIT_WORDS
        .iter()
        .find(|(word, _)| *word == name)
        .map_or(name, |(_, split)| split)
}

fn no_files(pattern: &str) -> Error {
    Error::NoFiles {
        pattern: pattern.to_owned(),
        known: Format::known_endings(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_split() {
        let cases = [
            ("train.csv", Some("train")),
            ("nq-dev-00001.parquet", Some("validation")),
            ("test/part1.jsonl", Some("test")),
            ("training_2.tsv", Some("train")),
            ("strain.csv", None),
            ("latest.csv", None),
            ("train/eval.csv", Some("test")),
        ];
        for (path, split) in cases {
            assert_eq!(split_name(Path::new(path)), split, "{path}");
        }
    }

    #[test]
    fn patterns_and_directories_are_read_in_sorted_order() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "c.jsonl.gz", "README.md", ".hidden.csv"] {
            std::fs::write(directory.path().join(name), "x").unwrap();
        }
        let names = |path: &str| -> Vec<String> {
            let splits = resolve(&[path.to_owned()]).unwrap();
            assert_eq!((splits.len(), splits[0].name.as_str()), (1, "train"));
            splits[0]
                .files
                .iter()
                .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
                .collect()
        };
        let root = directory.path().display();
        assert_eq!(names(&root.to_string()), ["a.csv", "b.csv", "c.jsonl.gz"]);
        assert_eq!(names(&format!("{root}/*.csv")), ["a.csv", "b.csv"]);
    }

    #[test]
    fn a_missing_file_names_its_neighbour() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("pairs.csv"), "x").unwrap();
        let missing = directory.path().join("pair.csv").display().to_string();
        let error = resolve(std::slice::from_ref(&missing))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("`{missing}` does not exist; did you mean `pairs.csv`?")
        );
        let pattern = format!("{}/*.tsv", directory.path().display());
        assert!(
            resolve(&[pattern])
                .unwrap_err()
                .to_string()
                .starts_with("no data file matches")
        );
    }
}
