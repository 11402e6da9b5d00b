//! What people do to a table before training. Every operation returns another table and copies no text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, Result};
use crate::random::Pcg64;
use crate::table::{Chunk, Table, check_names};

/// How large a part of [`Table::train_test_split`] is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SplitSize {
    /// A fraction of the rows, in `0..=1`; the test part is rounded up, the train part down.
    Fraction(f64),
    /// A number of rows.
    Rows(usize),
}

/// A row as [`Table::filter`] and [`Table::map_text`] see it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    row: usize,
}

impl<'a> Row<'a> {
    /// The text in `column`; `None` if there is no such column, or it holds null or no text.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        self.table
            .text_at(self.table.column_index(column).ok()?, self.row)
    }

    /// The number in `column`; `None` if there is no such column, or it holds null or no number.
    pub fn number(&self, column: &str) -> Option<f64> {
        let (array, offset) = self
            .table
            .cell(self.table.column_index(column).ok()?, self.row);
        crate::label::number(array, offset)
    }
}

impl Table {
    /// Chooses rows by position; the order is kept and repeats are allowed.
    ///
    /// # Errors
    ///
    /// If a position is beyond the end.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        if let Some(&row) = rows.iter().find(|&&row| row >= self.num_rows()) {
            return Err(Error::OutOfRange {
                place: self.place().to_owned(),
                row,
                num_rows: self.num_rows(),
            });
        }
        Ok(self.with_rows(rows.iter().map(|&row| self.stored(row)).collect()))
    }

    /// The rows of a range of positions.
    ///
    /// # Errors
    ///
    /// If the range ends beyond the last row.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        self.select(&range.collect::<Vec<_>>())
    }

    /// Keeps exactly these columns, in this order.
    ///
    /// # Errors
    ///
    /// If there is no such column, or one is named twice.
    pub fn select_columns(&self, names: &[impl AsRef<str>]) -> Result<Self> {
        let indices = names
            .iter()
            .map(|name| self.column_index(name.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let schema = self
            .schema()
            .project(&indices)
            .map_err(|source| self.arrow_error(source))?;
        check_names(self.place(), &schema)?;
        self.with_chunks(schema, |chunk| {
            chunk
                .batch
                .project(&indices)
                .map_err(|source| self.arrow_error(source))
        })
    }

    /// Leaves these columns out.
    ///
    /// # Errors
    ///
    /// If there is no such column.
    pub fn remove_columns(&self, names: &[impl AsRef<str>]) -> Result<Self> {
        for name in names {
            self.column_index(name.as_ref())?;
        }
        let kept: Vec<&str> = self
            .column_names()
            .into_iter()
            .filter(|column| !names.iter().any(|name| name.as_ref() == *column))
            .collect();
        self.select_columns(&kept)
    }

    /// Gives columns other names, in place.
    ///
    /// # Errors
    ///
    /// If there is no such column, or a new name is taken.
    pub fn rename_columns(&self, names: &BTreeMap<String, String>) -> Result<Self> {
        for name in names.keys() {
            self.column_index(name)?;
        }
        let fields: Vec<Field> = self
            .schema()
            .fields()
            .iter()
            .map(|field| match names.get(field.name()) {
                Some(new) => field.as_ref().clone().with_name(new),
                None => field.as_ref().clone(),
            })
            .collect();
        let schema = Schema::new(fields);
        check_names(self.place(), &schema)?;
        let renamed = Arc::new(schema.clone());
        self.with_chunks(schema, |chunk| {
            RecordBatch::try_new(Arc::clone(&renamed), chunk.batch.columns().to_vec())
                .map_err(|source| self.arrow_error(source))
        })
    }

    /// Puts the rows in the order that Hugging Face Datasets gives them for the same seed (NumPy's PCG64).
    pub fn shuffle(&self, seed: u64) -> Self {
        let order = Pcg64::new(seed).permutation(self.num_rows());
        self.with_rows(order.into_iter().map(|row| self.stored(row)).collect())
    }

    /// Keeps the rows for which `keep` is true.
    pub fn filter(&self, mut keep: impl FnMut(Row<'_>) -> bool) -> Self {
        let rows = (0..self.num_rows())
            .filter(|&row| keep(Row { table: self, row }))
            .map(|row| self.stored(row))
            .collect();
        self.with_rows(rows)
    }

    /// Computes a column of text from every row; a column of that name is replaced in place, else it comes last.
    ///
    /// # Errors
    ///
    /// If Arrow can't gather the chosen rows (more than 2 GiB of text in one batch).
    pub fn map_text(
        &self,
        column: &str,
        mut compute: impl FnMut(Row<'_>) -> String,
    ) -> Result<Self> {
        let texts: Vec<String> = (0..self.num_rows())
            .map(|row| compute(Row { table: self, row }))
            .collect();
        self.with_text_column(column, &texts)
    }

    /// Sets a column of text, one for each row.
    pub(crate) fn with_text_column(&self, column: &str, texts: &[impl AsRef<str>]) -> Result<Self> {
        let mut fields: Vec<Field> = self
            .schema()
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        let new = Field::new(column, DataType::Utf8, true);
        let index = self.schema().index_of(column).ok();
        match index {
            Some(index) => fields[index] = new,
            None => fields.push(new),
        }
        let schema = Arc::new(Schema::new(fields));
        let mut row = 0;
        let mut chunks = Vec::new();
        for batch in self.to_batches()? {
            let (file, first_row) = self.origin(row);
            let end = row + batch.num_rows();
            let array: ArrayRef = Arc::new(StringArray::from_iter_values(&texts[row..end]));
            let mut columns = batch.columns().to_vec();
            match index {
                Some(index) => columns[index] = array,
                None => columns.push(array),
            }
            let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
                .map_err(|source| self.arrow_error(source))?;
            chunks.push(Chunk {
                batch,
                file: file.into(),
                first_row,
            });
            row = end;
        }
        let table = Self::from_normal(schema, chunks, None);
        Ok(match self.name() {
            Some(name) => table.with_name(name),
            None => table,
        })
    }

    /// Cuts the table in a train and a test part, with the sizes, the order and the shuffle of Hugging Face Datasets:
    /// a missing size is the complement of the other, a quarter is tested if both are missing; with a seed the rows are
    /// permuted as by [`shuffle`](Self::shuffle), the first are the test rows and the following the train rows;
    /// without a seed the first are the train rows.
    ///
    /// # Errors
    ///
    /// If a size is out of range, both together exceed the table, or the train part would be empty.
    pub fn train_test_split(
        &self,
        test_size: Option<SplitSize>,
        train_size: Option<SplitSize>,
        seed: Option<u64>,
    ) -> Result<(Self, Self)> {
        let num_rows = self.num_rows();
        if num_rows == 0 {
            return Ok((self.clone(), self.clone()));
        }
        let test = match (test_size, train_size) {
            (None, None) => Some(size_in_rows(
                "test_size",
                SplitSize::Fraction(0.25),
                num_rows,
                f64::ceil,
            )?),
            (Some(size), _) => Some(size_in_rows("test_size", size, num_rows, f64::ceil)?),
            (None, Some(_)) => None,
        };
        let train = train_size
            .map(|size| size_in_rows("train_size", size, num_rows, f64::floor))
            .transpose()?;
        let test = test.unwrap_or_else(|| num_rows - train.unwrap_or(0));
        let train = train.unwrap_or(num_rows - test);
        if train == 0 || test + train > num_rows {
            return Err(Error::Setting {
                key: "train_size",
                problem: format!(
                    "of {train} rows and `test_size` of {test} rows do not fit a table of {num_rows} rows"
                ),
            });
        }
        let (train_rows, test_rows) = match seed {
            Some(seed) => {
                let mut order = Pcg64::new(seed).permutation(num_rows);
                let rest = order.split_off(test);
                (rest[..train].to_vec(), order)
            }
            None => ((0..train).collect(), (train..train + test).collect()),
        };
        Ok((self.select(&train_rows)?, self.select(&test_rows)?))
    }

    fn with_chunks(
        &self,
        schema: Schema,
        mut change: impl FnMut(&Chunk) -> Result<RecordBatch>,
    ) -> Result<Self> {
        let chunks = self
            .chunks()
            .iter()
            .map(|chunk| {
                Ok(Chunk {
                    batch: change(chunk)?,
                    ..chunk.clone()
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let table = Self::from_normal(Arc::new(schema), chunks, self.rows().cloned());
        Ok(match self.name() {
            Some(name) => table.with_name(name),
            None => table,
        })
    }
}

fn size_in_rows(
    key: &'static str,
    size: SplitSize,
    num_rows: usize,
    round: fn(f64) -> f64,
) -> Result<usize> {
    let rows = match size {
        SplitSize::Rows(rows) => rows,
        SplitSize::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
            round(fraction * num_rows as f64) as usize
        }
        SplitSize::Fraction(fraction) => {
            return Err(Error::Setting {
                key,
                problem: format!("must be a fraction between 0 and 1; got {fraction}"),
            });
        }
    };
    if rows > num_rows {
        return Err(Error::Setting {
            key,
            problem: format!("must be at most {num_rows}, the number of rows; got {rows}"),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn numbered(n: usize) -> Table {
        let texts: Vec<String> = (0..n).map(|i| i.to_string()).collect();
        Table::from_columns([("text", Column::from(texts))]).unwrap()
    }

    fn texts(table: &Table) -> Vec<&str> {
        (0..table.num_rows())
            .map(|row| table.text(table.column_names()[0], row).unwrap().unwrap())
            .collect()
    }

    #[test]
    fn shuffle_gives_the_order_of_hugging_face_datasets() {
        assert_eq!(
            texts(&numbered(10).shuffle(42)),
            ["5", "6", "0", "7", "3", "2", "4", "9", "1", "8"]
        );
    }

    #[test]
    fn train_test_split_gives_the_parts_of_hugging_face_datasets() {
        // Recorded from datasets 5.2.0.
        let (train, test) = numbered(10).train_test_split(None, None, Some(42)).unwrap();
        assert_eq!(texts(&test), ["5", "6", "0"]);
        assert_eq!(texts(&train), ["7", "3", "2", "4", "9", "1", "8"]);
        let (train, test) = numbered(5)
            .train_test_split(Some(SplitSize::Rows(2)), None, None)
            .unwrap();
        assert_eq!(
            (texts(&train), texts(&test)),
            (vec!["0", "1", "2"], vec!["3", "4"])
        );
        let error = numbered(5)
            .train_test_split(Some(SplitSize::Rows(5)), None, None)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`train_size` of 0 rows and `test_size` of 5 rows do not fit a table of 5 rows"
        );
        assert!(
            numbered(5)
                .train_test_split(Some(SplitSize::Fraction(1.5)), None, None)
                .is_err()
        );
    }

    #[test]
    fn operations_compose() {
        let table = numbered(10).select(&[9, 1, 1, 4]).unwrap();
        assert_eq!(texts(&table), ["9", "1", "1", "4"]);
        let table = table.filter(|row| row.text("text") != Some("1"));
        assert_eq!(texts(&table), ["9", "4"]);
        let table = table
            .map_text("twice", |row| {
                row.text("text").unwrap_or_default().repeat(2)
            })
            .unwrap();
        assert_eq!(table.column_names(), ["text", "twice"]);
        let table = table
            .rename_columns(&[("text".into(), "once".into())].into())
            .unwrap();
        let table = Table::concatenate(&[table.clone(), table.slice(0..1).unwrap()]).unwrap();
        assert_eq!(
            texts(&table.select_columns(&["twice"]).unwrap()),
            ["99", "44", "99"]
        );
        assert_eq!(
            texts(&table.remove_columns(&["twice"]).unwrap()),
            ["9", "4", "9"]
        );
    }

    #[test]
    fn wrong_rows_and_names_are_named() {
        let table = numbered(3);
        assert_eq!(
            table.select(&[3]).unwrap_err().to_string(),
            "row 3 of `from_columns` is out of range: it has 3 rows"
        );
        assert_eq!(
            table.select_columns(&["txt"]).unwrap_err().to_string(),
            "`from_columns` has no column `txt`; did you mean `text`?; it has `text`"
        );
        assert!(table.select_columns(&["text", "text"]).is_err());
        let other = table
            .rename_columns(&[("text".into(), "other".into())].into())
            .unwrap();
        assert_eq!(
            Table::concatenate(&[table, other]).unwrap_err().to_string(),
            "`from_columns`: column `other` is not in `from_columns`"
        );
    }
}
