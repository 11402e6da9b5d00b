//! A file of rows: gone through once, then read as often as needed, at once or in parts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::budget::Budget;
use super::delimited::Delimited;
use super::engine::BATCH_ROWS;
use super::json::Json;
use super::{
    BatchSize, Format, KNOWN_FORMATS, ReadLimits, ReadOptions, arrow_ipc, delimited, guarded, json,
    malformed, parquet, refuse_no_bytes, require, text,
};
use crate::columns::LABEL_COLUMNS;
use crate::error::{Error, Result};
use crate::table::{Chunk, Table, check_names, normal_type, normalize};
use crate::types::converted;

pub(crate) use super::json::LineRange;

/// Rows as they are decoded.
pub(crate) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A file whose columns are known.
#[derive(Debug, Clone)]
pub(crate) struct TableFile {
    path: PathBuf,
    layout: Layout,
    /// The chosen columns with the types that they have in a table.
    schema: SchemaRef,
    limits: ReadLimits,
}

/// What is known of the bytes of a file.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    Delimited(Delimited),
    Json(Json),
    Parquet,
    Arrow(arrow_ipc::Form),
    Text,
}

/// A part of a file that can be read apart from the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// All rows, where a file can only be read from its beginning.
    Whole,
    /// A row group of Parquet.
    RowGroup(usize),
    /// Lines of JSON.
    Lines(LineRange),
}

