//! Labels: numbers, or lists of numbers, one for each row.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};

use crate::error::{Error, Result};
use crate::table::{Table, type_name};

/// The labels of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    /// Row-major, `width` numbers for each row.
    pub values: Vec<f32>,
    /// Numbers for each row: 1 for a plain number, the length of the list otherwise, of all its lists together for a list
    /// of lists.
    pub width: usize,
    /// Lists for each row, each of `width / lists` numbers; 0 unless rows hold lists of lists.
    pub lists: usize,
    /// Whether the numbers are whole by their type (class numbers), as opposed to scores.
    pub integer: bool,
    /// Whether each row holds a list, even if its length is 1.
    pub per_row_list: bool,
}

/// The number at an offset; `None` for null and for what is no number.
pub(crate) fn number(array: &ArrayRef, offset: usize) -> Option<f64> {
    if array.is_null(offset) {
        return None;
    }
    match array.data_type() {
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(offset) as f64),
        DataType::UInt64 => Some(array.as_primitive::<UInt64Type>().value(offset) as f64),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(offset)),
        DataType::Boolean => Some(f64::from(u8::from(array.as_boolean().value(offset)))),
        _ => None,
    }
}

impl Table {
    /// Reads the labels of `rows` from a column.
    pub(crate) fn labels(&self, column: &str, rows: &[usize]) -> Result<Labels> {
        let index = self.column_index(column)?;
        let (item, per_row_list) = match self.column_type(index) {
            DataType::List(item) => match item.data_type() {
                DataType::List(inner) => (inner.data_type().clone(), true),
                item => (item.clone(), true),
            },
            other => (other.clone(), false),
        };
        let integer = matches!(item, DataType::Int64 | DataType::UInt64 | DataType::Boolean);
        let mut labels = Labels {
            values: Vec::with_capacity(rows.len()),
            width: 1,
            lists: 0,
            integer,
            per_row_list,
        };
        for (i, &row) in rows.iter().enumerate() {
            let width = self.read_label(index, row, &mut labels.values)?;
            if i > 0 && width != labels.width {
                return Err(self.label_error(
                    index,
                    row,
                    format!(
                        "is a list of {width} numbers, others of {}; all must be equally long",
                        labels.width
                    ),
                ));
            }
            let lists = self.num_lists(index, row);
            if i > 0 && lists != labels.lists {
                return Err(self.label_error(
                    index,
                    row,
                    format!("holds {lists} lists, others {}", labels.lists),
                ));
            }
            labels.width = width;
            labels.lists = lists;
        }
        Ok(labels)
    }

    /// Lists in a label that is a list of lists, 0 in others.
    fn num_lists(&self, column: usize, row: usize) -> usize {
        let (array, offset) = self.cell(column, row);
        let items = array.as_list_opt::<i32>().map(|list| list.value(offset));
        items
            .filter(|items| items.as_list_opt::<i32>().is_some())
            .map_or(0, |items| items.len())
    }

    /// Appends the label of a row and returns how many numbers it has.
    pub(crate) fn read_label(
        &self,
        column: usize,
        row: usize,
        values: &mut Vec<f32>,
    ) -> Result<usize> {
        let (array, offset) = self.cell(column, row);
        if array.is_null(offset) {
            return Err(self.label_error(
                column,
                row,
                "is null, and a label must be a number".to_owned(),
            ));
        }
        if let Some(items) = array.as_list_opt::<i32>() {
            let items = items.value(offset);
            if items.as_list_opt::<i32>().is_some() {
                return self.read_lists(column, row, &items, values);
            }
            for i in 0..items.len() {
                values.push(self.checked_number(column, row, &items, i)?);
            }
            return Ok(items.len());
        }
        values.push(self.checked_number(column, row, array, offset)?);
        Ok(1)
    }

    /// Appends a label that is a list of equally long lists, and returns how many numbers it has.
    fn read_lists(
        &self,
        column: usize,
        row: usize,
        lists: &ArrayRef,
        values: &mut Vec<f32>,
    ) -> Result<usize> {
        let lists = lists.as_list::<i32>();
        let mut total = 0;
        for list in 0..lists.len() {
            if lists.is_null(list) {
                return Err(self.label_error(
                    column,
                    row,
                    "holds a null, and a label must be a number".to_owned(),
                ));
            }
            let numbers = lists.value(list);
            if list > 0 && numbers.len() != total / list {
                return Err(self.label_error(
                    column,
                    row,
                    format!(
                        "holds a list of {} numbers and others of {}; all must be equally long",
                        numbers.len(),
                        total / list
                    ),
                ));
            }
            for i in 0..numbers.len() {
                values.push(self.checked_number(column, row, &numbers, i)?);
            }
            total += numbers.len();
        }
        Ok(total)
    }

    fn checked_number(
        &self,
        column: usize,
        row: usize,
        array: &ArrayRef,
        offset: usize,
    ) -> Result<f32> {
        match number(array, offset) {
            Some(value) if value.is_finite() => Ok(value as f32),
            Some(value) => Err(self.label_error(
                column,
                row,
                format!("is {value}, and a label must be a finite number"),
            )),
            None if array.is_null(offset) => Err(self.label_error(
                column,
                row,
                "holds a null, and a label must be a number".to_owned(),
            )),
            None => {
                let shown = match array.as_string_opt::<i32>() {
                    Some(texts) => format!("is the text \"{}\"", shorten(texts.value(offset))),
                    None => format!("holds {}", type_name(array.data_type())),
                };
                Err(self.label_error(
                    column,
                    row,
                    format!(
                        "{shown}, and a label must be a number; convert it with `sql` (case {} when ... then 1.0 ... end), \
                         or leave it out with `columns`",
                        self.schema().field(column).name()
                    ),
                ))
            }
        }
    }

    fn label_error(&self, column: usize, row: usize, problem: String) -> Error {
        let (file, row) = self.origin(row);
        Error::value(file, row, self.schema().field(column).name(), problem)
    }
}

/// The start of a text, for a message.
pub(crate) fn shorten(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn label(column: Column) -> Result<Labels> {
        Table::from_columns([("label", column)])
            .unwrap()
            .labels("label", &[1, 0])
    }

    #[test]
    fn numbers_and_lists_are_read_in_the_order_asked() {
        let labels = label(Column::from([1, 0])).unwrap();
        assert_eq!(
            (
                labels.values.as_slice(),
                labels.width,
                labels.integer,
                labels.per_row_list
            ),
            (&[0.0, 1.0][..], 1, true, false)
        );
        let labels = label(Column::from([0.25, 0.5])).unwrap();
        assert_eq!(
            (labels.values.as_slice(), labels.integer),
            (&[0.5, 0.25][..], false)
        );
        let labels = label(Column::from(vec![vec![1.0, 2.0], vec![3.0, 4.0]])).unwrap();
        assert_eq!(
            (labels.values.as_slice(), labels.width, labels.per_row_list),
            (&[3.0, 4.0, 1.0, 2.0][..], 2, true)
        );
    }

    #[test]
    fn what_is_no_number_is_named_with_its_row() {
        let message = |column| label(column).unwrap_err().to_string();
        assert_eq!(
            message(Column::from([0.5, f64::NAN])),
            "`from_columns`, row 2, column `label`: is NaN, and a label must be a finite number"
        );
        assert!(message(Column::from(["neutral", "entailment"])).starts_with(
            "`from_columns`, row 2, column `label`: is the text \"entailment\", and a label must be a number"
        ));
        assert!(message(Column::from(vec![vec![1.0], vec![1.0, 2.0]])).contains("row 1"));
    }
}
