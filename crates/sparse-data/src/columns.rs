//! Which columns are inputs and which is the label.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, list_names};
use crate::table::Table;

/// Names of a label column; the first that exists is the label, in this order and not in the order of the columns.
pub const LABEL_COLUMNS: [&str; 4] = ["label", "labels", "score", "scores"];

/// Names that the reference keeps for itself.
const RESERVED_COLUMNS: [&str; 2] = ["return_loss", "dataset_name"];

/// Names that say where among the inputs their column belongs.
const EXPECTED_POSITIONS: [(&str, usize); 10] = [
    ("anchor", 0),
    ("positive", 1),
    ("negative", 2),
    ("question", 0),
    ("answer", 1),
    ("query", 0),
    ("response", 1),
    ("hypothesis", 0),
    ("entailment", 1),
    ("contradiction", 2),
];

/// Names of columns that describe a row instead of being a text to train on.
const LEFTOVER_COLUMNS: [&str; 10] = [
    "id", "idx", "index", "source", "url", "metadata", "meta", "split", "dataset", "lang",
];

/// Endings of such names.
const LEFTOVER_ENDINGS: [&str; 3] = ["_id", "_ids", "_idx"];

/// Which columns of a table are the inputs, in the order in which a loss gets them, and which is the label.
///
/// The rule is that of the reference: the label is the first existing column of [`LABEL_COLUMNS`], every other column
/// is an input. Only the order of the inputs counts: query first, positive second, negatives after that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColumnRoles {
    /// Input columns, in order.
    pub inputs: Vec<String>,
    /// Label column.
    pub label: Option<String>,
}

impl ColumnRoles {
    /// Applies the rule to column names.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut inputs: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let label = LABEL_COLUMNS
            .iter()
            .find_map(|label| inputs.iter().position(|name| name == label));
        let label = label.map(|position| inputs.remove(position));
        Self { inputs, label }
    }

    /// Fails if there are fewer inputs than a loss needs; `place` names the data in the message.
    ///
    /// # Errors
    ///
    /// If there are fewer than `at_least` inputs.
    pub fn require_inputs(&self, place: &str, at_least: usize) -> Result<()> {
        if self.inputs.len() >= at_least {
            return Ok(());
        }
        let label = match &self.label {
            Some(label) => format!(", beside the label `{label}`"),
            None => String::new(),
        };
        Err(Error::Columns {
            place: place.to_owned(),
            problem: format!(
                "a training example needs at least {at_least} text columns (query, positive, ...); got {}{label}: {}",
                self.inputs.len(),
                list_names(self.inputs.iter().map(String::as_str))
            ),
        })
    }

    /// What looks wrong about the columns though it may be right, one sentence each, to be shown before training.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (position, name) in self.inputs.iter().enumerate() {
            let expected = EXPECTED_POSITIONS.iter().find(|(known, _)| known == name);
            if let Some((_, expected)) = expected.filter(|(_, expected)| *expected != position) {
                warnings.push(format!(
                    "input column `{name}` is number {} and usually number {}; only the order counts, not the name: \
                     list the columns in order with `columns`",
                    position + 1,
                    expected + 1
                ));
            }
            if is_leftover(name) {
                warnings.push(format!(
                    "column `{name}` will be encoded as a text; if it isn't one, leave it out with `columns`"
                ));
            }
            if LABEL_COLUMNS.contains(&name.as_str())
                && let Some(label) = &self.label
            {
                warnings.push(format!(
                    "column `{name}` is an input because `{label}` is the label; leave one out with `columns`"
                ));
            }
        }
        warnings
    }

    /// The order that the names of the first two inputs ask for, if it is surely not the one they have.
    pub(crate) fn inverted(&self) -> Option<Vec<String>> {
        let position = |name: &str| {
            EXPECTED_POSITIONS
                .iter()
                .find(|(known, _)| *known == name)
                .map(|known| known.1)
        };
        let [first, second, ..] = self.inputs.as_slice() else {
            return None;
        };
        if position(first) != Some(1) || position(second) != Some(0) {
            return None;
        }
        let mut order = self.inputs.clone();
        order.swap(0, 1);
        order.extend(self.label.clone());
        Some(order)
    }
}

/// Whether a column with this name describes a row instead of being a text to train on.
pub(crate) fn is_leftover(name: &str) -> bool {
    let name = name.trim_start_matches('_').to_lowercase();
    LEFTOVER_COLUMNS.contains(&name.as_str())
        || LEFTOVER_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

impl Table {
    /// Which columns are inputs and which is the label.
    ///
    /// # Errors
    ///
    /// If no input is left, or a column has a reserved name.
    pub fn roles(&self) -> Result<ColumnRoles> {
        for name in self.column_names() {
            if RESERVED_COLUMNS.contains(&name) {
                return Err(Error::Columns {
                    place: self.place().to_owned(),
                    problem: format!(
                        "`{name}` is a reserved name; rename the column or leave it out"
                    ),
                });
            }
        }
        let roles = ColumnRoles::from_names(self.column_names());
        roles.require_inputs(self.place(), 1)?;
        Ok(roles)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    #[test]
    fn the_label_is_found_by_priority_not_by_position() {
        let roles = ColumnRoles::from_names(["score", "query", "label", "answer"]);
        assert_eq!(roles.label.as_deref(), Some("label"));
        assert_eq!(roles.inputs, ["score", "query", "answer"]);
        assert!(
            roles
                .warnings()
                .iter()
                .any(|warning| warning.contains("because `label` is the label"))
        );
        assert_eq!(ColumnRoles::from_names(["a", "b"]).label, None);
    }

    #[test]
    fn suspicious_names_are_reported() {
        let warnings = ColumnRoles::from_names(["positive", "anchor", "sample_id"]).warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings[0].starts_with("input column `positive` is number 1 and usually number 2")
        );
        assert!(warnings[2].starts_with("column `sample_id` will be encoded as a text"));
        assert!(
            ColumnRoles::from_names(["anchor", "positive", "negative", "label"])
                .warnings()
                .is_empty()
        );
    }

    #[test]
    fn an_inverted_pair_is_recognized() {
        let roles = ColumnRoles::from_names(["answer", "query", "score"]);
        assert_eq!(roles.inverted().unwrap(), ["query", "answer", "score"]);
        assert_eq!(ColumnRoles::from_names(["text", "query"]).inverted(), None);
    }

    #[test]
    fn one_column_is_too_few_for_a_pair() {
        let table = Table::from_columns([
            ("query", Column::from(["a"])),
            ("score", Column::from([1.0])),
        ])
        .unwrap();
        let error = table
            .roles()
            .unwrap()
            .require_inputs("pairs.csv", 2)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`pairs.csv`: a training example needs at least 2 text columns (query, positive, ...); got 1, beside the label `score`: `query`"
        );
        let table = Table::from_columns([("score", Column::from([1.0]))]).unwrap();
        assert!(table.roles().is_err());
        let table = Table::from_columns([("dataset_name", Column::from(["a"]))]).unwrap();
        assert!(table.roles().unwrap_err().to_string().contains("reserved"));
    }
}
