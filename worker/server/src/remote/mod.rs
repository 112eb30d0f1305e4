//! A worker asked over gRPC, for the command line.

mod reach;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::decode::DecodedPayload;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightClient, FlightDescriptor};
use futures::StreamExt as _;
use moulin_core::{Fault, FaultKind, InferReport, Job, JobId, Source};
use moulin_store::LoadFilter;
use moulin_wire::v1::job_service_client::JobServiceClient;
use moulin_wire::v1::pool_service_client::PoolServiceClient;
use moulin_wire::v1::{CancelRequest, DescribeRequest, DescribeResponse, GetRequest, InferRequest, ListRequest};
use moulin_wire::{decode, encode};
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::cli::{Loads, Rejects};
use crate::query::{Batches, Query};
use reach::At;
pub(crate) use reach::Reach;

/// Sends the token, when there is one, with every call.
#[derive(Clone)]
struct Authorized(Option<AsciiMetadataValue>);

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection to a worker.
pub(crate) struct Remote {
    jobs: JobServiceClient<InterceptedService<Channel, Authorized>>,
    channel: Channel,
    authorized: Authorized,
    at: At,
}

impl Remote {
    fn new(at: At, channel: Channel, token: Option<AsciiMetadataValue>) -> Self {
        let authorized = Authorized(token);
        let jobs = JobServiceClient::with_interceptor(channel.clone(), authorized.clone());
        Self { jobs, channel, authorized, at }
    }

    /// Where it is, `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.at.address
    }

    /// What the worker is, and whether its surroundings are in order.
    pub(crate) async fn describe(&self) -> Result<DescribeResponse, Fault> {
        let mut pool = PoolServiceClient::with_interceptor(self.channel.clone(), self.authorized.clone());
        let answer = pool.describe(DescribeRequest { check: true }).await;
        Ok(answer.map_err(|e| self.at.fault(&e))?.into_inner())
    }

    pub(crate) async fn get(&mut self, id: &JobId) -> Result<Job, Fault> {
        let answer = self.jobs.get(GetRequest { job_id: id.0.clone() }).await.map_err(|e| self.at.fault(&e))?;
        one(answer.into_inner().job)
    }

    /// The rejects of a job: all of them when it is over, else those that come from now on and the newest before.
    pub(crate) async fn rejects(self, id: &JobId) -> Result<Rejects, Fault> {
        self.flight(vec!["job".to_owned(), id.0.clone(), "rejects".to_owned()]).await
    }

    /// The loads of a table's files, or of one file.
    pub(crate) async fn file_loads(self, filter: &LoadFilter) -> Result<Loads, Fault> {
        let of_table = filter.table.iter().flat_map(|table| ["table".to_owned(), table.clone(), "files".to_owned()]);
        self.flight(of_table.chain(filter.uri.clone().into_iter().flat_map(|uri| ["file".to_owned(), uri])).collect())
            .await
    }

    async fn flight(self, path: Vec<String>) -> Result<Rejects, Fault> {
        let (_, rows) = self.read(FlightDescriptor::new_path(path)).await?;
        Ok(rows)
    }

    /// The result of a query, with its columns.
    pub(crate) async fn query(self, query: &Query) -> Result<(SchemaRef, Batches), Fault> {
        let command = serde_json::to_vec(query).map_err(|e| Fault::new(FaultKind::Internal, e.to_string()))?;
        self.read(FlightDescriptor::new_cmd(command)).await
    }

    async fn read(self, descriptor: FlightDescriptor) -> Result<(SchemaRef, Batches), Fault> {
        let at = self.at;
        let told = |error| flight_fault(&at, error);
        let inner = FlightServiceClient::new(self.channel).max_decoding_message_size(usize::MAX);
        let mut client = FlightClient::new_from_inner(inner);
        if let Some(token) = self.authorized.0 {
            client.metadata_mut().insert("authorization", token);
        }
        let info = client.get_flight_info(descriptor).await.map_err(told)?;
        let schema = info.clone().try_decode_schema();
        let schema = schema.map_err(|e| Fault::from_error(FaultKind::Internal, &e))?;
        let ticket = info
            .endpoint
            .into_iter()
            .next()
            .and_then(|endpoint| endpoint.ticket)
            .ok_or_else(|| Fault::new(FaultKind::Internal, "the worker's answer holds no ticket"))?;
        let messages = client.do_get(ticket).await.map_err(told)?.into_inner();
        let rows = messages
            .filter_map(move |message| {
                let at = at.clone();
                async move {
                    match message {
                        Ok(message) => {
                            warn_of_dropped(&message.inner.app_metadata);
                            match message.payload {
                                DecodedPayload::RecordBatch(batch) => Some(Ok(batch)),
                                DecodedPayload::None | DecodedPayload::Schema(_) => None,
                            }
                        }
                        Err(error) => Some(Err(flight_fault(&at, error))),
                    }
                }
            })
            .boxed();
        Ok((Arc::new(schema), rows))
    }

    /// What a sample of files holds, seen from the worker's machine.
    pub(crate) async fn infer(&mut self, source: &Source) -> Result<InferReport, Fault> {
        let request = InferRequest { source: Some(encode::source(source)) };
        let answer = self.jobs.infer(request).await.map_err(|e| self.at.fault(&e))?;
        Ok(decode::infer_report(answer.into_inner()))
    }

    pub(crate) async fn list(&mut self, limit: u32) -> Result<Vec<Job>, Fault> {
        let request = ListRequest { page_size: limit, ..ListRequest::default() };
        let answer = self.jobs.list(request).await.map_err(|e| self.at.fault(&e))?;
        answer.into_inner().jobs.into_iter().map(decode::job).collect()
    }

    pub(crate) async fn cancel(&mut self, id: &JobId, reason: String) -> Result<Job, Fault> {
        let request = CancelRequest { job_id: id.0.clone(), epoch: u32::MAX, reason };
        let answer = self.jobs.cancel(request).await.map_err(|e| self.at.fault(&e))?;
        one(answer.into_inner().job)
    }
}

fn flight_fault(at: &At, error: FlightError) -> Fault {
    match error {
        FlightError::Tonic(status) => at.fault(&status),
        other => Fault::new(FaultKind::Unavailable, "the worker's rows cannot be read").with_source(&other),
    }
}

/// Says on standard error that a worker left rejects out: its buffer is bounded, and the job does not wait.
fn warn_of_dropped(note: &[u8]) {
    if !note.is_empty() {
        eprintln!("some rejects were gone before they were read: {}", String::from_utf8_lossy(note));
        eprintln!("all of them can be read when the job is over");
    }
}

fn one(job: Option<moulin_wire::v1::Job>) -> Result<Job, Fault> {
    decode::job(job.ok_or_else(|| Fault::new(FaultKind::Internal, "the worker's answer holds no job"))?)
}
