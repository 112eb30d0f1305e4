//! `moulin.v1.PoolService`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moulin_core::{Fault, without_secrets};
use moulin_wire::v1::job_service_server::JobServiceServer;
use moulin_wire::v1::{
    Check, DescribeRequest, DescribeResponse, DrainRequest, DrainResponse, pool_service_server::PoolService,
};
use moulin_wire::{encode, status};
use tonic::{Request, Response, Status};
use tonic_health::server::HealthReporter;

use super::job::Jobs;
use crate::worker::Worker;

pub(super) struct Pool {
    worker: Arc<Worker>,
    health: HealthReporter,
}

impl Pool {
    pub(super) fn new(worker: Arc<Worker>, health: HealthReporter) -> Self {
        Self { worker, health }
    }
}

/// Says to health checks that this worker takes no more jobs.
pub(crate) async fn not_serving(health: &HealthReporter) {
    health.set_not_serving::<JobServiceServer<Jobs>>().await;
    health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
}

/// Says to health checks that this worker is ready.
pub(crate) async fn serving(health: &HealthReporter) {
    health.set_serving::<JobServiceServer<Jobs>>().await;
}

/// One thing asked: its name, what was found or what is wrong, and how long the answer took.
pub(crate) type Checked = (&'static str, Result<String, Fault>, Duration);

/// Asks one thing and takes the time.
pub(crate) async fn timed(name: &'static str, asked: impl Future<Output = Result<String, Fault>>) -> Checked {
    let started = Instant::now();
    let answer = asked.await;
    (name, answer, started.elapsed())
}

/// Asks everything the worker needs whether it is in order.
async fn checks(worker: &Worker) -> Vec<Checked> {
    vec![
        timed("store", async { Ok(worker.store.check().await?) }).await,
        timed("catalog", async { Ok(worker.lake.check_catalog().await?) }).await,
        timed("warehouse", async { Ok(worker.lake.check_warehouse().await?) }).await,
    ]
}

#[tonic::async_trait]
impl PoolService for Pool {
    async fn describe(&self, request: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        let worker = &self.worker;
        let queued = worker.store.queued().await.map_err(|e| status::from_fault(&Fault::from(e)))?;
        let versions = moulin_engine::transform::versions();
        let checked = if request.into_inner().check { checks(worker).await } else { Vec::new() };
        let checks: Vec<Check> =
            checked.iter().map(|(name, result, took)| encode::check(name, result, *took)).collect();
        Ok(Response::new(DescribeResponse {
            worker_id: worker.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(encode::moment(worker.started_at)),
            draining: worker.is_draining(),
            slots: u32::try_from(worker.config.job.slots).unwrap_or(u32::MAX),
            running: running(worker),
            memory_bytes: worker.config.job.memory_bytes,
            polars_version: versions.polars.to_owned(),
            python_polars_version: versions.python_polars.to_owned(),
            datafusion_version: versions.datafusion.to_owned(),
            catalog: without_secrets(&worker.config.catalog.uri),
            warehouse: warehouse(&worker.config.catalog.warehouse),
            store: without_secrets(&worker.config.store_url),
            checks,
            pools: worker.config.job.pools.clone(),
            queued,
            accepting: !worker.is_draining() && queued < worker.config.job.max_queued,
        }))
    }

    async fn drain(&self, _request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        tracing::info!("asked to drain");
        self.worker.drain();
        not_serving(&self.health).await;
        Ok(Response::new(DrainResponse { running: running(&self.worker) }))
    }
}

fn running(worker: &Worker) -> u32 {
    u32::try_from(worker.running_count()).unwrap_or(u32::MAX)
}

// What a REST catalog calls it is a name, and no URL.
fn warehouse(text: &str) -> String {
    if text.contains("://") { without_secrets(text) } else { text.to_owned() }
}
