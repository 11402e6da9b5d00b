//! What a card says of the run: hyperparameters, logs, time, energy, versions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::table::{markdown, rounded};
use crate::arguments::TrainingArguments;
use crate::callback::Emissions;
use crate::state::TrainerState;

/// Arguments that say where a run writes and when, and nothing of the model.
const HOUSEKEEPING: [&str; 17] = [
    "output_dir",
    "logging_strategy",
    "logging_steps",
    "logging_first_step",
    "logging_dir",
    "eval_strategy",
    "eval_steps",
    "eval_delay",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "report_to",
    "run_name",
    "training_curve",
    "hub_token",
    "greater_is_better",
    "metric_for_best_model",
];

/// Above so many rows the table of logs is folded away.
const FOLDED_FROM: usize = 100;

/// Release of Burn that this product is built on.
const BURN: &str = "0.22.1";

/// Value as Markdown code shows it.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The section on hyperparameters: those that differ from the defaults, then all.
pub(super) fn hyperparameters(arguments: &TrainingArguments) -> String {
    let map = |arguments: &TrainingArguments| match serde_json::to_value(arguments) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (ours, defaults) = (map(arguments), map(&TrainingArguments::default()));
    let line = |(key, value): (&String, &Value)| format!("- `{key}`: {}\n", show(value));
    let shown = || {
        ours.iter()
            .filter(|(key, _)| !HOUSEKEEPING.contains(&key.as_str()))
    };
    let changed: String = shown()
        .filter(|(key, value)| defaults.get(*key) != Some(value))
        .map(line)
        .collect();
    let all: String = shown().map(line).collect();
    let changed = if changed.is_empty() {
        "All are at their defaults.\n".to_owned()
    } else {
        changed
    };
    format!(
        "\n### Training Hyperparameters\n\n#### Non-Default Hyperparameters\n\n{changed}\n#### All Hyperparameters\n\n\
         <details><summary>Click to expand</summary>\n\n{all}\n</details>\n"
    )
}

