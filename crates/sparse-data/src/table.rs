//! The table: rows of named columns, in Arrow.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;

pub(crate) use crate::chunk::Chunk;
use crate::error::{Error, Result, list_names, nearest};
pub(crate) use crate::schema::{check_names, normal_type, normalize, type_name};

/// Rows of named columns: random access, ordered columns, immutable.
///
/// Inside are Arrow arrays as they were read, and a list of row numbers once rows are chosen or shuffled; so a clone, a
/// slice, a shuffle or a choice of columns copies no text. Text is UTF-8, whole numbers are 64 bits, fractions
/// are `f64`, whatever the file had.
///
/// # Example
///
/// ```
/// use sparse_data::{Column, Table};
///
/// let table = Table::from_columns([
///     ("query", Column::from(["red fruit", "yellow fruit"])),
///     ("answer", Column::from(["apple", "banana"])),
///     ("id", Column::from([7, 8])),
/// ])?;
/// let pairs = table.select_columns(&["query", "answer"])?.shuffle(42);
/// assert_eq!(pairs.num_rows(), 2);
/// assert_eq!(pairs.column_names(), ["query", "answer"]);
/// # Ok::<(), sparse_data::Error>(())
/// ```
#[derive(Clone)]
pub struct Table {
    name: Option<String>,
    schema: SchemaRef,
    chunks: Arc<[Chunk]>,
    /// Boundaries of the chunks, one more than there are chunks.
    starts: Arc<[usize]>,
    /// The chosen rows in order; none means all of them as they stand.
    rows: Option<Arc<[usize]>>,
}

impl Table {
    /// Builds a table out of chunks, whose column types are made uniform.
    pub(crate) fn from_chunks(schema: &Schema, chunks: Vec<Chunk>) -> Result<Self> {
        let place = chunks
            .first()
            .map_or("table", |chunk| &*chunk.file)
            .to_owned();
        check_names(&place, schema)?;
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| Field::new(field.name(), normal_type(field.data_type()), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let chunks = chunks
            .into_iter()
            .filter(|chunk| chunk.batch.num_rows() > 0)
            .map(|chunk| normalize(chunk, &schema))
            .collect::<Result<Vec<_>>>()?;
        Self::from_normal(schema, chunks, None).with_narrow_numbers()
    }

    /// Builds a table out of chunks that all have `schema` already.
    pub(crate) fn from_normal(
        schema: SchemaRef,
        chunks: Vec<Chunk>,
        rows: Option<Arc<[usize]>>,
    ) -> Self {
        let mut starts = Vec::with_capacity(chunks.len() + 1);
        starts.push(0);
        let mut end = 0;
        for chunk in &chunks {
            end += chunk.batch.num_rows();
            starts.push(end);
        }
        Self {
            name: None,
            schema,
            chunks: chunks.into(),
            starts: starts.into(),
            rows,
        }
    }

    /// Builds a table out of Arrow record batches of one schema, for example the result of a DataFusion query.
    ///
    /// # Errors
    ///
    /// If two columns share a name, or a column can't be converted (a number beyond 64 bits).
    pub fn from_batches(batches: Vec<RecordBatch>) -> Result<Self> {
        let schema = batches
            .first()
            .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        Self::from_chunks(&schema, number_chunks("table", batches))
    }

    /// The rows as Arrow record batches, in order.
    ///
    /// # Errors
    ///
    /// If Arrow can't gather the chosen rows (more than 2 GiB of text in one batch).
    pub fn to_batches(&self) -> Result<Vec<RecordBatch>> {
        const BATCH_ROWS: usize = 8192;
        let Some(rows) = &self.rows else {
            return Ok(self
                .chunks
                .iter()
                .map(|chunk| chunk.batch.clone())
                .collect());
        };
        let sources: Vec<&RecordBatch> = self.chunks.iter().map(|chunk| &chunk.batch).collect();
        rows.chunks(BATCH_ROWS)
            .map(|part| {
                let places: Vec<(usize, usize)> =
                    part.iter().map(|&row| self.locate_stored(row)).collect();
                datafusion::arrow::compute::interleave_record_batch(&sources, &places)
                    .map_err(|source| self.arrow_error(source))
            })
            .collect()
    }

    /// Name of the data set, as the configuration gives it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same table under a name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.rows
            .as_ref()
            .map_or_else(|| self.stored_rows(), |rows| rows.len())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.num_rows() == 0
    }

