//! Claiming jobs while slots are free, until the worker drains.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moulin_core::{Fault, JobId};
use moulin_store::Which;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::run;
use crate::memory;
use crate::worker::Worker;

/// Longest time between two looks for jobs that other processes submitted or lost.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Claims and runs jobs until `stop`; then waits for the running ones as long as `job.drain` allows.
///
/// `only`: claims nothing but this job.
pub(crate) async fn work(worker: Arc<Worker>, only: Option<JobId>, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(worker.config.job.slots));
    let tasks = TaskTracker::new();
    let mut changes = worker.changes();
    // Whether jobs or queries may have left memory behind that nobody uses.
    let mut has_worked = false;
    while !stop.is_cancelled() {
        let permit = tokio::select! {
            permit = Arc::clone(&slots).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let Ok(permit) = permit else { break };
        match next(&worker, only.as_ref()).await {
            Ok(Some(claim)) => {
                has_worked = true;
                let worker = Arc::clone(&worker);
                tasks.spawn(async move {
                    // On the heap: it holds everything an attempt holds.
                    Box::pin(run::attempt(worker, claim)).await;
                    drop(permit);
                });
                continue;
            }
            Ok(None) => {}
            Err(fault) => tracing::warn!(error = %fault, "the job store does not answer"),
        }
        drop(permit);
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {
                let free = [&slots, &worker.queries].map(|permits| permits.available_permits());
                if free.iter().any(|free| *free < worker.config.job.slots) {
                    has_worked = true;
                } else if std::mem::take(&mut has_worked) {
                    tasks.spawn_blocking(memory::give_back);
                }
            }
            () = stop.cancelled() => {}
        }
    }
    tasks.close();
    if tokio::time::timeout(worker.config.job.drain, tasks.wait()).await.is_err() {
        give_back(&worker).await;
    }
}

/// Hands the jobs that still run to other workers, before this process ends.
async fn give_back(worker: &Worker) {
    match worker.store.give_back(&worker.id, SystemTime::now()).await {
        Ok(jobs) => tracing::warn!(jobs, "jobs still run; they are given back, and another worker goes on with them"),
        Err(error) => tracing::warn!(
            jobs = worker.running_count(),
            error = %Fault::from(error),
            "jobs still run; their leases run out and another worker goes on with them"
        ),
    }
}

async fn next(worker: &Worker, only: Option<&JobId>) -> Result<Option<moulin_store::Claim>, Fault> {
    if worker.is_draining() {
        return Ok(None);
    }
    let now = SystemTime::now();
    if !worker.store.expire_deadlines(now).await?.is_empty() {
        worker.changed();
    }
    let limits = &worker.config.job;
    let which = only.map_or_else(|| Which::of(&limits.pools), Which::Job);
    Ok(worker.store.claim(&worker.id, limits.lease, which, now).await?)
}
