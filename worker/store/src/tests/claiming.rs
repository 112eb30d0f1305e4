//! Which job is next, for whom, and who there is. Each function takes a store that is empty.

use std::sync::Arc;
use std::time::Duration;

use moulin_testkit::FakeClock;

use super::build::{LEASE, fault, id, job};
use crate::{JobStore, LiveWorker, NewJob, Outcome, Which};

type Store = Arc<dyn JobStore>;

const MINUTE: Duration = Duration::from_secs(60);

on_every_store!(
    the_highest_priority_is_claimed_first_and_of_equals_the_oldest,
    a_point_of_priority_is_worth_a_minute_of_waiting,
    a_job_that_is_begun_again_queues_anew_with_what_is_asked_now,
    an_attempt_to_be_repeated_keeps_its_place,
    a_worker_claims_jobs_of_its_pools_only,
    a_pool_is_its_whole_name,
    a_job_that_is_named_is_claimed_whatever_its_pool,
    a_lost_job_goes_to_a_worker_of_its_pool,
    workers_are_live_until_they_are_not_heard_of,
    a_worker_that_claims_no_more_is_not_live,
    jobs_that_wait_are_counted,
);

async fn the_highest_priority_is_claimed_first_and_of_equals_the_oldest(store: Store) {
    let clock = FakeClock::default();
    for (task, priority) in [("low", -3), ("usual", 1), ("high", 10), ("high, later", 10), ("highest", i32::MAX)] {
        store.submit(NewJob { priority, ..job(task) }, clock.now()).await.unwrap();
        clock.advance(Duration::from_millis(1));
    }
    let order = ["highest", "high", "high, later", "usual", "low"];
    assert_eq!(claimed(&store, &clock, Which::Any).await, order.map(id));
}

async fn a_point_of_priority_is_worth_a_minute_of_waiting(store: Store) {
    let clock = FakeClock::default();
    store.submit(NewJob { priority: 1, ..job("low") }, clock.now()).await.unwrap();
    clock.advance(MINUTE * 2 - Duration::from_micros(1));
    store.submit(NewJob { priority: 3, ..job("high, just in time") }, clock.now()).await.unwrap();
    clock.advance(Duration::from_micros(2));
    store.submit(NewJob { priority: 3, ..job("high, too late") }, clock.now()).await.unwrap();
    let order = ["high, just in time", "low", "high, too late"];
    assert_eq!(claimed(&store, &clock, Which::Any).await, order.map(id));
}

async fn a_job_that_is_begun_again_queues_anew_with_what_is_asked_now(store: Store) {
    let clock = FakeClock::default();
    store.submit(NewJob { priority: 1000, ..job("again") }, clock.now()).await.unwrap();
    let lease = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.finish(&lease, Outcome::Failed(fault("no file")), clock.now()).await.unwrap();
    clock.advance(MINUTE);
    store.submit(job("in between"), clock.now()).await.unwrap();
    clock.advance(MINUTE);
    let newer = NewJob { epoch: 2, priority: 1, pool: "night".into(), ..job("again") };
    let again = store.submit(newer, clock.now()).await.unwrap().job;
    assert_eq!((again.priority, again.pool.as_str()), (1, "night"));
    assert_eq!(claimed(&store, &clock, Which::Any).await, ["in between", "again"].map(id));
}

async fn an_attempt_to_be_repeated_keeps_its_place(store: Store) {
    let clock = FakeClock::default();
    store.submit(job("first"), clock.now()).await.unwrap();
    let lease = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.submit(job("second"), clock.now()).await.unwrap();
    let again = Outcome::Again { fault: fault("the catalog is down"), not_before: clock.now() };
    store.finish(&lease, again, clock.now()).await.unwrap();
    assert_eq!(claimed(&store, &clock, Which::Any).await, ["first", "second"].map(id));
}

async fn a_worker_claims_jobs_of_its_pools_only(store: Store) {
    let clock = FakeClock::default();
    for (task, pool) in [("a", "day"), ("b", "default_pool"), ("c", "night"), ("d", "day")] {
        store.submit(NewJob { pool: pool.into(), ..job(task) }, clock.now()).await.unwrap();
    }
    let pools = ["night".to_owned(), "day".to_owned()];
    assert_eq!(claimed(&store, &clock, Which::of(&pools)).await, ["a", "c", "d"].map(id));
    assert_eq!(claimed(&store, &clock, Which::of(&[])).await, ["b"].map(id));
}

