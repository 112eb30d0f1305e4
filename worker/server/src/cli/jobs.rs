//! `moulin get`, `list` and `cancel`: from a worker when an address is given, else from the job store itself.

use std::process::ExitCode;
use std::time::SystemTime;

use moulin_core::{Fault, FaultKind, Job, JobId};
use moulin_store::{CancelOutcome, JobFilter};

use super::{From, say, show, to_json};
use crate::config::Config;
use crate::remote::Remote;
use crate::worker;

/// Prints one job.
pub(crate) async fn get(config: Config, id: String, from: &From) -> Result<ExitCode, Fault> {
    let job = find(config, JobId(id), from).await?;
    print(&job, from.json)
}

async fn find(config: Config, id: JobId, from: &From) -> Result<Job, Fault> {
    if let Some(address) = &from.address {
        return Remote::connect(address).await?.get(&id).await;
    }
    let store = moulin_store::open(&config.store_url).await?;
    store.get(&id).await?.map(worker::view).ok_or_else(|| {
        Fault::new(FaultKind::NotFound, format!("no job {id} in {}", config.store_url))
            .with_hint("`moulin list` shows what is there; --address asks a running worker instead")
    })
}

/// Prints the newest jobs.
pub(crate) async fn list(config: Config, limit: u32, from: &From) -> Result<ExitCode, Fault> {
    let jobs = match &from.address {
        Some(address) => Remote::connect(address).await?.list(limit).await?,
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
    if let Some(address) = &from.address {
        let job = Remote::connect(address).await?.cancel(&id, reason).await?;
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
