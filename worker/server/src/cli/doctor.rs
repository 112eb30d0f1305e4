//! `moulin doctor`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use moulin_core::Fault;
use moulin_lake::Lake;

use super::say;
use crate::config::Config;
use crate::service::pool::{Checked, timed};
use crate::worker::does_not_open;

/// Checks everything a worker needs, each thing by itself, so that one that is wrong does not hide another.
pub(crate) async fn doctor(path: Option<&Path>) -> Result<ExitCode, Fault> {
    let started = Instant::now();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(fault) => return Ok(report(&[("config", Err(fault), started.elapsed())])),
    };
    let found = format!("state in {}, listens on {}", config.state_dir.display(), config.listen);
    let mut checked = vec![("config", Ok(found), started.elapsed())];
    let store = timed("store", async {
        let store = moulin_store::open(&config.store_url)
            .await
            .map_err(|e| does_not_open(e.into(), "job store", &config.store_url))?;
        Ok(store.check().await?)
    });
    checked.push(store.await);
    let opened = Instant::now();
    match Lake::open(&config.catalog, &config.storage).await {
        Ok(lake) => {
            checked.push(timed("catalog", async { Ok(lake.check_catalog().await?) }).await);
            checked.push(timed("warehouse", async { Ok(lake.check_warehouse().await?) }).await);
        }
        Err(error) => {
            let fault = does_not_open(error.into(), "catalog", &config.catalog.uri);
            checked.push(("catalog", Err(fault), opened.elapsed()));
        }
    }
    Ok(report(&checked))
}

fn report(checked: &[Checked]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, result, took) in checked {
        match result {
            Ok(detail) => say(&format!("ok      {name:<10} {detail} ({} ms)", took.as_millis())),
            Err(fault) => {
                say(&format!("WRONG   {name:<10} {}", fault.report().replace('\n', "\n                  ")));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