async fn a_pool_is_its_whole_name(store: Store) {
    let clock = FakeClock::default();
    for pool in ["day", "my day", "day_", "DAY", "%"] {
        store.submit(NewJob { pool: pool.into(), ..job(pool) }, clock.now()).await.unwrap();
    }
    let pools = ["da_".to_owned(), "my day".to_owned(), "dayx".to_owned()];
    assert_eq!(claimed(&store, &clock, Which::of(&pools)).await, ["my day"].map(id));
}

async fn a_job_that_is_named_is_claimed_whatever_its_pool(store: Store) {
    let clock = FakeClock::default();
    store.submit(NewJob { pool: "night".into(), ..job("t") }, clock.now()).await.unwrap();
    assert!(store.claim("run", LEASE, Which::Job(&id("t")), clock.now()).await.unwrap().is_some());
}

async fn a_lost_job_goes_to_a_worker_of_its_pool(store: Store) {
    let clock = FakeClock::default();
    store.submit(NewJob { pool: "night".into(), ..job("t") }, clock.now()).await.unwrap();
    store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    clock.advance(LEASE);
    let (day, night) = (["day".to_owned()], ["night".to_owned()]);
    assert_eq!(store.claim("w2", LEASE, Which::of(&day), clock.now()).await.unwrap(), None);
    let claim = store.claim("w3", LEASE, Which::of(&night), clock.now()).await.unwrap().unwrap();
    assert_eq!(claim.lease.attempt, 2);
}

async fn workers_are_live_until_they_are_not_heard_of(store: Store) {
    let clock = FakeClock::default();
    let worker = |id: &str, pools: &[&str]| LiveWorker {
        id: id.into(),
        pools: pools.iter().map(|&pool| pool.to_owned()).collect(),
        slots: 2,
        seen_until: clock.now() + LEASE,
    };
    store.announce(&worker("b", &[]), clock.now()).await.unwrap();
    store.announce(&worker("a", &["day"]), clock.now()).await.unwrap();
    store.announce(&worker("a", &["night, late", "\"day\""]), clock.now()).await.unwrap();
    let live = store.live_workers(clock.now()).await.unwrap();
    assert_eq!(live, [worker("a", &["night, late", "\"day\""]), worker("b", &[])]);
    assert!(live[0].serves("\"day\"") && !live[0].serves("day") && live[1].serves("day"));
    clock.advance(LEASE - Duration::from_micros(1));
    assert_eq!(store.live_workers(clock.now()).await.unwrap().len(), 2);
    store.announce(&worker("b", &[]), clock.now()).await.unwrap();
    clock.advance(Duration::from_micros(1));
    let live = store.live_workers(clock.now()).await.unwrap();
    assert_eq!(live.iter().map(|worker| worker.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

async fn a_worker_that_claims_no_more_is_not_live(store: Store) {
    let clock = FakeClock::default();
    let worker = LiveWorker { id: "w".into(), pools: vec![], slots: 1, seen_until: clock.now() + LEASE };
    store.announce(&worker, clock.now()).await.unwrap();
    for _ in 0..2 {
        store.withdraw("w").await.unwrap();
        assert_eq!(store.live_workers(clock.now()).await.unwrap(), []);
    }
}

async fn jobs_that_wait_are_counted(store: Store) {
    let clock = FakeClock::default();
    assert_eq!(store.queued().await.unwrap(), 0);
    for task in ["a", "b", "c"] {
        store.submit(job(task), clock.now()).await.unwrap();
    }
    store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!(store.queued().await.unwrap(), 2);
}

/// All jobs that can be claimed, in the order in which they are.
async fn claimed(store: &Store, clock: &FakeClock, which: Which<'_>) -> Vec<moulin_core::JobId> {
    let mut order = Vec::new();
    while let Some(claim) = store.claim("w", LEASE, which, clock.now()).await.unwrap() {
        order.push(claim.job.id);
    }
    order
}
