//! Keeping a job: a task that renews the lease, and ends the attempt when it may not go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use moulin_core::{Counters, Fault, FaultKind};
use moulin_store::Lease;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// A lease that is renewed until this value is dropped.
pub(crate) struct Kept {
    stop: CancellationToken,
    why: Arc<Mutex<Option<Fault>>>,
    task: JoinHandle<()>,
}

impl Kept {
    /// Renews the lease in the background.
    pub(crate) fn start(worker: Arc<Worker>, lease: Lease, counters: Arc<Counters>) -> Self {
        let stop = CancellationToken::new();
        let why = Arc::new(Mutex::new(None));
        let keeper = Keeper { worker, lease, counters, stop: stop.clone(), why: Arc::clone(&why) };
        let task = tokio::spawn(keeper.run());
        Self { stop, why, task }
    }

    /// Done when the attempt may not go on; see [`Kept::why`].
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Why the attempt may not go on; `None` while it may.
    pub(crate) fn why(&self) -> Option<Fault> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Keeper {
    worker: Arc<Worker>,
    lease: Lease,
    counters: Arc<Counters>,
    stop: CancellationToken,
    why: Arc<Mutex<Option<Fault>>>,
}

impl Keeper {
    async fn run(self) {
        let length = self.worker.config.job.lease;
        let pause = (length / 3).min(Duration::from_secs(1));
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(pause).await;
            let progress = self.counters.snapshot();
            match self.worker.store.renew(&self.lease, length, &progress, SystemTime::now()).await {
                Ok(answer) => {
                    renewed = Instant::now();
                    if answer.deadline_passed {
                        return self
                            .end(Fault::new(FaultKind::DeadlineExceeded, "the job's deadline passed while it ran"));
                    }
                    if let Some(reason) = answer.cancel {
                        return self.end(Fault::new(FaultKind::Cancelled, format!("cancelled: {reason}")));
                    }
                }
                Err(error) => {
                    let fault = Fault::from(error);
                    // A store that does not answer for a moment is waited for, until the lease may have run out.
                    if fault.kind == FaultKind::LeaseLost || renewed.elapsed() >= length {
                        return self.end(Fault::new(
                            FaultKind::LeaseLost,
                            "the lease ran out; another worker may have the job",
                        ));
                    }
                    tracing::warn!(error = %fault, "the lease could not be renewed; trying again");
                }
            }
        }
    }

    fn end(&self, fault: Fault) {
        tracing::info!(reason = %fault, "the attempt ends");
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.stop.cancel();
    }
}
