//! What is PostgreSQL's own: the schema, its errors, and writers beside each other.

use moulin_core::{Fault, FaultKind, Receipt};
use moulin_testkit::{FakeClock, postgres_schema};
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::build::{LEASE, job, receipt};
use super::loads::wanted;
use crate::{Error, LoadFilter, LoadState, NewJob, Outcome, Which};

#[tokio::test]
async fn eight_workers_may_open_a_new_store_at_once() {
    let url = postgres_schema().await;
    let stores = futures::future::try_join_all((0..8).map(|_| crate::open(&url))).await.unwrap();
    for store in stores {
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let url = postgres_schema().await;
    drop(crate::open(&url).await.unwrap());
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("INSERT INTO schema_version (version) VALUES (99)").await.unwrap();
    let error = crate::open(&url).await.err().unwrap();
    assert!(matches!(error, Error::NewerSchema { found: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn what_gave_way_to_others_is_done_again() {
    for code in ["40001", "40P01"] {
        let url = postgres_schema().await;
        let store = crate::open(&url).await.unwrap();
        let now = FakeClock::default().now();
        store.submit(job("t"), now).await.unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let broken = format!(
            "CREATE SEQUENCE tries; CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('tries') % 3 > 0 THEN RAISE EXCEPTION 'give way' USING ERRCODE = '{code}'; END IF; \
             RETURN NEW; END $$; \
             CREATE TRIGGER broken BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION broken();"
        );
        connection.execute(broken.as_str()).await.unwrap();
        let claim = store.claim("w", LEASE, Which::Any, now).await.unwrap().unwrap();
        assert_eq!(claim.lease.attempt, 1);
        store.renew(&claim.lease, LEASE, &Default::default(), now).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_for_a_file_waits_for_a_claim_that_takes_the_lease_away() {
    let url = postgres_schema().await;
    let (zombie, heir) = (crate::open(&url).await.unwrap(), PgConnection::connect(&url).await.unwrap());
    let clock = FakeClock::default();
    zombie.submit(job("t"), clock.now()).await.unwrap();
    let lease = zombie.claim("zombie", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    // The claim of another worker stands half-way.
    let mut heir = heir;
    heir.execute("BEGIN; UPDATE jobs SET attempt = 2, worker_id = 'heir'").await.unwrap();
    let (store, now, held) = (zombie.clone(), clock.now(), lease.clone());
    let staging = tokio::spawn(async move { store.stage_file(&held, "file:///a", now).await });
    until_waiting(&url, 1, || staging.is_finished()).await;
    heir.execute("COMMIT").await.unwrap();
    let error = staging.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::LeaseLost { .. }), "{error:?}");
    assert!(zombie.staged_files(&lease.job_id).await.unwrap().is_empty());
}

/// Each would look for the other's end before that is visible.
#[tokio::test]
async fn of_two_generations_that_end_at_once_only_the_newer_has_loads() {
    let url = postgres_schema().await;
    let store = crate::open(&url).await.unwrap();
    let now = FakeClock::default().now();
    let mut leases = vec![];
    for (generation, file) in [(0, "a"), (1, "b")] {
        let id = store.submit(NewJob { generation, ..job("t") }, now).await.unwrap().job.id;
        let lease = store.claim("w", LEASE, Which::Job(&id), now).await.unwrap().unwrap().lease;
        store.claim_files(&lease, &wanted("t", generation, &[file]), now).await.unwrap();
        leases.push(lease);
    }
    // The older one has a claim of an earlier attempt, which it forgets as the last thing it does: it stands there.
    let mut other = PgConnection::connect(&url).await.unwrap();
    let earlier = "INSERT INTO file_loads SELECT table_name, 'c', etag, size_bytes, job_id, 0, job_key, generation, \
                   table_uuid, 'claimed', '', NULL, claimed_at FROM file_loads WHERE uri = 'a'";
    other.execute(earlier).await.unwrap();
    other.execute("BEGIN; SELECT * FROM file_loads WHERE uri = 'c' FOR UPDATE").await.unwrap();
    let [older, newer] = leases.try_into().unwrap();
    let mut ends = vec![];
    for (waiting, lease, replaced_from) in [(1, older, None), (2, newer, Some(0))] {
        let (store, receipt) = (store.clone(), Receipt { replaced_from, ..receipt(&lease) });
        ends.push(tokio::spawn(async move { store.finish(&lease, Outcome::Succeeded(receipt), now).await }));
        until_waiting(&url, waiting, || ends.last().unwrap().is_finished()).await;
    }
    other.execute("COMMIT").await.unwrap();
    for end in ends {
        end.await.unwrap().unwrap();
    }
    let loads = store.file_loads(&LoadFilter::default()).await.unwrap();
    let states: Vec<_> = loads.into_iter().map(|load| (load.file.uri, load.state)).collect();
    assert_eq!(states, [("a".into(), LoadState::Replaced), ("b".into(), LoadState::Loaded)]);
}

/// Until so many transactions that have used this schema wait for others, or nothing is left that could.
async fn until_waiting(url: &str, count: i64, is_over: impl Fn() -> bool) {
    let waits = "SELECT count(DISTINCT waits.pid) FROM pg_locks waits JOIN pg_locks has USING (pid) \
                 WHERE NOT waits.granted AND has.relation = 'jobs'::regclass";
    let mut watcher = PgConnection::connect(url).await.unwrap();
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watcher).await.unwrap() < count && !is_over() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_without_repeating_it() {
    let url = postgres_schema().await;
    let (before, after) = (&url[..url.find("//moulin:").unwrap() + 9], &url[url.find('@').unwrap()..]);
    let fault = Fault::from(crate::open(&format!("{before}hunter2{after}")).await.err().unwrap());
    assert_eq!(fault.kind, FaultKind::PermissionDenied);
    assert!(fault.report().contains("password authentication failed"), "{}", fault.report());
    assert!(!fault.report().contains("hunter2"), "{}", fault.report());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_may_come_back() {
    let fault = Fault::from(crate::open("postgresql://me:hunter2@127.0.0.1:1/jobs").await.err().unwrap());
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.contains("127.0.0.1:1/jobs") && !fault.report().contains("hunter2"), "{}", fault.report());
}
