//! `moulin run`: one job in this process.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use moulin_core::{Fault, FaultKind, Job, JobId, JobKey, JobSpec, JobState, fault_point};
use moulin_wire::encode;
use moulin_wire::v1::SubmitRequest;
use tokio_util::sync::CancellationToken;

use super::spec_file::read_job;
use super::{say, show, to_json};
use crate::config::Config;
use crate::job::queue;
use crate::job::rejects::{Kept, Spool};
use crate::service::job::submit;
use crate::telemetry;
use crate::worker::Worker;

/// Submits the job to the embedded store, runs it, and prints its receipt.
pub(crate) async fn run(config: Config, path: &Path, key: Option<String>, json: bool) -> Result<ExitCode, Fault> {
    Box::pin(run_spec(config, read_job(path)?, "run", key, json)).await
}

/// The same of a job that was read already. `task_id`: what kind of work has the key.
pub(super) async fn run_spec(
    mut config: Config,
    spec: JobSpec,
    task_id: &str,
    key: Option<String>,
    json: bool,
) -> Result<ExitCode, Fault> {
    if std::env::var_os("MOULIN_LOG").is_none() {
        // The progress line is the log of a person; MOULIN_LOG brings the worker's back.
        config.log.filter = "error".to_owned();
    }
    telemetry::init(&config.log)?;
    if let Some(point) = &config.fault_point {
        fault_point::arm(point).map_err(|e| Fault::new(FaultKind::InvalidSpec, format!("MOULIN_FAULT_POINT: {e}")))?;
    }
    let run_id = key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let worker = Worker::open(config, Some(format!("run-{}", std::process::id()))).await?;
    let key = JobKey { dag_id: String::new(), run_id, task_id: task_id.to_owned(), map_index: -1 };
    let request = SubmitRequest {
        key: Some(encode::key(&key)),
        generation: 0,
        epoch: 1,
        spec: Some(encode::spec(&spec)),
        priority: 0,
        pool: String::new(),
    };
    let (job, _) = submit(&worker, request).await?;

    let stop = CancellationToken::new();
    let queue = tokio::spawn(queue::work(Arc::clone(&worker), Some(job.id.clone()), stop.clone()));
    let job = tokio::select! {
        job = follow(&worker, &job.id, !json) => job?,
        _ = tokio::signal::ctrl_c() => {
            let cancelled = worker.store.cancel(&job.id, u32::MAX, "interrupted at the terminal", std::time::SystemTime::now()).await;
            cancelled.map_err(Fault::from)?;
            follow(&worker, &job.id, false).await?
        }
    };
    stop.cancel();
    let _ = queue.await;
    let rejects = worker.store.get(&job.id).await?.and_then(|stored| Spool::new(&worker.config).find(&stored).ok());
    finish(&job, rejects, json)
}

fn finish(job: &Job, rejects: Option<Kept>, json: bool) -> Result<ExitCode, Fault> {
    let file = match rejects {
        Some(Kept::File { path, .. }) => Some(path),
        _ => None,
    };
    match (&job.receipt, &job.fault) {
        (Some(receipt), _) => {
            let text = if json { to_json(receipt)? } else { show::receipt(receipt) };
            say(&text);
            if let Some(file) = file.filter(|_| !json) {
                say(&format!("all of them:  {}  (moulin get {} --rejects)", file.display(), job.id));
            }
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(fault)) => {
            if let Some(file) = file {
                eprintln!("rejected rows up to then: {}  (moulin get {} --rejects)", file.display(), job.id);
            }
            Err(fault.clone())
        }
        (None, None) => {
            Err(Fault::new(FaultKind::Internal, format!("job {} is {} without a reason", job.id, job.state)))
        }
    }
}

/// Waits for the end of the job; a progress line on standard error when a person watches.
async fn follow(worker: &Worker, id: &JobId, progress: bool) -> Result<Job, Fault> {
    let live = progress && std::io::stderr().is_terminal();
    let mut changes = worker.changes();
    loop {
        let job = worker.job(id).await?;
        if live {
            eprint!("\r\x1b[K{}", show::progress_line(&job));
            let _ = std::io::stderr().flush();
        }
        if job.state.is_final() {
            if live {
                eprintln!();
            }
            return Ok(job);
        }
        if job.state == JobState::Queued
            && let Some(fault) = &job.fault
        {
            tracing::warn!(error = %fault, "waits for another attempt");
        }
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}