impl TableFile {
    /// Finds the columns of a file. CSV, TSV and JSON are gone through, and their faults are found.
    pub(crate) fn open(path: &Path, options: &ReadOptions) -> Result<Self> {
        let format = options
            .format
            .or_else(|| Format::from_path(path))
            .ok_or_else(|| Error::UnknownFormat {
                path: path.to_owned(),
                known: KNOWN_FORMATS.to_owned(),
            })?;
        require(path)?;
        if format != Format::Text {
            refuse_no_bytes(path)?;
        }
        let (delimiter, limits) = (options.delimiter, &options.limits);
        guarded(path, || {
            let (layout, stored) = match format {
                Format::Csv => delimited::open(path, delimiter.unwrap_or(b','), true, limits)?,
                Format::Tsv => delimited::open(path, delimiter.unwrap_or(b'\t'), false, limits)?,
                Format::Json => json::open(path, &options.columns, limits)?,
                Format::Parquet => (Layout::Parquet, parquet::schema(path)?),
                Format::Arrow => arrow_ipc::open(path)?,
                Format::Text => (Layout::Text, text::schema()),
            };
            let place = path.display().to_string();
            limits.check_columns(&place, stored.fields().len())?;
            check_names(&place, &stored)?;
            let chosen = stored.project(&options.columns.positions(&place, &stored)?);
            let chosen = chosen.map_err(|error| malformed(path, error.to_string()))?;
            check_names(&place, &chosen)?;
            let fields = chosen.fields().iter();
            let fields =
                fields.map(|field| Field::new(field.name(), normal_type(field.data_type()), true));
            Ok(Self {
                path: path.to_owned(),
                layout,
                schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
                limits: *limits,
            })
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The chosen columns, with the types that they have in a table.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// All rows.
    pub(crate) fn read(&self) -> Result<Table> {
        let mut chunks = Vec::new();
        let mut first_row = 1;
        let mut budget = Budget::of_machine();
        let mut batches = self.batches(Part::Whole, &self.schema, self.whole())?;
        while let Some(batch) = guarded(&self.path, || batches.next().transpose())? {
            let chunk = self.chunk(&batch, &self.schema, first_row)?.shrunk()?;
            // Arrays of Arrow IPC share one buffer, which counts once.
            let columns = chunk.batch.columns().iter();
            let bytes = columns.map(|column| {
                let bytes = column.to_data().get_slice_memory_size();
                bytes.unwrap_or_else(|_| column.get_array_memory_size())
            });
            budget.take(&self.path, bytes.sum())?;
            first_row += chunk.batch.num_rows() as u64;
            chunks.push(chunk);
        }
        let table = Table::from_chunks(&self.schema, chunks)?;
        match self.layout {
            Layout::Delimited(_) => table.with_written_types(),
            _ => Ok(table),
        }
    }

    /// Rows that are decoded together where all are held.
    fn whole(&self) -> BatchSize {
        BatchSize {
            rows: BATCH_ROWS,
            bytes: self.limits.max_batch_bytes,
        }
    }

    /// Types of label columns as [`read`](Self::read) finds them: of CSV they depend on all rows.
    pub(crate) fn with_label_types(mut self) -> Result<Self> {
        if !matches!(self.layout, Layout::Delimited(_)) {
            return Ok(self);
        }
        let mut fields: Vec<Field> = self
            .schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        for field in &mut fields {
            if LABEL_COLUMNS.contains(&field.name().as_str()) {
                let label = Self {
                    schema: Arc::new(Schema::new(vec![field.clone()])),
                    ..self.clone()
                };
                *field = label.read()?.schema().field(0).clone();
            }
        }
        self.schema = Arc::new(Schema::new(fields));
        Ok(self)
    }

    /// The parts that can be read apart, and the number of rows of each.
    pub(crate) fn parts(&self, range_bytes: u64) -> Result<Vec<(Part, u64)>> {
        guarded(&self.path, || {
            Ok(match &self.layout {
                Layout::Parquet => {
                    let groups = parquet::row_groups(&self.path)?.into_iter().enumerate();
                    groups.map(|(i, n)| (Part::RowGroup(i), n)).collect()
                }
                Layout::Json(json) => match json.ranges(&self.path, range_bytes)? {
                    Some(ranges) => {
                        let part = |(range, n)| (Part::Lines(range), n);
                        ranges.into_iter().map(part).collect()
                    }
                    None => vec![(Part::Whole, json.num_rows)],
                },
                Layout::Delimited(delimited) => vec![(Part::Whole, delimited.num_rows)],
                Layout::Arrow(_) | Layout::Text => {
                    let batches = self.batches(Part::Whole, &self.schema, self.whole())?;
                    let counted = batches.map(|batch| Ok(batch?.num_rows() as u64));
                    vec![(Part::Whole, counted.sum::<Result<u64>>()?)]
                }
            })
        })
    }

    /// Rows of a part, so many at a time: the columns of the file that `schema` names, and perhaps others. Arrow has its own
    /// batches.
    pub(crate) fn batches(&self, part: Part, schema: &Schema, size: BatchSize) -> Result<Batches> {
        let path = &self.path;
        let bytes = size.bytes.min(self.limits.max_batch_bytes);
        let size = BatchSize { bytes, ..size };
        let fields = schema.fields().iter();
        let names: Vec<&str> = fields
            .map(|field| field.name().as_str())
            .filter(|name| self.schema.field_with_name(name).is_ok())
            .collect();
        guarded(path, || match &self.layout {
            Layout::Delimited(delimited) => delimited.batches(path, &names, size),
            Layout::Json(json) => {
                let range = match part {
                    Part::Lines(range) => Some(range),
                    _ => None,
                };
                json.batches(path, range, &names, size)
            }
            Layout::Parquet => {
                let group = match part {
                    Part::RowGroup(group) => Some(group),
                    _ => None,
                };
                parquet::batches(path, group, &names, size)
            }
            Layout::Arrow(form) => arrow_ipc::batches(path, *form, &names),
            Layout::Text => text::batches(path, size, self.limits),
        })
    }

    /// Decoded rows as the columns of `schema`; one that the file lacks holds nothing.
    pub(crate) fn chunk(
        &self,
        batch: &RecordBatch,
        schema: &SchemaRef,
        first_row: u64,
    ) -> Result<Chunk> {
        let failed =
            |error: datafusion::arrow::error::ArrowError| malformed(&self.path, error.to_string());
        let stored = batch.schema();
        let column = |field: &Arc<Field>| {
            let Ok(index) = stored.index_of(field.name()) else {
                return Ok(new_null_array(&DataType::Null, batch.num_rows()));
            };
            let array = batch.column(index);
            match &self.layout {
                // Labels, whose texts may have blanks around them.
                Layout::Delimited(_) => converted(array, field.data_type()).map_err(failed),
                _ => Ok(Arc::clone(array)),
            }
        };
        let columns = schema.fields().iter().map(column);
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let field = |(field, array): (&Arc<Field>, &ArrayRef)| {
            Field::new(field.name(), array.data_type().clone(), true)
        };
        let fields: Vec<Field> = schema.fields().iter().zip(&columns).map(field).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let fields = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new_with_options(fields, columns, &options).map_err(failed)?;
        let chunk = Chunk {
            batch,
            file: self.path.display().to_string().into(),
            first_row,
        };
        normalize(chunk, schema)
    }
}
