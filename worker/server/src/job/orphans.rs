//! Files that dead attempts have left: removed by their names, never by looking what lies in the warehouse.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moulin_core::Fault;
use moulin_lake::Lake;
use moulin_store::{JobStore, Leftover, Standing};
use tokio_util::sync::CancellationToken;

use super::rejects::Spool;
use crate::worker::Worker;

/// Time between two sweeps of a worker.
const PAUSE: Duration = Duration::from_secs(600);
/// A writer that slept may make a file after it was removed. After this long it is removed once more, and forgotten.
const NAMES_KEPT: Duration = Duration::from_secs(24 * 3600);

/// All files that are left over, page by page given to `each`.
///
/// # Errors
/// What the store says, and what `each` says.
pub(crate) async fn each<F>(store: &dyn JobStore, mut each: impl FnMut(Leftover) -> F) -> Result<(), Fault>
where
    F: Future<Output = Result<(), Fault>>,
{
    let mut last: Option<Leftover> = None;
    loop {
        let page = store.leftovers(last.as_ref()).await?;
        let Some(end) = page.last().cloned() else { return Ok(()) };
        last = Some(end);
        for file in page {
            each(file).await?;
        }
    }
}

/// Removes what is surely dead; how many files that were. Of those whose attempts never told how their commit ended,
/// nothing is touched.
///
/// # Errors
/// What store and warehouse say; the next sweep goes on.
pub(crate) async fn sweep(store: &dyn JobStore, lake: &Lake, now: SystemTime) -> Result<u64, Fault> {
    let removed = std::sync::atomic::AtomicU64::new(0);
    let removed = &removed;
    each(store, |file| async move {
        let old = |since: SystemTime| now.duration_since(since).is_ok_and(|age| age >= NAMES_KEPT);
        match (file.standing, file.removed_at) {
            (Standing::Unknown, _) => {}
            (Standing::Landed, _) => store.forget_leftover(&file).await?,
            (Standing::Dead, None) => {
                lake.remove_files(std::slice::from_ref(&file.uri)).await?;
                store.leftover_removed(&file, now).await?;
                removed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            (Standing::Dead, Some(since)) if old(since) => {
                lake.remove_files(std::slice::from_ref(&file.uri)).await?;
                store.forget_leftover(&file).await?;
            }
            (Standing::Dead, Some(_)) => {}
        }
        Ok(())
    })
    .await?;
    Ok(removed.load(std::sync::atomic::Ordering::Relaxed))
}

/// Sweeps at once and now and then, until `stop`.
pub(crate) async fn sweep_now_and_then(worker: Arc<Worker>, stop: CancellationToken) {
    let spool = Spool::new(&worker.config);
    loop {
        match sweep(worker.store.as_ref(), &worker.lake, SystemTime::now()).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of dead attempts removed"),
            Err(fault) => tracing::warn!(error = %fault, "files of dead attempts could not all be removed"),
        }
        match spool.remove_old(worker.store.as_ref(), worker.config.job.keep_rejects, SystemTime::now()).await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "old files of rejects removed"),
            Err(fault) => tracing::warn!(error = %fault, "old files of rejects could not be looked for"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}
