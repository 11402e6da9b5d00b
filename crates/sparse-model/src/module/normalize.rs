//! Vectors to unit length.

use burn::module::Module;
use serde_json::{Map, Value, json};

use super::{Features, Place};
use crate::pretrained::{DirectoryWriter, read_json_or_default, to_pretty};
use crate::{Error, Result};

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
        check_names(&read_json_or_default(&path)?, &path)?;
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

/// Refuses modules that work on anything but the sentence embedding.
pub(super) fn check_names(config: &Map<String, Value>, path: &std::path::Path) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
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
