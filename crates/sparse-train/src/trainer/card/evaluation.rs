//! What a card says of evaluations.

use serde_json::{Map, Value, json};
use sparse_eval::{Evaluator, SimilarityFunction};

use super::table::{markdown, rounded};

/// The figures of one evaluator.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    /// Name of the data, or empty.
    name: String,
    class_name: &'static str,
    description: &'static str,
    config: Map<String, Value>,
    /// Name of the figure that stands for all, without the evaluator's name.
    pub(super) primary: Option<String>,
    /// Figures without the evaluator's name.
    figures: Vec<(String, f64)>,
}

/// The evaluators whose results stand for themselves: those of a sequence, not the sequence.
fn leaves(evaluator: &dyn Evaluator) -> Vec<&dyn Evaluator> {
    if evaluator.class_name() == "SequentialEvaluator" {
        evaluator.children().into_iter().flat_map(leaves).collect()
    } else {
        vec![evaluator]
    }
}

/// The figures of an evaluator among all that were measured. A prefix in front of their names doesn't matter.
pub(super) fn judgements(
    evaluator: &dyn Evaluator,
    own: SimilarityFunction,
    metrics: &[(String, f64)],
) -> Vec<Judgement> {
    let leaves = leaves(evaluator);
    let judge = |leaf: &&dyn Evaluator| {
        let prefix = match leaf.name() {
            "" => String::new(),
            name => format!("{name}_"),
        };
        let known = leaf.metric_names(own);
        let is_mine = |name: &str| {
            known
                .as_ref()
                .is_none_or(|known| known.iter().any(|other| other == name))
        };
        let figures: Vec<(String, f64)> = metrics
            .iter()
            .filter(|(name, _)| is_mine(name))
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), *value)))
            .collect();
        let primary = leaf.primary_metric();
        Judgement {
            name: leaf.name().to_owned(),
            class_name: leaf.class_name(),
            description: leaf.description(),
            config: leaf.config(),
            primary: primary.and_then(|name| Some(name.strip_prefix(&prefix)?.to_owned())),
            figures,
        }
    };
    let judged = leaves.iter().map(judge);
    judged
        .filter(|judgement| !judgement.figures.is_empty())
        .collect()
}

/// Keys of the primary figures in logs.
pub(super) fn primary_keys(judgements: &[Judgement]) -> Vec<String> {
    let key = |judgement: &Judgement| {
        let primary = judgement.primary.as_ref()?;
        Some(match judgement.name.as_str() {
            "" => primary.clone(),
            name => format!("{name}_{primary}"),
        })
    };
    judgements.iter().filter_map(key).collect()
}

/// Names of all figures, each once: `metrics` of the metadata.
pub(super) fn metric_types(judgements: &[Judgement]) -> Vec<Value> {
    let mut types: Vec<Value> = Vec::new();
    for (name, _) in judgements.iter().flat_map(|judgement| &judgement.figures) {
        let name = Value::from(name.clone());
        if !types.contains(&name) {
            types.push(name);
        }
    }
    types
}

/// `model-index` of the metadata.
pub(super) fn model_index(model_name: &str, judgements: &[Judgement]) -> Value {
    let result = |judgement: &Judgement| {
        let (name, kind) = match judgement.name.as_str() {
            "" => ("Unknown".to_owned(), "unknown".to_owned()),
            name => (name.replace(['_', '-'], " "), name.to_owned()),
        };
        let metrics: Vec<Value> = judgement
            .figures
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| json!({ "type": name, "value": value, "name": title(name) }))
            .collect();
        json!({
            "task": { "type": judgement.description.to_lowercase().replace(' ', "-"), "name": judgement.description },
            "dataset": { "name": name, "type": kind },
            "metrics": metrics,
        })
    };
    let results: Vec<Value> = judgements.iter().map(result).collect();
    json!([{ "name": model_name, "results": results }])
}

/// `dot_ndcg@10` as `Dot Ndcg@10`.
fn title(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(char::to_uppercase);
        first
            .into_iter()
            .flatten()
            .chain(letters)
            .collect::<String>()
    };
    name.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// The section `Evaluation`.
pub(super) fn section(judgements: &[Judgement]) -> String {
    let mut text = String::from("\n## Evaluation\n\n### Metrics\n");
    for judgement in judgements {
        text.push_str(&format!("\n#### {}\n\n", judgement.description));
        if !judgement.name.is_empty() {
            text.push_str(&format!("* Dataset: `{}`\n", judgement.name));
        }
        text.push_str(&format!(
            "* Evaluated with <code>{}</code>",
            judgement.class_name
        ));
        if judgement.config.is_empty() {
            text.push_str("\n\n");
        } else {
            let json = format!("{:#}", Value::Object(judgement.config.clone()));
            let json: Vec<String> = json.lines().map(|line| format!("  {line}")).collect();
            text.push_str(&format!(
                " with these parameters:\n  ```json\n{}\n  ```\n\n",
                json.join("\n")
            ));
        }
        let rows: Vec<Vec<String>> = judgement
            .figures
            .iter()
            .map(|(name, value)| {
                let cells = [name.clone(), rounded(*value)];
                if judgement.primary.as_ref() == Some(name) {
                    cells.map(|cell| format!("**{cell}**")).to_vec()
                } else {
                    cells.to_vec()
                }
            })
            .collect();
        text.push_str(&markdown(
            &["Metric".into(), "Value".into()],
            &rows,
            "",
            false,
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_titled_as_the_reference_does() {
        assert_eq!(title("dot_ndcg@10"), "Dot Ndcg@10");
        assert_eq!(title("query_active_dims"), "Query Active Dims");
    }
}
