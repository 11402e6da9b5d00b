//! Which files a path stands for, and which split each belongs to.

use std::path::{Path, PathBuf};

use super::remote::{self, Remote, StorageOptions};
use super::{DataFile, Format, io_error};
use crate::error::{Error, Result, nearest};

/// Files of a split, in reading order.
#[derive(Debug, Clone)]
pub(crate) struct SplitFiles {
    pub(crate) name: String,
    pub(crate) files: Vec<DataFile>,
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
pub(crate) fn resolve(paths: &[String], options: &StorageOptions) -> Result<Vec<SplitFiles>> {
    if let [path] = paths {
        if remote::scheme(path).is_some() {
            return match remote::find(path, options)? {
                Remote::Folder(files) => {
                    let files = files.into_iter().map(|(file, name)| {
                        let name = PathBuf::from(name);
                        (DataFile::Remote(file), name)
                    });
                    directory_splits(path, data_files(files))
                }
                found => Ok(one_split(remote_files(path, found)?)),
            };
        }
        if Path::new(path).is_dir() {
            return local_splits(Path::new(path));
        }
    }
    let mut files = Vec::new();
    for path in paths {
        if remote::scheme(path).is_some() {
            files.extend(remote_files(path, remote::find(path, options)?)?);
        } else {
            files.extend(expand(path)?.into_iter().map(DataFile::Local));
        }
    }
    Ok(one_split(files))
}

fn one_split(files: Vec<DataFile>) -> Vec<SplitFiles> {
    vec![SplitFiles {
        name: "train".to_owned(),
        files,
    }]
}

/// All that an address stands for, in order.
fn remote_files(address: &str, found: Remote) -> Result<Vec<DataFile>> {
    let files: Vec<DataFile> = match found {
        Remote::File(file) => vec![DataFile::Remote(file)],
        Remote::Matches(files) => files.into_iter().map(DataFile::Remote).collect(),
        Remote::Folder(files) => {
            let files = files
                .into_iter()
                .map(|(file, name)| (DataFile::Remote(file), PathBuf::from(name)));
            data_files(files)
                .into_iter()
                .map(|(file, _)| file)
                .collect()
        }
    };
    if files.is_empty() {
        return Err(no_files(address));
    }
    Ok(files)
}

/// Those of a folder's files that hold data: not hidden, and of a known format.
fn data_files(files: impl IntoIterator<Item = (DataFile, PathBuf)>) -> Vec<(DataFile, PathBuf)> {
    let hidden = |path: &Path| {
        path.iter()
            .any(|part| part.as_encoded_bytes().starts_with(b"."))
    };
    files
        .into_iter()
        .filter(|(file, path)| file.format().is_some() && !hidden(path))
        .collect()
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

fn local_splits(directory: &Path) -> Result<Vec<SplitFiles>> {
    if directory.join("corpus.jsonl").is_file() && directory.join("qrels").is_dir() {
        return Err(Error::Setting {
            key: "path",
            problem: format!(
                "= \"{0}\" is a retrieval folder; write `retrieval = \"{0}\"` to train on its pairs",
                directory.display()
            ),
        });
    }
    let files = directory_files(directory)?.into_iter().map(|file| {
        let name = file.strip_prefix(directory).unwrap_or(&file).to_owned();
        (DataFile::Local(file), name)
    });
    directory_splits(&directory.display().to_string(), files.collect())
}

/// The files of a directory, each with its path from there, by the words in these paths.
fn directory_splits(directory: &str, files: Vec<(DataFile, PathBuf)>) -> Result<Vec<SplitFiles>> {
    if files.is_empty() {
        return Err(no_files(directory));
    }
    let splits: Vec<SplitFiles> = ["train", "validation", "test"]
        .into_iter()
        .map(|name| SplitFiles {
            name: name.to_owned(),
            files: files
                .iter()
                .filter(|(_, path)| split_name(path) == Some(name))
                .map(|(file, _)| file.clone())
                .collect(),
        })
        .filter(|split| !split.files.is_empty())
        .collect();
    if splits.is_empty() {
        return Ok(one_split(files.into_iter().map(|(file, _)| file).collect()));
    }
    for (file, _) in files.iter().filter(|(_, path)| split_name(path).is_none()) {
        tracing::warn!(
            "`{}` is not read: its name belongs to no split, others in `{directory}` do",
            file.shown()
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
            let splits = resolve(&[path.to_owned()], &StorageOptions::new()).unwrap();
            assert_eq!((splits.len(), splits[0].name.as_str()), (1, "train"));
            splits[0]
                .files
                .iter()
                .map(|file| file.shown().rsplit('/').next().unwrap().to_owned())
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
        let resolve = |path: &str| resolve(&[path.to_owned()], &StorageOptions::new());
        let error = resolve(&missing).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("`{missing}` does not exist; did you mean `pairs.csv`?")
        );
        let pattern = format!("{}/*.tsv", directory.path().display());
        assert!(
            resolve(&pattern)
                .unwrap_err()
                .to_string()
                .starts_with("no data file matches")
        );
    }
}
