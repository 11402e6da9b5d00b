//! Whether a checkpoint on disk is whole.
//!
//! A checkpoint is renamed when it is complete, but a disk can still lose the end of a file after a power cut, and people copy
//! and edit directories.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde_json::Value;

use super::resume::{DataState, SchedulerState, object};
use super::{ARGUMENTS, DATA_STATE, OPTIMIZER, REGULARIZERS, SCALER, SCHEDULER, STATE, checksum};
use crate::callback::skipped;
use crate::loss_scaler::LossScaler;
use crate::regulation::RegulationState;
use crate::state::TrainerState;

/// What of a checkpoint every resume needs; the files of the model besides are found missing when it is loaded.
const NEEDED: &[&str] = &[STATE, "modules.json", OPTIMIZER, SCHEDULER];

/// Says what is missing from a checkpoint, cut short or changed in it: every file must be as its checksum says, every JSON file
/// must parse, every file of tensors must be as long as its header says, and every state must be one.
pub(super) fn check(directory: &Path) -> Result<(), String> {
    for name in NEEDED {
        if !directory.join(name).is_file() {
            return Err(format!("`{name}` is missing"));
        }
    }
    check_files(directory, "")?;
    checksum::verify(directory)?;
    check_states(directory)
}

/// Whether nothing of a run was ever in a checkpoint, beside a model.
pub(super) fn has_only_model(directory: &Path) -> bool {
    #[derive(Deserialize)]
    struct Arguments {
        save_only_model: bool,
    }
    let lacks = |name: &&str| !directory.join(name).exists();
    let asked = object::<Arguments>(directory, ARGUMENTS);
    [OPTIMIZER, SCHEDULER].iter().all(lacks)
        && matches!(asked, Ok(Some(arguments)) if arguments.save_only_model)
}

