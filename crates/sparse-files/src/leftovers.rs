//! What killed processes leave behind.

use std::fs::{self, File};
use std::path::Path;

use crate::error::{Error, Result};
use crate::operation;
use crate::registry::{remove, staging_name};

/// A file that is being written.
pub(crate) const PARTIAL: &str = "partial";
/// A directory that is being written.
pub(crate) const SAVING: &str = "saving";
/// A directory that another is taking the place of, on systems that can't exchange two.
pub(crate) const REPLACED: &str = "replaced";
/// A directory that is being removed.
const REMOVING: &str = "removing";

/// Removes a directory so that it is there whole or not at all: it loses its name before its files.
///
/// # Errors
///
/// If the directory can't be renamed or removed.
pub fn remove_directory(path: &Path) -> Result<()> {
    let doomed = path.with_file_name(staging_name(path, REMOVING));
    operation::rename(path, &doomed)?;
    operation::remove_dir_all(&doomed)
}

/// Tidies up a directory after processes that were killed while they wrote there: what was being written or removed goes, and
/// a directory that had lost its name to one that never came gets it back. What a living process writes is left alone.
///
/// # Errors
///
/// If the directory can't be read or something in it not removed. One that doesn't exist is tidy.
pub fn remove_leftovers(directory: &Path) -> Result<()> {
    sweep(directory, None)
}

/// As [`remove_leftovers`], for one name in the directory or for all.
pub(crate) fn sweep(directory: &Path, name: Option<&str>) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::new("read", directory, source)),
    };
    for entry in entries.flatten() {
        let found = entry.file_name();
        let Some((target, purpose)) = found.to_str().and_then(parse) else {
            continue;
        };
        if name.is_some_and(|name| name != target) {
            continue;
        }
        let (path, target) = (entry.path(), directory.join(target));
        match purpose {
            REPLACED if !target.exists() => operation::rename(&path, &target)?,
            REPLACED | REMOVING => operation::remove_dir_all(&path)?,
            _ if is_abandoned(&path) => remove(&path),
            _ => {}
        }
    }
    Ok(())
}

/// Target and purpose of a staged name: `.TARGET.PURPOSE-PROCESS-CALL`.
fn parse(name: &str) -> Option<(&str, &str)> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (target, staged) = name.strip_prefix('.')?.rsplit_once('.')?;
    let mut parts = staged.split('-');
    let (purpose, process, call) = (parts.next()?, parts.next()?, parts.next()?);
    let is_staged = [PARTIAL, SAVING, REPLACED, REMOVING].contains(&purpose)
        && is_number(process)
        && is_number(call)
        && parts.next().is_none();
    is_staged.then_some((target, purpose))
}

/// Whoever writes holds a lock, which ends with the process. Where directories can't be locked, nothing counts as abandoned.
fn is_abandoned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_staged_here_are_swept() {
        assert_eq!(
            parse(".out.jsonl.partial-17-0"),
            Some(("out.jsonl", PARTIAL))
        );
        assert_eq!(
            parse(".checkpoint-3.saving-17-4"),
            Some(("checkpoint-3", SAVING))
        );
        for name in [
            "out.jsonl",
            ".git",
            ".out.partial-x-0",
            ".out.partial-1",
            ".out.partial-1-2-3",
            "out.partial-1-2",
            ".bashrc.saving-1-",
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn leftovers_go_and_everything_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("mine.partial"), "").unwrap();
        fs::write(at(".a.partial-1-0"), "").unwrap();
        fs::create_dir(at(".b.saving-1-0")).unwrap();
        fs::create_dir_all(at(".c.removing-1-0").join("x")).unwrap();
        fs::create_dir(at(".d.replaced-1-0")).unwrap();
        fs::create_dir(at(".e.replaced-1-0")).unwrap();
        fs::create_dir(at("e")).unwrap();
        let held = File::create(at(".f.partial-1-0")).unwrap();
        held.lock().unwrap();
        remove_leftovers(folder.path()).unwrap();
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [".f.partial-1-0", "d", "e", "mine.partial"]);
        remove_leftovers(&at("absent")).unwrap();
    }
}