/// The table of logs: a row for each step with a loss or an evaluation, `primaries` among its columns. Empty without logs.
pub(super) fn logs(state: &TrainerState, primaries: &[String], marks_best: bool) -> String {
    let mut columns: Vec<(String, String)> = vec![("loss".into(), "Training Loss".into())];
    let keys = state.log_history.iter().flat_map(|log| log.keys());
    for key in keys {
        let Some(rest) = key.strip_prefix("eval_") else {
            continue;
        };
        let title = match rest {
            "loss" => "Validation Loss".to_owned(),
            other if primaries.iter().any(|primary| primary == other) => other.to_owned(),
            other => match other.strip_suffix("_loss") {
                Some(name) if !name.ends_with("base") && !name.ends_with("regularizer") => {
                    format!("{name} loss")
                }
                _ => continue,
            },
        };
        if !columns.iter().any(|(known, _)| known == key) {
            columns.push((key.clone(), title));
        }
    }
    let mut rows: BTreeMap<u64, (f64, Vec<Option<f64>>)> = BTreeMap::new();
    for log in &state.log_history {
        let values: Vec<Option<f64>> = columns
            .iter()
            .map(|(key, _)| log.get(key)?.as_f64())
            .collect();
        let Some(step) = log.get("step").and_then(Value::as_u64) else {
            continue;
        };
        if values.iter().all(Option::is_none) {
            continue;
        }
        let epoch = log.get("epoch").and_then(Value::as_f64).unwrap_or(0.0);
        let row = rows
            .entry(step)
            .or_insert_with(|| (epoch, vec![None; columns.len()]));
        for (cell, value) in row.1.iter_mut().zip(values) {
            *cell = value.or(*cell);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let used: Vec<usize> = (0..columns.len())
        .filter(|&column| rows.values().any(|(_, values)| values[column].is_some()))
        .collect();
    let header: Vec<String> = ["Epoch", "Step"]
        .into_iter()
        .map(str::to_owned)
        .chain(used.iter().map(|&column| columns[column].1.clone()))
        .collect();
    let best = state
        .best_global_step
        .filter(|_| marks_best)
        .map(|step| step as u64);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|(step, (epoch, values))| {
            let numbers = used
                .iter()
                .map(|&column| values[column].map_or_else(|| "-".to_owned(), rounded));
            let cells = [rounded(*epoch), step.to_string()]
                .into_iter()
                .chain(numbers);
            if best == Some(*step) {
                cells.map(|cell| format!("**{cell}**")).collect()
            } else {
                cells.collect()
            }
        })
        .collect();
    let mut table = markdown(&header, &cells, "", true);
    if best.is_some_and(|best| rows.contains_key(&best)) {
        table.push_str("\n* The bold row is that of the saved model.\n");
    }
    if rows.len() > FOLDED_FROM {
        table = format!("<details><summary>Click to expand</summary>\n\n{table}\n</details>\n");
    }
    format!("\n### Training Logs\n\n{table}")
}

/// Time that the run took, where it is over.
pub(super) fn time(state: &TrainerState) -> String {
    let sum = |key: &str| -> f64 {
        let values = state
            .log_history
            .iter()
            .filter_map(|log| log.get(key)?.as_f64());
        values.sum()
    };
    let (total, evaluation) = (sum("train_runtime"), sum("eval_runtime"));
    if total <= 0.0 {
        return String::new();
    }
    let evaluation = evaluation.min(total);
    let text = |seconds: f64| match seconds {
        short if short < 120.0 => format!("{short:.1} seconds"),
        medium if medium < 7200.0 => format!("{:.1} minutes", medium / 60.0),
        long => format!("{:.1} hours", long / 3600.0),
    };
    let mut section = format!(
        "\n### Training Time\n\n- **Training**: {}\n",
        text(total - evaluation)
    );
    if evaluation > 0.0 {
        section.push_str(&format!(
            "- **Evaluation**: {}\n- **Total**: {}\n",
            text(evaluation),
            text(total)
        ));
    }
    section
}

/// The section on energy and carbon.
pub(super) fn impact(emissions: &Emissions) -> String {
    format!(
        "\n### Environmental Impact\n\nEnergy is known by {}; graphics processors are not counted.\n\n\
         - **Energy Consumed**: {:.6} kWh\n- **Carbon Emitted**: {:.6} kg of CO2\n- **Hours Used**: {:.3} hours\n\
         - **CPU Model**: {}\n- **RAM Size**: {:.2} GB\n",
        emissions.source,
        emissions.kwh,
        emissions.grams / 1000.0,
        emissions.hours,
        emissions.cpu_model,
        emissions.ram_gb
    )
}

/// `co2_eq_emissions` of the metadata: grams and kWh.
pub(super) fn co2(emissions: &Emissions) -> Value {
    json!({
        "emissions": emissions.grams,
        "energy_consumed": emissions.kwh,
        "source": emissions.source,
        "training_type": "fine-tuning",
        "cpu_model": emissions.cpu_model,
        "ram_total_size": emissions.ram_gb,
    })
}

/// What the model was trained with.
pub(super) fn versions(layout: &str) -> String {
    format!(
        "\n### Framework Versions\n\n- sparse-encoder (Rust): {}\n- Burn: {BURN}\n- Layout of the model's files: \
         Sentence Transformers {layout}\n",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_burn_is_the_one_that_is_built_on() {
        let workspace = include_str!("../../../../../Cargo.toml");
        assert!(workspace.contains(&format!("\nburn = {{ version = \"={BURN}\"")));
    }

    #[test]
    fn logs_of_a_step_share_a_row_and_the_best_one_is_bold() {
        let mut state = TrainerState::new();
        for log in [
            json!({ "step": 2, "epoch": 0.5, "loss": 3.00004, "base_loss": 2.0 }),
            json!({ "step": 4, "epoch": 1.0, "loss": 2.5 }),
            json!({ "step": 4, "epoch": 1.0, "eval_loss": 2.75, "eval_base_loss": 1.0, "eval_dev_dot_ndcg@10": 0.25 }),
            json!({ "step": 4, "epoch": 1.0, "train_runtime": 9.0, "train_loss": 2.75 }),
        ] {
            state.log_history.push(log.as_object().unwrap().clone());
        }
        state.best_global_step = Some(4);
        let expected = "
### Training Logs

| Epoch | Step  | Training Loss | Validation Loss | dev_dot_ndcg@10 |
|:-----:|:-----:|:-------------:|:---------------:|:---------------:|
| 0.5   | 2     | 3             | -               | -               |
| **1** | **4** | **2.5**       | **2.75**        | **0.25**        |

* The bold row is that of the saved model.
";
        assert_eq!(
            logs(&state, &["dev_dot_ndcg@10".to_owned()], true),
            expected
        );
        assert!(time(&state).contains("- **Training**: 9.0 seconds"));
        assert_eq!(logs(&TrainerState::new(), &[], true), "");
    }

    #[test]
    fn hyperparameters_that_were_changed_stand_first() {
        let arguments = TrainingArguments {
            learning_rate: 1e-3,
            ..TrainingArguments::new("somewhere")
        };
        let text = hyperparameters(&arguments);
        let (changed, all) = text.split_once("#### All").unwrap();
        assert!(changed.contains("- `learning_rate`: 0.001\n") && !changed.contains("`seed`"));
        assert!(all.contains("- `seed`: 42\n") && !all.contains("somewhere"));
    }
}
