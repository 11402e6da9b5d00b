//! A few files by name: what a reader is given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::Result;

/// Contents by path below a folder, with `/` between its parts.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Reads a folder with all that is below it.
///
/// # Errors
///
/// If something can't be read.
pub fn read(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    collect(folder, "", &mut files)?;
    Ok(files)
}

fn collect(folder: &Path, prefix: &str, files: &mut Files) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Writes files into a folder that is made for them; whatever it held is removed before.
///
/// # Errors
///
/// If something can't be written.
pub fn write(folder: &Path, files: &Files) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// The same files below another folder.
pub fn below(folder: &str, files: Files) -> Files {
    files
        .into_iter()
        .map(|(name, bytes)| (format!("{folder}/{name}"), bytes))
        .collect()
}

/// The last part of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_from_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let files: Files = [("a", "1"), ("b/c", "2")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into();
        let place = folder.path().join("x");
        write(&place, &below("y", files.clone())).unwrap();
        assert_eq!(read(&place.join("y")).unwrap(), files);
        write(&place, &files).unwrap();
        assert_eq!(read(&place).unwrap(), files);
        assert_eq!(base_name("b/c"), "c");
    }
}
