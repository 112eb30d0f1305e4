//! A table that is scanned while a SELECT runs: its columns and conditions are known when the scan begins.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::StreamExt;

use super::super::input::{Scanned, Wanted};
use super::conditions::condition;
use super::table::Failure;

/// A table of the SELECT.
pub(super) struct ScannedTable {
    schema: SchemaRef,
    rows: Scanned,
    failure: Failure,
}

impl ScannedTable {
    pub(super) fn new(schema: SchemaRef, rows: Scanned, failure: Failure) -> Self {
        Self { schema, rows, failure }
    }
}

impl fmt::Debug for ScannedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScannedTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TableProvider for ScannedTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let conditions = filters.iter().filter_map(|filter| condition(filter, &self.schema)).collect();
        Ok(Arc::new(ScanExec::new(schema, self.rows.clone(), Wanted { columns, conditions }, self.failure.clone())))
    }

    // Inexact: a scan leaves out what it can, and the SELECT looks at every row that comes.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        let one = |filter: &&Expr| match condition(filter, &self.schema) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(one).collect())
    }
}

/// One scan of a table, in one partition.
struct ScanExec {
    schema: SchemaRef,
    rows: Scanned,
    wanted: Wanted,
    failure: Failure,
    properties: Arc<PlanProperties>,
}

impl ScanExec {
    fn new(schema: SchemaRef, rows: Scanned, wanted: Wanted, failure: Failure) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        Self { schema, rows, wanted, failure, properties }
    }
}

impl fmt::Debug for ScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanExec").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: columns={:?}, conditions={}", self.wanted.columns, self.wanted.conditions.len())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        _context: Arc<TaskContext>,
    ) -> datafusion::common::Result<SendableRecordBatchStream> {
        let (scan, wanted, failure) = (Arc::clone(&self.rows.scan), self.wanted.clone(), self.failure.clone());
        // Nothing is read before the first row is asked for.
        let batches = futures::stream::once(async move { scan(wanted) }).flatten().map(move |item| {
            item.map_err(|error| {
                let text = error.to_string();
                failure.lock().get_or_insert(error);
                DataFusionError::Execution(text)
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn partition_statistics(&self, _partition: Option<usize>) -> datafusion::common::Result<Statistics> {
        let about = |n: Option<u64>| match n.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Precision::Inexact(n),
            None => Precision::Absent,
        };
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = about(self.rows.rows);
        statistics.total_byte_size = about(self.rows.bytes);
        Ok(statistics)
    }
}
