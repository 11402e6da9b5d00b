//! Which columns of a file are read.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::Schema;

use crate::error::{Error, Result, list_names, nearest};
use crate::table::Table;

type Rule = dyn Fn(&str, &[&str]) -> Result<Vec<String>> + Send + Sync;

/// The columns of a file that are read; what the others hold is of no concern.
#[derive(Clone, Default)]
pub(crate) enum Choice {
    /// All of them.
    #[default]
    All,
    /// These, in this order.
    These(Vec<String>),
    /// Those that a rule finds among the names of a file's columns; it is told the file for its messages.
    By(Arc<Rule>),
}

impl Choice {
    /// The columns that `rule` finds among the names of a file's columns.
    pub(crate) fn by(
        rule: impl Fn(&str, &[&str]) -> Result<Vec<String>> + Send + Sync + 'static,
    ) -> Self {
        Self::By(Arc::new(rule))
    }

    /// These columns, or all.
    pub(crate) fn of(columns: Option<&[String]>) -> Self {
        columns.map_or(Self::All, |columns| Self::These(columns.to_vec()))
    }

    /// The names chosen, of a file that has `names`; none where all are.
    pub(crate) fn names(&self, place: &str, names: &[&str]) -> Result<Option<Vec<String>>> {
        let chosen = match self {
            Self::All => return Ok(None),
            Self::These(columns) => columns.clone(),
            Self::By(rule) => rule(place, names)?,
        };
        match chosen.iter().find(|name| !names.contains(&name.as_str())) {
            Some(column) => Err(unknown_column(place, column, names)),
            None => Ok(Some(chosen)),
        }
    }

    /// Positions of the columns chosen in a file's schema, in the order asked for.
    pub(super) fn positions(&self, place: &str, schema: &Schema) -> Result<Vec<usize>> {
        let fields = schema.fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        Ok(match self.names(place, &names)? {
            None => (0..names.len()).collect(),
            Some(chosen) => {
                let position = |name: &String| names.iter().position(|known| known == name);
                chosen.iter().filter_map(position).collect()
            }
        })
    }

    /// Gives the tables of several files one set of columns: where a rule found a title in some only, the others have none.
    pub(super) fn align(&self, mut tables: Vec<Table>) -> Result<Vec<Table>> {
        const TITLE: &str = "title";
        if !matches!(self, Self::By(_)) {
            return Ok(tables);
        }
        let position = |table: &Table| table.column_names().iter().position(|name| *name == TITLE);
        let Some(titled) = tables.iter().find_map(position) else {
            return Ok(tables);
        };
        for table in tables.iter_mut().filter(|table| position(table).is_none()) {
            *table = table.clone().with_null_column(TITLE, titled)?;
        }
        Ok(tables)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::These(columns) => f.debug_tuple("These").field(columns).finish(),
            Self::By(_) => f.write_str("By"),
        }
    }
}

/// The error for a column that is not among `names`.
pub(crate) fn unknown_column(place: &str, column: &str, names: &[&str]) -> Error {
    Error::UnknownColumn {
        place: place.to_owned(),
        column: column.to_owned(),
        nearest: nearest(column, names.iter().copied()),
        known: list_names(names.iter().copied()),
    }
}
