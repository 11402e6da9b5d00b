//! Tables out of values in memory.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListBuilder,
    RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{Field, Schema};

use crate::error::{Error, Result};
use crate::table::{Table, number_chunks};

/// A column of values in memory, made by `Column::from` out of arrays and vectors of text, numbers or lists of numbers.
///
/// ```
/// use sparse_data::Column;
///
/// let texts = Column::from(vec!["one".to_owned(), "two".to_owned()]);
/// let scores = Column::from([0.5, 1.0]);
/// let teacher = Column::from(vec![vec![3.0, 1.0], vec![2.0, 0.5]]);
/// # let _ = (texts, scores, teacher);
/// ```
#[derive(Debug, Clone)]
pub struct Column(ArrayRef);

impl Column {
    /// Wraps an Arrow array.
    pub fn from_arrow(array: ArrayRef) -> Self {
        Self(array)
    }
}

macro_rules! column_from {
    ($($item:ty => $array:ty),* $(,)?) => {$(
        impl From<Vec<$item>> for Column {
            fn from(values: Vec<$item>) -> Self {
                Self(Arc::new(<$array>::from(values)))
            }
        }
        impl<const N: usize> From<[$item; N]> for Column {
            fn from(values: [$item; N]) -> Self {
                Self::from(Vec::from(values))
            }
        }
    )*};
}

column_from! {
    &str => StringArray,
    Option<&str> => StringArray,
    String => StringArray,
    Option<String> => StringArray,
    i64 => Int64Array,
    f64 => Float64Array,
    bool => BooleanArray,
}

impl From<Vec<Vec<f64>>> for Column {
    fn from(rows: Vec<Vec<f64>>) -> Self {
        let mut builder = ListBuilder::new(Float64Builder::new());
        for row in rows {
            builder.append_value(row.into_iter().map(Some));
        }
        Self(Arc::new(builder.finish()))
    }
}

impl Table {
    /// Builds a table out of columns in memory, in the order given (the counterpart of `Dataset.from_dict`).
    ///
    /// # Errors
    ///
    /// If the columns are not equally long, or two share a name.
    #[doc(alias = "from_dict")]
    pub fn from_columns<'a>(columns: impl IntoIterator<Item = (&'a str, Column)>) -> Result<Self> {
        let columns: Vec<(&str, Column)> = columns.into_iter().collect();
        for (name, column) in &columns {
            if column.0.len() != columns[0].1.0.len() {
                return Err(Error::Columns {
                    place: "from_columns".to_owned(),
                    problem: format!(
                        "column `{name}` has {} values, column `{}` has {}",
                        column.0.len(),
                        columns[0].0,
                        columns[0].1.0.len()
                    ),
                });
            }
        }
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.0.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, column)| column.0).collect();
        if arrays.is_empty() {
            return Ok(Self::from_normal(schema, Vec::new(), None));
        }
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|source| Error::Arrow {
                place: "from_columns".to_owned(),
                source,
            })?;
        Self::from_chunks(&schema, number_chunks("from_columns", vec![batch]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_their_order_and_values() {
        let table = Table::from_columns([
            ("b", Column::from([Some("x"), None])),
            ("a", Column::from([1, 2])),
        ])
        .unwrap();
        assert_eq!(table.column_names(), ["b", "a"]);
        assert_eq!(table.text("b", 0).unwrap(), Some("x"));
        assert_eq!(table.text("b", 1).unwrap(), None);
        assert_eq!(
            format!("{table:?}"),
            "Table { name: None, columns: [\"b: text\", \"a: whole numbers\"], num_rows: 2 }"
        );
    }

    #[test]
    fn unequal_lengths_and_equal_names_are_refused() {
        let error = Table::from_columns([("a", Column::from([1, 2])), ("b", Column::from([1]))])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`from_columns`: column `b` has 1 values, column `a` has 2"
        );
        let error =
            Table::from_columns([("a", Column::from([1])), ("a", Column::from([2]))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`from_columns`: columns 1 and 2 are both named `a`"
        );
    }
}
