//! Arrow Flight: the rows of a job, and its rejects, while it runs and after; and the results of queries.
//!
//! A running job's rows come from its tap: what is buffered now and everything after, and a slow reader is told how many
//! rows it missed. A finished job's rows are exactly those that its snapshot added, its rejects those of the attempt
//! that succeeded.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaAsIpc, SchemaResult, Ticket,
};
use futures::{Stream, StreamExt as _, stream};
use moulin_core::{Fault, FaultKind, Job, JobId, JobState, TableName, Token};
use moulin_engine::stream::{Tap, TapItem};
use moulin_read::reject_schema;
use moulin_store::{JobFilter, LoadFilter};
use moulin_wire::status;
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::flight_data::Encoder;
use crate::cli::load_pages;
use crate::job::rejects::{self, Kept, Spool};
use crate::job::rejects_table;
use crate::output::loads;
use crate::query::Query;
use crate::worker::Worker;

/// How long a reader waits for a queued job to begin before it is told to come again.
const BEGIN_PATIENCE: Duration = Duration::from_secs(30);

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) struct Flights {
    worker: Arc<Worker>,
}

/// What a ticket says. JSON, so that a person can read it in a log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobTicket {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    job: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Part::is_rows")]
    part: Part,
}

/// What of a job is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// What landed.
    #[default]
    Rows,
    /// What did not fit.
    Rejects,
    /// Not of a job: what tables were loaded with.
    Files,
}

impl Part {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_rows(&self) -> bool {
        *self == Self::Rows
    }
}

/// A path or a ticket.
#[derive(Debug, Clone)]
struct Asked {
    id: JobId,
    part: Part,
    /// Of which table, of which file.
    loads: (Option<String>, Option<String>),
}

impl Asked {
    fn of_job(id: JobId, part: Part) -> Self {
        Self { id, part, loads: (None, None) }
    }

    fn files(table: Option<String>, file: Option<String>) -> Self {
        Self { id: JobId(String::new()), part: Part::Files, loads: (table, file) }
    }

    fn ticket(&self) -> JobTicket {
        let (table, file) = self.loads.clone();
        JobTicket { job: self.id.0.clone(), table, file, part: self.part }
    }

    fn filter(&self) -> LoadFilter {
        let (table, uri) = self.loads.clone();
        LoadFilter { table, uri, ..LoadFilter::default() }
    }

    fn path(&self) -> Vec<String> {
        if self.part == Part::Files {
            let (table, file) = self.loads.clone();
            let table = table.into_iter().flat_map(|table| ["table".to_owned(), table, "files".to_owned()]);
            return table.chain(file.into_iter().flat_map(|file| ["file".to_owned(), file])).collect();
        }
        let mut path = vec!["job".to_owned(), self.id.0.clone()];
        if self.part == Part::Rejects {
            path.push("rejects".to_owned());
        }
        path
    }
}

/// Where the rows of a job are now.
enum Rows {
    /// The job runs here.
    Running(Arc<Tap>),
    /// The job has landed rows.
    Landed { schema: SchemaRef, job: Box<Job>, snapshot_id: i64 },
    /// The job is over and there are none.
    None { schema: SchemaRef },
    /// The job is over and its rejects are in this snapshot.
    Rejected { schema: SchemaRef, table: Box<TableName>, snapshot_id: i64, rows: u64, job: JobId },
    /// What the load ledger says.
    Loads { schema: SchemaRef, filter: Box<LoadFilter> },
    /// The job is over and its rejects are in this file.
    Kept { schema: SchemaRef, path: PathBuf, rows: Option<u64> },
}

impl Rows {
    fn schema(&self) -> &SchemaRef {
        match self {
            Self::Running(tap) => tap.schema(),
            Self::Landed { schema, .. }
            | Self::None { schema }
            | Self::Kept { schema, .. }
            | Self::Loads { schema, .. }
            | Self::Rejected { schema, .. } => schema,
        }
    }
}

