//! What the model card says of the training: data sets, losses, literature.

use std::fmt::Write;

use serde_json::{Value, json};
use sparse_losses::{Description, RegularizerScheduleConfig};
use sparse_model::SparseEncoder;

use super::DatasetWithLoss;

/// The model's own card, followed by a section on the training. Regulariser weights are those of the configuration, which a
/// schedule scales.
pub(super) fn training_card(
    encoder: &SparseEncoder,
    datasets: &[DatasetWithLoss],
    schedule: &RegularizerScheduleConfig,
) -> String {
    let mut card = encoder.default_model_card();
    let descriptions: Vec<Description> = datasets
        .iter()
        .map(|dataset| dataset.loss.describe())
        .collect();
    // Writing to a string can't fail.
    let _ = section(&mut card, datasets, &descriptions, schedule);
    card
}

fn section(
    card: &mut String,
    datasets: &[DatasetWithLoss],
    descriptions: &[Description],
    schedule: &RegularizerScheduleConfig,
) -> std::fmt::Result {
    writeln!(card, "\n## Training Details")?;
    for (dataset, description) in datasets.iter().zip(descriptions) {
        let columns: Vec<_> = dataset
            .roles
            .inputs
            .iter()
            .chain(&dataset.roles.label)
            .map(|name| format!("<code>{name}</code>"))
            .collect();
        let options = Value::Object(description.options.clone());
        writeln!(
            card,
            "\n### Training Dataset\n\n#### {}\n\n* Size: {} training samples\n* Columns: {}\n* Loss: \
             <code>{}</code> with these parameters:\n  ```json\n{}\n  ```",
            dataset.name,
            dataset.data.num_rows(),
            columns.join(", "),
            description.class_name,
            indent(&format!("{options:#}")),
        )?;
    }
    if datasets
        .iter()
        .any(|dataset| dataset.loss.regularizer_weights().is_some())
    {
        let options = json!(schedule);
        writeln!(
            card,
            "\n### Regularizer Schedule\n\n```json\n{options:#}\n```"
        )?;
    }
    let mut cited: Vec<(&str, &str)> = Vec::new();
    for part in descriptions.iter().flat_map(Description::flatten) {
        if let Some(citation) = &part.citation
            && !cited.iter().any(|(_, known)| known == citation)
        {
            cited.push((&part.class_name, citation));
        }
    }
    if !cited.is_empty() {
        writeln!(card, "\n## Citation\n\n### BibTeX")?;
    }
    for (class_name, citation) in cited {
        writeln!(card, "\n#### {class_name}\n```bibtex\n{citation}\n```")?;
    }
    Ok(())
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