fn check_files(directory: &Path, prefix: &str) -> Result<(), String> {
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{prefix}{name}");
        let extension = path.extension().and_then(|extension| extension.to_str());
        let checked = match extension {
            _ if path.is_dir() => {
                check_files(&path, &format!("{name}/"))?;
                Ok(())
            }
            Some("json" | "safetensors") if !path.is_file() => Err("is no file".to_owned()),
            Some("json") => check_json(&path),
            Some("safetensors") => check_tensors(&path),
            _ => Ok(()),
        };
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

/// A file of tensors begins with the length of its header as a u64, then the header, then the tensors one after the other.
fn check_tensors(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("can't be read: {error}");
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let cut = || format!("isn't whole: it ends after {length} bytes");
    let mut start = [0; 8];
    file.read_exact(&mut start).map_err(|_| cut())?;
    let header = u64::from_le_bytes(start);
    let room = length.saturating_sub(8);
    if header > room {
        return Err(cut());
    }
    let mut bytes = Vec::new();
    file.take(header).read_to_end(&mut bytes).map_err(failed)?;
    let damaged = |error: serde_json::Error| format!("has a header that can't be read: {error}");
    let mut entries: BTreeMap<String, Value> = serde_json::from_slice(&bytes).map_err(damaged)?;
    entries.remove("__metadata__");
    let mut tensors = Vec::new();
    for (name, entry) in entries {
        let info: TensorInfo = serde_json::from_value(entry)
            .map_err(|error| format!("has a header that can't be read: `{name}`: {error}"))?;
        tensors.push((info.data_offsets, name, info));
    }
    tensors.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut end = 0;
    for ((first, last), name, info) in &tensors {
        let elements = info
            .shape
            .iter()
            .try_fold(1_usize, |n, size| n.checked_mul(*size));
        let bits = elements.and_then(|n| n.checked_mul(info.dtype.bitsize()));
        let size = last.checked_sub(*first);
        if *first != end || size.is_none() || size.and_then(|n| n.checked_mul(8)) != bits {
            return Err(format!(
                "has a header that can't be: `{name}` of shape {:?} lies at {first} to {last}, after {end}",
                info.shape
            ));
        }
        end = *last;
    }
    if end as u64 != room - header {
        return Err(format!(
            "isn't whole: {length} of {} bytes are there",
            (length - room + header).saturating_add(end as u64)
        ));
    }
    Ok(())
}

/// Whether the states of a run are such, and of one step.
fn check_states(directory: &Path) -> Result<(), String> {
    object::<DataState>(directory, DATA_STATE)?;
    object::<RegulationState>(directory, REGULARIZERS)?;
    let missing = |name: &str| format!("`{name}` is missing");
    let state: TrainerState = object(directory, STATE)?.ok_or_else(|| missing(STATE))?;
    let scheduler: SchedulerState =
        object(directory, SCHEDULER)?.ok_or_else(|| missing(SCHEDULER))?;
    let scaler: Option<LossScaler> = object(directory, SCALER)?;
    if let Some(message) = scaler.and_then(|scaler| scaler.refusal()) {
        return Err(format!("`{SCALER}` isn't what it must be: {message}"));
    }
    let step = state.global_step;
    let (left_out, _) = skipped(&state.stateful_callbacks);
    // As many as an argument can ask for.
    if step.saturating_add(left_out) > i64::MAX as usize {
        return Err(format!(
            "`{STATE}` isn't what it must be: {step} steps and {left_out} that were left out are more than a run has"
        ));
    }
    let scheduled = step.saturating_sub(scaler.map_or(0, |scaler| scaler.skipped));
    if scheduler.last_epoch != scheduled {
        return Err(format!(
            "`{STATE}` is of step {step} and `{SCHEDULER}` of another: its `last_epoch` is {} instead of {scheduled}",
            scheduler.last_epoch
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
        let state = TrainerState {
            global_step: 5,
            ..TrainerState::new()
        };
        for (name, bytes) in [
            ("trainer_state.json", serde_json::to_vec(&state).unwrap()),
            ("scheduler.json", b"{\"last_epoch\":5}".to_vec()),
            ("modules.json", b"[]".to_vec()),
            ("1_SpladePooling/config.json", b"{}".to_vec()),
            ("model.safetensors", tensors()),
            ("optimizer.safetensors", tensors()),
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
                .starts_with("`1_SpladePooling/config.json` isn't whole: ")
        );
        assert_eq!(
            damaged(&|folder| fs::remove_file(folder.join("trainer_state.json")).unwrap()),
            "`trainer_state.json` is missing"
        );
    }

    /// A checkpoint from before there were checksums, in which one file says something else.
    fn with(name: &str, bytes: &[u8]) -> Result<(), String> {
        let folder = checkpoint();
        fs::write(folder.path().join(name), bytes).unwrap();
        check(folder.path())
    }

    #[test]
    fn a_header_that_promises_what_cant_be_is_an_error() {
        for header in [
            r#"{"w":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}}"#,
            r#"{"w":{"dtype":"F32","shape":[9223372036854775808,2],"data_offsets":[0,4]}}"#,
            r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#,
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            // Two that overlap.
            r#"{"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        ] {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.extend([0; 4]);
            let message = with("model.safetensors", &bytes).unwrap_err();
            assert!(
                message.contains("isn't whole") || message.contains("a header that can't be"),
                "{message}"
            );
        }
        let endless = u64::MAX.to_le_bytes();
        assert_eq!(
            with("model.safetensors", &endless).unwrap_err(),
            "`model.safetensors` isn't whole: it ends after 8 bytes"
        );
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_no_file() {
        for name in ["modules.json", "model.safetensors"] {
            let folder = checkpoint();
            let path = folder.path().join(name);
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            let message = check(folder.path()).unwrap_err();
            assert!(message.starts_with(&format!("`{name}` is")), "{message}");
        }
    }

    #[test]
    fn a_state_of_the_wrong_kind_is_an_error() {
        for name in [
            "trainer_state.json",
            "scheduler.json",
            "scaler.json",
            "regularizer_state.json",
            "data_state.json",
        ] {
            for text in [
                "[1]",
                "7",
                "\"x\"",
                "{\"last_epoch\":-1,\"datasets\":0,\"scale\":0,\"controllers\":3}",
            ] {
                let message = with(name, text.as_bytes()).unwrap_err();
                assert!(
                    message.starts_with(&format!("`{name}` isn't what it must be")),
                    "{message}"
                );
            }
        }
        let message = with(
            "scaler.json",
            br#"{"scale":-1.0,"growth_tracker":0,"skipped":0}"#,
        );
        assert!(message.unwrap_err().contains("`scale`"));
    }

    #[test]
    fn a_step_that_was_edited_is_noticed_without_checksums() {
        let state = TrainerState {
            global_step: 2,
            ..TrainerState::new()
        };
        assert_eq!(
            with("trainer_state.json", &serde_json::to_vec(&state).unwrap()).unwrap_err(),
            "`trainer_state.json` is of step 2 and `scheduler.json` of another: its `last_epoch` is 5 instead of 2"
        );
        let state = TrainerState {
            global_step: usize::MAX,
            ..TrainerState::new()
        };
        let message = with("trainer_state.json", &serde_json::to_vec(&state).unwrap());
        assert!(message.unwrap_err().contains("more than a run has"));
    }

    #[test]
    fn a_checkpoint_of_a_model_alone_says_so() {
        let folder = checkpoint();
        for name in ["optimizer.safetensors", "scheduler.json"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        // The files may have been lost as well.
        assert!(!has_only_model(folder.path()));
        assert_eq!(
            check(folder.path()).unwrap_err(),
            "`optimizer.safetensors` is missing"
        );
        fs::write(folder.path().join(ARGUMENTS), "{\"save_only_model\":true}").unwrap();
        assert!(has_only_model(folder.path()));
    }
}