impl Flights {
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        Self { worker }
    }

    /// Finds the rows of a job; a job that has not begun is waited for.
    async fn rows(&self, asked: &Asked) -> Result<Rows, Fault> {
        let id = &asked.id;
        let found = tokio::time::timeout(BEGIN_PATIENCE, async {
            let mut changes = self.worker.changes();
            loop {
                if let Some(rows) = self.rows_now(asked).await? {
                    return Ok(rows);
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(Duration::from_millis(250)) => {}
                }
            }
        });
        found.await.unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::Unavailable, format!("job {id} has not begun on this worker"))
                .with_hint("read again later; when several workers share a store, ask the one that `moulin get` names"))
        })
    }

    async fn rows_now(&self, asked: &Asked) -> Result<Option<Rows>, Fault> {
        match asked.part {
            Part::Rows => self.landing_now(&asked.id).await,
            Part::Rejects => self.rejects_now(&asked.id).await,
            Part::Files => Ok(Some(Rows::Loads { schema: loads::schema(), filter: Box::new(asked.filter()) })),
        }
    }

    async fn rejects_now(&self, id: &JobId) -> Result<Option<Rows>, Fault> {
        if let Some(tap) = self.worker.running(id).and_then(|running| running.rejects) {
            return Ok(Some(Rows::Running(tap)));
        }
        let schema = reject_schema();
        Ok(match Spool::new(&self.worker.config).find(&self.worker.stored(id).await?)? {
            Kept::NotYet => None,
            Kept::None => Some(Rows::None { schema }),
            Kept::File { path, rows } => Some(Rows::Kept { schema, path, rows }),
            Kept::Table { table, snapshot_id, rows } => {
                let table = Box::new(table);
                Some(Rows::Rejected { schema, table, snapshot_id, rows, job: id.clone() })
            }
        })
    }

    async fn landing_now(&self, id: &JobId) -> Result<Option<Rows>, Fault> {
        if let Some(tap) = self.worker.running(id).and_then(|running| running.tap) {
            return Ok(Some(Rows::Running(tap)));
        }
        let job = self.worker.job(id).await?;
        match job.state {
            JobState::Queued | JobState::Running => Ok(None),
            JobState::Succeeded => self.landed(job).await.map(Some),
            JobState::Failed | JobState::Cancelled => Err(job.fault.unwrap_or_else(|| {
                Fault::new(FaultKind::NotFound, format!("job {id} is {} and has no rows", job.state))
            })),
        }
    }

    async fn landed(&self, job: Job) -> Result<Rows, Fault> {
        let table = job.table.parse().map_err(|e: String| Fault::new(FaultKind::Internal, e))?;
        let snapshot = job.receipt.as_ref().and_then(|receipt| receipt.snapshot_id);
        Ok(match snapshot {
            Some(snapshot_id) => {
                let schema = self.worker.lake.table_schema(&table).await?;
                Rows::Landed { schema, job: Box::new(job), snapshot_id }
            }
            None => Rows::None { schema: self.worker.lake.table_schema(&table).await? },
        })
    }

    async fn info(&self, asked: &Asked) -> Result<FlightInfo, Fault> {
        let rows = self.rows(asked).await?;
        let (records, bytes) = match &rows {
            Rows::Running(_) | Rows::Loads { .. } => (-1, -1),
            Rows::Landed { job, .. } => job.receipt.as_ref().map_or((-1, -1), |receipt| {
                (i64::try_from(receipt.rows_landed).unwrap_or(-1), i64::try_from(receipt.bytes_written).unwrap_or(-1))
            }),
            Rows::Rejected { rows, .. } => (i64::try_from(*rows).unwrap_or(-1), -1),
            Rows::None { .. } => (0, 0),
            Rows::Kept { path, rows, .. } => {
                let bytes = std::fs::metadata(path).map_or(-1, |file| i64::try_from(file.len()).unwrap_or(-1));
                (rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1), bytes)
            }
        };
        info(asked, rows.schema(), records, bytes)
    }

    async fn read(&self, asked: &Asked) -> Result<Messages<FlightData>, Fault> {
        Ok(match self.rows(asked).await? {
            Rows::Running(tap) => Box::pin(tapped(&tap)),
            Rows::Landed { job, snapshot_id, .. } => {
                let table = job.table.parse().map_err(|e: String| Fault::new(FaultKind::Internal, e))?;
                // The rows of a job that took an earlier one's result are in files with that one's name.
                let attached = job.receipt.as_ref().and_then(|receipt| receipt.attached_to.clone());
                let id = attached.map_or_else(|| job.id.clone(), |token| Token(token).job_id());
                let (schema, batches) = self.worker.lake.added_by(&table, snapshot_id, Some(&id)).await?;
                Box::pin(encoded(&schema, batches.map(|batch| Ok((batch?, None)))))
            }
            Rows::None { schema } => Box::pin(encoded(&schema, stream::empty())),
            Rows::Rejected { schema, table, snapshot_id, job, .. } => {
                let batches = rejects_table::read(&self.worker.lake, &table, snapshot_id, &job).await?;
                Box::pin(encoded(&schema, batches.map(|batch| Ok((batch?, None)))))
            }
            Rows::Loads { schema, filter } => {
                let batches = load_pages(Arc::clone(&self.worker.store), *filter);
                Box::pin(encoded(&schema, batches.map(|batch| Ok((batch?, None)))))
            }
            Rows::Kept { schema, path, .. } => {
                let batches = ReceiverStream::new(rejects::read(path));
                Box::pin(encoded(&schema, batches.map(|batch| Ok((batch?, None)))))
            }
        })
    }
}

