//! Tables end to end.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, Result};
use crate::table::{Table, normalize, type_name};

impl Table {
    /// Lays tables of the same columns end to end.
    ///
    /// # Errors
    ///
    /// If a table lacks a column of the first, has one more, or holds another type in it.
    pub fn concatenate(tables: &[Self]) -> Result<Self> {
        let Some(first) = tables.first() else {
            return Err(Error::Empty {
                place: "concatenate".to_owned(),
                problem: "no table was given".to_owned(),
            });
        };
        let tables = unify(tables)?;
        let schema = tables[0].schema().clone();
        let mut chunks = Vec::new();
        let mut rows = Vec::new();
        let any_chosen = tables.iter().any(|table| table.rows().is_some());
        let mut offset = 0;
        for table in &tables {
            if any_chosen {
                rows.extend((0..table.num_rows()).map(|row| offset + table.stored(row)));
            }
            offset += table.stored_rows();
            chunks.extend_from_slice(table.chunks());
        }
        let table = Self::from_normal(schema, chunks, any_chosen.then(|| rows.into()));
        Ok(match first.name() {
            Some(name) => table.with_name(name),
            None => table,
        })
    }
}

/// Gives tables one schema: the columns of the first in its order, whole numbers widened to fractions where one has them.
fn unify(tables: &[Table]) -> Result<Vec<Table>> {
    let names = tables[0].column_names();
    let ordered = tables
        .iter()
        .map(|table| {
            for name in table.column_names() {
                if !names.contains(&name) {
                    return Err(Error::Columns {
                        place: table.place().to_owned(),
                        problem: format!("column `{name}` is not in `{}`", tables[0].place()),
                    });
                }
            }
            table.select_columns(&names)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut fields: Vec<Field> = ordered[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for table in &ordered {
        for (column, field) in fields.iter_mut().enumerate() {
            let other = table.schema().field(column);
            let wide = wider(field.data_type(), other.data_type()).or_else(|| {
                // A column without a value goes with any type, whatever its file says that it could hold.
                if table.is_all_null(column) {
                    return Some(field.data_type().clone());
                }
                let mut before = ordered
                    .iter()
                    .take_while(|before| !std::ptr::eq(*before, table));
                let empty = before.all(|table| table.is_all_null(column));
                empty.then(|| other.data_type().clone())
            });
            let Some(wide) = wide else {
                return Err(Error::Columns {
                    place: table.place().to_owned(),
                    problem: format!(
                        "column `{}` holds {}, and {} in `{}`",
                        field.name(),
                        type_name(other.data_type()),
                        type_name(field.data_type()),
                        tables[0].place()
                    ),
                });
            };
            *field = Field::new(field.name(), wide, true);
        }
    }
    let schema = Arc::new(Schema::new(fields));
    ordered
        .into_iter()
        .map(|table| {
            if table.schema() == &schema {
                return Ok(table);
            }
            let chunks = table
                .chunks()
                .iter()
                .map(|chunk| normalize(chunk.clone(), &schema))
                .collect::<Result<Vec<_>>>()?;
            Ok(Table::from_normal(
                Arc::clone(&schema),
                chunks,
                table.rows().cloned(),
            ))
        })
        .collect()
}

/// The type that holds the values of both, if there is one.
pub(crate) fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::Int64 | DataType::UInt64, DataType::Float64)
        | (DataType::Float64, DataType::Int64 | DataType::UInt64) => Some(DataType::Float64),
        // Numbers beyond those with a sign are ids, and no number of 64 bits holds both.
        (DataType::Int64, DataType::UInt64) | (DataType::UInt64, DataType::Int64) => {
            Some(DataType::Utf8)
        }
        (DataType::List(a), DataType::List(b)) => {
            let item = wider(a.data_type(), b.data_type())?;
            Some(DataType::List(Arc::new(Field::new_list_field(item, true))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    #[test]
    fn whole_numbers_become_fractions_where_one_table_has_them() {
        let whole = Table::from_columns([("label", Column::from([1, 2]))]).unwrap();
        let fractions = Table::from_columns([("label", Column::from([0.5]))]).unwrap();
        let both = Table::concatenate(&[whole.select(&[1]).unwrap(), fractions]).unwrap();
        assert_eq!(both.labels("label", &[0, 1]).unwrap().values, [2.0, 0.5]);
        let texts = Table::from_columns([("label", Column::from(["a"]))]).unwrap();
        assert_eq!(
            Table::concatenate(&[whole, texts]).unwrap_err().to_string(),
            "`from_columns`: column `label` holds text, and whole numbers in `from_columns`"
        );
    }
}
