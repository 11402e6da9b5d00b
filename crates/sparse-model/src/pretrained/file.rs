//! Reading files that somebody else wrote: regular ones only, and no more of them than is sensible.

use std::fs::{self, File, FileType};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::{Error, Result};

/// Whether something lies at a path. A link that leads nowhere counts: reading it fails, instead of being passed over.
pub(crate) fn is_there(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(source) => Err(Error::read(path, source)),
    }
}

/// Opens a regular file. A device or a pipe would never end, or never begin.
///
/// # Errors
///
/// [`Error::MissingFile`] if there is none, with what it is `needed_for`.
pub(crate) fn open_regular(path: &Path, needed_for: &'static str) -> Result<(File, u64)> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_absence(&error) && fs::symlink_metadata(path).is_err() => {
            return Err(Error::MissingFile {
                path: path.to_path_buf(),
                needed_for,
            });
        }
        Err(source) => return Err(Error::read(path, source)),
    };
    if !metadata.is_file() {
        return Err(Error::Unreadable {
            path: path.to_path_buf(),
            problem: format!("is {}; expected a regular file", kind(metadata.file_type())),
        });
    }
    let file = File::open(path).map_err(|source| Error::read(path, source))?;
    Ok((file, metadata.len()))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// As [`open_regular`], or if it is longer.
pub(crate) fn read_limited(path: &Path, limit: u64, needed_for: &'static str) -> Result<Vec<u8>> {
    let (file, length) = open_regular(path, needed_for)?;
    let too_long = |length: String| Error::Unreadable {
        path: path.to_path_buf(),
        problem: format!("is {length} bytes long; expected at most {limit} of a file of its name"),
    };
    if length > limit {
        return Err(too_long(length.to_string()));
    }
    let mut content = Vec::with_capacity(length as usize);
    // Files below `/proc` have no length, and others may grow.
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|source| Error::read(path, source))?;
    if content.len() as u64 > limit {
        return Err(too_long(format!("more than {limit}")));
    }
    Ok(content)
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(unix)]
fn kind(file_type: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "something else"
    }
}

#[cfg(not(unix))]
fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else {
        "something else"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        fs::write(&path, [b' '; 11]).unwrap();
        assert_eq!(read_limited(&path, 11, "").unwrap().len(), 11);
        let message = read_limited(&path, 10, "").unwrap_err().to_string();
        assert!(
            message.contains("config.json` is 11 bytes long; expected at most 10"),
            "{message}"
        );
        // A sparse file takes no room on the disk and all of it in memory.
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let message = read_limited(&path, 1 << 20, "").unwrap_err().to_string();
        assert!(message.contains("1099511627776 bytes"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        let message = |path: &Path| read_limited(path, 100, "").unwrap_err().to_string();
        assert_eq!(
            message(Path::new("/dev/zero")),
            "`/dev/zero` is a device; expected a regular file"
        );
        let directory = tempfile::tempdir().unwrap();
        assert!(message(directory.path()).ends_with("is a directory; expected a regular file"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert!(message(&link).ends_with("link` is a device; expected a regular file"));
        // A link that leads nowhere is not the same as no file.
        let lost = directory.path().join("lost");
        std::os::unix::fs::symlink("nowhere", &lost).unwrap();
        assert!(is_there(&lost).unwrap());
        assert!(message(&lost).starts_with("failed to read"));
        assert!(!is_there(&directory.path().join("absent")).unwrap());
    }
}