/// A descriptor that is a command asks for a query, one that is a path for a job.
fn command(descriptor: &FlightDescriptor) -> Option<&[u8]> {
    (descriptor.r#type == i32::from(DescriptorType::Cmd)).then_some(&descriptor.cmd)
}

/// Plans a query; its ticket holds the snapshots, so that any worker redeems it.
async fn query_info(worker: &Worker, command: &[u8]) -> Result<FlightInfo, Fault> {
    let planned = Query::read(command)?.plan(worker).await?;
    Ok(FlightInfo::new()
        .try_with_schema(planned.schema())
        .map_err(|e| Fault::new(FaultKind::Internal, format!("the schema of the query cannot be sent: {e}")))?
        .with_descriptor(FlightDescriptor::new_cmd(command.to_vec()))
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(planned.ticket()?)))
        .with_total_records(-1)
        .with_total_bytes(-1))
}

async fn query_rows(worker: &Worker, ticket: &[u8]) -> Result<Messages<FlightData>, Fault> {
    let planned = Query::read(ticket)?.plan(worker).await?;
    let schema = Arc::clone(planned.schema());
    let batches = planned.run(worker).await?;
    Ok(Box::pin(encoded(&schema, batches.map(|batch| Ok((batch?, None))))))
}

/// Whether a ticket is a query's: those of jobs name a job.
fn is_query(ticket: &[u8]) -> bool {
    let read: Result<serde_json::Value, _> = serde_json::from_slice(ticket);
    read.is_ok_and(|value| value.get("sql").is_some())
}

fn info(asked: &Asked, schema: &Schema, records: i64, bytes: i64) -> Result<FlightInfo, Fault> {
    let id = &asked.id;
    let ticket =
        serde_json::to_vec(&asked.ticket()).map_err(|e| Fault::new(FaultKind::Internal, format!("no ticket: {e}")))?;
    Ok(FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|e| Fault::new(FaultKind::Internal, format!("the schema of {id} cannot be sent: {e}")))?
        .with_descriptor(FlightDescriptor::new_path(asked.path()))
        // No location: "the service the info came from".
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket)))
        .with_total_records(records)
        .with_total_bytes(bytes))
}

/// The rows of a running job as they pass, with a note where rows were dropped.
fn tapped(tap: &Tap) -> impl Stream<Item = Result<FlightData, Status>> + Send + use<> {
    let schema = Arc::clone(tap.schema());
    let empty = RecordBatch::new_empty(Arc::clone(&schema));
    let mut items = tap.subscribe();
    let batches = async_stream::try_stream! {
        let mut dropped = 0;
        while let Some(item) = items.next().await {
            match item? {
                TapItem::Dropped { rows } => dropped += rows,
                TapItem::Batch(batch) => {
                    yield (batch, note(dropped));
                    dropped = 0;
                }
            }
        }
        if dropped > 0 {
            yield (empty, note(dropped));
        }
    };
    encoded(&schema, batches)
}

fn note(dropped_rows: u64) -> Option<String> {
    (dropped_rows > 0).then(|| format!("{{\"dropped_rows\":{dropped_rows}}}"))
}

fn encoded<S>(schema: &SchemaRef, batches: S) -> impl Stream<Item = Result<FlightData, Status>> + Send + use<S>
where
    S: Stream<Item = Result<(RecordBatch, Option<String>), Fault>> + Send + 'static,
{
    let mut encoder = Encoder::new();
    let first = encoder.schema(schema);
    async_stream::try_stream! {
        yield first;
        let mut batches = Box::pin(batches);
        while let Some(batch) = batches.next().await {
            let (batch, note) = batch.map_err(|fault| status::from_fault(&fault))?;
            let messages = encoder.batch(&batch, note).map_err(|e| Status::internal(e.to_string()))?;
            for message in messages {
                yield message;
            }
        }
    }
}

