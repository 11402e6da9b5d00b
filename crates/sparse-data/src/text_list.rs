//! Cells that hold one text or several.

use datafusion::arrow::array::Array;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::parquet::arrow::ArrowWriter;
use sparse_files::StagedFile;

use crate::error::{Error, Result};
use crate::table::Table;
use crate::vector_file::failed;

impl Table {
    /// The texts of a cell: all of a list, or the one of a plain cell; numbers as they are printed. Null is no text.
    ///
    /// # Errors
    ///
    /// If there is no such column or row.
    pub fn texts(&self, column: &str, row: usize) -> Result<Vec<String>> {
        let index = self.column_index(column)?;
        self.check_row(row)?;
        let (array, offset) = self.cell(index, row);
        if array.is_null(offset) {
            return Ok(Vec::new());
        }
        let items = match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().value(offset),
            DataType::LargeList(_) => array.as_list::<i64>().value(offset),
            _ => return Ok(vec![self.value_as_text(column, row)?]),
        };
        let item = |position: usize| {
            array_value_to_string(&items, position).map_err(|error| {
                let (file, row) = self.origin(row);
                Error::value(file, row, column, format!("can't be printed: {error}"))
            })
        };
        (0..items.len())
            .filter(|&position| items.is_valid(position))
            .map(item)
            .collect()
    }

    /// Writes the table as a Parquet file, which appears under its name only when it is complete.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write_parquet(&self, path: &std::path::Path) -> Result<()> {
        let batches = self.to_batches()?;
        let file = StagedFile::create(path)?;
        let write = || {
            let mut writer = ArrowWriter::try_new(file, self.schema().clone(), None)?;
            for batch in &batches {
                writer.write(batch)?;
            }
            writer.into_inner()
        };
        Ok(write().map_err(|error| failed(path, error))?.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ListBuilder, StringBuilder};

    use crate::{Column, DatasetConfig, Table};

    #[test]
    fn lists_and_single_cells_are_read_and_survive_a_file() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), Some("b, c")]);
        lists.append_null();
        let table = Table::from_columns([
            ("many", Column::from_arrow(Arc::new(lists.finish()))),
            ("one", Column::from(vec![7i64, 8])),
        ])
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.parquet");
        table.write_parquet(&path).unwrap();
        let read = Table::load(&DatasetConfig::from_path(&path)).unwrap();
        for table in [table, read] {
            assert_eq!(table.texts("many", 0).unwrap(), ["a", "b, c"]);
            assert!(table.texts("many", 1).unwrap().is_empty());
            assert_eq!(table.texts("one", 1).unwrap(), ["8"]);
            assert!(table.texts("none", 0).is_err());
            assert!(table.texts("one", 2).is_err());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
