//! How an attempt names its data files before it makes them.

use std::sync::Arc;
use std::time::SystemTime;

use moulin_core::{Counters, JobId};
use moulin_lake::{StageFile, WriteOptions};
use moulin_store::Lease;

use crate::worker::Worker;

/// What the names of data files begin with that hold rejects, and not rows of the target.
pub(crate) fn of_rejects(id: &JobId) -> JobId {
    JobId(format!("{id}-rejects"))
}

/// What the names of data files begin with that hold rejects which were there before.
pub(crate) fn of_rejects_again(id: &JobId) -> JobId {
    JobId(format!("{id}-rejects-again"))
}

/// Whether a data file is one whose name begins so.
pub(crate) fn is_named(location: &str, begin: &JobId) -> bool {
    location.rsplit('/').next().is_some_and(|name| name.starts_with(&format!("{begin}-")))
}

/// How data files are written for `attempt`, by the one that holds the lease.
pub(crate) fn write_options(
    worker: &Arc<Worker>,
    lease: &Lease,
    attempt: u32,
    begin: JobId,
    counters: &Arc<Counters>,
) -> WriteOptions {
    let (store, lease) = (Arc::clone(&worker.store), lease.clone());
    let stage: StageFile = Arc::new(move |uri| {
        let (store, lease) = (Arc::clone(&store), lease.clone());
        Box::pin(async move { Ok(store.stage_file_of(&lease, attempt, &uri, SystemTime::now()).await?) })
    });
    WriteOptions {
        job_id: begin,
        attempt,
        threads: worker.config.job.threads,
        counters: Arc::clone(counters),
        stage,
        spill_dir: worker.spill.path().to_owned(),
    }
}
