//! Whether a checkpoint on disk is whole.
//!
//! A checkpoint is renamed when it is complete, but a disk can still lose the end of a file after a power cut, and people copy
//! and edit directories.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

/// What of a checkpoint every resume needs.
const NEEDED: &[&str] = &[super::STATE, "modules.json"];

/// Says what is missing from a checkpoint or cut short in it: every JSON file must parse, and every file of tensors must be as
/// long as its header says. The tensors themselves aren't read.
pub(super) fn check(directory: &Path) -> Result<(), String> {
    for name in NEEDED {
        if !directory.join(name).is_file() {
            return Err(format!("`{name}` is missing"));
        }
    }
    check_files(directory)
}

fn check_files(directory: &Path) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let checked = match extension {
            _ if path.is_dir() => {
                check_files(&path)?;
                Ok(())
            }
            Some("json") => check_json(&path),
            Some("safetensors") => check_tensors(&path),
            _ => Ok(()),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        checked.map_err(|message| format!("`{name}` {message}"))?;
    }
    Ok(())
}

fn check_json(path: &Path) -> Result<(), String> {
    let text = fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&text)
        .map(|_| ())
        .map_err(|error| format!("isn't whole: {error}"))
}

/// A file of tensors begins with the length of its header as a u64, then the header, then the tensors.
fn check_tensors(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("can't be read: {error}");
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let cut = || format!("isn't whole: it ends after {length} bytes");
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(|_| cut())?;
    let header = u64::from_le_bytes(start);
    if header > length - 8 {
        return Err(cut());
    }
    let mut bytes = Vec::new();
    file.take(header).read_to_end(&mut bytes).map_err(failed)?;
    let header_of: BTreeMap<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| format!("has a header that can't be read: {error}"))?;
    let tensors = header_of.values();
    let end = tensors.filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    let expected = 8 + header + end.max().unwrap_or(0);
    if length != expected {
        return Err(format!(
            "isn't whole: {length} of {expected} bytes are there"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one tensor of four bytes.
    fn tensors() -> Vec<u8> {
        let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend(1.0_f32.to_le_bytes());
        bytes
    }

    fn checkpoint() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("1_SpladePooling")).unwrap();
        for (name, bytes) in [
            ("trainer_state.json", b"{}".to_vec()),
            ("modules.json", b"[]".to_vec()),
            ("1_SpladePooling/config.json", b"{}".to_vec()),
            ("model.safetensors", tensors()),
        ] {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn every_kind_of_damage_is_named() {
        assert_eq!(check(checkpoint().path()), Ok(()));
        let damaged = |damage: &dyn Fn(&Path)| {
            let folder = checkpoint();
            damage(folder.path());
            check(folder.path()).unwrap_err()
        };
        let write = |name: &'static str, bytes: &[u8]| {
            let bytes = bytes.to_vec();
            damaged(&move |folder| fs::write(folder.join(name), &bytes).unwrap())
        };
        let whole = tensors();
        let n = whole.len();
        assert_eq!(
            write("model.safetensors", &whole[..n - 1]),
            format!(
                "`model.safetensors` isn't whole: {} of {n} bytes are there",
                n - 1
            )
        );
        assert_eq!(
            write("model.safetensors", &whole[..20]),
            "`model.safetensors` isn't whole: it ends after 20 bytes"
        );
        assert_eq!(
            write("model.safetensors", &[]),
            "`model.safetensors` isn't whole: it ends after 0 bytes"
        );
        assert!(
            write("1_SpladePooling/config.json", b"{\"a\": 1")
                .starts_with("`config.json` isn't whole: ")
        );
        assert_eq!(
            damaged(&|folder| fs::remove_file(folder.join("trainer_state.json")).unwrap()),
            "`trainer_state.json` is missing"
        );
    }
}
