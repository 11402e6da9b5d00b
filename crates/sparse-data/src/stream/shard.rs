//! Parts that can be read apart: row groups of Parquet, ranges of JSON lines, ranges of a table's key.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{Error, Result, list_names, nearest};
use crate::source::{
    Choice, DataFile, DatabasePart, DatabaseTable, Format, LineRange, LocalFile, guarded, io_error,
    line_ranges, malformed, open_range, refuse_no_bytes, require, warn_empty,
};
use crate::table::{Chunk, Table, check_names, normal_type, normalize};

/// Rows that are read at once.
const PART_ROWS: usize = 1024;

/// Bytes of a range of lines.
const RANGE_BYTES: u64 = 16 << 20;

/// A part of the rows.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    source: Source,
    pub(super) num_rows: u64,
}

#[derive(Debug, Clone)]
enum Source {
    File(FilePart),
    Database(DatabasePart),
}

/// A part of a file.
#[derive(Debug, Clone)]
struct FilePart {
    file: Arc<LocalFile>,
    kind: ShardKind,
    /// Row of the file that comes first, from 1.
    first_row: u64,
}

#[derive(Debug, Clone, Copy)]
enum ShardKind {
    RowGroup(usize),
    Lines(LineRange),
}

/// The parts of files, and the schema that they share: the columns asked for, in this order, or all of the first file.
pub(super) fn shards(
    files: &[DataFile],
    format: Option<Format>,
    columns: Option<&[String]>,
) -> Result<(SchemaRef, Vec<Shard>)> {
    let mut shared: Option<Schema> = None;
    let mut all = Vec::new();
    for source in files {
        let file = Arc::new(source.local()?);
        let found = parts(&file, format, columns, shared.as_ref());
        let (schema, shards) = match found.map_err(|error| file.renamed(error)) {
            Ok((_, shards))
                if shards.iter().all(|shard| shard.num_rows == 0) && files.len() > 1 =>
            {
                warn_empty(&source.shown());
                continue;
            }
            Err(Error::Empty { .. }) if files.len() > 1 => {
                warn_empty(&source.shown());
                continue;
            }
            found => found?,
        };
        shared = Some(match shared {
            None => schema,
            Some(first) => wide(&file.path, first, &schema).map_err(|error| file.renamed(error))?,
        });
        all.extend(shards);
    }
    Ok((Arc::new(shared.unwrap_or_else(Schema::empty)), all))
}

/// The parts of a database's table, `times` over, and its columns that are read.
pub(super) fn database_shards(
    database: &DatabaseTable,
    columns: Option<&[String]>,
    times: usize,
) -> Result<(SchemaRef, Vec<Shard>)> {
    let (schema, parts) = database.parts(columns)?;
    let shards = parts.into_iter().map(|part| Shard {
        num_rows: part.num_rows(),
        source: Source::Database(part),
    });
    let shards: Vec<Shard> = shards.collect();
    let all = std::iter::repeat_n(shards, times).flatten().collect();
    Ok((Arc::new(schema), all))
}

/// The parts of one file, and its columns that are read.
fn parts(
    file: &Arc<LocalFile>,
    format: Option<Format>,
    columns: Option<&[String]>,
    first: Option<&Schema>,
) -> Result<(Schema, Vec<Shard>)> {
    require(&file.path)?;
    refuse_no_bytes(&file.path)?;
    let (schema, shards) = match format.or_else(|| Format::from_path(&file.path)) {
        Some(Format::Parquet) => guarded(&file.path, || row_groups(file))?,
        Some(Format::Json) => ranges_of_lines(file, &Choice::of(columns))?,
        _ => {
            return Err(malformed(
                &file.path,
                "can't be streamed: only Parquet and JSON lines can".to_owned(),
            ));
        }
    };
    Ok((choose(&file.path, &schema, columns, first)?, shards))
}

/// The columns of a file that are read, with the types that they have in a table.
fn choose(
    file: &Path,
    schema: &Schema,
    columns: Option<&[String]>,
    first: Option<&Schema>,
) -> Result<Schema> {
    check_names(&file.display().to_string(), schema)?;
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    let wanted: Vec<&str> = match (columns, first) {
        (Some(columns), _) => columns.iter().map(String::as_str).collect(),
        (None, Some(first)) => first
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect(),
        (None, None) => known().collect(),
    };
    let fields = wanted
        .into_iter()
        .map(|name| {
            let field = schema
                .field_with_name(name)
                .map_err(|_| Error::UnknownColumn {
                    place: file.display().to_string(),
                    column: name.to_owned(),
                    nearest: nearest(name, known()),
                    known: list_names(known()),
                })?;
            Ok(Field::new(name, normal_type(field.data_type()), true))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Schema::new(fields))
}

/// One schema for two files with the same columns.
fn wide(file: &Path, first: Schema, schema: &Schema) -> Result<Schema> {
    let empty = |schema: &Schema| Table::from_normal(Arc::new(schema.clone()), Vec::new(), None);
    let place = file.display().to_string();
    let both = [
        empty(&first).with_name("the files before it"),
        empty(schema).with_name(place),
    ];
    Ok(Table::concatenate(&both)?.schema().as_ref().clone())
}

fn row_groups(file: &Arc<LocalFile>) -> Result<(Schema, Vec<Shard>)> {
    let builder = parquet_builder(&file.path)?;
    let mut first_row = 1;
    let shards = builder
        .metadata()
        .row_groups()
        .iter()
        .enumerate()
        .map(|(i, group)| {
            let num_rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let shard = Shard {
                source: Source::File(FilePart {
                    file: Arc::clone(file),
                    kind: ShardKind::RowGroup(i),
                    first_row,
                }),
                num_rows,
            };
            first_row += num_rows;
            shard
        })
        .collect();
    Ok((builder.schema().as_ref().clone(), shards))
}

fn parquet_builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|source| io_error(path, source))?;
    ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|error| malformed(path, error.to_string()))
}