    /// Names of the columns, in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect()
    }

    /// Names and types of the columns: `Utf8` text, `Int64`, `Float64`, `Boolean`, lists of these.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Memory that the Arrow arrays and the row numbers take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let arrays: usize = self
            .chunks
            .iter()
            .map(|chunk| chunk.batch.get_array_memory_size())
            .sum();
        arrays + self.rows.as_ref().map_or(0, |rows| size_of_val(&**rows))
    }

    /// The text at `row` of `column`; `None` if it is null.
    ///
    /// # Errors
    ///
    /// If there is no such column or row, or the column does not hold text.
    pub fn text(&self, column: &str, row: usize) -> Result<Option<&str>> {
        let index = self.column_index(column)?;
        self.check_row(row)?;
        self.check_text(index)?;
        Ok(self.text_at(index, row))
    }

    /// The value at `row` of `column` as text, numbers as they are printed. Null is an empty text.
    ///
    /// # Errors
    ///
    /// If there is no such column or row.
    pub fn value_as_text(&self, column: &str, row: usize) -> Result<String> {
        let index = self.column_index(column)?;
        self.check_row(row)?;
        let (array, offset) = self.cell(index, row);
        array_value_to_string(array, offset).map_err(|error| {
            let (file, row) = self.origin(row);
            Error::value(file, row, column, format!("can't be printed: {error}"))
        })
    }

    /// What the table is called in messages: its name, or the first file.
    pub(crate) fn place(&self) -> &str {
        self.name
            .as_deref()
            .or_else(|| self.chunks.first().map(|chunk| &*chunk.file))
            .unwrap_or("table")
    }

    /// The same rows said to come from one place, rows counted through from 1.
    pub(crate) fn with_place(self, place: &str) -> Self {
        let batches = self
            .chunks
            .iter()
            .map(|chunk| chunk.batch.clone())
            .collect();
        Self {
            chunks: number_chunks(place, batches).into(),
            ..self
        }
    }

    /// The same rows said to come from a file of another name.
    pub(crate) fn with_file(self, name: &str) -> Self {
        let file: Arc<str> = name.into();
        let chunks = self.chunks.iter().map(|chunk| Chunk {
            batch: chunk.batch.clone(),
            file: Arc::clone(&file),
            first_row: chunk.first_row,
        });
        Self {
            chunks: chunks.collect(),
            ..self
        }
    }

    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub(crate) fn rows(&self) -> Option<&Arc<[usize]>> {
        self.rows.as_ref()
    }

    /// Rows that the chunks hold, chosen or not.
    pub(crate) fn stored_rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The same chunks with other rows chosen; the numbers count stored rows.
    pub(crate) fn with_rows(&self, rows: Vec<usize>) -> Self {
        Self {
            rows: Some(rows.into()),
            ..self.clone()
        }
    }

    /// Stored row of a row.
    pub(crate) fn stored(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row])
    }

    fn locate_stored(&self, stored: usize) -> (usize, usize) {
        let chunk = self.starts.partition_point(|&start| start <= stored) - 1;
        (chunk, stored - self.starts[chunk])
    }

    /// Chunk and offset in it of a row.
    pub(crate) fn locate(&self, row: usize) -> (usize, usize) {
        self.locate_stored(self.stored(row))
    }

    /// File and row in the file, counted from 1.
    pub(crate) fn origin(&self, row: usize) -> (&str, u64) {
        let (chunk, offset) = self.locate(row);
        let chunk = &self.chunks[chunk];
        (&chunk.file, chunk.first_row + offset as u64)
    }

    /// Array that holds a row, and the offset in it.
    pub(crate) fn cell(&self, column: usize, row: usize) -> (&ArrayRef, usize) {
        let (chunk, offset) = self.locate(row);
        (self.chunks[chunk].batch.column(column), offset)
    }

    /// Text of a column that [`check_text`](Self::check_text) let pass.
    pub(crate) fn text_at(&self, column: usize, row: usize) -> Option<&str> {
        let (array, offset) = self.cell(column, row);
        array
            .as_string_opt::<i32>()
            .filter(|texts| texts.is_valid(offset))
            .map(|texts| texts.value(offset))
    }

    pub(crate) fn column_type(&self, column: usize) -> &DataType {
        self.schema.field(column).data_type()
    }

    /// Position of a column.
    pub(crate) fn column_index(&self, column: &str) -> Result<usize> {
        self.schema
            .index_of(column)
            .map_err(|_| Error::UnknownColumn {
                place: self.place().to_owned(),
                column: column.to_owned(),
                nearest: nearest(column, self.column_names()),
                known: list_names(self.column_names()),
            })
    }

    pub(crate) fn check_row(&self, row: usize) -> Result<()> {
        if row < self.num_rows() {
            return Ok(());
        }
        Err(Error::OutOfRange {
            place: self.place().to_owned(),
            row,
            num_rows: self.num_rows(),
        })
    }

    /// Fails unless a column holds text, or nothing but nulls.
    pub(crate) fn check_text(&self, column: usize) -> Result<()> {
        let field = self.schema.field(column);
        if matches!(field.data_type(), DataType::Utf8 | DataType::Null) {
            return Ok(());
        }
        let holds = type_name(field.data_type());
        Err(Error::Columns {
            place: self.place().to_owned(),
            problem: format!(
                "column `{}` holds {holds}, and an input column must hold text; leave it out with `columns = [...]`, which \
                 lists the inputs in order and the label, or convert it with `sql`",
                field.name(),
            ),
        })
    }

    pub(crate) fn arrow_error(&self, source: datafusion::arrow::error::ArrowError) -> Error {
        Error::Arrow {
            place: self.place().to_owned(),
            source,
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|field| format!("{}: {}", field.name(), type_name(field.data_type())))
            .collect();
        f.debug_struct("Table")
            .field("name", &self.name)
            .field("columns", &columns)
            .field("num_rows", &self.num_rows())
            .finish()
    }
}

/// Chunks of one place, their rows counted through.
pub(crate) fn number_chunks(file: &str, batches: Vec<RecordBatch>) -> Vec<Chunk> {
    let file: Arc<str> = file.into();
    let mut first_row = 1;
    batches
        .into_iter()
        .map(|batch| {
            let chunk = Chunk {
                file: Arc::clone(&file),
                first_row,
                batch,
            };
            first_row += chunk.batch.num_rows() as u64;
            chunk
        })
        .collect()
}
