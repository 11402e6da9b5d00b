//! What can be wrong with a loss's options or with the data given to it.

/// Errors of this crate: options that make no sense, or data that does not fit the loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option's value is outside its domain.
    #[error("`{option}` of `{loss}` must be {expected}; got {found}")]
    Option {
        /// Loss, regularizer or schedule that owns the option.
        loss: &'static str,
        /// Name of the option.
        option: &'static str,
        /// Accepted values.
        expected: String,
        /// Value that was given.
        found: String,
    },
    /// Two options contradict each other.
    #[error("`{loss}`: {problem}; {fix}")]
    Conflict {
        /// Loss that owns the options.
        loss: &'static str,
        /// What contradicts what.
        problem: String,
        /// What to change.
        fix: String,
    },
    /// A wrapper was given a loss that it cannot wrap.
    #[error("`{outer}` cannot contain `{inner}`: its `loss` must be one of {accepted}")]
    Nested {
        /// The wrapper.
        outer: &'static str,
        /// The loss inside.
        inner: &'static str,
        /// Names of the losses that fit.
        accepted: String,
    },
    /// A base loss stands alone, so that nothing would make the embeddings sparse.
    #[error(
        "`{loss}` on its own has no regularizer, so nothing would make the embeddings sparse: put it inside `splade` \
         (or inside `csr` for a model with a sparse autoencoder), as in loss = {{ type = \"splade\", \
         document_regularizer_weight = 3e-5, query_regularizer_weight = 5e-5, loss = {{ type = \"{loss}\" }} }}"
    )]
    Unregularized {
        /// The base loss.
        loss: &'static str,
    },
    /// The data has too few or too many input columns.
    #[error(
        "`{loss}` needs {needed}; the data has {} input column{}: {}. {fix}",
        found.len(),
        if found.len() == 1 { "" } else { "s" },
        list(found)
    )]
    Columns {
        /// Loss that was checked.
        loss: &'static str,
        /// Columns that the loss accepts.
        needed: String,
        /// Names of the input columns found, in order.
        found: Vec<String>,
        /// What to change.
        fix: String,
    },
    /// The loss needs labels, and the data has no label column.
    #[error(
        "`{loss}` needs labels ({needed}), but the data has no column named label, labels, score or scores; its \
         columns are {}. {fix}",
        list(columns)
    )]
    MissingLabels {
        /// Loss that was checked.
        loss: &'static str,
        /// Labels that the loss accepts.
        needed: String,
        /// Names of the input columns found, in order.
        columns: Vec<String>,
        /// What to change.
        fix: String,
    },
    /// The label column holds something else than the loss reads.
    #[error("`{loss}` needs {needed} in column `{column}`; found {found}. {fix}")]
    LabelShape {
        /// Loss that was checked.
        loss: &'static str,
        /// Name of the label column.
        column: String,
        /// Labels that the loss accepts.
        needed: String,
        /// Labels that the column holds.
        found: String,
        /// What to change.
        fix: String,
    },
    /// One label is not a value that the loss can use.
    #[error("`{loss}` needs {needed} in column `{column}`; row {row} holds {found}. {fix}")]
    LabelValue {
        /// Loss that was checked.
        loss: &'static str,
        /// Name of the label column.
        column: String,
        /// Row at fault, counted from 0.
        row: usize,
        /// Values that the loss accepts.
        needed: String,
        /// Value found.
        found: String,
        /// What to change.
        fix: &'static str,
    },
}

/// Result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Fails with [`Error::Option`] unless a value holds.
pub(crate) fn require(
    holds: bool,
    (loss, option): (&'static str, &'static str),
    expected: impl Into<String>,
    found: impl ToString,
) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Option {
        loss,
        option,
        expected: expected.into(),
        found: found.to_string(),
    })
}

/// Requires a factor that is positive and finite.
pub(crate) fn require_positive(option: (&'static str, &'static str), value: f64) -> Result<()> {
    let holds = value > 0.0 && value.is_finite();
    require(holds, option, "positive and finite", value)
}

/// Requires a weight that is not negative and finite.
pub(crate) fn require_weight(option: (&'static str, &'static str), value: f64) -> Result<()> {
    let holds = value >= 0.0 && value.is_finite();
    require(holds, option, "at least 0 and finite", value)
}

impl Error {
    /// Whether the user's input is at fault: always, since this crate opens no file and owns no device.
    pub fn is_user_error(&self) -> bool {
        true
    }
}

/// Column names in backticks, separated by commas.
fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_error_names_loss_columns_need_and_fix() {
        let error = Error::Columns {
            loss: "triplet",
            needed: "exactly 3 input columns (anchor, positive, negative)".to_owned(),
            found: vec!["query".to_owned(), "answer".to_owned()],
            fix: "add a negative column".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "`triplet` needs exactly 3 input columns (anchor, positive, negative); the data has 2 input columns: \
             `query`, `answer`. add a negative column"
        );
        assert!(error.is_user_error());
    }

    #[test]
    fn a_lone_base_loss_is_told_what_to_write() {
        let message = Error::Unregularized { loss: "margin_mse" }.to_string();
        assert!(
            message.contains(r#"loss = { type = "margin_mse" }"#),
            "{message}"
        );
    }
}
