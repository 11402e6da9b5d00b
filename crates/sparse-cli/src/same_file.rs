//! Outputs that would take the place of an input.

use std::path::{Component, Path, PathBuf};

use crate::failure::{Failure, Result};

/// A file that a command is given, by the option that names it.
pub(crate) type Named<'a> = (&'a str, Option<&'a Path>);

/// Refuses an output that is one of the inputs, or another output, by whichever name. An input may be a directory or a pattern.
///
/// Only files count: two outputs may well go to one terminal or pipe.
pub(crate) fn refuse_overlap(outputs: &[Named<'_>], inputs: &[Named<'_>]) -> Result<()> {
    for (number, &(option, path)) in outputs.iter().enumerate() {
        let Some(path) = path else { continue };
        let Some(identity) = Identity::of(path) else {
            continue;
        };
        let others = outputs[..number].iter().chain(inputs);
        for &(other, given) in others {
            let Some(given) = given else { continue };
            if let Some(same) = files(given)
                .into_iter()
                .find(|file| Identity::of(file).is_some_and(|other| other == identity))
            {
                return Err(Failure::input(format!(
                    "{option} `{}` and {other} `{}` are the same file; choose another name for {option}",
                    path.display(),
                    same.display()
                )));
            }
        }
    }
    Ok(())
}

/// The files that a path stands for.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .flat_map(|entry| {
                // A link to a directory may lead back.
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                match entry.path() {
                    path if is_link && path.is_dir() => Vec::new(),
                    path => files(&path),
                }
            })
            .collect();
    }
    match path.to_str() {
        Some(pattern) if !path.exists() && pattern.contains(['*', '?', '[']) => glob::glob(pattern)
            .into_iter()
            .flatten()
            .flatten()
            .collect(),
        _ => vec![path.to_owned()],
    }
}

/// What makes two names the same file.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    #[cfg(unix)]
    Node {
        device: u64,
        number: u64,
    },
    Path(PathBuf),
}

impl Identity {
    /// Nothing for what is no regular file and will not become one.
    fn of(path: &Path) -> Option<Self> {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => None,
            #[cfg(unix)]
            Ok(metadata) => {
                use std::os::unix::fs::MetadataExt;
                Some(Self::Node {
                    device: metadata.dev(),
                    number: metadata.ino(),
                })
            }
            #[cfg(not(unix))]
            Ok(_) => Some(Self::Path(path.canonicalize().ok()?)),
            // It isn't there yet: the name must do, in the directory that is.
            Err(_) => {
                let absolute = std::path::absolute(path).ok()?;
                let name = absolute.file_name()?.to_owned();
                let parent = absolute.parent()?;
                let parent = parent.canonicalize().unwrap_or_else(|_| tidied(parent));
                Some(Self::Path(parent.join(name)))
            }
        }
    }
}

/// The path without `.` and `..`.
fn tidied(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                tidied.pop();
            }
            Component::CurDir => {}
            other => tidied.push(other),
        }
    }
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(output: &Path, input: &Path) -> bool {
        refuse_overlap(&[("--output", Some(output))], &[("--input", Some(input))]).is_err()
    }

    #[test]
    fn one_file_has_many_names() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let file = folder.join("a.jsonl");
        std::fs::write(&file, "x").unwrap();
        std::fs::create_dir(folder.join("shards")).unwrap();
        std::fs::write(folder.join("shards/0.jsonl"), "x").unwrap();
        assert!(overlap(&file, &file));
        assert!(overlap(&folder.join("./a.jsonl"), &file));
        assert!(overlap(&folder.join("shards/../a.jsonl"), &file));
        assert!(overlap(
            &folder.join("shards/0.jsonl"),
            &folder.join("shards")
        ));
        assert!(overlap(&folder.join("shards/0.jsonl"), folder));
        assert!(overlap(
            &folder.join("shards/0.jsonl"),
            &folder.join("shards/*.jsonl")
        ));
        assert!(!overlap(
            &folder.join("shards/1.jsonl"),
            &folder.join("shards")
        ));
        assert!(!overlap(&folder.join("b.jsonl"), &file));
        #[cfg(unix)]
        {
            let (soft, hard) = (folder.join("soft"), folder.join("hard"));
            std::os::unix::fs::symlink(&file, &soft).unwrap();
            std::fs::hard_link(&file, &hard).unwrap();
            assert!(overlap(&soft, &file) && overlap(&file, &soft));
            assert!(overlap(&hard, &file));
            let null = Path::new("/dev/null");
            assert!(!overlap(null, null));
        }
    }

    #[test]
    fn outputs_that_are_not_there_yet_are_told_apart_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (a, again, b) = (
            folder.path().join("a"),
            folder.path().join("./a"),
            folder.path().join("b"),
        );
        let outputs = |second| [("--output", Some(&*a)), ("--report", Some(second))];
        let error = refuse_overlap(&outputs(&again), &[]).unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(refuse_overlap(&outputs(&b), &[]).is_ok());
        assert!(refuse_overlap(&[("--output", None)], &[("--input", None)]).is_ok());
    }
}
