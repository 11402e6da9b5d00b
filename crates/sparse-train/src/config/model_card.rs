//! `[model_card]` of a training file.

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// What only the user knows about a model, for its card (`README.md`).
#[doc(alias = "SparseEncoderModelCardData")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelCardConfig {
    /// Writes a card that tells of the training; without, the model keeps the card it has.
    pub generate: bool,
    /// Languages of the texts, as ISO 639 codes such as `en`: one, or a list.
    #[serde(deserialize_with = "one_or_several")]
    pub language: Vec<String>,
    /// License of the model, by its name on the hub, such as `apache-2.0`.
    pub license: Option<String>,
    /// Heading of the card; made of base model and data by default.
    pub model_name: Option<String>,
    /// Id of the model on the hub, for the lines that load it.
    pub model_id: Option<String>,
    /// Model that was fine-tuned, by its id on the hub; the one that was loaded, by default, if it came from the hub.
    pub base_model: Option<String>,
    /// Data sets, by their ids on the hub: one, or a list.
    #[serde(deserialize_with = "one_or_several")]
    pub datasets: Vec<String>,
    /// What the model is good for, in words that follow "can be used for".
    pub task_name: String,
    /// Tags beside those that the run gives.
    #[serde(deserialize_with = "one_or_several")]
    pub tags: Vec<String>,
    /// Shows texts of the training data as examples: in the widget of the hub, in the lines that use the model, and as samples
    /// of the data sets. Off, no text of the data is in the card.
    pub generate_widget_examples: bool,
}

impl Default for ModelCardConfig {
    fn default() -> Self {
        Self {
            generate: true,
            language: Vec::new(),
            license: None,
            model_name: None,
            model_id: None,
            base_model: None,
            datasets: Vec::new(),
            task_name: "semantic search and sparse retrieval".to_owned(),
            tags: Vec::new(),
            generate_widget_examples: true,
        }
    }
}

impl ModelCardConfig {
    /// Checks what the hub would refuse.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key: &str, value: &str, expected: &str| {
            Err(Error::argument(
                format!("model_card.{key}"),
                format!("= \"{value}\" {expected}"),
            ))
        };
        let is_code = |code: &str| {
            let mut parts = code.split('-');
            parts.next().is_some_and(|part| {
                (2..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase())
            }) || code == "multilingual"
        };
        if let Some(code) = self.language.iter().find(|code| !is_code(code)) {
            return refuse(
                "language",
                code,
                "must be an ISO 639 code such as \"en\", or \"multilingual\"",
            );
        }
        if let Some(license) = &self.license
            && (license.is_empty()
                || license
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_uppercase()))
        {
            return refuse(
                "license",
                license,
                "must be a name of the hub in lower case, such as \"apache-2.0\", \"mit\" or \"other\"",
            );
        }
        let ids = [
            ("model_id", &self.model_id),
            ("base_model", &self.base_model),
        ];
        for (key, id) in ids {
            if let Some(id) = id.as_deref().filter(|id| !is_hub_id(id)) {
                return refuse(
                    key,
                    id,
                    "must be the id of a model on the hub, such as \"naver/splade-v3\"",
                );
            }
        }
        match self.datasets.iter().find(|id| !is_hub_id(id)) {
            Some(id) => refuse(
                "datasets",
                id,
                "must be the id of a data set on the hub, such as \"sentence-transformers/all-nli\"",
            ),
            None => Ok(()),
        }
    }
}

/// Whether a text has the form of an id on the hub: `name` or `owner/name`.
pub(crate) fn is_hub_id(text: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part.chars().all(allowed) && !part.starts_with(['.', '-'])
    };
    text.len() <= 96 && text.split('/').count() <= 2 && text.split('/').all(is_part)
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts")]
    enum Texts {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Texts::deserialize(deserializer)? {
        Texts::One(text) => vec![text],
        Texts::Several(texts) => texts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hub_would_refuse_is_refused() {
        let refusal = |change: fn(&mut ModelCardConfig)| {
            let mut config = ModelCardConfig::default();
            config.validate().unwrap();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(refusal(|c| c.language = vec!["English".into()]).contains("ISO 639"));
        assert!(refusal(|c| c.license = Some("MIT".into())).contains("lower case"));
        assert!(
            refusal(|c| c.base_model = Some("../model".into())).contains("model_card.base_model")
        );
        assert!(refusal(|c| c.datasets = vec!["a/b/c".into()]).contains("data set"));
        let config: ModelCardConfig =
            serde_json::from_value(serde_json::json!({ "language": "pt-BR", "datasets": ["a/b"] }))
                .unwrap();
        config.validate().unwrap();
        assert_eq!(config.language, ["pt-BR"]);
    }
}
