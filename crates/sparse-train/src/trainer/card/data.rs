//! What a card says of the data sets.

use serde_json::Value;
use sparse_losses::Description;

use super::table::{cell, code, markdown};
use crate::collator::Collator;
use crate::dataset::DatasetWithLoss;
use crate::error::Result;

/// Rows that statistics are taken from.
const ROWS: usize = 100;
const SAMPLES: usize = 3;
const LONGEST_SAMPLE: usize = 400;

/// Facts about a data set.
#[derive(Debug, Clone)]
pub(super) struct DataFacts {
    pub(super) name: String,
    pub(super) n_rows: usize,
    pub(super) description: Description,
    /// The texts of the first rows, column by column.
    pub(super) columns: Vec<Column>,
    n_sampled: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    kind: &'static str,
    details: Vec<String>,
    pub(super) samples: Vec<String>,
    pub(super) is_text: bool,
}

impl DataFacts {
    /// Reads the first rows and counts their tokens, prompts included, as training sees them.
    pub(super) fn new(dataset: &DatasetWithLoss, collator: &Collator) -> Result<Self> {
        let table = dataset.data.head(ROWS)?;
        let rows: Vec<usize> = (0..table.num_rows()).collect();
        let batch = table.batch(&dataset.roles, &rows)?;
        let lengths = collator.token_counts(&batch)?;
        let mut columns: Vec<Column> = batch
            .columns
            .iter()
            .zip(lengths)
            .map(|(column, lengths)| Column {
                name: column.name.clone(),
                kind: "string",
                details: spread(lengths.iter().map(|&length| length as f64), " tokens"),
                samples: column.texts.iter().take(8).cloned().collect(),
                is_text: true,
            })
            .collect();
        if let (Some(labels), Some(name)) = (batch.labels, &dataset.roles.label) {
            let is_list = labels.per_row_list || labels.lists > 0;
            let rows: Vec<&[f32]> = labels.values.chunks(labels.width.max(1)).collect();
            let show = |row: &[f32]| {
                let numbers: Vec<String> = row.iter().map(|value| value.to_string()).collect();
                if is_list {
                    format!("[{}]", numbers.join(", "))
                } else {
                    numbers.concat()
                }
            };
            columns.push(Column {
                name: name.clone(),
                kind: match (is_list, labels.integer) {
                    (true, _) => "list",
                    (false, true) => "int",
                    (false, false) => "float",
                },
                details: if is_list {
                    vec![format!("size: {} numbers", labels.width)]
                } else {
                    spread(labels.values.iter().map(|&value| f64::from(value)), "")
                },
                samples: rows.iter().take(SAMPLES).map(|row| show(row)).collect(),
                is_text: false,
            });
        }
        Ok(Self {
            name: dataset.name.clone(),
            n_rows: dataset.data.num_rows(),
            description: dataset.loss.describe(),
            n_sampled: rows.len(),
            columns,
        })
    }

    /// The section of one data set.
    pub(super) fn section(&self, role: &str, show_samples: bool) -> String {
        let names: Vec<String> = self
            .columns
            .iter()
            .map(|column| format!("<code>{}</code>", column.name))
            .collect();
        let name = if self.name == "default" {
            "Unnamed Dataset"
        } else {
            &self.name
        };
        let header: Vec<String> = std::iter::once(String::new())
            .chain(self.columns.iter().map(|column| cell(&column.name)))
            .collect();
        let row = |title: &str, value: &dyn Fn(&Column) -> String| -> Vec<String> {
            let cells = self.columns.iter().map(value);
            std::iter::once(title.to_owned()).chain(cells).collect()
        };
        let list = |items: &[String]| -> String {
            let items: String = items
                .iter()
                .map(|item| format!("<li>{item}</li>"))
                .collect();
            format!("<ul>{items}</ul>")
        };
        let statistics = [
            row("type", &|column| column.kind.to_owned()),
            row("details", &|column| list(&column.details)),
        ];
        let mut text = format!(
            "\n#### {name}\n\n* Size: {} {role} samples\n* Columns: {}\n* Statistics of the first {} samples:\n{}",
            self.n_rows,
            names.join(", "),
            self.n_sampled,
            markdown(&header, &statistics, "  ", false),
        );
        if show_samples {
            let n_samples = self.n_sampled.min(SAMPLES);
            let samples: Vec<Vec<String>> = (0..n_samples)
                .map(|index| {
                    let sample = |column: &Column| {
                        column
                            .samples
                            .get(index)
                            .map_or(String::new(), |text| code(text, LONGEST_SAMPLE))
                    };
                    self.columns.iter().map(sample).collect()
                })
                .collect();
            text.push_str("* Samples:\n");
            text.push_str(&markdown(&header[1..], &samples, "  ", false));
        }
        let options = Value::Object(self.description.options.clone());
        let json: Vec<String> = format!("{options:#}")
            .lines()
            .map(|line| format!("  {line}"))
            .collect();
        text.push_str(&format!(
            "* Loss: <code>{}</code> with these parameters:\n  ```json\n{}\n  ```\n",
            self.description.class_name,
            json.join("\n")
        ));
        text
    }
}

/// Smallest, mean and largest value; nothing of nothing.
fn spread(values: impl Iterator<Item = f64> + Clone, unit: &str) -> Vec<String> {
    let n = values.clone().count();
    if n == 0 {
        return Vec::new();
    }
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let (min, max) = (
        values.clone().fold(f64::INFINITY, f64::min),
        values.clone().fold(f64::NEG_INFINITY, f64::max),
    );
    let mean = values.sum::<f64>() / n as f64;
    [("min", min), ("mean", mean), ("max", max)]
        .map(|(name, value)| format!("{name}: {}{unit}", round(value)))
        .to_vec()
}
