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

impl Judgement {
    /// Name of a figure with that of the evaluator.
    fn key(&self, figure: &str) -> String {
        match self.name.as_str() {
            "" => figure.to_owned(),
            name => format!("{name}_{figure}"),
        }
    }
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
    let key = |judgement: &Judgement| Some(judgement.key(judgement.primary.as_ref()?));
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

/// The section `Evaluation`. Where the model was judged before its training too (`before`, keys led by `eval_`), the tables
/// have a column for it.
pub(super) fn section(judgements: &[Judgement], before: Option<&[(String, f64)]>) -> String {
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
                let mut cells = vec![name.clone(), rounded(*value)];
                if let Some(before) = before {
                    let key = judgement.key(name);
                    let earlier = before
                        .iter()
                        .find(|(other, _)| other.trim_start_matches("eval_") == key);
                    cells
                        .push(earlier.map_or_else(|| "-".to_owned(), |(_, value)| rounded(*value)));
                }
                if judgement.primary.as_ref() == Some(name) {
                    cells.iter().map(|cell| format!("**{cell}**")).collect()
                } else {
                    cells
                }
            })
            .collect();
        let mut header = vec!["Metric".to_owned(), "Value".to_owned()];
        header.extend(before.map(|_| "Before Training".to_owned()));
        text.push_str(&markdown(&header, &rows, "", false));
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

    #[test]
    fn figures_from_before_the_training_have_their_column() {
        let judgement = Judgement {
            name: "dev".into(),
            class_name: "SparseTripletEvaluator",
            description: "Sparse Triplet",
            config: Map::new(),
            primary: Some("dot_accuracy".into()),
            figures: vec![("dot_accuracy".into(), 0.75), ("avg_flops".into(), 2.0)],
        };
        let before = [
            ("eval_loss".to_owned(), 9.0),
            ("eval_dev_dot_accuracy".to_owned(), 0.5),
        ];
        let text = section(std::slice::from_ref(&judgement), Some(&before));
        let table = "| Metric           | Value    | Before Training |\n\
                     |:-----------------|:---------|:----------------|\n\
                     | **dot_accuracy** | **0.75** | **0.5**         |\n\
                     | avg_flops        | 2        | -               |\n";
        assert!(text.ends_with(table), "{text}");
        assert!(!section(&[judgement], None).contains("Before"));
    }
}
