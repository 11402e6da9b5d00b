//! The types that columns get out of the values that they hold.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, new_null_array,
};
use datafusion::arrow::compute::{cast, max};
use datafusion::arrow::datatypes::{DataType, Field, Schema, UInt64Type};

use crate::columns::LABEL_COLUMNS;
use crate::error::Result;
use crate::table::{Chunk, Table};

impl Table {
    /// Gives the columns of texts with the name of a label the type that all their cells have, and those without a cell the
    /// type that goes with any. All other columns keep their texts as they were written: an id, or a text, may look like a
    /// number and isn't one.
    pub(crate) fn with_written_types(self) -> Result<Self> {
        self.retyped(|table, column| {
            let field = table.schema().field(column);
            if *field.data_type() != DataType::Utf8 || table.is_empty() {
                return None;
            }
            if table.is_all_null(column) {
                return Some(DataType::Null);
            }
            let is_label = LABEL_COLUMNS.contains(&field.name().as_str());
            is_label.then(|| written_type(table, column))
        })
    }

    /// As [`with_written_types`](Self::with_written_types), for labels only: what a query calls a label.
    pub(crate) fn with_number_labels(self) -> Result<Self> {
        self.retyped(|table, column| {
            let field = table.schema().field(column);
            let is_label = LABEL_COLUMNS.contains(&field.name().as_str());
            if !is_label || *field.data_type() != DataType::Utf8 || table.is_all_null(column) {
                return None;
            }
            Some(written_type(table, column))
        })
    }

    /// Makes whole numbers without a sign those with one, where all of them fit.
    pub(crate) fn with_narrow_numbers(self) -> Result<Self> {
        self.retyped(|table, column| {
            if *table.column_type(column) != DataType::UInt64 {
                return None;
            }
            let fits = table.chunks().iter().all(|chunk| {
                let numbers = chunk.batch.column(column).as_primitive::<UInt64Type>();
                max(numbers).is_none_or(|largest| i64::try_from(largest).is_ok())
            });
            fits.then_some(DataType::Int64)
        })
    }

    /// The table with one more column, of nothing but nulls, at a position.
    pub(crate) fn with_null_column(self, name: &str, position: usize) -> Result<Self> {
        let mut fields: Vec<Field> = self.fields();
        let position = position.min(fields.len());
        fields.insert(position, Field::new(name, DataType::Null, true));
        self.rebuilt(fields, |chunk| {
            let mut columns = chunk.batch.columns().to_vec();
            columns.insert(
                position,
                new_null_array(&DataType::Null, chunk.batch.num_rows()),
            );
            Ok(columns)
        })
    }

    /// Whether a column holds no value.
    pub(crate) fn is_all_null(&self, column: usize) -> bool {
        self.chunks().iter().all(|chunk| {
            let array = chunk.batch.column(column);
            array.logical_null_count() == array.len()
        })
    }

    fn fields(&self) -> Vec<Field> {
        let fields = self.schema().fields().iter();
        fields.map(|field| field.as_ref().clone()).collect()
    }

    /// Gives columns the types that `choose` finds for them, if it finds any.
    fn retyped(self, choose: impl Fn(&Self, usize) -> Option<DataType>) -> Result<Self> {
        let mut fields = self.fields();
        let mut changed = Vec::new();
        for (column, field) in fields.iter_mut().enumerate() {
            let wanted = choose(&self, column).filter(|wanted| wanted != field.data_type());
            if let Some(wanted) = wanted {
                *field = Field::new(field.name(), wanted, true);
                changed.push(column);
            }
        }
        if changed.is_empty() {
            return Ok(self);
        }
        let types: Vec<DataType> = fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        self.rebuilt(fields, |chunk| {
            let mut columns = chunk.batch.columns().to_vec();
            for &column in &changed {
                columns[column] = converted(&columns[column], &types[column])?;
            }
            Ok(columns)
        })
    }