fn ranges_of_lines(file: &Arc<LocalFile>, choice: &Choice) -> Result<(Schema, Vec<Shard>)> {
    let (schema, num_rows, ranges) = line_ranges(&file.path, RANGE_BYTES, choice)?;
    let ends = ranges
        .iter()
        .skip(1)
        .map(|range| range.first_row)
        .chain([num_rows + 1]);
    let shards = ranges
        .iter()
        .zip(ends)
        .map(|(&range, end)| Shard {
            source: Source::File(FilePart {
                file: Arc::clone(file),
                kind: ShardKind::Lines(range),
                first_row: range.first_row,
            }),
            num_rows: end - range.first_row,
        })
        .collect();
    Ok((schema, shards))
}

impl Shard {
    /// Starts to read the columns of `schema`.
    pub(super) fn open(&self, schema: &SchemaRef) -> Result<ShardReader> {
        Ok(match &self.source {
            Source::File(part) => ShardReader::File(part.open(schema)?),
            Source::Database(part) => ShardReader::Rows(Some(part.read(schema)?)),
        })
    }
}

impl FilePart {
    fn open(&self, schema: &SchemaRef) -> Result<FileReader> {
        let batches = guarded(&self.file.path, || self.batches(schema))
            .map_err(|error| self.file.renamed(error))?;
        Ok(FileReader {
            file: Arc::clone(&self.file),
            batches,
            next_row: self.first_row,
        })
    }

    fn batches(&self, schema: &SchemaRef) -> Result<Batches> {
        let path = &self.file.path;
        Ok(match self.kind {
            ShardKind::RowGroup(group) => {
                let builder = parquet_builder(path)?;
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let columns = ProjectionMask::columns(builder.parquet_schema(), names);
                let reader = builder
                    .with_row_groups(vec![group])
                    .with_projection(columns)
                    .with_batch_size(PART_ROWS)
                    .build()
                    .map_err(|error| malformed(path, error.to_string()))?;
                Box::new(reader)
            }
            ShardKind::Lines(range) => {
                let reader = ReaderBuilder::new(Arc::clone(schema))
                    .with_batch_size(PART_ROWS)
                    .with_coerce_primitive(true)
                    .build(open_range(path, range)?)
                    .map_err(|error| malformed(path, error.to_string()))?;
                Box::new(reader)
            }
        })
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Reads a shard part by part.
#[derive(Debug)]
pub(super) enum ShardReader {
    File(FileReader),
    /// All rows, until they are taken.
    Rows(Option<Table>),
}

impl ShardReader {
    /// The next rows, as a table of `schema`.
    pub(super) fn next_part(&mut self, schema: &SchemaRef) -> Result<Option<Table>> {
        match self {
            Self::File(reader) => reader.next_part(schema),
            Self::Rows(rows) => Ok(rows.take()),
        }
    }
}

/// Reads a part of a file.
pub(super) struct FileReader {
    file: Arc<LocalFile>,
    batches: Batches,
    next_row: u64,
}

impl FileReader {
    fn next_part(&mut self, schema: &SchemaRef) -> Result<Option<Table>> {
        let batch = guarded(&self.file.path, || Ok(self.batches.next()))
            .map_err(|error| self.file.renamed(error))?;
        let Some(batch) = batch else {
            return Ok(None);
        };
        let first_row = self.next_row;
        let part = self.part(batch, schema, first_row);
        let part = self.file.named(part)?;
        self.next_row += part.num_rows() as u64;
        Ok(Some(part))
    }

    fn part(
        &self,
        batch: Result<RecordBatch, ArrowError>,
        schema: &SchemaRef,
        first_row: u64,
    ) -> Result<Table> {
        let path = &self.file.path;
        let failed = |error: ArrowError| malformed(path, error.to_string());
        let batch = batch.map_err(failed)?;
        let indices = schema
            .fields()
            .iter()
            .map(|field| batch.schema_ref().index_of(field.name()))
            .collect::<Result<Vec<_>, _>>();
        let batch = indices
            .and_then(|indices| batch.project(&indices))
            .map_err(failed)?;
        let chunk = Chunk {
            batch,
            file: path.display().to_string().into(),
            first_row,
        };
        let chunk = normalize(chunk, schema)?;
        Ok(Table::from_normal(Arc::clone(schema), vec![chunk], None))
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("file", &self.file)
            .field("next_row", &self.next_row)
            .finish_non_exhaustive()
    }
}
