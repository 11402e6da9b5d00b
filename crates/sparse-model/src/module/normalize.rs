//! Vectors to unit length.

use burn::module::Module;
use serde_json::{Map, Value, json};

use super::{Features, Place};
use crate::error::nearest;
use crate::pretrained::{DirectoryWriter, read_object_or_empty, to_pretty};
use crate::{Error, Result};

/// The keys that name what a module reads and writes.
const NAMES: [&str; 2] = ["module_input_name", "module_output_name"];

/// What the modules between pooling and the autoencoder read and write.
const SENTENCE: &str = "sentence_embedding";

/// `x / max(‖x‖₂, 1e-12)` for each text.
#[derive(Module, Debug)]
pub(crate) struct Normalize {
    /// The module has no parameters; the marker keeps the derive content.
    #[module(skip)]
    epsilon: f64,
}

impl Normalize {
    pub(crate) fn load(place: &Place<'_>) -> Result<Self> {
        let path = place.directory.join("config.json");
        let config = read_object_or_empty(&path)?;
        check_names(&config, &path)?;
        // Older releases wrote no file at all.
        check_keys(&config, &NAMES, &path)?;
        Ok(Self { epsilon: 1e-12 })
    }

    pub(crate) fn forward(&self, features: Features) -> Features {
        let sentence = features.sentence.map(|x| {
            let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(self.epsilon);
            x / norm
        });
        Features {
            sentence,
            ..features
        }
    }

    pub(crate) fn config() -> Value {
        json!({"module_input_name": SENTENCE, "module_output_name": SENTENCE})
    }

    pub(crate) fn save(writer: &DirectoryWriter, directory: &str) -> Result<()> {
        writer.write(
            &format!("{directory}/config.json"),
            &to_pretty(&Self::config(), 4),
        )
    }
}

/// Refuses keys that a module does not know, as the reference does.
pub(super) fn check_keys(
    config: &Map<String, Value>,
    known: &[&str],
    path: &std::path::Path,
) -> Result<()> {
    match config.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let problem = format!(
                "is no setting of this module; it knows {}{}",
                known.join(", "),
                nearest(key, known)
            );
            Err(Error::config(path, key, problem))
        }
    }
}

/// Refuses modules that work on anything but the sentence embedding.
pub(super) fn check_names(config: &Map<String, Value>, path: &std::path::Path) -> Result<()> {
    for key in NAMES {
        match config.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::String(name)) if name == SENTENCE => {}
            Some(other) => {
                return Err(Error::config(
                    path,
                    key,
                    format!("is {other}; only `{SENTENCE}` is supported"),
                ));
            }
        }
    }
    Ok(())
}
