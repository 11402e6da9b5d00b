//! Evaluators in a configuration file.

use serde::{Deserialize, Serialize};

use crate::{Evaluator, InformationRetrievalConfig, Result};

/// An `[[evaluator]]` table: `type` says which kind, the other keys are its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EvaluatorConfig {
    /// Queries search a corpus.
    InformationRetrieval(InformationRetrievalConfig),
}

impl EvaluatorConfig {
    /// Values of `type`.
    pub const NAMES: [&str; 1] = ["information_retrieval"];

    /// Prefix of the figures' names.
    pub fn name(&self) -> &str {
        match self {
            Self::InformationRetrieval(config) => &config.name,
        }
    }

    /// Checks the settings, without reading a file.
    ///
    /// # Errors
    ///
    /// Naming the setting at fault.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::InformationRetrieval(config) => {
                config.validate().and_then(|()| config.files().map(drop))
            }
        }
    }

    /// Reads the files and builds the evaluator.
    ///
    /// # Errors
    ///
    /// If a setting or a file is wrong.
    pub fn init(&self) -> Result<Box<dyn Evaluator>> {
        match self {
            Self::InformationRetrieval(config) => Ok(Box::new(config.init()?)),
        }
    }
}
