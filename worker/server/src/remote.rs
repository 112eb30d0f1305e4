//! A worker asked over gRPC, for the command line.

use std::time::Duration;

use moulin_core::{Fault, FaultKind, Job, JobId};
use moulin_wire::v1::job_service_client::JobServiceClient;
use moulin_wire::v1::{CancelRequest, GetRequest, ListRequest};
use moulin_wire::{decode, status};
use tonic::transport::{Channel, Endpoint};

/// A connection to a worker.
pub(crate) struct Remote {
    jobs: JobServiceClient<Channel>,
}

impl Remote {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// `InvalidSpec`: no address; `Unavailable`: nobody answers there.
    pub(crate) async fn connect(address: &str) -> Result<Self, Fault> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|e| Fault::new(FaultKind::InvalidSpec, format!("`{address}` is not host:port: {e}")))?
            .connect_timeout(Duration::from_secs(5));
        let channel = endpoint.connect().await.map_err(|e| {
            Fault::new(FaultKind::Unavailable, format!("no worker answers at {address}"))
                .with_source(&e)
                .with_hint("start one with `moulin serve`, or leave --address out to read the job store itself")
        })?;
        Ok(Self { jobs: JobServiceClient::new(channel) })
    }

    pub(crate) async fn get(&mut self, id: &JobId) -> Result<Job, Fault> {
        let answer = self.jobs.get(GetRequest { job_id: id.0.clone() }).await.map_err(|e| status::to_fault(&e))?;
        one(answer.into_inner().job)
    }

    pub(crate) async fn list(&mut self, limit: u32) -> Result<Vec<Job>, Fault> {
        let request = ListRequest { page_size: limit, ..ListRequest::default() };
        let answer = self.jobs.list(request).await.map_err(|e| status::to_fault(&e))?;
        answer.into_inner().jobs.into_iter().map(decode::job).collect()
    }

    pub(crate) async fn cancel(&mut self, id: &JobId, reason: String) -> Result<Job, Fault> {
        let request = CancelRequest { job_id: id.0.clone(), epoch: u32::MAX, reason };
        let answer = self.jobs.cancel(request).await.map_err(|e| status::to_fault(&e))?;
        one(answer.into_inner().job)
    }
}

fn one(job: Option<moulin_wire::v1::Job>) -> Result<Job, Fault> {
    decode::job(job.ok_or_else(|| Fault::new(FaultKind::Internal, "the worker's answer holds no job"))?)
}
