//! A database's table as a table of DataFusion.

use std::pin::Pin;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;

use super::relation::Select;
use super::table::DatabaseTable;

/// The columns that a query does not name stay in the database, and so do the rows beyond a limit. Conditions are not handed
/// over: what a comparison of texts means differs from database to database, and `sql` means the same for every source.
#[derive(Debug)]
pub(super) struct Provider(pub(super) DatabaseTable);

type Plan<'a> = Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'a>>;

impl TableProvider for Provider {
    fn schema(&self) -> SchemaRef {
        self.0.relation().schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn scan<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        _: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _: &'d [Expr],
        limit: Option<usize>,
    ) -> Plan<'e>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        Box::pin(async move {
            let schema = self.schema();
            let all: Vec<usize> = (0..schema.fields().len()).collect();
            let columns = projection.cloned().unwrap_or(all);
            let schema = Arc::new(schema.project(&columns)?);
            // Where only the number of rows counts, some column has to tell it.
            let asked = if columns.is_empty() { vec![0] } else { columns };
            let scan = Scan {
                table: self.0.clone(),
                select: self.0.relation().select(&asked, None, limit, 1),
                schema: Arc::clone(&schema),
            };
            let plan =
                StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, limit)?;
            Ok(Arc::new(plan) as Arc<dyn ExecutionPlan>)
        })
    }
}

/// One reading of the table.
#[derive(Debug)]
struct Scan {
    table: DatabaseTable,
    select: Select,
    schema: SchemaRef,
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.table.rows(self.select.clone());
        if !self.schema.fields().is_empty() {
            return rows;
        }
        let counted = rows.map(|batch| Ok(batch?.project(&[])?));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            counted,
        ))
    }
}
