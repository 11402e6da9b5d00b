//! The text of the queries that read a table.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// A column of a table or of a query, and how it is asked for.
#[derive(Debug, Clone)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    /// The expression that gives its values in a type that Arrow has.
    pub(super) value: String,
    /// The expression that orders rows by it, byte by byte where it holds text.
    pub(super) sort: String,
    /// The type that it has in a table.
    pub(super) data_type: DataType,
}

/// A table, or a query, as a database describes it.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) columns: Vec<RelationColumn>,
    /// What stands after `FROM`.
    pub(super) from: String,
    /// What stands after `ORDER BY`; nothing for a query that has an order of its own.
    pub(super) order: Vec<String>,
    /// Quoted columns that tell each row from all others and are never null, if there are any.
    pub(super) key: Vec<String>,
}

/// A query that reads rows.
#[derive(Debug, Clone)]
pub(super) struct Select {
    pub(super) sql: String,
    /// Columns of the answer.
    pub(super) schema: SchemaRef,
    /// Row of the table that comes first, counted from 1.
    pub(super) first_row: u64,
}

impl Relation {
    /// A whole table, in the order of its key.
    pub(super) fn of_table(from: String, columns: Vec<RelationColumn>, key: Vec<String>) -> Self {
        let order = if key.is_empty() {
            sorts(&columns)
        } else {
            key.clone()
        };
        Self {
            columns,
            from,
            order,
            key,
        }
    }

    /// The answer to a query. Rows that equal each other in all columns can change places unseen, so ordering by all of
    /// them gives a query without an order the same one every time.
    pub(super) fn of_query(query: &str, columns: Vec<RelationColumn>) -> Self {
        let order = if has_order(query) {
            Vec::new()
        } else {
            sorts(&columns)
        };
        Self {
            columns,
            from: subquery(query),
            order,
            key: Vec::new(),
        }
    }

    /// Names and types of all columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.schema_of(&(0..self.columns.len()).collect::<Vec<_>>())
    }

    fn schema_of(&self, columns: &[usize]) -> SchemaRef {
        let fields: Vec<Field> = columns
            .iter()
            .map(|&column| &self.columns[column])
            .map(|column| Field::new(&column.name, column.data_type.clone(), true))
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Reads some columns of the rows that meet a condition, or of all.
    pub(super) fn select(
        &self,
        columns: &[usize],
        condition: Option<&str>,
        limit: Option<usize>,
        first_row: u64,
    ) -> Select {
        let values: Vec<String> = columns
            .iter()
            .map(|&column| &self.columns[column])
            .map(|column| format!("{} AS {}", column.value, quoted(&column.name)))
            .collect();
        let mut sql = format!("SELECT {} FROM {}", values.join(", "), self.from);
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE {condition}"));
        }
        if !self.order.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", self.order.join(", ")));
        }
        if let Some(limit) = limit {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        Select {
            sql,
            schema: self.schema_of(columns),
            first_row,
        }
    }
}

fn sorts(columns: &[RelationColumn]) -> Vec<String> {
    columns.iter().map(|column| column.sort.clone()).collect()
}

/// A query that stands where a table may. The line end closes a comment.
pub(super) fn subquery(query: &str) -> String {
    format!("({}\n) AS data", trimmed(query))
}

/// A query without the semicolon at its end.
pub(super) fn trimmed(query: &str) -> &str {
    query.trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// A name as both databases take it literally.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a query orders its rows: `order by` outside of parentheses, quotes and comments.
fn has_order(query: &str) -> bool {
    let mut outside = String::new();
    let mut depth = 0_usize;
    let mut rest = query.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\'' | '"' => {
                let _ = rest.by_ref().find(|&next| next == c);
            }
            '-' if rest.peek() == Some(&'-') => {
                let _ = rest.by_ref().find(|&next| next == '\n');
                outside.push(' ');
            }
            '/' if rest.peek() == Some(&'*') => {
                let mut last = ' ';
                let _ = rest.by_ref().find(|&next| {
                    let ends = last == '*' && next == '/';
                    last = next;
                    ends
                });
                outside.push(' ');
            }
            _ if depth == 0 => outside.extend(c.to_lowercase()),
            _ => {}
        }
        if matches!(c, '(' | ')' | '\'' | '"') {
            outside.push(' ');
        }
    }
    let words: Vec<&str> = outside.split_whitespace().collect();
    words.windows(2).any(|pair| pair == ["order", "by"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> RelationColumn {
        RelationColumn {
            name: name.to_owned(),
            value: quoted(name),
            sort: quoted(name),
            data_type: DataType::Utf8,
        }
    }

    #[test]
    fn rows_are_ordered_by_the_key_or_by_everything() {
        let columns = || vec![column("a"), column("b\"c")];
        let table = Relation::of_table("t".to_owned(), columns(), vec!["rowid".to_owned()]);
        assert_eq!(
            table.select(&[1], Some("rowid >= 5"), Some(2), 5).sql,
            r#"SELECT "b""c" AS "b""c" FROM t WHERE rowid >= 5 ORDER BY rowid LIMIT 2"#
        );
        let view = Relation::of_table("v".to_owned(), columns(), Vec::new());
        assert_eq!(
            view.select(&[0], None, None, 1).sql,
            r#"SELECT "a" AS "a" FROM v ORDER BY "a", "b""c""#
        );
        let query = Relation::of_query("select * from t -- all;", columns());
        assert_eq!(
            query.select(&[0], None, None, 1).sql,
            "SELECT \"a\" AS \"a\" FROM (select * from t -- all\n) AS data ORDER BY \"a\", \"b\"\"c\""
        );
        let ordered = Relation::of_query("select * from t order by a;\n", columns());
        assert_eq!(
            ordered.select(&[0], None, None, 1).sql,
            "SELECT \"a\" AS \"a\" FROM (select * from t order by a\n) AS data"
        );
    }

    #[test]
    fn an_order_is_found_where_it_counts() {
        for (query, expected) in [
            ("select a from t ORDER\n  BY a", true),
            ("select a from t where (b)order by a", true),
            ("select a from (select a from t order by a) as s", false),
            ("select row_number() over (order by a) from t", false),
            ("select 'order by' from t", false),
            ("select \"order by\" from t", false),
            ("select a from t -- order by a\n", false),
            ("select a from t /* order by a */ limit 5", false),
            ("select a from t /* (first) */ order /* so */ by a", true),
            ("select reorder, by from t", false),
        ] {
            assert_eq!(has_order(query), expected, "{query}");
        }
    }
}
