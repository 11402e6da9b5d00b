//! How a loss presents itself to a model card.

use serde_json::{Map, Value};

/// Name, options and literature of a loss or regularizer, in the reference's words.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Class name, as in the reference where it has the loss.
    pub class_name: String,
    /// Options as the reference's configuration dictionary names and orders them.
    pub options: Map<String, Value>,
    /// BibTeX entry of the paper.
    pub citation: Option<String>,
    /// Losses and regularizers inside this one.
    pub parts: Vec<Self>,
}

impl Description {
    /// A description without options.
    pub fn new(class_name: impl Into<String>) -> Self {
        Self {
            class_name: class_name.into(),
            options: Map::new(),
            citation: None,
            parts: Vec::new(),
        }
    }

    /// Adds an option.
    pub fn option(mut self, name: &str, value: Value) -> Self {
        self.options.insert(name.to_owned(), value);
        self
    }

    /// Adds an option, if there is a value.
    pub fn optional(self, name: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// Sets the BibTeX entry.
    pub fn citation(mut self, bibtex: &str) -> Self {
        self.citation = Some(bibtex.to_owned());
        self
    }

    /// Adds a loss or regularizer that is inside this one.
    pub fn part(mut self, part: Self) -> Self {
        self.parts.push(part);
        self
    }

    /// This description and those inside it, outermost first, each class once: the order of the card's tags and
    /// citations.
    pub fn flatten(&self) -> Vec<&Self> {
        let mut found = vec![self];
        for part in self.parts.iter().flat_map(Self::flatten) {
            if !found
                .iter()
                .any(|other| other.class_name == part.class_name)
            {
                found.push(part);
            }
        }
        found
    }

    /// `Class(key=value, …)`, as the reference's cards write a loss inside another.
    pub fn to_call(&self) -> String {
        let options: Vec<_> = self
            .options
            .iter()
            .map(|(key, value)| format!("{key}={}", python(value)))
            .collect();
        format!("{}({})", self.class_name, options.join(", "))
    }
}

/// A value as Python prints it; arrays are tuples.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("'{text}'"),
        Value::Array(values) if values.len() == 1 => format!("({},)", python(&values[0])),
        Value::Array(values) => format!(
            "({})",
            values.iter().map(python).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(values) => {
            let entries: Vec<_> = values
                .iter()
                .map(|(key, value)| format!("'{key}': {}", python(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Loss, MultipleNegativesRankingLossConfig, SpladeLossConfig};

    #[test]
    fn a_loss_inside_another_reads_as_in_the_reference_s_card() {
        let loss = MultipleNegativesRankingLossConfig::default()
            .init()
            .unwrap();
        assert_eq!(
            loss.describe().to_call(),
            "SparseMultipleNegativesRankingLoss(scale=1.0, similarity_fct='dot_score', gather_across_devices=False, \
             directions=('query_to_doc',), partition_mode='joint', hardness_mode=None, hardness_strength=0.0)"
        );
    }

    #[test]
    fn flattened_parts_come_once_each_in_the_card_s_order() {
        let description = SpladeLossConfig::default().init().unwrap().describe();
        let names: Vec<_> = description
            .flatten()
            .iter()
            .map(|part| part.class_name.clone())
            .collect();
        assert_eq!(
            names,
            [
                "SpladeLoss",
                "SparseMultipleNegativesRankingLoss",
                "FlopsLoss"
            ]
        );
    }
}
