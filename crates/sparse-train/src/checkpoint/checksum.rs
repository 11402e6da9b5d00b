//! `checksums.json`: size and checksum of every other file of a checkpoint.
//!
//! A checkpoint that somebody edits, or in which a disk turns a bit, would still be read, and the run that goes on from it would
//! end with other weights without a word. The file is written last, so it is there only if everything else is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::error::{Error, Result};

/// Name of the file.
pub(super) const FILE: &str = "checksums.json";

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checksums {
    /// Path below the checkpoint, with `/` on every system.
    files: BTreeMap<String, Checksum>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checksum {
    size: u64,
    /// XXH3 with 128 bits, as 32 hexadecimal digits.
    xxh3_128: String,
}

/// The checksums of what a directory holds.
pub(super) fn of(directory: &Path) -> Result<Checksums> {
    let mut files = BTreeMap::new();
    for (name, path) in files_below(directory)? {
        let sum = sum(&path).map_err(|source| Error::io("read", &path, source))?;
        files.insert(name, sum);
    }
    Ok(Checksums { files })
}

/// Says which file of a checkpoint isn't the one that was written. One from before there were checksums passes.
pub(super) fn verify(directory: &Path) -> Result<(), String> {
    let text = match fs::read(directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| format!("`{FILE}` can't be read: {error}"))?,
    };
    let Checksums { files } =
        serde_json::from_slice(&text).map_err(|error| format!("`{FILE}` isn't whole: {error}"))?;
    let present = files_below(directory).map_err(|error| error.to_string())?;
    if let Some(name) = files.keys().find(|name| !present.contains_key(*name)) {
        return Err(format!("`{name}`, which `{FILE}` lists, is missing"));
    }
    for (name, path) in &present {
        let Some(written) = files.get(name) else {
            // A note of somebody's is nobody's business, but these would be read.
            if name.ends_with(".json") || name.ends_with(".safetensors") {
                return Err(format!("`{name}` was added after it was written"));
            }
            continue;
        };
        let failed = |error: io::Error| format!("`{name}` can't be read: {error}");
        let size = fs::metadata(path).map_err(failed)?.len();
        if size != written.size {
            return Err(format!(
                "`{name}` was changed after it was written: it has {size} bytes instead of {}",
                written.size
            ));
        }
        let found = sum(path).map_err(failed)?;
        if found != *written {
            return Err(format!("`{name}` was changed after it was written"));
        }
    }
    Ok(())
}

/// Every file below a directory but the checksums themselves and what is hidden, by its path.
fn files_below(directory: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![(String::new(), directory.to_path_buf())];
    while let Some((prefix, folder)) = folders.pop() {
        let failed = |source| Error::io("read", &folder, source);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if name.starts_with('.') || (prefix.is_empty() && name == FILE) {
                continue;
            }
            if path.is_dir() {
                folders.push((format!("{prefix}{name}/"), path));
            } else {
                files.insert(format!("{prefix}{name}"), path);
            }
        }
    }
    Ok(files)
}

fn sum(path: &Path) -> io::Result<Checksum> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
    Ok(Checksum {
        size,
        xxh3_128: format!("{:032x}", hash.digest128()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of two files, one of them in a folder, and what is said of it after a change.
    fn after(change: impl FnOnce(&Path)) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("1_SpladePooling")).unwrap();
        fs::write(folder.path().join("trainer_state.json"), "{\"step\":1}").unwrap();
        fs::write(folder.path().join("1_SpladePooling/config.json"), "{}").unwrap();
        let sums = serde_json::to_vec(&of(folder.path()).unwrap()).unwrap();
        fs::write(folder.path().join(FILE), sums).unwrap();
        change(folder.path());
        verify(folder.path())
    }

    #[test]
    fn a_file_that_is_not_as_it_was_written_is_named() {
        assert_eq!(after(|_| ()), Ok(()));
        let write = |name: &'static str, text: &'static str| {
            after(move |folder| fs::write(folder.join(name), text).unwrap())
        };
        let changed = |text: &str| Err(text.to_owned());
        assert_eq!(
            write("trainer_state.json", "{\"step\":2}"),
            changed("`trainer_state.json` was changed after it was written")
        );
        assert_eq!(
            write("1_SpladePooling/config.json", "{ }"),
            changed(
                "`1_SpladePooling/config.json` was changed after it was written: it has 3 bytes instead of 2"
            )
        );
        assert_eq!(
            write("scaler.json", "{}"),
            changed("`scaler.json` was added after it was written")
        );
        assert_eq!(write("notes.txt", "good one"), Ok(()));
        assert_eq!(
            after(|folder| fs::remove_file(folder.join("trainer_state.json")).unwrap()),
            changed("`trainer_state.json`, which `checksums.json` lists, is missing")
        );
        for text in ["[]", "{}", "", "{\"files\":{\"a\":1}}"] {
            let message = write(FILE, text).unwrap_err();
            assert!(
                message.starts_with("`checksums.json` isn't whole: "),
                "{message}"
            );
        }
    }

    #[test]
    fn a_checkpoint_from_before_there_were_checksums_passes() {
        let without = after(|folder| {
            fs::remove_file(folder.join(FILE)).unwrap();
            fs::write(folder.join("trainer_state.json"), "{}").unwrap();
        });
        assert_eq!(without, Ok(()));
    }

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty");
        fs::write(&path, "").unwrap();
        // XXH3_128bits of no bytes, from the test vectors of xxHash 0.8.
        let expected = Checksum {
            size: 0,
            xxh3_128: "99aa06d3014798d86001c324468d497f".to_owned(),
        };
        assert_eq!(sum(&path).unwrap(), expected);
    }
}
