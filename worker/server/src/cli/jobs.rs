//! `moulin get`, `list` and `cancel`: from a worker when an address is given, else from the job store itself.

use std::process::ExitCode;
use std::time::SystemTime;

use moulin_core::{Fault, FaultKind, Job, JobId, JobState, without_secrets};
use moulin_store::{CancelOutcome, JobFilter};

use super::{From, say, show, to_json};
use crate::config::Config;
use crate::job::presence;
use crate::worker;

/// Prints one job.
pub(crate) async fn get(config: Config, id: String, from: &From) -> Result<ExitCode, Fault> {
    let job = find(config, JobId(id), from).await?;
    print(&job, from.json)
}

async fn find(config: Config, id: JobId, from: &From) -> Result<Job, Fault> {
    if let Some(mut worker) = from.reach.connect().await? {
        return worker.get(&id).await;
    }
    let store = moulin_store::open(&config.store_url).await?;
    let stored = store.get(&id).await?.ok_or_else(|| {
        Fault::new(FaultKind::NotFound, format!("no job {id} in {}", without_secrets(&config.store_url)))
            .with_hint("`moulin list` shows what is there; --address asks a running worker instead")
    })?;
    let mut job = worker::view(stored);
    if job.state == JobState::Queued {
        job.waiting = presence::waiting(&store.live_workers(SystemTime::now()).await?, &job.pool);
    }
    Ok(job)
}

/// Prints the newest jobs.
pub(crate) async fn list(config: Config, limit: u32, from: &From) -> Result<ExitCode, Fault> {
    let jobs = match from.reach.connect().await? {
        Some(mut worker) => worker.list(limit).await?,
        None => {
            let store = moulin_store::open(&config.store_url).await?;
            let filter = JobFilter { page_size: limit, ..JobFilter::default() };
            store.list(&filter).await?.jobs.into_iter().map(worker::view).collect()
        }
    };
    let text = if from.json { to_json(&jobs)? } else { show::jobs(&jobs) };
    say(&text);
    Ok(ExitCode::SUCCESS)
}

/// Cancels a job by hand: a person's word stands over any try.
pub(crate) async fn cancel(config: Config, id: String, reason: String, from: &From) -> Result<ExitCode, Fault> {
    let id = JobId(id);
    if let Some(mut worker) = from.reach.connect().await? {
        let job = worker.cancel(&id, reason).await?;
        return print(&job, from.json);
    }
    let store = moulin_store::open(&config.store_url).await?;
    if let CancelOutcome::StaleEpoch { current } = store.cancel(&id, u32::MAX, &reason, SystemTime::now()).await? {
        return Err(Fault::new(FaultKind::StaleEpoch, format!("job {id} is at try {current}")));
    }
    let job = find(config, id, from).await?;
    print(&job, from.json)
}

fn print(job: &Job, json: bool) -> Result<ExitCode, Fault> {
    let text = if json { to_json(job)? } else { show::job(job) };
    say(&text);
    Ok(ExitCode::SUCCESS)
}
