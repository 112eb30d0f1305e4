//! Iceberg tables as inputs: pinned when a job is accepted, then read by every attempt as they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use moulin_core::{Counters, Fault, JobSpec, PlannedTable, TableInput, TableRead};
use moulin_engine::transform::{Input, Rows, ScanRows, Scanned};
use moulin_lake::{Filter, FilterTest, FilterValue, Relation, Scan, ScanCounts, TableSnapshot};
use moulin_read::{Comparison, Condition, Literal, Test};

use super::admit::planned;
use crate::worker::Worker;

/// A table that is open at one snapshot.
pub(crate) struct OpenTable {
    name: String,
    snapshot: TableSnapshot,
    counts: Arc<ScanCounts>,
}

/// Decides which snapshots a job reads: those of `before`, the same job as it was accepted earlier, where both ask for the
/// same, else what is found now. What a caller sent as pinned is of no meaning.
///
/// # Errors
/// `NotFound`: a table, a snapshot or a ref.
pub(crate) async fn pin(worker: &Worker, spec: &mut JobSpec, before: Option<&JobSpec>) -> Result<(), Fault> {
    for (name, input) in &mut spec.tables {
        let earlier = before.and_then(|before| before.tables.get(name)).filter(|earlier| earlier.asks_as(input));
        input.pinned = match earlier.and_then(|earlier| earlier.pinned) {
            Some(pin) => Some(pin),
            None => Some(worker.lake.pin(input).await?),
        };
    }
    Ok(())
}

/// Opens the tables at their snapshots.
///
/// # Errors
/// `NotFound`: a table was dropped, or a snapshot has expired.
pub(crate) async fn open(worker: &Worker, tables: &BTreeMap<String, TableInput>) -> Result<Vec<OpenTable>, Fault> {
    let mut open = Vec::with_capacity(tables.len());
    for (name, input) in tables {
        let pin = match input.pinned {
            Some(pin) => pin,
            None => worker.lake.pin(input).await?,
        };
        let snapshot = worker.lake.table_at(&input.table, pin).await?;
        open.push(OpenTable { name: name.clone(), snapshot, counts: Arc::default() });
    }
    Ok(open)
}

impl OpenTable {
    /// The table as an input of a transform. Its rows are counted in `counters` as read and as handed to the transform.
    pub(crate) fn input(&self, counters: &Arc<Counters>, files_at_a_time: usize) -> Input {
        let (snapshot, counts) = (self.snapshot.clone(), Arc::clone(&self.counts));
        let counters = Arc::clone(counters);
        let told = Arc::new(Told::default());
        let scan: ScanRows = Arc::new(move |wanted| {
            let schema = Arc::clone(snapshot.schema());
            let filters = wanted.conditions.iter().filter_map(|condition| filter(condition, &schema)).collect();
            let rows = snapshot.scan(Scan { columns: wanted.columns, filters, files_at_a_time }, Arc::clone(&counts));
            let (counts, counters, told) = (Arc::clone(&counts), Arc::clone(&counters), Arc::clone(&told));
            let rows = rows.map(move |item| {
                told.tell(&counts, &counters);
                let batch = item.map_err(|error| moulin_engine::Error::Input(Box::new(Fault::from(error))))?;
                Counters::add(&counters.rows_read, batch.num_rows() as u64);
                Counters::add(&counters.rows_in, batch.num_rows() as u64);
                Ok(batch)
            });
            Box::pin(rows)
        });
        let rows = Scanned { rows: self.snapshot.rows(), bytes: self.snapshot.bytes(), scan };
        Input { name: self.name.clone(), schema: Arc::clone(self.snapshot.schema()), rows: Rows::Scanned(rows) }
    }

    /// What was read of it so far.
    pub(crate) fn read(&self) -> TableRead {
        TableRead {
            name: self.name.clone(),
            table: self.snapshot.name().to_string(),
            snapshot_id: self.snapshot.pin().snapshot_id,
            rows_read: self.counts.rows.load(Relaxed),
            files: self.counts.files.load(Relaxed),
            files_pruned: self.counts.files_pruned.load(Relaxed),
            bytes: self.counts.bytes.load(Relaxed),
        }
    }

    /// What would be read of it.
    pub(crate) fn planned(&self) -> PlannedTable {
        PlannedTable {
            name: self.name.clone(),
            table: self.snapshot.name().to_string(),
            snapshot_id: self.snapshot.pin().snapshot_id,
            files: self.snapshot.files().unwrap_or(0),
            rows: self.snapshot.rows().unwrap_or(0),
            bytes: self.snapshot.bytes().unwrap_or(0),
            columns: planned(self.snapshot.schema()),
        }
    }

    /// Its files and bytes, which a reader of files would have counted itself.
    pub(crate) fn settle(tables: &[Self], counters: &Counters) {
        let sum = |of: fn(&ScanCounts) -> &AtomicU64| tables.iter().map(|table| of(&table.counts).load(Relaxed)).sum();
        let at_least = |counter: &AtomicU64, value: u64| counter.fetch_max(value, Relaxed);
        at_least(&counters.files_total, sum(|counts| &counts.files));
        at_least(&counters.files_done, sum(|counts| &counts.files_done));
        at_least(&counters.bytes_total, sum(|counts| &counts.bytes));
        at_least(&counters.bytes_done, sum(|counts| &counts.bytes_done));
    }
}

/// How much of a scan's figures stands in the counters of its job already.
#[derive(Default)]
struct Told {
    files: AtomicU64,
    files_done: AtomicU64,
    bytes: AtomicU64,
    bytes_done: AtomicU64,
}

impl Told {
    fn tell(&self, counts: &ScanCounts, counters: &Counters) {
        let one = |told: &AtomicU64, now: &AtomicU64, counter: &AtomicU64| {
            let now = now.load(Relaxed);
            Counters::add(counter, now.saturating_sub(told.fetch_max(now, Relaxed)));
        };
        one(&self.files, &counts.files, &counters.files_total);
        one(&self.files_done, &counts.files_done, &counters.files_done);
        one(&self.bytes, &counts.bytes, &counters.bytes_total);
        one(&self.bytes_done, &counts.bytes_done, &counters.bytes_done);
    }
}

fn filter(condition: &Condition, schema: &SchemaRef) -> Option<Filter> {
    let column = schema.index_of(&condition.column).ok()?;
    let test = match &condition.test {
        Test::IsNull => FilterTest::IsNull,
        Test::IsNotNull => FilterTest::IsNotNull,
        Test::OneOf(_) => return None,
        Test::Compare(comparison, literal) => FilterTest::Compare(relation(*comparison), value(literal)?),
    };
    Some(Filter { column, test })
}

fn relation(comparison: Comparison) -> Relation {
    match comparison {
        Comparison::Equal => Relation::Equal,
        Comparison::Less => Relation::Less,
        Comparison::LessOrEqual => Relation::LessOrEqual,
        Comparison::Greater => Relation::Greater,
        Comparison::GreaterOrEqual => Relation::GreaterOrEqual,
    }
}

fn value(literal: &Literal) -> Option<FilterValue> {
    Some(match literal {
        Literal::Boolean(value) => FilterValue::Boolean(*value),
        Literal::Long(value) => FilterValue::Long(*value),
        Literal::Text(text) => FilterValue::Text(text.clone()),
        Literal::Date(days) => FilterValue::Date(*days),
        Literal::Timestamp(micros) => FilterValue::Timestamp(*micros),
        Literal::Decimal { .. } => return None,
    })
}
