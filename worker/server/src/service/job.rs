//! `moulin.v1.JobService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::Stream;
use moulin_core::{Fault, FaultKind, FaultPoint, Job, JobId, Source, Token};
use moulin_store::{CancelOutcome, JobFilter, NewJob};
use moulin_wire::v1::{
    CancelRequest, CancelResponse, GetRequest, GetResponse, InferRequest, InferResponse, ListRequest, ListResponse,
    PlanRequest, PlanResponse, SubmitRequest, SubmitResponse, WatchRequest, WatchResponse,
    job_service_server::JobService,
};
use moulin_wire::{decode, encode, status};
use prost::Message as _;
use tonic::{Request, Response, Status};

use crate::job::{admit, presence, run, tables};
use crate::worker::Worker;

/// Shortest and usual time between two answers of `Watch`.
const WATCH_MIN: Duration = Duration::from_millis(100);
const WATCH_USUAL: Duration = Duration::from_secs(1);
/// How often `Watch` looks for changes that another worker made.
const WATCH_LOOK: Duration = Duration::from_millis(250);

pub(super) struct Jobs {
    worker: Arc<Worker>,
}

impl Jobs {
    pub(super) fn new(worker: Arc<Worker>) -> Self {
        Self { worker }
    }
}

fn refuse(fault: impl Into<Fault>) -> Status {
    let fault = fault.into();
    tracing::info!(kind = ?fault.kind, error = %fault, "refused");
    status::from_fault(&fault)
}

/// Takes a job: answers with the one that is there, or looks at the spec before it is stored.
pub(crate) async fn submit(worker: &Worker, request: SubmitRequest) -> Result<(Job, bool), Fault> {
    let key = decode::key(request.key)?;
    let pool = decode::pool(request.pool)?;
    let mut spec = decode::spec(request.spec)?;
    let id = Token::new(&key, request.generation).job_id();
    let there = worker.store.get(&id).await?;
    // A newer try of a job that failed begins it again, with what this request says.
    if there.as_ref().is_none_or(|job| job.state.may_reopen() && request.epoch > job.epoch) {
        if worker.is_draining() {
            return Err(Fault::new(
                FaultKind::ResourceExhausted,
                format!("worker {} drains and takes no new jobs", worker.id),
            ));
        }
        let queued = worker.store.queued().await?;
        if queued >= worker.config.job.max_queued {
            return Err(Fault::new(
                FaultKind::ResourceExhausted,
                format!("{queued} jobs wait for a worker already, and job.max_queued takes no more"),
            )
            .with_hint("it is taken when some have begun; add workers, or raise job.max_queued"));
        }
        // Another try reads what the first one read.
        let before = there.as_ref().map(|job| run::decode(&job.spec)).transpose()?;
        tables::pin(worker, &mut spec, before.as_ref()).await?;
        admit::plan(worker, &spec, Some((key.clone(), request.generation))).await?;
    }
    let now = SystemTime::now();
    let new = NewJob {
        key,
        generation: request.generation,
        epoch: request.epoch,
        table: spec.landing.table.to_string(),
        priority: request.priority,
        pool,
        deadline: Some(now + spec.deadline.unwrap_or(worker.config.job.deadline)),
        spec: encode::spec(&spec).encode_to_vec(),
    };
    let submitted = worker.store.submit(new, now).await?;
    if submitted.created {
        tracing::info!(job_id = %submitted.job.id, table = %submitted.job.table, "submitted");
        FaultPoint::BeforeClaim.pass();
    }
    worker.changed();
    let mut job = worker.live(submitted.job);
    if !job.waiting.is_empty() && presence::look(worker).await.is_ok() {
        // A worker of its pool may have come since the last look.
        job.waiting = worker.waiting(&job);
    }
    Ok((job, submitted.created))
}

