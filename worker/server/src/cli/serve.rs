//! `moulin serve`.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use moulin_core::{Fault, FaultKind, fault_point};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::job::{orphans, presence, queue};
use crate::service::tls::Tls;
use crate::service::{self, pool};
use crate::telemetry;
use crate::worker::Worker;

/// Serves until SIGTERM or SIGINT, then drains.
pub(crate) async fn serve(mut config: Config, listen: Option<String>) -> Result<ExitCode, Fault> {
    if let Some(listen) = listen {
        config.listen = listen;
    }
    telemetry::init(&config.log)?;
    if let Some(point) = &config.fault_point {
        fault_point::arm(point).map_err(|e| Fault::new(FaultKind::InvalidSpec, format!("MOULIN_FAULT_POINT: {e}")))?;
        tracing::warn!(point, "a fault point is armed: this worker will stop there");
    }
    // Everything that can be wrong with the configuration is found before the port is bound.
    let tls = Tls::open(&config.tls)?.map(Arc::new);
    let worker = Worker::open(config, None).await?;
    let listener =
        TcpListener::bind(&worker.config.listen).await.map_err(|e| cannot_listen(&worker.config.listen, &e))?;
    let address = listener.local_addr().map_err(|e| cannot_listen(&worker.config.listen, &e))?;
    let health = HealthReporter::new();
    pool::serving(&health).await;

    let (stop_queue, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    let queue = tokio::spawn(queue::work(Arc::clone(&worker), None, stop_queue.clone()));
    let announcing = tokio::spawn(presence::announced(Arc::clone(&worker), stop_queue.clone()));
    let sweeping = tokio::spawn(orphans::sweep_now_and_then(Arc::clone(&worker), stop_queue.clone()));
    let renewing = tls.clone().map(|tls| tokio::spawn(tls.keep_fresh(stop_serving.clone())));
    if let Some(open) = exposure(address.ip(), &worker.config) {
        tracing::warn!(%address, "{open}");
    }
    let serving = tokio::spawn({
        let (worker, health, stop) = (Arc::clone(&worker), health.clone(), stop_serving.clone());
        async move { service::serve(worker, listener, tls, health, stop.cancelled_owned()).await }
    });
    // Who hears that this worker listens may ask another one what becomes of his job.
    if let Err(error) = presence::announce(&worker).await {
        tracing::warn!(%error, "other workers do not hear of this one yet");
    }
    announce(&worker.id, &address.to_string());

    terminated().await?;
    tracing::info!("told to stop: no new jobs; running ones go on for a while");
    worker.drain();
    pool::not_serving(&health).await;
    stop_queue.cancel();
    if let Err(error) = queue.await {
        tracing::error!(%error, "the queue ended badly");
    }
    if let Err(error) = announcing.await {
        tracing::error!(%error, "the announcing ended badly");
    }
    // What it has not removed, the next sweep will.
    sweeping.abort();
    // Watchers of the last jobs get their last answer; open streams do not hold the process up.
    stop_serving.cancel();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), serving).await;
    if let Some(renewing) = renewing {
        let _ = renewing.await;
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// What others on the network can do to a worker that listens beyond its own machine; `None`: nothing that it was not told.
pub(super) fn exposure(listens_on: IpAddr, config: &Config) -> Option<&'static str> {
    if listens_on.is_loopback() {
        return None;
    }
    let encrypted = config.tls.certificate.is_some();
    let checked = !config.auth.tokens.is_empty() || config.tls.client_ca.is_some();
    match (encrypted, checked) {
        (true, true) => None,
        (true, false) => {
            Some("whoever reaches the port can run and cancel jobs and read tables: set auth.tokens or tls.client_ca")
        }
        (false, true) => Some("tokens and rows travel unencrypted: set tls.certificate and tls.private_key"),
        (false, false) => Some(
            "whoever reaches the port can run and cancel jobs and read tables, and all of it travels unencrypted: set \
             auth.tokens and [tls], or listen on 127.0.0.1",
        ),
    }
}

/// One line on standard output, for people and scripts that wait for it.
fn announce(id: &str, address: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "moulin worker {id} listens on {address}");
    let _ = out.flush();
    tracing::info!(worker = id, address, "ready");
}

async fn terminated() -> Result<(), Fault> {
    let no_signals = |e: std::io::Error| Fault::new(FaultKind::Internal, format!("cannot wait for signals: {e}"));
    let mut term = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(no_signals)?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

fn cannot_listen(address: &str, error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::InvalidSpec, format!("cannot listen on {address}: {error}"))
        .with_hint("choose another with MOULIN_LISTEN or --listen; port 0 picks a free one")
}
