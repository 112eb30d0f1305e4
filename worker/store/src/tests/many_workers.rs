//! Several processes on one store at the same moment.

use std::sync::Arc;

use moulin_testkit::FakeClock;

use super::build::{LEASE, id, job, receipt};
use crate::{Claim, Error, JobStore, Outcome, Which};

const JOBS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_of_one_file_never_claim_one_job() {
    let folder = tempfile::tempdir().unwrap();
    each_job_is_claimed_once(&format!("sqlite://{}", folder.path().join("jobs.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_of_one_server_never_claim_one_job() {
    each_job_is_claimed_once(&moulin_testkit::postgres_schema().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ends_restarts_and_deadlines_at_once_all_come_to_an_end() {
    let url = moulin_testkit::postgres_schema().await;
    let (one, two) = (crate::open(&url).await.unwrap(), crate::open(&url).await.unwrap());
    let now = FakeClock::default().now();
    for task in 0..JOBS {
        let deadline = Some(now + LEASE / 2);
        one.submit(crate::NewJob { deadline, ..job(&task.to_string()) }, now).await.unwrap();
    }
    let mut claims = Vec::new();
    while let Some(claim) = one.claim("w", LEASE, Which::Any, now).await.unwrap() {
        claims.push(claim);
    }
    let mut calls = tokio::task::JoinSet::new();
    for (number, Claim { lease, .. }) in claims.into_iter().enumerate() {
        let store = if number % 2 == 0 { one.clone() } else { two.clone() };
        calls.spawn(async move {
            let outcome = Outcome::Succeeded(receipt(&lease));
            store.finish(&lease, outcome, now).await.map(drop)
        });
    }
    for store in [&one, &two] {
        let store = store.clone();
        calls.spawn(async move { store.expire_deadlines(now + LEASE).await.map(drop) });
    }
    let releasing = two.clone();
    calls.spawn(async move { releasing.release_worker("w", now).await.map(drop) });
    for answer in calls.join_all().await {
        assert!(matches!(answer, Ok(()) | Err(Error::LeaseLost { .. })), "{answer:?}");
    }
}

async fn each_job_is_claimed_once(url: &str) {
    let stores = futures::future::try_join_all((0..4).map(|_| crate::open(url))).await.unwrap();
    let now = FakeClock::default().now();
    for task in 0..JOBS {
        stores[0].submit(job(&task.to_string()), now).await.unwrap();
    }
    let mut workers = tokio::task::JoinSet::new();
    for (number, store) in stores.into_iter().enumerate() {
        workers.spawn(claim_all(store, format!("w{number}")));
    }
    let mut claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    claimed.sort();
    let mut expected: Vec<_> = (0..JOBS).map(|task| id(&task.to_string())).collect();
    expected.sort();
    assert_eq!(claimed, expected);
}

// Until there is nothing: a worker that met others at one job goes on to the next.
async fn claim_all(store: Arc<dyn JobStore>, worker: String) -> Vec<moulin_core::JobId> {
    let mut claimed = Vec::new();
    while let Some(claim) = store.claim(&worker, LEASE, Which::Any, FakeClock::default().now()).await.unwrap() {
        claimed.push(claim.lease.job_id);
    }
    claimed
}
