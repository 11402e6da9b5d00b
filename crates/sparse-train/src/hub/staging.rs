//! What one commit holds, gathered in a directory of its own: checkpoints may be deleted while it is uploaded.

use std::fs;
use std::path::{Path, PathBuf};

use sparse_model::name_model_card;

use super::HubStrategy;
use crate::error::{Error, Result};

/// Begins the name of a directory that is being uploaded.
const PREFIX: &str = ".upload-";

/// Gathers what the strategy asks for of a checkpoint; `None` if nothing.
pub(super) fn gather(
    strategy: HubStrategy,
    checkpoint: &Path,
    step: usize,
    repo_id: &str,
) -> Result<Option<PathBuf>> {
    let whole = match strategy {
        HubStrategy::End => return Ok(None),
        HubStrategy::EverySave => None,
        HubStrategy::Checkpoint => Some("last-checkpoint".to_owned()),
        HubStrategy::AllCheckpoints => Some(format!("checkpoint-{step}")),
    };
    let parent = checkpoint.parent().unwrap_or(Path::new("."));
    let staging = parent.join(format!("{PREFIX}{step}.{}", std::process::id()));
    let gathered = link(checkpoint, &staging, &is_of_model)
        .and_then(|()| {
            whole.map_or(Ok(()), |name| {
                link(checkpoint, &staging.join(name), &|_| true)
            })
        })
        .and_then(|()| Ok(name_model_card(&staging, repo_id)?));
    if let Err(error) = gathered {
        // The cause is reported; what is left of the attempt is of no use.
        let _ = fs::remove_dir_all(&staging);
        return Err(error);
    }
    Ok(Some(staging))
}

/// Whether a file of a checkpoint belongs to the model: not the optimizer's state, the schedule's or the run's.
fn is_of_model(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    !(stem.starts_with('_')
        || ["optimizer", "scheduler", "scaler", "checksums"].contains(&stem)
        || stem.ends_with("_state"))
}

/// Gives the chosen files a second name in `to`, or copies them where the file system can't. The model card is always copied,
/// because it changes.
fn link(from: &Path, to: &Path, choose: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).map_err(|source| Error::io("create", to, source))?;
    for entry in fs::read_dir(from).map_err(|source| Error::io("read", from, source))? {
        let entry = entry.map_err(|source| Error::io("read", from, source))?;
        let (path, name) = (entry.path(), entry.file_name());
        if !choose(&name.to_string_lossy()) {
            continue;
        }
        let target = to.join(&name);
        if path.is_dir() {
            link(&path, &target, choose)?;
        } else if name == "README.md" || fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).map_err(|source| Error::io("copy", &path, source))?;
        }
    }
    Ok(())
}

/// Deletes what runs that were killed left behind.
pub(crate) fn remove_leftovers(output_dir: &Path) -> Result<()> {
    for entry in fs::read_dir(output_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let path = entry.path();
            fs::remove_dir_all(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_of_model;

    #[test]
    fn the_state_of_a_run_stays_out_of_the_model() {
        for name in ["model.safetensors", "training_args.json", "1_SpladePooling"] {
            assert!(is_of_model(name), "{name}");
        }
        for name in [
            "optimizer.safetensors",
            "scheduler.json",
            "scaler.json",
            "trainer_state.json",
            "rng_state.json",
            "checksums.json",
            "_notes.txt",
        ] {
            assert!(!is_of_model(name), "{name}");
        }
    }
}
