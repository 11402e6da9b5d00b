//! What of a run goes to the hub, and how.

mod staging;
mod uploader;

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

pub(crate) use staging::remove_leftovers;
pub(crate) use uploader::{Uploader, secret};

/// What is uploaded during a run with `push_to_hub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HubStrategy {
    /// Nothing: [`Trainer::push_to_hub`](crate::Trainer::push_to_hub) uploads the finished model.
    End,
    /// The model of every checkpoint.
    #[default]
    EverySave,
    /// That, and the whole checkpoint as `last-checkpoint`, from which the run can be resumed elsewhere.
    Checkpoint,
    /// That, and the whole checkpoint as `checkpoint-STEP`.
    AllCheckpoints,
}

/// A token of the hub. It is neither printed nor saved: a placeholder stands for it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HubToken(String);

impl HubToken {
    /// What stands for a token.
    const PLACEHOLDER: &str = "<HUB_TOKEN>";

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for HubToken {
    fn from(token: T) -> Self {
        Self(token.into())
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Self::PLACEHOLDER)
    }
}

impl Serialize for HubToken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::PLACEHOLDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_neither_printed_nor_saved() {
        let token = HubToken::from("hf_secret");
        let printed = format!("{token:?} {}", serde_json::to_string(&token).unwrap());
        assert_eq!(printed, "<HUB_TOKEN> \"<HUB_TOKEN>\"");
        let read: HubToken = serde_json::from_str("\"hf_secret\"").unwrap();
        assert_eq!(read.secret(), "hf_secret");
    }
}
