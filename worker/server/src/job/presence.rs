//! Saying that this worker claims jobs, and knowing which workers do: a job whose pool nobody serves is not left to wait
//! in silence.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use moulin_core::Fault;
use moulin_store::LiveWorker;
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// Longest time between two announcements.
const PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks who else is there.
const LOOK: Duration = Duration::from_secs(1);
/// Workers that are named to a job that waits.
const NAMED: usize = 5;

/// Announces this worker and looks who else is there, until `stop` or until it drains.
pub(crate) async fn announced(worker: Arc<Worker>, stop: CancellationToken) {
    let pause = (worker.config.job.lease / 3).min(PAUSE);
    let mut changes = worker.changes();
    let mut well = true;
    let mut withdrawn = false;
    let mut announced: Option<Instant> = None;
    loop {
        let done = match (worker.is_draining(), withdrawn) {
            (true, false) => withdraw(&worker).await.map(|()| withdrawn = true),
            (false, _) if announced.is_none_or(|at| at.elapsed() >= pause) => {
                announced = Some(Instant::now());
                announce(&worker).await
            }
            _ => Ok(()),
        };
        let seen = match done {
            Ok(()) => look(&worker).await,
            Err(fault) => Err(fault),
        };
        match seen {
            Ok(()) => well = true,
            // The queue complains of the store too; once is enough.
            Err(fault) if well => {
                tracing::warn!(error = %fault, "other workers do not hear of this one");
                well = false;
            }
            Err(_) => {}
        }
        let due = tokio::time::sleep(pause.min(LOOK));
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    if !withdrawn && let Err(fault) = withdraw(&worker).await {
                        tracing::warn!(error = %fault, "other workers take this one for alive for a while");
                    }
                    return;
                }
                () = &mut due => break,
                // Most news are of jobs.
                _ = changes.changed() => if worker.is_draining() && !withdrawn { break },
            }
        }
    }
}

/// Says that this worker claims jobs.
///
/// # Errors
/// What the store says.
pub(crate) async fn announce(worker: &Worker) -> Result<(), Fault> {
    let limits = &worker.config.job;
    let now = SystemTime::now();
    let live = LiveWorker {
        id: worker.id.clone(),
        pools: limits.pools.clone(),
        slots: u32::try_from(limits.slots).unwrap_or(u32::MAX),
        seen_until: now + limits.lease,
    };
    Ok(worker.store.announce(&live, now).await?)
}

async fn withdraw(worker: &Worker) -> Result<(), Fault> {
    Ok(worker.store.withdraw(&worker.id).await?)
}

/// Looks who claims jobs now.
///
/// # Errors
/// What the store says.
pub(crate) async fn look(worker: &Worker) -> Result<(), Fault> {
    worker.others_seen(worker.store.live_workers(SystemTime::now()).await?);
    Ok(())
}

/// Why a job of this pool is begun by none of these workers; empty: one of them will.
pub(crate) fn waiting(live: &[LiveWorker], pool: &str) -> String {
    if live.iter().any(|worker| worker.serves(pool)) {
        return String::new();
    }
    if live.is_empty() {
        return "no live worker claims jobs; start one".to_owned();
    }
    let served = live.iter().take(NAMED).map(|worker| format!("{} serves {}", worker.id, worker.pools.join(", ")));
    let mut served: Vec<String> = served.collect();
    if live.len() > NAMED {
        served.push(format!("{} more", live.len() - NAMED));
    }
    format!(
        "no live worker serves the pool `{pool}` ({}); start a worker whose job.pools names it, or that serves every pool, \
         or give the task another pool",
        served.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(id: &str, pools: &[&str]) -> LiveWorker {
        let pools = pools.iter().map(|&pool| pool.to_owned()).collect();
        LiveWorker { id: id.to_owned(), pools, slots: 1, seen_until: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn a_job_is_told_why_nobody_begins_it() {
        let (day, every) = (worker("w1", &["day", "eve"]), worker("w2", &[]));
        assert_eq!(waiting(&[day.clone(), every], "night"), "");
        assert_eq!(waiting(std::slice::from_ref(&day), "eve"), "");
        let told = waiting(&[day], "night");
        assert!(told.starts_with("no live worker serves the pool `night` (w1 serves day, eve); "), "{told}");
        assert!(waiting(&[], "night").contains("no live worker"));
        let many: Vec<_> = (0..7).map(|n| worker(&format!("w{n}"), &["day"])).collect();
        assert!(waiting(&many, "night").contains("w4 serves day; 2 more"), "{}", waiting(&many, "night"));
    }
}
