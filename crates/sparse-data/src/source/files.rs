//! Which files a path stands for, and which split each belongs to.

use std::path::{Path, PathBuf};

use super::pipe::is_device;
use super::remote::{self, Remote, StorageOptions};
use super::{DataFile, Format, io_error, is_pipe, malformed, masked};
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

/// Fails if a file or directory does not exist, naming the nearest that does, or is a device, which may have no end.
pub(crate) fn require(path: &Path) -> Result<()> {
    if is_device(path) {
        let problem = "is a device; expected a file, a directory or a pipe".to_owned();
        return Err(malformed(path, problem));
    }
    if path.exists() || is_pipe(path) {
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
pub(super) fn data_files(
    files: impl IntoIterator<Item = (DataFile, PathBuf)>,
) -> Vec<(DataFile, PathBuf)> {
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
    let mut files = matching(pattern)?;
    files.sort();
    if files.is_empty() {
        return Err(no_files(pattern));
    }
    Ok(files)
}

/// The files that match a pattern; a name that isn't UTF-8 is compared with a replacement for the bytes that aren't.
fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut found = vec![PathBuf::from(root)];
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for part in parts {
        let mut next = Vec::new();
        for place in &found {
            if part == "**" {
                folders_below(place, &mut next)?;
            } else if part.contains(['*', '?', '[']) {
                matching_entries(place, part, pattern, &mut next)?;
            } else if place.join(part).exists() {
                next.push(place.join(part));
            }
        }
        found = next;
    }
    found.sort();
    found.dedup();
    found.retain(|path| path.is_file() || is_pipe(path));
    Ok(found)
}

/// Entries of a folder whose names match a part of a pattern.
fn matching_entries(
    place: &Path,
    part: &str,
    pattern: &str,
    matches: &mut Vec<PathBuf>,
) -> Result<()> {
    let compiled = glob::Pattern::new(part).map_err(|error| Error::Setting {
        key: "path",
        problem: format!("`{pattern}` is not a pattern: {error}"),
    })?;
    // As in a shell, `*` doesn't stand for the dot of a hidden file.
    let options = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::default()
    };
    for (name, path) in entries(place)? {
        if compiled.matches_with(&name, options) {
            matches.push(path);
        }
    }
    Ok(())
}

/// A folder and all below it that aren't hidden.
fn folders_below(place: &Path, folders: &mut Vec<PathBuf>) -> Result<()> {
    folders.push(place.to_owned());
    for (name, path) in entries(place)? {
        if !name.starts_with('.') && path.is_dir() && !path.is_symlink() {
            folders_below(&path, folders)?;
        }
    }
    Ok(())
}

/// Names in a folder, with their paths; none if it is no folder.
fn entries(place: &Path) -> Result<Vec<(String, PathBuf)>> {
    let folder = if place.as_os_str().is_empty() {
        Path::new(".")
    } else {
        place
    };
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |source| io_error(folder, source);
    std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| {
            let name = entry.map_err(failed)?.file_name();
            Ok((name.to_string_lossy().into_owned(), place.join(name)))
        })
        .collect()
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
pub(super) fn directory_splits(
    directory: &str,
    files: Vec<(DataFile, PathBuf)>,
) -> Result<Vec<SplitFiles>> {
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
    let text = path.to_string_lossy().to_lowercase();
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
        pattern: masked(pattern).into_owned(),
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
    #[cfg(unix)]
    fn names_that_are_not_utf8_are_read_like_others() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.csv");
        std::fs::write(directory.path().join(name), "a\nx\n").unwrap();
        std::fs::write(directory.path().join(".caf.csv"), "a\nx\n").unwrap();
        let root = directory.path().display();
        for path in [
            format!("{root}"),
            format!("{root}/*.csv"),
            format!("{root}/**/caf*"),
        ] {
            let splits = resolve(std::slice::from_ref(&path), &StorageOptions::new()).unwrap();
            let [DataFile::Local(file)] = &splits[0].files[..] else {
                panic!("{path}: {splits:?}")
            };
            assert_eq!(file.file_name().unwrap(), name);
            let table = super::super::read_path(file, &super::super::ReadOptions::default());
            assert_eq!(table.unwrap().num_rows(), 1);
        }
    }

    #[test]
    #[cfg(unix)]
    fn a_device_is_refused() {
        let error = resolve(&["/dev/zero".to_owned()], &StorageOptions::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/dev/zero`: is a device; expected a file, a directory or a pipe"
        );
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
