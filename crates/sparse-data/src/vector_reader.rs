//! Sparse vectors from a file, a part at a time.

use std::fmt;
use std::fs::File;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, UInt32Type};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ids::id_value;
use crate::json_id::Id;
use crate::source::{
    DataFile, Format, LocalFile, ReadLimits, Reader, guarded, is_pipe, open_text, read_line,
    require, unknown_column,
};
use crate::table::{normal_type, type_name};

/// Reads what [`VectorFile`](crate::VectorFile) and `encode` write: Parquet with the columns `id`, `indices` and `values`, or
/// JSON lines `{"id": …, "indices": […], "values": […]}`. In memory is one [`VectorBatch`] at a time.
///
/// Indices must ascend strictly and lie below the number of dimensions; values must be finite.
pub struct VectorReader {
    path: PathBuf,
    n_dims: usize,
    rows_read: usize,
    limits: ReadLimits,
    source: Source,
    /// The copy of a pipe, as long as it is read.
    kept: Option<LocalFile>,
}

enum Source {
    Lines {
        reader: Reader,
        line: u64,
        buffer: Vec<u8>,
    },
    Parquet(ParquetRecordBatchReader),
}

/// Vectors that were read together, as the arrays of a CSR matrix: row `i` holds the entries `offsets[i]..offsets[i + 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorBatch {
    /// An id for each row: its own, or its number from 0 where it has none.
    pub ids: Vec<String>,
    /// Ends of the rows, with a 0 in front.
    pub offsets: Vec<usize>,
    /// Active dimensions of the rows, ascending in each.
    pub indices: Vec<u32>,
    /// Values at `indices`.
    pub values: Vec<f32>,
}

