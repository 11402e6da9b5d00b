//! `metric_for_best_model` is known before the first step, or the run doesn't begin.

use sparse_eval::Evaluator;
use sparse_losses::{BASE_LOSS, DOCUMENT_REGULARIZER_LOSS, Description, QUERY_REGULARIZER_LOSS};
use sparse_model::SparseEncoder;

use crate::arguments::TrainingArguments;
use crate::dataset::DatasetWithLoss;
use crate::error::{Error, Result};

/// What an evaluation measures of itself.
const PACE: [&str; 3] = [
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
];

/// Parts of losses, as they appear in logs.
const PARTS: [&str; 6] = [
    BASE_LOSS,
    DOCUMENT_REGULARIZER_LOSS,
    QUERY_REGULARIZER_LOSS,
    "reconstruction_loss_k",
    "reconstruction_loss_4k",
    "reconstruction_loss_aux",
];

/// Refuses a `metric_for_best_model` that no evaluation will have, with those that it will have.
pub(super) fn check(
    arguments: &TrainingArguments,
    encoder: &SparseEncoder,
    datasets: &[DatasetWithLoss],
    evaluators: &[Box<dyn Evaluator>],
) -> Result<()> {
    let Some(name) = arguments.best_metric() else {
        return Ok(());
    };
    let prefixes: Vec<String> = match datasets {
        [_] => vec!["eval".to_owned()],
        several => several
            .iter()
            .map(|dataset| format!("eval_{}", dataset.name))
            .collect(),
    };
    let mut known: Vec<String> = prefixes
        .iter()
        .map(|prefix| format!("{prefix}_loss"))
        .collect();
    let is_part = |(prefix, dataset): (&String, &DatasetWithLoss)| {
        let rest = name.strip_prefix(&format!("{prefix}_"));
        rest.is_some_and(|rest| PARTS.contains(&rest) || is_weighted_part(dataset, rest))
    };
    if PACE.contains(&name.as_str()) || prefixes.iter().zip(datasets).any(is_part) {
        return Ok(());
    }
    for evaluator in evaluators {
        // One that doesn't know its figures is looked at after the first evaluation.
        let Some(names) = evaluator.metric_names(encoder.similarity_fn()) else {
            return Ok(());
        };
        known.extend(names.into_iter().map(|name| {
            if name.starts_with("eval_") {
                name
            } else {
                format!("eval_{name}")
            }
        }));
    }
    if known.contains(&name) {
        return Ok(());
    }
    let nearest = known
        .iter()
        .map(|other| (strsim::jaro_winkler(other, &name), other))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.8)
        .map_or_else(String::new, |(_, other)| {
            format!(" (did you mean `{other}`?)")
        });
    let listed: Vec<&str> = known
        .iter()
        .map(|name| name.trim_start_matches("eval_"))
        .collect();
    let listed = if listed.is_empty() {
        "none".to_owned()
    } else {
        listed.join(", ")
    };
    let asked = match &arguments.metric_for_best_model {
        Some(asked) => format!("= \"{asked}\""),
        None => "(\"loss\" by default)".to_owned(),
    };
    Err(Error::argument(
        "arguments.metric_for_best_model",
        format!("{asked} is measured by no evaluation{nearest}; known: {listed}"),
    ))
}

/// Whether a loss is a weighted sum that calls one of its terms so.
fn is_weighted_part(dataset: &DatasetWithLoss, name: &str) -> bool {
    let description = dataset.loss.describe();
    let sums = |description: &&Description| description.class_name.contains("WeightedSum");
    name.ends_with("_loss") && description.flatten().iter().any(sums)
}
