//! A training with a checkpoint at every step: what a kill may leave of it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::job::{entries, is_lock};
use crate::Result;
use crate::files::Files;

const STEPS: usize = 20;

/// A training file with a checkpoint at every step, of which three stay.
pub(super) fn file(model: &Path) -> String {
    format!(
        r#"[model]
name_or_path = "{}"

[[train_dataset]]
path = "pairs.tsv"

[arguments]
output_dir = "out"
max_steps = {STEPS}
per_device_train_batch_size = 4
logging_steps = 1
save_strategy = "steps"
save_steps = 1
save_total_limit = 3
"#,
        model.display()
    )
}

/// Whether a run can go on.
pub(super) fn has_checkpoint(folder: &Path) -> bool {
    entries(&folder.join("out"))
        .is_ok_and(|names| names.iter().any(|name| name.starts_with("checkpoint-")))
}

/// Steps of the checkpoints that are there.
fn steps(files: &Files) -> BTreeSet<&str> {
    files
        .keys()
        .filter_map(|name| name.strip_prefix("out/checkpoint-")?.split_once('/'))
        .map(|(step, _)| step)
        .collect()
}

pub(super) fn phase(found: &Files) -> &'static str {
    let hidden = |name: &String| name.starts_with("out/.") && !is_lock(name);
    if found.keys().any(hidden) {
        "while saving"
    } else if found.keys().any(|name| name.starts_with("out/final/")) {
        "after the end"
    } else if steps(found).is_empty() {
        "before a checkpoint"
    } else {
        "between checkpoints"
    }
}

/// Every checkpoint that can be seen, and the final model, are whole.
pub(super) fn check_kill(found: &Files, expected: &Files) -> Result<()> {
    let reference = format!("out/checkpoint-{STEPS}/");
    for step in steps(found) {
        check_like(
            found,
            &format!("out/checkpoint-{step}/"),
            expected,
            &reference,
        )?;
        let state = state(found, step)?;
        if state["global_step"].as_u64() != step.parse().ok() {
            return Err(format!("checkpoint-{step} is of step {}", state["global_step"]).into());
        }
    }
    if found.keys().any(|name| name.starts_with("out/final/")) {
        check_like(found, "out/final/", expected, "out/final/")?;
    }
    Ok(())
}

/// A directory has the files of another, and they aren't cut.
fn check_like(found: &Files, directory: &str, expected: &Files, reference: &str) -> Result<()> {
    for (name, whole) in expected {
        let Some(name) = name.strip_prefix(reference) else {
            continue;
        };
        let path = format!("{directory}{name}");
        let bytes = found
            .get(&path)
            .ok_or_else(|| format!("`{path}` is missing"))?;
        let is_whole = match name.rsplit_once('.') {
            Some((_, "safetensors")) => stated_length(bytes) == Some(bytes.len() as u64),
            Some((_, "json")) => serde_json::from_slice::<Value>(bytes).is_ok(),
            _ => bytes.is_empty() == whole.is_empty(),
        };
        if !is_whole {
            return Err(format!("`{path}` isn't whole").into());
        }
    }
    Ok(())
}

/// How long a file of tensors says it is: the length of its header, the header, and the tensors up to the last.
fn stated_length(bytes: &[u8]) -> Option<u64> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = u64::from_le_bytes(*length);
    let header = rest.get(..usize::try_from(length).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values();
    let last = ends
        .filter_map(|tensor| tensor["data_offsets"][1].as_u64())
        .max();
    Some(8 + length + last.unwrap_or(0))
}

/// Weights, optimizer and losses are those of an undisturbed run.
pub(super) fn check_end(found: &Files, expected: &Files) -> Result<()> {
    check_kill(found, expected)?;
    for name in [
        "out/final/model.safetensors".to_owned(),
        format!("out/checkpoint-{STEPS}/model.safetensors"),
        format!("out/checkpoint-{STEPS}/optimizer.safetensors"),
    ] {
        if found.get(&name).is_none() || found.get(&name) != expected.get(&name) {
            return Err(format!("`{name}` isn't what an undisturbed run writes").into());
        }
    }
    if losses(found)? != losses(expected)? {
        return Err("the losses aren't those of an undisturbed run".into());
    }
    if steps(found) != steps(expected) {
        return Err(format!("it ends with the checkpoints {:?}", steps(found)).into());
    }
    Ok(())
}

