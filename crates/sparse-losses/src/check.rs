//! Checks of the data against a loss, before the first step.

use crate::{Error, Result};

/// What is known about the data before training: its columns and a sample of its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSummary {
    /// Names of the input columns, in the order in which the loss will get them.
    pub columns: Vec<String>,
    /// The label column, if there is one.
    pub labels: Option<LabelSummary>,
    /// Width of the model's embeddings, where it is known.
    pub embedding_dimension: Option<usize>,
}

/// Kind, shape and a sample of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSummary {
    /// Name of the column.
    pub column: String,
    /// Shape of one row's label.
    pub shape: LabelShape,
    /// Whether the column holds whole numbers.
    pub integer: bool,
    /// The labels of the first rows, row after row; as many as the caller cares to have checked.
    pub values: Vec<f32>,
}

/// Shape of one row's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelShape {
    /// One number.
    Scalar,
    /// A list of this length.
    List(usize),
    /// One list per column: number of lists, length of each.
    Matrix(usize, usize),
}

impl LabelShape {
    /// Numbers per row.
    fn width(self) -> usize {
        match self {
            Self::Scalar => 1,
            Self::List(length) => length,
            Self::Matrix(lists, length) => lists * length,
        }
    }

    /// In words.
    fn describe(self) -> String {
        match self {
            Self::Scalar => "one number per row".to_owned(),
            Self::List(length) => format!("a list of {length} numbers per row"),
            Self::Matrix(lists, length) => format!("{lists} lists of {length} numbers per row"),
        }
    }
}

impl DataSummary {
    /// Data without labels.
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        Self {
            columns: columns.into_iter().map(Into::into).collect(),
            labels: None,
            embedding_dimension: None,
        }
    }

    /// Adds the width of the model's embeddings.
    pub fn with_embedding_dimension(mut self, width: usize) -> Self {
        self.embedding_dimension = Some(width);
        self
    }

    /// Adds the label column.
    pub fn with_labels(
        mut self,
        column: impl Into<String>,
        shape: LabelShape,
        values: Vec<f32>,
    ) -> Self {
        self.labels = Some(LabelSummary {
            column: column.into(),
            shape,
            integer: false,
            values,
        });
        self
    }

    /// Requires at least `least` input columns and, with `most`, no more than that.
    pub(crate) fn require_columns(
        &self,
        loss: &'static str,
        least: usize,
        most: Option<usize>,
        needed: &str,
    ) -> Result<()> {
        let found = self.columns.len();
        let fix = if found < least {
            let missing = least - found;
            let plural = if missing == 1 { "" } else { "s" };
            format!("Add {missing} column{plural}, or choose a loss that needs fewer")
        } else if most.is_some_and(|most| found > most) {
            let most = most.unwrap_or(found);
            format!("Keep {most} of them with `columns = [...]`, or choose a loss that takes more")
        } else {
            return Ok(());
        };
        Err(Error::Columns {
            loss,
            needed: needed.to_owned(),
            found: self.columns.clone(),
            fix,
        })
    }

    /// Requires a label column.
    pub(crate) fn require_labels(&self, loss: &'static str, needed: &str) -> Result<&LabelSummary> {
        self.labels.as_ref().ok_or_else(|| Error::MissingLabels {
            loss,
            needed: needed.to_owned(),
            columns: self.columns.clone(),
            fix: "Name the column that holds them `label` or `score`, or choose a loss that needs none".to_owned(),
        })
    }

    /// Requires one finite number per row.
    pub(crate) fn require_scalar_labels(
        &self,
        loss: &'static str,
        needed: &str,
    ) -> Result<&LabelSummary> {
        let labels = self.require_labels(loss, needed)?;
        if !matches!(labels.shape, LabelShape::Scalar | LabelShape::List(1)) {
            return Err(labels.wrong_shape(loss, needed, "Give one number per row".to_owned()));
        }
        labels.require_finite(loss)?;
        Ok(labels)
    }
}

impl LabelSummary {
    /// The error for a shape that the loss cannot read.
    pub(crate) fn wrong_shape(&self, loss: &'static str, needed: &str, fix: String) -> Error {
        Error::LabelShape {
            loss,
            column: self.column.clone(),
            needed: needed.to_owned(),
            found: self.shape.describe(),
            fix,
        }
    }

    /// Requires every label of the sample to fulfil `accepts`.
    pub(crate) fn require_values(
        &self,
        loss: &'static str,
        needed: &str,
        fix: &'static str,
        accepts: impl Fn(f32) -> bool,
    ) -> Result<()> {
        let Some(position) = self.values.iter().position(|value| !accepts(*value)) else {
            return Ok(());
        };
        Err(Error::LabelValue {
            loss,
            column: self.column.clone(),
            row: position / self.shape.width().max(1),
            needed: needed.to_owned(),
            found: self.values[position].to_string(),
            fix,
        })
    }

    /// Requires every label of the sample to be finite.
    pub(crate) fn require_finite(&self, loss: &'static str) -> Result<()> {
        let fix = "Remove or repair the rows whose label is missing or not a number";
        self.require_values(loss, "finite labels", fix, f32::is_finite)
    }

    /// The labels of the sample, row by row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks(self.shape.width().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_column_is_counted_and_named() {
        let error = DataSummary::new(["query", "answer"])
            .require_columns("triplet", 3, Some(3), "three")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`triplet` needs three; the data has 2 input columns: `query`, `answer`. Add 1 column, or choose a loss \
             that needs fewer"
        );
        let error =
            DataSummary::new(["a", "b", "c", "d"]).require_columns("triplet", 3, Some(3), "three");
        assert!(
            error.unwrap_err().to_string().ends_with(
                "Keep 3 of them with `columns = [...]`, or choose a loss that takes more"
            )
        );
    }

    #[test]
    fn a_label_that_is_not_finite_is_found_by_row() {
        let data = DataSummary::new(["a", "b"]).with_labels(
            "score",
            LabelShape::List(2),
            vec![1., 2., 3., f32::NAN],
        );
        let error = data
            .labels
            .unwrap()
            .require_finite("margin_mse")
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("in column `score`; row 1 holds NaN"),
            "{error}"
        );
    }
}