#[tonic::async_trait]
impl JobService for Jobs {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let (job, created) = submit(&self.worker, request.into_inner()).await.map_err(refuse)?;
        Ok(Response::new(SubmitResponse { job: Some(encode::job(&job)), created }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let job = self.worker.job(&JobId(request.into_inner().job_id)).await.map_err(refuse)?;
        Ok(Response::new(GetResponse { job: Some(encode::job(&job)) }))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let request = request.into_inner();
        let interval = decode::interval(request.interval).unwrap_or(WATCH_USUAL).max(WATCH_MIN);
        let id = JobId(request.job_id);
        // A job that is not there is the call's own error, not one in the middle of the stream.
        self.worker.job(&id).await.map_err(refuse)?;
        Ok(Response::new(Box::pin(watch(Arc::clone(&self.worker), id, interval))))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Result<Response<CancelResponse>, Status> {
        let request = request.into_inner();
        let id = JobId(request.job_id);
        let reason = if request.reason.is_empty() { "on request" } else { &request.reason };
        let outcome = self
            .worker
            .store
            .cancel(&id, request.epoch, reason, SystemTime::now())
            .await
            .map_err(|e| refuse(Fault::from(e)))?;
        if let CancelOutcome::StaleEpoch { current } = outcome {
            return Err(refuse(Fault::new(
                FaultKind::StaleEpoch,
                format!("job {id} is at try {current}; a cancel by try {} comes too late", request.epoch),
            )));
        }
        self.worker.changed();
        let job = self.worker.job(&id).await.map_err(refuse)?;
        Ok(Response::new(CancelResponse { job: Some(encode::job(&job)) }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let request = request.into_inner();
        let filter = JobFilter {
            states: decode::states(&request.states).map_err(refuse)?,
            dag_id: Some(request.dag_id).filter(|text| !text.is_empty()),
            table: Some(request.table).filter(|text| !text.is_empty()),
            page_size: request.page_size,
            page_token: Some(request.page_token).filter(|text| !text.is_empty()),
        };
        let page = self.worker.store.list(&filter).await.map_err(|e| refuse(Fault::from(e)))?;
        let jobs = page.jobs.into_iter().map(|job| encode::job(&self.worker.live(job))).collect();
        Ok(Response::new(ListResponse { jobs, next_page_token: page.next_page_token.unwrap_or_default() }))
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let spec = decode::spec(request.into_inner().spec).map_err(refuse)?;
        let plan = admit::plan(&self.worker, &spec, None).await.map_err(refuse)?;
        let plan = admit::with_shards(&self.worker, &spec, plan).await.map_err(refuse)?;
        Ok(Response::new(PlanResponse { plan: Some(encode::plan(&plan)) }))
    }

    async fn infer(&self, request: Request<InferRequest>) -> Result<Response<InferResponse>, Status> {
        let source = source(request.into_inner().source).map_err(refuse)?;
        let report = async {
            let files = self.worker.fetcher.list(&source.uris).await?;
            moulin_read::infer(&self.worker.fetcher, &source, &files).await
        };
        let report = report.await.map_err(refuse)?;
        Ok(Response::new(encode::infer_report(&report)))
    }
}

/// A source that is asked about alone.
fn source(source: Option<moulin_wire::v1::Source>) -> Result<Source, Fault> {
    let source = source.ok_or_else(|| Fault::new(FaultKind::InvalidSpec, "source is missing"))?;
    let source = decode::source(source)?;
    source.validate()?;
    Ok(source)
}

/// The job at once, at every change of its state, and at least every `interval`, until it is final.
fn watch(
    worker: Arc<Worker>,
    id: JobId,
    interval: Duration,
) -> impl Stream<Item = Result<WatchResponse, Status>> + Send {
    async_stream::try_stream! {
        let mut changes = worker.changes();
        let mut said: Option<(Job, Instant)> = None;
        loop {
            let job = worker.job(&id).await.map_err(refuse)?;
            let last = job.state.is_final();
            let news = said.as_ref().is_none_or(|(before, at)| {
                (before.state, before.attempt, before.epoch) != (job.state, job.attempt, job.epoch) || at.elapsed() >= interval
            });
            if news || last {
                yield WatchResponse { job: Some(encode::job(&job)) };
                said = Some((job, Instant::now()));
            }
            if last {
                break;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(interval.min(WATCH_LOOK)) => {}
            }
        }
    }
}
