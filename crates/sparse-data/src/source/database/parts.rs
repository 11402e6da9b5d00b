//! Parts of a table that can be read apart: ranges of its key.

use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::table::DatabaseTable;
use crate::error::{Error, Result};
use crate::source::engine::block_on;
use crate::table::Table;

/// Rows of a part. They are read at once.
const PART_ROWS: u64 = 1024;

/// A range of rows in the order of the key.
#[derive(Debug, Clone)]
pub(crate) struct DatabasePart {
    table: DatabaseTable,
    /// What the keys of the rows meet; nothing if all rows do.
    condition: Option<String>,
    num_rows: u64,
    first_row: u64,
}

impl DatabaseTable {
    /// The parts of the table, and names and types of the columns asked for.
    pub(crate) fn parts(&self, columns: Option<&[String]>) -> Result<(Schema, Vec<DatabasePart>)> {
        let columns = self.positions(columns)?;
        let schema = self.relation().select(&columns, None, None, 1).schema;
        let key = &self.relation().key;
        if key.is_empty() {
            return Err(Error::Setting {
                key: "streaming",
                problem: format!(
                    "needs a table with a primary key, by which it is read in parts; {} has none",
                    self.place()
                ),
            });
        }
        let (num_rows, starts) = self.boundaries(key)?;
        let ends = starts.iter().skip(1).map(Some).chain([None]);
        let parts = starts
            .iter()
            .zip(ends)
            .enumerate()
            .map(|(i, (start, end))| {
                let first_row = i as u64 * PART_ROWS + 1;
                let keys = key.join(", ");
                // The first part has no lower bound and the last no upper one, so that no row can stand outside.
                let lower = (i > 0).then(|| format!("({keys}) >= ({})", start.join(", ")));
                let upper = end.map(|end| format!("({keys}) < ({})", end.join(", ")));
                let bounds: Vec<String> = lower.into_iter().chain(upper).collect();
                DatabasePart {
                    table: self.clone(),
                    condition: (!bounds.is_empty()).then(|| bounds.join(" AND ")),
                    num_rows: PART_ROWS.min(num_rows + 1 - first_row),
                    first_row,
                }
            });
        Ok((schema.as_ref().clone(), parts.collect()))
    }

    /// The number of rows, and the keys with which parts begin, as they are written in a query.
    fn boundaries(&self, key: &[String]) -> Result<(u64, Vec<Vec<String>>)> {
        let from = &self.relation().from;
        let literals: Vec<String> = key
            .iter()
            .enumerate()
            .map(|(i, column)| format!("{} AS k{i}", self.driver().literal(column)))
            .collect();
        let names: Vec<String> = (0..key.len()).map(|i| format!("k{i}")).collect();
        let starts = format!(
            "SELECT {} FROM (SELECT row_number() OVER (ORDER BY {}) AS n, {} FROM {from}) AS numbered \
             WHERE n % {PART_ROWS} = 1 ORDER BY n",
            names.join(", "),
            key.join(", "),
            literals.join(", ")
        );
        let count = format!("SELECT CAST(count(*) AS text) FROM {from}");
        let (count, starts) = block_on(async {
            let count = self.driver().rows(count).await?;
            Ok::<_, String>((count, self.driver().rows(starts).await?))
        })?
        .map_err(|problem| self.failed(problem))?;
        let count = count.into_iter().flatten().next();
        let count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
        Ok((count, starts))
    }
}

impl DatabasePart {
    pub(crate) fn num_rows(&self) -> u64 {
        self.num_rows
    }

    /// Reads the columns of `schema`.
    pub(crate) fn read(&self, schema: &SchemaRef) -> Result<Table> {
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let columns = self.table.positions(Some(&names))?;
        let relation = self.table.relation();
        let select = relation.select(&columns, self.condition.as_deref(), None, self.first_row);
        let rows = self.table.collect(select)?;
        if rows.num_rows() as u64 != self.num_rows {
            return Err(self.table.failed(format!(
                "rows were added or removed while it was streamed: of the {} from row {} on there are {}",
                self.num_rows,
                self.first_row,
                rows.num_rows()
            )));
        }
        Ok(rows)
    }
}