fn state(files: &Files, step: &str) -> Result<Value> {
    let name = format!("out/checkpoint-{step}/trainer_state.json");
    let bytes = files
        .get(&name)
        .ok_or_else(|| format!("`{name}` is missing"))?;
    Ok(serde_json::from_slice(bytes)?)
}

/// Step and loss of every entry of the history that has one.
fn losses(files: &Files) -> Result<Vec<String>> {
    let state = state(files, &STEPS.to_string())?;
    let history = state["log_history"].as_array().cloned().unwrap_or_default();
    let losses: Vec<String> = history
        .iter()
        .filter_map(|entry| Some(format!("{} {}", entry["step"], entry.get("loss")?)))
        .collect();
    if losses.len() != STEPS {
        return Err(format!(
            "{} losses are in the history of {STEPS} steps",
            losses.len()
        )
        .into());
    }
    Ok(losses)
}

/// What was begun in the folder or in the output directory and isn't finished.
pub(super) fn leftovers(folder: &Path) -> Result<BTreeSet<String>> {
    let ours = ["pairs.tsv", "train.toml", "out"];
    let mut left = entries(folder)?;
    left.retain(|name| !ours.contains(&name.as_str()) && !is_lock(name));
    let hidden = entries(&folder.join("out"))?;
    left.extend(
        hidden
            .into_iter()
            .filter(|name| name.starts_with('.') && !is_lock(name))
            .map(|name| format!("out/{name}")),
    );
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one tensor of one byte.
    fn tensors(byte: u8) -> Vec<u8> {
        let header = br#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.push(byte);
        bytes
    }

    fn state(loss: f64) -> Vec<u8> {
        let history: Vec<Value> = (1..=STEPS)
            .map(|step| serde_json::json!({ "step": step, "loss": loss }))
            .collect();
        serde_json::json!({ "global_step": STEPS, "log_history": history })
            .to_string()
            .into_bytes()
    }

    fn whole() -> Files {
        [
            (
                format!("out/checkpoint-{STEPS}/trainer_state.json"),
                state(0.5),
            ),
            (
                format!("out/checkpoint-{STEPS}/model.safetensors"),
                tensors(1),
            ),
            (
                format!("out/checkpoint-{STEPS}/optimizer.safetensors"),
                tensors(2),
            ),
            ("out/final/model.safetensors".to_owned(), tensors(1)),
        ]
        .into()
    }

    fn changed(change: impl Fn(&mut Files)) -> Files {
        let mut files = whole();
        change(&mut files);
        files
    }

    #[test]
    fn half_a_checkpoint_is_a_violation() {
        assert!(check_kill(&whole(), &whole()).is_ok());
        assert!(check_kill(&Files::new(), &whole()).is_ok());
        for name in whole().keys() {
            let cut = changed(|files| {
                if let Some(bytes) = files.get_mut(name) {
                    bytes.pop();
                }
            });
            assert!(check_kill(&cut, &whole()).is_err(), "{name}");
        }
        // The final model has one file here: without it, it isn't there.
        for name in whole().keys().filter(|name| name.contains("checkpoint")) {
            let missing = changed(|files| drop(files.remove(name)));
            assert!(check_kill(&missing, &whole()).is_err(), "{name}");
        }
    }

    #[test]
    fn other_weights_or_losses_at_the_end_are_a_violation() {
        assert!(check_end(&whole(), &whole()).is_ok());
        assert!(check_end(&Files::new(), &whole()).is_err());
        for name in whole().keys() {
            let bytes = if name.ends_with("json") {
                state(0.25)
            } else {
                tensors(7)
            };
            let other = changed(|files| drop(files.insert(name.clone(), bytes.clone())));
            assert!(check_kill(&other, &whole()).is_ok(), "{name}");
            assert!(check_end(&other, &whole()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_kill_has_its_phase() {
        assert_eq!(phase(&Files::new()), "before a checkpoint");
        assert_eq!(phase(&whole()), "after the end");
        let running = changed(|files| files.retain(|name, _| !name.contains("final")));
        assert_eq!(phase(&running), "between checkpoints");
        let begun = "out/.checkpoint-3.9/x".to_owned();
        let saving = changed(|files| drop(files.insert(begun.clone(), Vec::new())));
        assert_eq!(phase(&saving), "while saving");
    }

    #[test]
    fn what_is_beside_the_files_is_left_over() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["out/.saving-1", "out/checkpoint-3", ".x"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let left = leftovers(folder.path()).unwrap();
        assert_eq!(left, [".x".to_owned(), "out/.saving-1".to_owned()].into());
    }
}
