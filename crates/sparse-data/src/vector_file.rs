//! Sparse vectors as a Parquet file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float32Builder, ListBuilder, RecordBatch, StringArray, UInt32Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use sparse_files::StagedFile;

use crate::error::{Error, Result};

/// Writes sparse vectors as Parquet: columns `id` (text), `indices` (list of u32), `values` (list of f32).
///
/// The file appears under its name when [`finish`](Self::finish) has run; one that is dropped before leaves nothing.
#[derive(Debug)]
pub struct VectorFile {
    path: PathBuf,
    schema: SchemaRef,
    writer: ArrowWriter<StagedFile>,
}

impl VectorFile {
    /// Starts a file at `path`.
    ///
    /// # Errors
    ///
    /// If the directory can't be written to.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("indices", list(DataType::UInt32), false),
            Field::new("values", list(DataType::Float32), false),
        ]));
        let file = StagedFile::create(&path)?;
        // A group of rows stays in memory until it is whole.
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(1 << 14))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|error| failed(&path, error))?;
        Ok(Self {
            path,
            schema,
            writer,
        })
    }

    /// Appends vectors: an id for each, and its sorted indices and their values.
    ///
    /// # Errors
    ///
    /// If the disk is full, or there aren't as many ids as vectors.
    pub fn append<'a>(
        &mut self,
        ids: &[String],
        vectors: impl IntoIterator<Item = (&'a [u32], &'a [f32])>,
    ) -> Result<()> {
        let mut indices = ListBuilder::new(UInt32Builder::new());
        let mut values = ListBuilder::new(Float32Builder::new());
        for (row_indices, row_values) in vectors {
            indices.values().append_slice(row_indices);
            indices.append(true);
            values.values().append_slice(row_values);
            values.append(true);
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(ids)),
            Arc::new(indices.finish()),
            Arc::new(values.finish()),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| failed(&self.path, error.into()))?;
        let written = self.writer.write(&batch);
        written.map_err(|error| failed(&self.path, error))
    }

    /// Writes the end of the file and gives it its name.
    ///
    /// # Errors
    ///
    /// If the disk is full.
    pub fn finish(self) -> Result<()> {
        let file = self.writer.into_inner();
        Ok(file.map_err(|error| failed(&self.path, error))?.finish()?)
    }
}

/// The disk's own word, which Parquet wraps where it comes through.
pub(crate) fn failed(path: &Path, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(source) => source
            .downcast::<std::io::Error>()
            .map_or_else(std::io::Error::other, |source| *source),
        other => std::io::Error::other(other),
    };
    sparse_files::Error::written(source, path).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatasetConfig, Table};

    #[test]
    fn vectors_come_back_and_nothing_stays_of_a_broken_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors.parquet");
        let mut file = VectorFile::create(&path).unwrap();
        let rows: [(&[u32], &[f32]); 2] = [(&[1, 5], &[0.5, 2.0]), (&[], &[])];
        file.append(&["a".to_owned(), "b".to_owned()], rows)
            .unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        let table = Table::load(&DatasetConfig::from_path(&path)).unwrap();
        assert_eq!(table.num_rows(), 2);
        assert_eq!(table.value_as_text("id", 1).unwrap(), "b");
        assert_eq!(table.value_as_text("indices", 0).unwrap(), "[1, 5]");
        assert_eq!(table.value_as_text("values", 0).unwrap(), "[0.5, 2.0]");

        drop(VectorFile::create(folder.path().join("other.parquet")).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