    fn rebuilt(
        self,
        fields: Vec<Field>,
        columns: impl Fn(&Chunk) -> Result<Vec<ArrayRef>, datafusion::arrow::error::ArrowError>,
    ) -> Result<Self> {
        let schema = Arc::new(Schema::new(fields));
        let chunks = self.chunks().iter().map(|chunk| {
            let batch = columns(chunk)
                .and_then(|columns| RecordBatch::try_new(Arc::clone(&schema), columns))
                .map_err(|source| self.arrow_error(source))?;
            Ok(Chunk {
                batch,
                ..chunk.clone()
            })
        });
        let chunks = chunks.collect::<Result<Vec<_>>>()?;
        let table = Self::from_normal(Arc::clone(&schema), chunks, self.rows().cloned());
        Ok(match self.name() {
            Some(name) => table.with_name(name),
            None => table,
        })
    }
}

/// The type that all texts of a column are written in.
fn written_type(table: &Table, column: usize) -> DataType {
    let all = |is: &dyn Fn(&str) -> bool| {
        table.chunks().iter().all(|chunk| {
            let texts = chunk.batch.column(column).as_string::<i32>();
            texts.iter().flatten().all(is)
        })
    };
    if all(&|cell| cell.trim().parse::<i64>().is_ok()) {
        DataType::Int64
    } else if all(&|cell| cell.trim().parse::<f64>().is_ok()) {
        DataType::Float64
    } else if all(&|cell| truth(cell).is_some()) {
        DataType::Boolean
    } else {
        DataType::Utf8
    }
}

fn truth(cell: &str) -> Option<bool> {
    match cell.trim() {
        "true" | "True" => Some(true),
        "false" | "False" => Some(false),
        _ => None,
    }
}

/// An array with a type that all of its values have.
pub(crate) fn converted(
    array: &ArrayRef,
    wanted: &DataType,
) -> Result<ArrayRef, datafusion::arrow::error::ArrowError> {
    let texts = array.as_string_opt::<i32>();
    Ok(match (texts, wanted) {
        (_, DataType::Null) => new_null_array(wanted, array.len()),
        (Some(texts), DataType::Int64) => {
            let number = |cell: Option<&str>| cell?.trim().parse::<i64>().ok();
            Arc::new(texts.iter().map(number).collect::<Int64Array>())
        }
        (Some(texts), DataType::Float64) => {
            let number = |cell: Option<&str>| cell?.trim().parse::<f64>().ok();
            Arc::new(texts.iter().map(number).collect::<Float64Array>())
        }
        (Some(texts), DataType::Boolean) => {
            let value = |cell: Option<&str>| truth(cell?);
            Arc::new(texts.iter().map(value).collect::<BooleanArray>())
        }
        _ => cast(array, wanted)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;
    use datafusion::arrow::array::UInt64Array;

    #[test]
    fn only_labels_become_numbers() {
        let columns = |cells: [&'static str; 2]| {
            Table::from_columns([("id", Column::from(cells)), ("label", Column::from(cells))])
                .unwrap()
                .with_written_types()
                .unwrap()
        };
        for (cells, label) in [
            (["1", " 007"], DataType::Int64),
            (["1", "-0.5"], DataType::Float64),
            (["True", "false"], DataType::Boolean),
            (["1", "yes"], DataType::Utf8),
        ] {
            let table = columns(cells);
            assert_eq!(table.text("id", 1).unwrap(), Some(cells[1]));
            assert_eq!(*table.column_type(1), label, "{cells:?}");
        }
        assert_eq!(
            columns(["1", " 007"])
                .labels("label", &[0, 1])
                .unwrap()
                .values,
            [1.0, 7.0]
        );
    }

    #[test]
    fn numbers_beyond_the_signed_ones_stay_exact() {
        let table = |numbers: Vec<u64>| {
            let column = Column::from_arrow(Arc::new(UInt64Array::from(numbers)));
            Table::from_columns([("id", column)]).unwrap()
        };
        assert_eq!(*table(vec![1, 2]).column_type(0), DataType::Int64);
        let large = table(vec![1, u64::MAX]);
        assert_eq!(
            large.value_as_text("id", 1).unwrap(),
            "18446744073709551615"
        );
    }
}
