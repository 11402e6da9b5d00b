//! The overview table: which data fits which loss.

use std::fmt::Write as _;

use crate::LossConfig;

/// One layout of data that a loss accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFormat {
    /// Input columns, such as `(anchor, positive)`.
    pub inputs: &'static str,
    /// Labels, such as `none`.
    pub labels: &'static str,
    /// Whether the loss is the usual first choice for this layout.
    pub first_choice: bool,
}

impl DataFormat {
    /// A layout for which other losses are the first choice.
    pub(crate) const fn new(inputs: &'static str, labels: &'static str) -> Self {
        Self {
            inputs,
            labels,
            first_choice: false,
        }
    }

    /// A layout for which this loss is the first choice.
    pub(crate) const fn first_choice(inputs: &'static str, labels: &'static str) -> Self {
        Self {
            inputs,
            labels,
            first_choice: true,
        }
    }
}

/// One loss of the registry, as the table shows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) summary: &'static str,
    pub(crate) formats: &'static [DataFormat],
}

/// Where a loss may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Only inside a wrapper: nothing in it makes vectors sparse.
    Base,
    /// Inside a wrapper or alone.
    Standalone,
    /// Only alone; a wrapper adds the rest to a base loss.
    Wrapper,
}

impl Role {
    fn describe(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Standalone => "base, also alone",
            Self::Wrapper => "wrapper",
        }
    }
}

/// The page `docs/losses.md`: every loss of the registry, and the data each of them takes.
pub fn overview_markdown() -> String {
    let entries = LossConfig::entries();
    let mut page = String::from(
        "# Losses\n\n\
         Generated from the registry of `sparse-losses`; edit the losses, not this page.\n\n\
         ## Which data fits which loss\n\n\
         Columns go by position, not by name; the label column is the one named `label`, `labels`, `score` or \
         `scores`. ★ = the usual first choice. Base losses go inside the wrapper `splade`, or inside `csr` for models \
         with a sparse autoencoder; only wrappers and `mse` may stand alone. `weighted_sum` takes what every loss \
         inside it takes.\n\n\
         | inputs | labels | losses |\n| --- | --- | --- |\n",
    );
    let mut layouts: Vec<(&str, &str)> = Vec::new();
    for format in entries.iter().flat_map(|entry| entry.formats) {
        let layout = (format.inputs, format.labels);
        if !layouts.contains(&layout) {
            layouts.push(layout);
        }
    }
    for (inputs, labels) in layouts {
        let fitting = entries.iter().filter_map(|entry| {
            let format = entry
                .formats
                .iter()
                .find(|format| (format.inputs, format.labels) == (inputs, labels))?;
            Some((
                !format.first_choice,
                format!(
                    "`{}`{}",
                    entry.name,
                    if format.first_choice { " ★" } else { "" }
                ),
            ))
        });
        let mut fitting: Vec<_> = fitting.collect();
        fitting.sort_by_key(|(later, _)| *later);
        let names: Vec<_> = fitting.into_iter().map(|(_, name)| name).collect();
        writeln!(page, "| {inputs} | {labels} | {} |", names.join(", "))
            .expect("writing to a string cannot fail");
    }
    page.push_str("\n## All losses\n\n| `type` | role | what it does |\n| --- | --- | --- |\n");
    for entry in entries {
        writeln!(
            page,
            "| `{}` | {} | {} |",
            entry.name,
            entry.role.describe(),
            entry.summary
        )
        .expect("writing to a string cannot fail");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_in_the_table() {
        let page = overview_markdown();
        for name in LossConfig::NAMES {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is missing");
        }
        assert!(
            page.contains(
                "| (anchor, positive) | none | `multiple_negatives_ranking` ★, `sigmoid` |"
            ),
            "{page}"
        );
    }
}
