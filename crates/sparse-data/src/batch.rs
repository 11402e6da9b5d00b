//! A batch: the texts and labels of some rows.

use std::borrow::Cow;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;

use crate::columns::{ColumnRoles, is_leftover};
use crate::error::{Error, Result};
use crate::label::Labels;
use crate::table::Table;

/// The texts of one input column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextColumn {
    /// Name of the column, by which prompts and routes are chosen.
    pub name: String,
    /// One text for each row.
    pub texts: Vec<String>,
}

/// What a training step gets to see: input columns of text, and labels.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Name of the data set that all rows come from.
    pub dataset_name: Option<String>,
    /// Input columns, in order.
    pub columns: Vec<TextColumn>,
    /// Labels, if there is a label column.
    pub labels: Option<Labels>,
}

impl Batch {
    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.texts.len())
    }
}

/// What [`Table::check`] found that is worth showing before training.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableReport {
    /// Input columns that hold empty texts, with how many. They are kept, and give empty vectors.
    pub empty_texts: Vec<(String, usize)>,
    /// What looks wrong about the columns, and how many texts are empty, one sentence each.
    pub warnings: Vec<String>,
}

impl Table {
    /// Reads rows as a batch; only their texts are copied.
    ///
    /// # Errors
    ///
    /// If there is no such column or row, an input is null or no text, or a label is no finite number.
    pub fn batch(&self, roles: &ColumnRoles, rows: &[usize]) -> Result<Batch> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.num_rows()) {
            return Err(Error::OutOfRange {
                place: self.place().to_owned(),
                row,
                num_rows: self.num_rows(),
            });
        }
        let columns = roles
            .inputs
            .iter()
            .map(|name| {
                let index = self.column_index(name)?;
                self.check_text(index)?;
                let texts = rows
                    .iter()
                    .map(|&row| {
                        self.text_at(index, row)
                            .map(str::to_owned)
                            .ok_or_else(|| self.null_error(name, row))
                    })
                    .collect::<Result<_>>()?;
                Ok(TextColumn {
                    name: name.clone(),
                    texts,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Batch {
            dataset_name: self.name().map(str::to_owned),
            columns,
            labels: roles
                .label
                .as_ref()
                .map(|label| self.labels(label, rows))
                .transpose()?,
        })
    }

    /// Reads every row once, so that bad data are found before training and not in its middle.
    ///
    /// # Errors
    ///
    /// If the table has no rows, an input is null or no text, or a label is no finite number or of another length than
    /// the first.
    pub fn check(&self, roles: &ColumnRoles) -> Result<TableReport> {
        if self.is_empty() {
            return Err(Error::Empty {
                place: self.place().to_owned(),
                problem: "it has no rows".to_owned(),
            });
        }
        let mut report = TableReport {
            warnings: roles.warnings(),
            ..TableReport::default()
        };
        for name in &roles.inputs {
            let (mut num_empty, mut all_numbers) = (0, true);
            self.for_each_text(name, |row, text| match text {
                Some(text) => {
                    num_empty += usize::from(text.is_empty());
                    all_numbers = all_numbers && text.trim().parse::<f64>().is_ok();
                    Ok(())
                }
                None => Err(self.null_error(name, row)),
            })?;
            if all_numbers && !is_leftover(name) {
                report.warnings.push(format!(
                    "column `{name}` holds only numbers, which will be encoded as texts; if they are none, leave it out with \
                     `columns`"
                ));
            }
            if num_empty > 0 {
                report.empty_texts.push((name.clone(), num_empty));
                report.warnings.push(format!(
                    "column `{name}` holds {num_empty} empty texts; they are kept and give empty vectors"
                ));
            }
        }
        if let Some(label) = &roles.label {
            self.check_labels(label)?;
        }
        Ok(report)
    }

    /// Shows every text of a column, in order, with its row.
    pub(crate) fn for_each_text(
        &self,
        column: &str,
        mut visit: impl FnMut(usize, Option<&str>) -> Result<()>,
    ) -> Result<()> {
        let index = self.column_index(column)?;
        self.check_text(index)?;
        if self.rows().is_some() || *self.column_type(index) != DataType::Utf8 {
            return (0..self.num_rows()).try_for_each(|row| visit(row, self.text_at(index, row)));
        }
        let mut row = 0;
        for chunk in self.chunks() {
            for text in chunk.batch.column(index).as_string::<i32>() {
                visit(row, text)?;
                row += 1;
            }
        }
        Ok(())
    }

    fn check_labels(&self, label: &str) -> Result<()> {
        // In parts, so that the numbers of a large table need no memory.
        const PART: usize = 8192;
        let index = self.column_index(label)?;
        let mut first = Vec::new();
        let width = self.read_label(index, 0, &mut first)?;
        let rows: Vec<usize> = (0..self.num_rows()).collect();
        for part in rows.chunks(PART) {
            let labels = self.labels(label, part)?;
            if labels.width != width {
                let (file, row) = self.origin(part[0]);
                return Err(Error::value(
                    file,
                    row,
                    label,
                    format!(
                        "is a list of {} numbers, others of {width}; all must be equally long",
                        labels.width
                    ),
                ));
            }
        }
        Ok(())
    }

    fn null_error(&self, column: &str, row: usize) -> Error {
        let (file, row) = self.origin(row);
        let quoted: Cow<'_, str> = if column.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            column.into()
        } else {
            format!("\\\"{column}\\\"").into()
        };
        Error::value(
            file,
            row,
            column,
            format!(
                "has no text (null, or an empty cell of a CSV file); leave such rows out with \
                 `sql = \"select * from data where {quoted} is not null\"`"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn table() -> Table {
        Table::from_columns([
            ("query", Column::from(["q0", "q1", ""])),
            ("answer", Column::from(["a0", "a1", "a2"])),
            ("score", Column::from([0.0, 0.5, 1.0])),
        ])
        .unwrap()
        .with_name("toy")
    }

    #[test]
    fn a_batch_holds_the_texts_and_labels_of_its_rows() {
        let table = table();
        let batch = table.batch(&table.roles().unwrap(), &[2, 0]).unwrap();
        assert_eq!(batch.dataset_name.as_deref(), Some("toy"));
        assert_eq!(batch.num_rows(), 2);
        assert_eq!(batch.columns[0].name, "query");
        assert_eq!(batch.columns[0].texts, ["", "q0"]);
        assert_eq!(batch.columns[1].texts, ["a2", "a0"]);
        assert_eq!(batch.labels.unwrap().values, [1.0, 0.0]);
        assert!(table.batch(&table.roles().unwrap(), &[3]).is_err());
    }

    #[test]
    fn empty_texts_are_kept_and_counted() {
        let table = table();
        let report = table.check(&table.roles().unwrap()).unwrap();
        assert_eq!(report.empty_texts, [("query".to_owned(), 1)]);
        assert_eq!(
            report.warnings,
            ["column `query` holds 1 empty texts; they are kept and give empty vectors"]
        );
    }

    #[test]
    fn a_null_text_is_named_with_its_row_even_after_a_shuffle() {
        let table =
            Table::from_columns([("query", Column::from([Some("a"), None, Some("c")]))]).unwrap();
        for table in [table.clone(), table.shuffle(3)] {
            let message = table
                .check(&table.roles().unwrap())
                .unwrap_err()
                .to_string();
            assert!(
                message.starts_with("`from_columns`, row 2, column `query`: has no text"),
                "{message}"
            );
        }
    }

    #[test]
    fn inputs_must_be_text_and_rows_must_exist() {
        let table =
            Table::from_columns([("query", Column::from(["a"])), ("id", Column::from([1]))])
                .unwrap();
        let message = table
            .check(&table.roles().unwrap())
            .unwrap_err()
            .to_string();
        assert!(message.starts_with(
            "`from_columns`: column `id` holds whole numbers, and an input column must hold text"
        ));
        let none = table.slice(0..0).unwrap();
        assert_eq!(
            none.check(&none.roles().unwrap()).unwrap_err().to_string(),
            "`from_columns` is empty: it has no rows"
        );
    }
}
