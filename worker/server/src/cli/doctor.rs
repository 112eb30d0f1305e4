//! `moulin doctor`.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use moulin_core::Fault;

use crate::config::Config;
use crate::service::pool::{checks, without_credentials};
use crate::worker::Worker;

/// Checks everything a worker needs and says what is wrong, as far as it gets.
pub(crate) async fn doctor(path: Option<&Path>) -> Result<ExitCode, Fault> {
    let started = Instant::now();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(fault) => return Ok(failed("config", &fault)),
    };
    line(
        "config",
        &format!("state in {}, store {}", config.state_dir.display(), without_credentials(&config.store_url)),
        started.elapsed(),
    );
    let worker = match Worker::open(config, Some("doctor".to_owned())).await {
        Ok(worker) => worker,
        Err(fault) => return Ok(failed("start", &fault)),
    };
    let mut code = ExitCode::SUCCESS;
    for (name, result, took) in checks(&worker).await {
        match result {
            Ok(detail) => line(name, &detail, took),
            Err(fault) => code = failed(name, &fault),
        }
    }
    Ok(code)
}

fn line(name: &str, detail: &str, took: Duration) {
    println!("ok      {name:<10} {detail} ({} ms)", took.as_millis());
}

fn failed(name: &str, fault: &Fault) -> ExitCode {
    println!("WRONG   {name:<10} {}", fault.report().replace('\n', "\n                  "));
    ExitCode::FAILURE
}
