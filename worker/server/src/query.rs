//! A query: SQL over tables of the catalog, read over Flight and by `moulin query`.
//!
//! A planned query is a ticket that holds everything: the SQL and the snapshots that it reads. Any worker of the same
//! catalog redeems it, as often as it is asked to, with the same rows, until a snapshot expires. No worker keeps anything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use moulin_core::{Counters, Fault, FaultKind, Pin, TableInput, TableName};
use moulin_engine::query;
use moulin_engine::transform::Prepared;
use serde::{Deserialize, Serialize};

use crate::job::admit::transform_options;
use crate::job::tables::{self, OpenTable};
use crate::worker::Worker;

/// How long a query waits for others to end before its caller is told to come again.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

/// How clients tell a worker that is busy from one that is ill (`moulin.query.is_busy` in Python): Flight gives them no
/// more than a status and these words.
const BUSY: &str = "queries run on worker";

/// What a query asks. As JSON it is the command of a Flight descriptor and a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// One SELECT over tables named `namespace.table`.
    pub(crate) sql: String,
    /// A result of more rows is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_rows: Option<u64>,
    /// A result of more bytes in memory is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// What is read of each table; those that are not named are read as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tables: BTreeMap<String, Pin>,
}

/// A query whose tables are open.
pub(crate) struct Planned {
    query: Query,
    prepared: Prepared,
    counters: Arc<Counters>,
}

/// Batches of a result.
pub(crate) type Batches = BoxStream<'static, Result<RecordBatch, Fault>>;

impl Query {
    /// A query of a command or a ticket: JSON, or SQL alone.
    ///
    /// # Errors
    /// `InvalidSpec`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let wrong = |what: String| {
            Fault::new(FaultKind::InvalidSpec, format!("the query cannot be read: {what}"))
                .with_hint("send a SELECT, or JSON: {\"sql\": \"SELECT ...\", \"max_rows\": 1000}")
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        if text.trim_start().starts_with('{') {
            return serde_json::from_str(text).map_err(|error| wrong(error.to_string()));
        }
        Ok(Self { sql: text.to_owned(), max_rows: None, max_bytes: None, tables: BTreeMap::new() })
    }

    /// Opens the tables and plans the SELECT. Reads no row.
    ///
    /// # Errors
    /// `InvalidSpec`: wrong SQL, with its place; `NotFound`: a table, or a snapshot that has expired.
    pub(crate) async fn plan(mut self, worker: &Worker) -> Result<Planned, Fault> {
        let mut inputs = BTreeMap::new();
        let mut pins = BTreeMap::new();
        for name in query::tables(&self.sql)? {
            let table: TableName = name.parse().map_err(|_| {
                Fault::new(FaultKind::InvalidSpec, format!("no table `{name}`: write namespace.table"))
                    .with_hint("a query names tables as the catalog does, e.g. SELECT * FROM bronze.flights")
            })?;
            let mut input = TableInput::new(table);
            let pin = match self.tables.get(&name) {
                Some(pin) => *pin,
                None => worker.lake.pin(&input).await?,
            };
            input.pinned = Some(pin);
            pins.insert(name.clone(), pin);
            inputs.insert(name, input);
        }
        self.tables = pins;
        let counters = Arc::new(Counters::default());
        let options = transform_options(worker);
        let open = tables::open(worker, &inputs).await?;
        let inputs = open.iter().map(|table: &OpenTable| table.input(&counters, options.threads)).collect();
        let prepared = query::prepare(&self.sql, inputs, options).await?;
        Ok(Planned { query: self, prepared, counters })
    }
}

impl Planned {
    /// The columns of the result.
    pub(crate) fn schema(&self) -> &SchemaRef {
        self.prepared.output()
    }

    /// The query with its snapshots, as a ticket.
    ///
    /// # Errors
    /// `Internal`.
    pub(crate) fn ticket(&self) -> Result<Vec<u8>, Fault> {
        serde_json::to_vec(&self.query).map_err(|e| Fault::new(FaultKind::Internal, format!("no ticket: {e}")))
    }

    /// Runs it; at most as many queries at a time as the worker has slots for jobs. Dropping the stream ends the work.
    ///
    /// # Errors
    /// `Unavailable`: too many other queries run. In the stream: what reading and computing fail with, and `InvalidSpec`
    /// for a result that is larger than was allowed.
    pub(crate) async fn run(self, worker: &Worker) -> Result<Batches, Fault> {
        let turn = tokio::time::timeout(TURN_PATIENCE, Arc::clone(&worker.queries).acquire_owned());
        let Ok(Ok(turn)) = turn.await else {
            let busy = format!("{} {BUSY} {} already", worker.config.job.slots, worker.id);
            return Err(Fault::new(FaultKind::Unavailable, busy).with_hint("ask again, or ask another worker"));
        };
        let (max_rows, max_bytes) = (self.query.max_rows, self.query.max_bytes);
        let mut made = self.prepared.apply(Box::pin(futures::stream::empty()), self.counters);
        let batches = async_stream::try_stream! {
            let _turn = turn;
            let (mut rows, mut bytes) = (0_u64, 0_u64);
            while let Some(batch) = made.next().await {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                bytes += batch.get_array_memory_size() as u64;
                within("rows", rows, max_rows)?;
                within("bytes", bytes, max_bytes)?;
                yield batch;
            }
        };
        Ok(batches.boxed())
    }
}

fn within(what: &str, found: u64, allowed: Option<u64>) -> Result<(), Fault> {
    match allowed {
        Some(allowed) if found > allowed => Err(Fault::new(
            FaultKind::InvalidSpec,
            format!("the result has more than {allowed} {what}, which is its limit"),
        )
        .with_hint("raise the limit, read the ticket in parts, or let the query group or LIMIT its rows")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_the_query_with_its_snapshots() {
        let pin = Pin { snapshot_id: Some(7), schema_id: 2 };
        let query = Query {
            sql: "SELECT 1 FROM a.b".into(),
            max_rows: Some(5),
            max_bytes: None,
            tables: BTreeMap::from([("a.b".to_owned(), pin)]),
        };
        let ticket = serde_json::to_vec(&query).unwrap();
        assert_eq!(Query::read(&ticket).unwrap(), query);
        assert_eq!(Query::read(b"SELECT 2").unwrap().sql, "SELECT 2");
        assert!(Query::read(b"{\"query\": 1}").unwrap_err().message.contains("query"));
    }

    #[test]
    fn a_limit_that_is_passed_is_named() {
        assert!(within("rows", 5, Some(5)).is_ok());
        assert_eq!(
            within("rows", 6, Some(5)).unwrap_err().message,
            "the result has more than 5 rows, which is its limit"
        );
    }
}
