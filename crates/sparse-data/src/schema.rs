//! Names and types of columns: which there are, and which they become.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::chunk::Chunk;
use crate::error::{Error, Result};

/// What a column of this type holds, in words.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 => "text".to_owned(),
        DataType::Int64 | DataType::UInt64 => "whole numbers".to_owned(),
        DataType::Float64 => "numbers".to_owned(),
        DataType::Boolean => "true and false".to_owned(),
        DataType::Null => "nothing but nulls".to_owned(),
        DataType::List(item) => format!("lists of {}", type_name(item.data_type())),
        DataType::Struct(_) => "objects".to_owned(),
        other => other.to_string(),
    }
}

/// The type that a column of this type has in a table.
pub(crate) fn normal_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => normal_type(values),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => DataType::Int64,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        // Whole numbers, which may be ids: exact or refused.
        DataType::Decimal32(_, 0)
        | DataType::Decimal64(_, 0)
        | DataType::Decimal128(_, 0)
        | DataType::Decimal256(_, 0) => DataType::Int64,
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => DataType::Float64,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::new(Field::new_list_field(
            normal_type(item.data_type()),
            true,
        ))),
        other => other.clone(),
    }
}

/// Gives the columns of a chunk the types of `schema`, which has the same names in the same order.
pub(crate) fn normalize(chunk: Chunk, schema: &SchemaRef) -> Result<Chunk> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = chunk
        .batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(array, field)| {
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            // Some types can't be cast into each other, though there is nothing to cast.
            if array.logical_null_count() == array.len() {
                return Ok(new_null_array(field.data_type(), array.len()));
            }
            cast_with_options(array, field.data_type(), &options).map_err(|source| {
                let row = first_lost(array, field.data_type());
                Error::Malformed {
                    file: chunk.file.to_string(),
                    row: row.map(|row| chunk.first_row + row as u64),
                    line: None,
                    column: Some(field.name().clone()),
                    problem: source.to_string(),
                }
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let batch =
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(|source| Error::Arrow {
            place: chunk.file.to_string(),
            source,
        })?;
    Ok(Chunk { batch, ..chunk })
}

/// The first value that a cast loses.
fn first_lost(array: &ArrayRef, target: &DataType) -> Option<usize> {
    let cast = cast_with_options(array, target, &CastOptions::default()).ok()?;
    (0..array.len()).find(|&row| array.is_valid(row) && cast.is_null(row))
}

/// Fails on a column without a name, or two of the same.
pub(crate) fn check_names(place: &str, schema: &Schema) -> Result<()> {
    let fields = schema.fields();
    let mut known = BTreeMap::new();
    for (i, field) in fields.iter().enumerate() {
        if field.name().is_empty() {
            return Err(Error::Columns {
                place: place.to_owned(),
                problem: format!("column {} has no name", i + 1),
            });
        }
        if let Some(first) = known.insert(field.name().as_str(), i) {
            return Err(Error::Columns {
                place: place.to_owned(),
                problem: format!(
                    "columns {} and {} are both named `{}`",
                    first + 1,
                    i + 1,
                    field.name()
                ),
            });
        }
    }
    Ok(())
}