fn described(descriptor: &FlightDescriptor) -> Result<Asked, Fault> {
    match descriptor.path.as_slice() {
        [kind, id] if kind == "job" => Ok(Asked::of_job(JobId(id.clone()), Part::Rows)),
        [kind, id, part] if kind == "job" && part == "rejects" => Ok(Asked::of_job(JobId(id.clone()), Part::Rejects)),
        [kind, table, part] if kind == "table" && part == "files" => Ok(Asked::files(Some(table.clone()), None)),
        [kind, uri] if kind == "file" => Ok(Asked::files(None, Some(uri.clone()))),
        [kind, table, part, of, uri] if kind == "table" && part == "files" && of == "file" => {
            Ok(Asked::files(Some(table.clone()), Some(uri.clone())))
        }
        other => Err(Fault::new(FaultKind::InvalidSpec, format!("no flight at path {other:?}")).with_hint(
            "ask for the path [\"job\", <job id>], [\"job\", <job id>, \"rejects\"], \
                 [\"table\", <name>, \"files\"] [\"file\", <uri>], or send a SELECT as a command",
        )),
    }
}

fn refuse(fault: Fault) -> Status {
    status::from_fault(&fault)
}

#[tonic::async_trait]
impl FlightService for Flights {
    type HandshakeStream = Messages<HandshakeResponse>;
    type ListFlightsStream = Messages<FlightInfo>;
    type DoGetStream = Messages<FlightData>;
    type DoPutStream = Messages<PutResult>;
    type DoActionStream = Messages<arrow_flight::Result>;
    type ListActionsStream = Messages<ActionType>;
    type DoExchangeStream = Messages<FlightData>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        if let Some(command) = command(request.get_ref()) {
            return Ok(Response::new(query_info(&self.worker, command).await.map_err(refuse)?));
        }
        let asked = described(request.get_ref()).map_err(refuse)?;
        Ok(Response::new(self.info(&asked).await.map_err(refuse)?))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let schema = match command(request.get_ref()) {
            Some(command) => {
                let planned = async { Query::read(command)?.plan(&self.worker).await };
                Arc::clone(planned.await.map_err(refuse)?.schema())
            }
            None => {
                let asked = described(request.get_ref()).map_err(refuse)?;
                Arc::clone(self.rows(&asked).await.map_err(refuse)?.schema())
            }
        };
        let result = SchemaAsIpc::new(&schema, &arrow::ipc::writer::IpcWriteOptions::default())
            .try_into()
            .map_err(|e: arrow::error::ArrowError| Status::internal(e.to_string()))?;
        Ok(Response::new(result))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        if is_query(&request.get_ref().ticket) {
            return Ok(Response::new(query_rows(&self.worker, &request.get_ref().ticket).await.map_err(refuse)?));
        }
        let ticket: JobTicket = serde_json::from_slice(&request.get_ref().ticket).map_err(|e| {
            refuse(Fault::new(FaultKind::InvalidSpec, format!("the ticket is not one of this worker's: {e}")))
        })?;
        let asked = match ticket.part {
            Part::Files => Asked::files(ticket.table, ticket.file),
            part => Asked::of_job(JobId(ticket.job), part),
        };
        let rows = self.read(&asked).await.map_err(refuse)?;
        Ok(Response::new(rows))
    }

    /// What there is to read of the jobs that run here and of the newest hundred that succeeded: rows, and the rejects
    /// that are kept.
    async fn list_flights(&self, _request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        let filter =
            JobFilter { states: vec![JobState::Running, JobState::Succeeded], page_size: 100, ..JobFilter::default() };
        let page = self.worker.store.list(&filter).await.map_err(|e| refuse(e.into()))?;
        let mut flights = Vec::new();
        for job in page.jobs {
            for part in [Part::Rows, Part::Rejects] {
                let asked = Asked::of_job(job.id.clone(), part);
                // A table that was dropped since, or a job that runs elsewhere, has nothing to offer.
                match self.rows_now(&asked).await {
                    Ok(Some(_)) => flights.push(self.info(&asked).await),
                    Ok(None) => {}
                    Err(fault) => tracing::debug!(job_id = %job.id, ?part, error = %fault, "not listed"),
                }
            }
        }
        let flights = flights.into_iter().map(|flight| flight.map_err(refuse));
        Ok(Response::new(Box::pin(stream::iter(flights))))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(unsupported("Handshake"))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(unsupported("PollFlightInfo"))
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(unsupported("DoPut"))
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(unsupported("DoAction"))
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(unsupported("DoExchange"))
    }
}

fn unsupported(call: &str) -> Status {
    Status::unimplemented(format!("moulin does not serve {call}; rows are read with GetFlightInfo and DoGet"))
}