impl Default for VectorBatch {
    fn default() -> Self {
        Self {
            ids: Vec::new(),
            offsets: vec![0],
            indices: Vec::new(),
            values: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Line {
    #[serde(alias = "_id", default)]
    id: Option<Id>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl VectorReader {
    /// Vectors of a batch.
    const BATCH_SIZE: usize = 4096;

    /// Entries after which a batch ends, however few vectors they are: dense ones would take gigabytes.
    const BATCH_ENTRIES: usize = 1 << 24;

    /// Opens a file of vectors of `n_dims` dimensions; its name ends in `.jsonl` or `.parquet`. A pipe, or `-` for the standard
    /// input, holds JSON lines unless it begins as Parquet does.
    ///
    /// # Errors
    ///
    /// If the file is missing, has another ending, or isn't Parquet with these columns.
    pub fn open(path: &Path, n_dims: usize) -> Result<Self> {
        Self::open_with(path, n_dims, ReadLimits::default())
    }

    /// As [`open`](Self::open), with other limits than the usual ones.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: &Path, n_dims: usize, limits: ReadLimits) -> Result<Self> {
        limits.validate()?;
        require(path)?;
        let kept = is_pipe(path)
            .then(|| DataFile::Local(path.to_owned()).local(&limits))
            .transpose()?;
        let real = kept.as_ref().map_or(path, |kept| &kept.path);
        let format = match Format::from_path(path) {
            None if kept.is_some() => Some(Self::told_by_bytes(real)?),
            format => format,
        };
        let source = match format {
            Some(Format::Json) if path.extension().is_none_or(|ending| ending != "json") => {
                Source::Lines {
                    reader: open_text(real)?,
                    line: 0,
                    buffer: Vec::new(),
                }
            }
            Some(Format::Parquet) => Source::Parquet(guarded(real, || open_parquet(real))?),
            _ => {
                return Err(Error::UnknownFormat {
                    path: path.to_path_buf(),
                    known: "jsonl, parquet".to_owned(),
                });
            }
        };
        Ok(Self {
            path: real.to_path_buf(),
            n_dims,
            rows_read: 0,
            limits,
            source,
            kept,
        })
    }

    /// The format of a file whose name tells none.
    fn told_by_bytes(path: &Path) -> Result<Format> {
        let mut reader = open_text(path)?;
        let start = reader.fill_buf().map_err(|source| Error::Io {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(if start.starts_with(b"PAR") {
            Format::Parquet
        } else {
            Format::Json
        })
    }

    fn read(&mut self) -> Result<VectorBatch> {
        let first = self.rows_read;
        let mut batch = VectorBatch::default();
        match &mut self.source {
            Source::Lines {
                reader,
                line,
                buffer,
            } => {
                while batch.ids.len() < Self::BATCH_SIZE
                    && batch.indices.len() < Self::BATCH_ENTRIES
                {
                    if !read_line(&self.path, reader, *line + 1, buffer, &self.limits)? {
                        break;
                    }
                    *line += 1;
                    if buffer.iter().all(u8::is_ascii_whitespace) {
                        continue;
                    }
                    let fail = |problem: String| Error::Malformed {
                        file: self.path.display().to_string(),
                        row: None,
                        line: Some(*line),
                        column: None,
                        problem,
                    };
                    let vector: Line = serde_json::from_slice(buffer).map_err(|error| {
                        fail(format!(
                            "expected {{\"id\", \"indices\", \"values\"}}: {error}"
                        ))
                    })?;
                    check(&vector.indices, &vector.values, self.n_dims).map_err(fail)?;
                    let number = first + batch.ids.len();
                    let id = vector.id.map(|Id(id)| id);
                    batch.ids.push(id.unwrap_or_else(|| number.to_string()));
                    batch.indices.extend_from_slice(&vector.indices);
                    batch.values.extend_from_slice(&vector.values);
                    batch.offsets.push(batch.indices.len());
                }
            }
            Source::Parquet(reader) => {
                if let Some(rows) = guarded(&self.path, || Ok(reader.next()))? {
                    let rows = rows.map_err(|error| malformed(&self.path, error.to_string()))?;
                    append(&mut batch, &rows, first, self.n_dims, &self.path)?;
                }
            }
        }
        self.rows_read += batch.ids.len();
        Ok(batch)
    }
}

impl Iterator for VectorReader {
    type Item = Result<VectorBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        match read {
            Ok(batch) if batch.ids.is_empty() => None,
            Err(error) => Some(Err(match &self.kept {
                Some(kept) => kept.renamed(error),
                None => error,
            })),
            other => Some(other),
        }
    }
}

impl fmt::Debug for VectorReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorReader")
            .field("path", &self.path)
            .field("n_dims", &self.n_dims)
            .field("rows_read", &self.rows_read)
            .finish_non_exhaustive()
    }
}

fn open_parquet(path: &Path) -> Result<ParquetRecordBatchReader> {
    let file = File::open(path).map_err(|source| Error::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let fail =
        |error: datafusion::parquet::errors::ParquetError| malformed(path, error.to_string());
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(fail)?;
    let schema = builder.schema().clone();
    let known: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    for column in ["indices", "values"] {
        if !known.contains(&column) {
            return Err(unknown_column(&path.display().to_string(), column, &known));
        }
    }
    let columns =
        ProjectionMask::columns(builder.parquet_schema(), ["id", "_id", "indices", "values"]);
    builder
        .with_projection(columns)
        .with_batch_size(VectorReader::BATCH_SIZE)
        .build()
        .map_err(fail)
}

fn append(
    batch: &mut VectorBatch,
    rows: &RecordBatch,
    first: usize,
    n_dims: usize,
    path: &Path,
) -> Result<()> {
    let list = |name: &str, item: DataType| {
        let wanted = DataType::LargeList(Field::new_list_field(item, true).into());
        let column = rows
            .column_by_name(name)
            .ok_or_else(|| malformed(path, format!("the column `{name}` is missing")))?;
        // A cast would make a list of one out of a plain number.
        if !matches!(normal_type(column.data_type()), DataType::List(_)) {
            let holds = type_name(&normal_type(column.data_type()));
            return Err(in_column(
                path,
                name,
                format!("holds {holds}; expected lists of numbers"),
            ));
        }
        cast(column, &wanted).map_err(|error| in_column(path, name, error.to_string()))
    };
    let indices = list("indices", DataType::UInt32)?;
    let values = list("values", DataType::Float32)?;
    let ids = ["id", "_id"]
        .iter()
        .find_map(|name| rows.column_by_name(name))
        .map(|column| cast(column, &normal_type(column.data_type())))
        .transpose()
        .map_err(|error| in_column(path, "id", error.to_string()))?;
    for row in 0..rows.num_rows() {
        let fail = |problem: String| Error::Malformed {
            file: path.display().to_string(),
            row: Some((first + row + 1) as u64),
            line: None,
            column: None,
            problem,
        };
        if indices.is_null(row) || values.is_null(row) {
            return Err(fail("`indices` or `values` is null".to_owned()));
        }
        let (row_indices, row_values) = (
            indices.as_list::<i64>().value(row),
            values.as_list::<i64>().value(row),
        );
        // Casting turns what doesn't fit, such as a negative index, into null.
        if row_indices.null_count() + row_values.null_count() > 0 {
            return Err(fail(
                "an index or a value is null or out of range".to_owned(),
            ));
        }
        let row_indices = row_indices.as_primitive::<UInt32Type>().values();
        let row_values = row_values.as_primitive::<Float32Type>().values();
        check(row_indices, row_values, n_dims).map_err(fail)?;
        batch.ids.push(match &ids {
            Some(ids) if ids.is_valid(row) => {
                id_value(ids, row).map_err(|problem| fail(format!("the id {problem}")))?
            }
            _ => (first + row).to_string(),
        });
        batch.indices.extend_from_slice(row_indices);
        batch.values.extend_from_slice(row_values);
        batch.offsets.push(batch.indices.len());
    }
    Ok(())
}

/// What is wrong with a vector.
fn check(indices: &[u32], values: &[f32], n_dims: usize) -> Result<(), String> {
    if indices.len() != values.len() {
        return Err(format!(
            "`indices` and `values` must have the same length; got {} and {}",
            indices.len(),
            values.len()
        ));
    }
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!(
            "`indices` must ascend; {} follows {}",
            pair[1], pair[0]
        ));
    }
    if let Some(last) = indices.last().filter(|&&last| last as usize >= n_dims) {
        return Err(format!(
            "index {last} lies outside of vectors of {n_dims} dimensions"
        ));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("`values` must be finite; got {value}")),
        None => Ok(()),
    }
}

