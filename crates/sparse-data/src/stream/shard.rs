//! Parts that can be read apart: of files, of a database's table, of a table in memory.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};

use crate::concatenate::wider;
use crate::error::{Error, Result};
use crate::source::{
    BatchSize, Batches, Choice, DataFile, DatabasePart, DatabaseTable, LocalFile, Part,
    ReadOptions, TableFile, guarded, unknown_column, warn_empty,
};
use crate::table::{Table, type_name};

/// Rows that are read at once, at most.
const PART: BatchSize = BatchSize {
    rows: 1024,
    bytes: 4 << 20,
};

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
    Memory(Table),
}

/// A part of a file.
#[derive(Debug, Clone)]
struct FilePart {
    /// Keeps the file where it is, and knows its name.
    local: Arc<LocalFile>,
    file: Arc<TableFile>,
    part: Part,
    /// Row of the file that comes first, from 1.
    first_row: u64,
}

/// The parts of files, and the schema that they share: the columns asked for, in this order, or all of the first file.
pub(super) fn shards(files: &[DataFile], options: &ReadOptions) -> Result<(SchemaRef, Vec<Shard>)> {
    let mut shared: Option<(Schema, String)> = None;
    let mut options = options.clone();
    let mut all = Vec::new();
    for source in files {
        let local = Arc::new(source.local(&options.limits)?);
        let read = |options: &ReadOptions| -> Result<(Schema, Vec<Shard>)> {
            let file = TableFile::open(&local.path, options)?.with_label_types()?;
            let shards = file_shards(&local, &Arc::new(file.clone()))?;
            Ok((file.schema().as_ref().clone(), shards))
        };
        let found = read(&options).map_err(|error| local.renamed(error));
        let is_empty = match &found {
            Ok((_, shards)) => shards.iter().all(|shard| shard.num_rows == 0),
            Err(error) => matches!(error, Error::Empty { .. }),
        };
        if is_empty && files.len() > 1 {
            warn_empty(&source.shown());
            continue;
        }
        let (schema, shards) = found?;
        let place = source.shown();
        shared = Some(match shared {
            None => (schema, place),
            Some((first, first_place)) => {
                let both = shared_schema((&first, &first_place), (&schema, &place))?;
                (both, first_place)
            }
        });
        if let (Choice::All, Some((first, _))) = (&options.columns, &shared) {
            let names = first.fields().iter().map(|field| field.name().clone());
            options.columns = Choice::These(names.collect());
        }
        all.extend(shards);
    }
    let schema = shared.map_or_else(Schema::empty, |(schema, _)| schema);
    Ok((Arc::new(schema), all))
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

/// A table in memory as one part.
pub(super) fn memory_shard(table: Table) -> (SchemaRef, Vec<Shard>) {
    let shard = Shard {
        num_rows: table.num_rows() as u64,
        source: Source::Memory(table.clone()),
    };
    (Arc::clone(table.schema()), vec![shard])
}

fn file_shards(local: &Arc<LocalFile>, file: &Arc<TableFile>) -> Result<Vec<Shard>> {
    let mut first_row = 1;
    let parts = file
        .parts(RANGE_BYTES)?
        .into_iter()
        .map(|(part, num_rows)| {
            let shard = Shard {
                source: Source::File(FilePart {
                    local: Arc::clone(local),
                    file: Arc::clone(file),
                    part,
                    first_row,
                }),
                num_rows,
            };
            first_row += num_rows;
            shard
        });
    Ok(parts.collect())
}

/// One schema for two files with the same columns; a title may be in one of them only.
fn shared_schema(
    (first, first_place): (&Schema, &str),
    (second, place): (&Schema, &str),
) -> Result<Schema> {
    const TITLE: &str = "title";
    let mut fields: Vec<Field> = first
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let names: Vec<&str> = second
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    for field in &mut fields {
        let Ok(other) = second.field_with_name(field.name()) else {
            if field.name() == TITLE {
                continue;
            }
            return Err(unknown_column(place, field.name(), &names));
        };
        let wide = wider(field.data_type(), other.data_type()).ok_or_else(|| Error::Columns {
            place: place.to_owned(),
            problem: format!(
                "column `{}` holds {}, and {} in `{first_place}`",
                field.name(),
                type_name(other.data_type()),
                type_name(field.data_type()),
            ),
        })?;
        *field = field.clone().with_data_type(wide);
    }
    for (position, field) in second.fields().iter().enumerate() {
        if first.field_with_name(field.name()).is_ok() {
            continue;
        }
        if field.name() != TITLE {
            return Err(Error::Columns {
                place: place.to_owned(),
                problem: format!("column `{}` is not in `{first_place}`", field.name()),
            });
        }
        fields.insert(position.min(fields.len()), field.as_ref().clone());
    }
    Ok(Schema::new(fields))
}

impl Shard {
    /// Starts to read the columns of `schema`.
    pub(super) fn open(&self, schema: &SchemaRef) -> Result<ShardReader> {
        Ok(match &self.source {
            Source::File(part) => ShardReader::File(part.open(schema)?),
            Source::Database(part) => ShardReader::Rows(Some(part.read(schema)?)),
            Source::Memory(table) => ShardReader::Rows(Some(table.clone())),
        })
    }
}

impl FilePart {
    fn open(&self, schema: &SchemaRef) -> Result<FileReader> {
        let batches = self.file.batches(self.part, schema, PART);
        Ok(FileReader {
            batches: batches.map_err(|error| self.local.renamed(error))?,
            next_row: self.first_row,
            part: self.clone(),
        })
    }
}

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
    part: FilePart,
    batches: Batches,
    next_row: u64,
}

impl FileReader {
    fn next_part(&mut self, schema: &SchemaRef) -> Result<Option<Table>> {
        let FilePart { local, file, .. } = &self.part;
        let batch = guarded(file.path(), || self.batches.next().transpose())
            .map_err(|error| local.renamed(error))?;
        let Some(batch) = batch else {
            return Ok(None);
        };
        let chunk = file.chunk(&batch, schema, self.next_row);
        let part = chunk.map(|chunk| Table::from_normal(Arc::clone(schema), vec![chunk], None));
        self.next_row += batch.num_rows() as u64;
        local.named(part).map(Some)
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader")
            .field("part", &self.part)
            .field("next_row", &self.next_row)
            .finish_non_exhaustive()
    }
}
