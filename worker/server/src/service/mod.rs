//! What a worker answers: jobs, the pool, Flight, health and reflection on one port.

mod flight;
mod flight_data;
mod guard;
mod incoming;
pub(crate) mod job;
pub(crate) mod pool;
pub(crate) mod tls;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use moulin_core::{Fault, FaultKind};
use moulin_wire::v1;
use moulin_wire::v1::job_service_server::JobServiceServer;
use moulin_wire::v1::pool_service_server::PoolServiceServer;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::worker::Worker;
use guard::{Guard, Guarding};
use tls::Tls;

/// A spec with a Polars plan, and a batch with wide rows, may be larger than gRPC's default of 4 MiB.
const MESSAGE_BYTES: usize = 64 << 20;

/// Serves until `stop` is done; `tls`: encrypted.
///
/// # Errors
/// The port breaks.
pub(crate) async fn serve(
    worker: Arc<Worker>,
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    health: HealthReporter,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), Fault> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|e| Fault::new(FaultKind::Internal, format!("the descriptor set is broken: {e}")))?;
    let jobs = JobServiceServer::new(job::Jobs::new(Arc::clone(&worker))).max_decoding_message_size(MESSAGE_BYTES);
    let flight = FlightServiceServer::new(flight::Flights::new(Arc::clone(&worker)))
        .max_decoding_message_size(MESSAGE_BYTES)
        .max_encoding_message_size(usize::MAX);
    let guard = Guard::new(&worker.config.auth.tokens, tls.as_ref().is_some_and(|tls| tls.asks_for_certificates()));
    let router = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(Guarding(Arc::new(guard)))
        .add_service(HealthServer::new(HealthService::from_health_reporter(health.clone())))
        .add_service(reflection)
        .add_service(jobs)
        .add_service(PoolServiceServer::new(pool::Pool::new(worker, health)))
        .add_service(flight);
    let served = match tls {
        Some(tls) => router.serve_with_incoming_shutdown(incoming::encrypted(listener, tls), stop).await,
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming_shutdown(incoming, stop).await
        }
    };
    served.map_err(|e| Fault::from_error(FaultKind::Unavailable, &e))
}
