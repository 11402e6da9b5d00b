//! Sparse vectors as a Parquet file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Float32Builder, ListBuilder, RecordBatch, StringArray, UInt32Builder,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;

use crate::error::{Error, Result};

/// Writes sparse vectors as Parquet: columns `id` (text), `indices` (list of u32), `values` (list of f32).
///
/// The file appears under its name when [`finish`](Self::finish) has run; one that is dropped before leaves nothing.
#[derive(Debug)]
pub struct VectorFile {
    path: PathBuf,
    staging: PathBuf,
    schema: SchemaRef,
    /// `None` once finished.
    writer: Option<ArrowWriter<File>>,
}

impl VectorFile {
    /// Starts a file at `path`.
    ///
    /// # Errors
    ///
    /// If the directory can't be written to.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let staging = path.with_extension(format!("partial-{}", std::process::id()));
        let list = |item| DataType::List(Arc::new(Field::new_list_field(item, true)));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Utf8, false),
            Field::new("indices", list(DataType::UInt32), false),
            Field::new("values", list(DataType::Float32), false),
        ]));
        let file = File::create(&staging).map_err(|source| Error::Io {
            path: staging.clone(),
            source,
        })?;
        // A group of rows stays in memory until it is whole.
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(1 << 14))
            .build();
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
            .map_err(|error| failed(&path, error))?;
        Ok(Self {
            path,
            staging,
            schema,
            writer: Some(writer),
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
        let path = &self.path;
        self.writer.as_mut().map_or(Ok(()), |writer| {
            writer.write(&batch).map_err(|error| failed(path, error))
        })
    }

    /// Writes the end of the file and gives it its name.
    ///
    /// # Errors
    ///
    /// If the disk is full.
    pub fn finish(mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(|error| failed(&self.path, error))?;
        }
        fs::rename(&self.staging, &self.path).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })
    }
}

impl Drop for VectorFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            // What is left of a file that wasn't finished is of no use.
            let _ = fs::remove_file(&self.staging);
        }
    }
}

fn failed(path: &Path, error: ParquetError) -> Error {
    Error::Io {
        path: path.to_path_buf(),
        source: std::io::Error::other(error),
    }
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
