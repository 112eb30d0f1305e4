//! `moulin doctor`.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use moulin_core::Fault;
use moulin_lake::Lake;
use moulin_wire::v1::DescribeResponse;

use super::{say, serve};
use crate::config::{Config, wrong};
use crate::remote::Reach;
use crate::service::pool::{Checked, timed};
use crate::service::tls::{Standing, Tls};
use crate::worker::does_not_open;

/// Checks everything a worker needs, each thing by itself, so that one that is wrong does not hide another; or asks a worker.
pub(crate) async fn doctor(path: Option<&Path>, reach: &Reach) -> Result<ExitCode, Fault> {
    if let Some(remote) = reach.connect().await? {
        let address = remote.address().to_owned();
        return Ok(remote_report(&address, &remote.describe().await?));
    }
    let started = Instant::now();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(fault) => return Ok(report(&[("config", Err(fault), started.elapsed())])),
    };
    let found = format!("state in {}, listens on {}", config.state_dir.display(), config.listen);
    let mut checked = vec![("config", Ok(found), started.elapsed())];
    checked.push(timed("tls", async { tls(&config) }).await);
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
    let code = report(&checked);
    if let Some(open) = listens_beyond(&config.listen).and_then(|address| serve::exposure(address, &config)) {
        say(&format!("warning {:<10} {open}", "listen"));
    }
    Ok(code)
}

/// What clients are shown and asked for.
fn tls(config: &Config) -> Result<String, Fault> {
    let tokens = match config.auth.tokens.len() {
        0 => "no token is asked for".to_owned(),
        1 => "a token is asked for".to_owned(),
        several => format!("one of {several} tokens is asked for"),
    };
    let Some(tls) = Tls::open(&config.tls)? else { return Ok(format!("off; {tokens}")) };
    let validity = tls.validity();
    let ends = match validity.standing(SystemTime::now()) {
        Standing::NotYet | Standing::Over => {
            return Err(
                wrong(format!("tls.certificate: {validity}")).with_hint("put a renewed certificate in its place")
            );
        }
        Standing::Soon(days) => format!("{validity}, which is in {days} days: renew it"),
        Standing::Valid => validity.to_string(),
    };
    let asked = if tls.asks_for_certificates() { "clients show a certificate" } else { "clients need no certificate" };
    Ok(format!("certificate {ends}; {asked}, {tokens}"))
}

/// The address of a `listen` that names one; a name of a host may be of any network.
fn listens_beyond(listen: &str) -> Option<IpAddr> {
    listen.parse().ok().map(|address: std::net::SocketAddr| address.ip())
}

fn remote_report(address: &str, worker: &DescribeResponse) -> ExitCode {
    say(&format!("ok      {:<10} {address}: worker {}, moulin {}", "reached", worker.worker_id, worker.version));
    let mut code = ExitCode::SUCCESS;
    for check in &worker.checks {
        let word = if check.ok { "ok" } else { "WRONG" };
        say(&format!("{word:<7} {:<10} {}", check.name, indented(&check.detail)));
        if !check.ok {
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn report(checked: &[Checked]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, result, took) in checked {
        match result {
            Ok(detail) => say(&format!("ok      {name:<10} {detail} ({} ms)", took.as_millis())),
            Err(fault) => {
                say(&format!("WRONG   {name:<10} {}", indented(&fault.report())));
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n                  ")
}