fn malformed(path: &Path, problem: String) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        row: None,
        line: None,
        column: None,
        problem,
    }
}

fn in_column(path: &Path, column: &str, problem: String) -> Error {
    Error::Malformed {
        file: path.display().to_string(),
        row: None,
        line: None,
        column: Some(column.to_owned()),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VectorFile;

    fn read(name: &str, content: &str) -> Result<Vec<VectorBatch>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        VectorReader::open(&path, 10)?.collect()
    }

    #[test]
    fn both_formats_give_the_same_vectors() {
        let lines = concat!(
            "{\"id\": \"a\\u00e9\", \"indices\": [1, 5], \"values\": [0.5, 2]}\n\n",
            "{\"id\": 7, \"indices\": [], \"values\": []}\n",
            "{\"values\": [1.0], \"indices\": [9]}\n",
        );
        let [batch] = &read("v.jsonl", lines).unwrap()[..] else {
            panic!()
        };
        assert_eq!(batch.ids, ["aé", "7", "2"]);
        assert_eq!(batch.offsets, [0, 2, 2, 3]);
        assert_eq!(batch.indices, [1, 5, 9]);
        assert_eq!(batch.values, [0.5, 2.0, 1.0]);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        let mut file = VectorFile::create(&path).unwrap();
        let rows = batch.offsets.windows(2).map(|ends| {
            (
                &batch.indices[ends[0]..ends[1]],
                &batch.values[ends[0]..ends[1]],
            )
        });
        file.append(&batch.ids, rows).unwrap();
        file.finish().unwrap();
        let again = VectorReader::open(&path, 10).unwrap();
        assert_eq!(
            again.collect::<Result<Vec<_>>>().unwrap(),
            std::slice::from_ref(batch)
        );
        let narrow = VectorReader::open(&path, 9).unwrap();
        let error = narrow.collect::<Result<Vec<_>>>().unwrap_err().to_string();
        assert!(
            error.ends_with("row 3: index 9 lies outside of vectors of 9 dimensions"),
            "{error}"
        );
    }

    #[test]
    fn ids_are_exact_and_a_byte_order_mark_is_no_part_of_the_data() {
        let lines = "\u{feff}{\"id\": 18446744073709551615, \"indices\": [], \"values\": []}\n\
                     {\"_id\": 9007199254740993, \"indices\": [], \"values\": []}\n";
        let batches = read("v.jsonl", lines).unwrap();
        assert_eq!(batches[0].ids, ["18446744073709551615", "9007199254740993"]);
    }

    #[test]
    fn large_files_come_in_parts() {
        let line = "{\"indices\": [3], \"values\": [1]}\n";
        let batches = read("v.jsonl", &line.repeat(5000)).unwrap();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.ids.len()).collect();
        assert_eq!(sizes, [4096, 904]);
        assert_eq!(batches[1].ids[903], "4999");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let problem = |line: &str| {
            let text = format!("{{\"indices\": [3], \"values\": [1]}}\n{line}\n");
            let error = read("v.jsonl", &text).unwrap_err().to_string();
            error.split("line 2: ").last().unwrap().to_owned()
        };
        assert_eq!(
            problem("{\"indices\": [3, 3], \"values\": [1, 2]}"),
            "`indices` must ascend; 3 follows 3"
        );
        assert_eq!(
            problem("{\"indices\": [3], \"values\": [1, 2]}"),
            "`indices` and `values` must have the same length; got 1 and 2"
        );
        assert!(problem("{\"a\": 0.5}").contains("missing field `indices`"));
        assert!(problem("{\"indices\": [3], \"values\": [NaN]}").starts_with("expected {\"id\""));
        assert!(
            problem("{\"id\": 1.5, \"indices\": [3], \"values\": [1]}")
                .contains("a text or a whole number")
        );
        assert!(problem("{\"indices\": [-3], \"values\": [1]}").contains("-3"));
        let huge = problem("{\"indices\": [3], \"values\": [1e39]}");
        assert!(huge.contains("number out of range"), "{huge}");
        let error = read("v.tsv", "").unwrap_err().to_string();
        assert!(error.contains("jsonl, parquet"), "{error}");
        assert!(read("v.jsonl", "").unwrap().is_empty());
    }

    #[test]
    fn parquet_without_vectors_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        std::fs::write(&path, "not Parquet").unwrap();
        assert!(VectorReader::open(&path, 10).unwrap_err().is_user_error());
        let missing = VectorReader::open(&folder.path().join("w.parquet"), 10).unwrap_err();
        assert!(missing.to_string().contains("v.parquet"), "{missing}");
    }
}
