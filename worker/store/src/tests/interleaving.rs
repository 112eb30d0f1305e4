//! Any order of calls by two workers, two callers and a clock, against a model of what must come of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moulin_core::{JobId, JobState, Progress};
use moulin_testkit::FakeClock;
use proptest::prelude::*;

use super::build::{LEASE, entry, fault, id, job, postgres_store, receipt, sqlite_store};
use crate::{CancelOutcome, Error, JobFilter, JobStore, Lease, NewJob, Outcome, StoredJob, Which};

const TASKS: [&str; 3] = ["a", "b", "c"];
const WORKERS: [&str; 2] = ["w1", "w2"];

#[derive(Debug, Clone)]
enum Call {
    Submit { task: usize, epoch: u32, deadline_s: Option<u64> },
    Claim { worker: usize },
    // `lease` picks one of all leases ever given, lost ones too.
    Renew { lease: usize },
    Stage { lease: usize },
    Intend { lease: usize },
    Record { lease: usize },
    Finish { lease: usize, how: usize },
    Cancel { task: usize, epoch: u32 },
    Release { worker: usize },
    Expire,
    Advance { seconds: u64 },
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let (task, worker, lease) = (0..TASKS.len(), 0..WORKERS.len(), 0..64_usize);
    let call = prop_oneof![
        4 => (task.clone(), 0..4_u32, prop::option::of(1..60_u64))
            .prop_map(|(task, epoch, deadline_s)| Call::Submit { task, epoch, deadline_s }),
        6 => worker.clone().prop_map(|worker| Call::Claim { worker }),
        4 => lease.clone().prop_map(|lease| Call::Renew { lease }),
        2 => lease.clone().prop_map(|lease| Call::Stage { lease }),
        2 => lease.clone().prop_map(|lease| Call::Intend { lease }),
        2 => lease.clone().prop_map(|lease| Call::Record { lease }),
        4 => (lease, 0..5_usize).prop_map(|(lease, how)| Call::Finish { lease, how }),
        2 => (task, 0..4_u32).prop_map(|(task, epoch)| Call::Cancel { task, epoch }),
        1 => worker.prop_map(|worker| Call::Release { worker }),
        1 => Just(Call::Expire),
        5 => (1..20_u64).prop_map(|seconds| Call::Advance { seconds }),
    ];
    prop::collection::vec(call, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_calls_breaks_a_promise_on_sqlite(calls in calls()) {
        runtime().block_on(async {
            let (_folder, store) = sqlite_store().await;
            make_all(store, &calls).await;
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_calls_breaks_a_promise_on_postgres(calls in calls()) {
        runtime().block_on(async {
            let (_schema, store) = postgres_store().await;
            make_all(store, &calls).await;
        });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn make_all(store: Arc<dyn JobStore>, calls: &[Call]) {
    let mut world = World::new(store);
    for call in calls {
        let before = world.jobs().await;
        world.make(call).await;
        let after = world.jobs().await;
        only_allowed_moves(call, &before, &after);
    }
}

/// What holds whatever was called.
fn only_allowed_moves(call: &Call, before: &Jobs, after: &Jobs) {
    for (id, old) in before {
        let new = after.get(id).unwrap_or_else(|| panic!("{call:?} lost {id}"));
        let same_attempt = new.attempt == old.attempt;
        if old.state.may_reopen() && new.epoch > old.epoch {
            assert!(
                matches!(call, Call::Submit { .. }) && new.state == JobState::Queued,
                "{call:?}: {old:?} -> {new:?}"
            );
            assert!(same_attempt && new.fault.is_none() && new.cancel_requested.is_none(), "{call:?}: {new:?}");
            continue;
        }
        assert!(
            old.state == new.state && same_attempt || old.state.may_become(new.state),
            "{call:?}: {old:?} -> {new:?}"
        );
        assert!(old.epoch <= new.epoch, "{call:?}: {old:?} -> {new:?}");
        assert!(same_attempt || new.attempt == old.attempt + 1 && matches!(call, Call::Claim { .. }), "{call:?}");
        if old.state.is_final() {
            assert_eq!(StoredJob { epoch: new.epoch, ..old.clone() }, *new, "{call:?}");
        }
    }
}

type Jobs = BTreeMap<JobId, StoredJob>;

/// The store, and what a reader of the trait's promises would expect of it.
struct World {
    store: Arc<dyn JobStore>,
    clock: FakeClock,
    leases: Vec<Lease>,
    lease_ends: BTreeMap<JobId, SystemTime>,
    not_before: BTreeMap<JobId, SystemTime>,
    order: Vec<JobId>,
    /// When each was queued, or began again.
    queued_at: BTreeMap<JobId, SystemTime>,
}

impl World {
    fn new(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            clock: FakeClock::default(),
            leases: vec![],
            lease_ends: BTreeMap::new(),
            not_before: BTreeMap::new(),
            order: vec![],
            queued_at: BTreeMap::new(),
        }
    }

    async fn jobs(&self) -> Jobs {
        let page = self.store.list(&JobFilter::default()).await.unwrap();
        page.jobs.into_iter().map(|job| (job.id.clone(), job)).collect()
    }

    async fn make(&mut self, call: &Call) {
        let now = self.clock.now();
        match *call {
            Call::Submit { task, epoch, deadline_s } => self.submit(TASKS[task], epoch, deadline_s).await,
            Call::Claim { worker } => self.claim(WORKERS[worker]).await,
            Call::Cancel { task, epoch } => self.cancel(TASKS[task], epoch).await,
            Call::Release { worker } => {
                let jobs = self.jobs().await;
                let mine = |job: &&StoredJob| {
                    job.state == JobState::Running && job.worker_id.as_deref() == Some(WORKERS[worker])
                };
                let expected = jobs.values().filter(mine).count() as u64;
                assert_eq!(self.store.release_worker(WORKERS[worker], now).await.unwrap(), expected);
            }
            Call::Expire => {
                self.store.expire_deadlines(now).await.unwrap();
                let overdue = |job: &StoredJob| job.deadline.is_some_and(|deadline| deadline <= now);
                for job in self.jobs().await.into_values().filter(overdue) {
                    assert!(job.state.is_final() || job.attempt > 0 && job.cancel_requested.is_some(), "{job:?}");
                }
            }
            Call::Advance { seconds } => self.clock.advance(Duration::from_secs(seconds)),
            Call::Renew { lease }
            | Call::Stage { lease }
            | Call::Intend { lease }
            | Call::Record { lease }
            | Call::Finish { lease, .. } => {
                if !self.leases.is_empty() {
                    let lease = self.leases[lease % self.leases.len()].clone();
                    self.guarded(call, lease).await;
                }
            }
        }
    }

    async fn submit(&mut self, task: &str, epoch: u32, deadline_s: Option<u64>) {
        let now = self.clock.now();
        let deadline = deadline_s.map(|seconds| now + Duration::from_secs(seconds));
        let before = self.store.get(&id(task)).await.unwrap();
        let was_over = before.is_some_and(|job| matches!(job.state, JobState::Failed | JobState::Cancelled));
        let answer = self.store.submit(NewJob { epoch, deadline, ..job(task) }, now).await.unwrap();
        if answer.job.state == JobState::Queued && answer.job.fault.is_none() {
            self.not_before.remove(&id(task));
        }
        assert_eq!(answer.created, !self.order.contains(&id(task)));
        assert!(answer.job.epoch >= epoch);
        if answer.created {
            self.order.push(id(task));
        }
        // A job that begins again goes behind those that wait already.
        if answer.created || (was_over && answer.job.state == JobState::Queued) {
            self.queued_at.insert(id(task), now);
        }
    }

    async fn claim(&mut self, worker: &str) {
        let now = self.clock.now();
        let jobs = self.jobs().await;
        let free = |id: &&JobId| match &jobs[*id] {
            job if job.state == JobState::Queued => {
                job.cancel_requested.is_some() || self.not_before.get(*id).is_none_or(|then| *then <= now)
            }
            job => job.state == JobState::Running && self.lease_ends[*id] <= now,
        };
        let place = |(number, id): &(usize, &JobId)| (self.queued_at[*id], *number);
        let waiting = self.order.iter().enumerate().filter(|(_, id)| free(id));
        let expected = waiting.min_by_key(place).map(|(_, id)| id.clone());
        let claim = self.store.claim(worker, LEASE, Which::Any, now).await.unwrap();
        assert_eq!(claim.as_ref().map(|claim| claim.job.id.clone()), expected);
        if let Some(claim) = claim {
            assert!(
                !self.leases.iter().any(|old| old.job_id == claim.lease.job_id && old.attempt >= claim.lease.attempt)
            );
            self.lease_ends.insert(claim.job.id.clone(), now + LEASE);
            self.not_before.remove(&claim.job.id);
            self.leases.push(claim.lease);
        }
    }

    /// A write under a lease succeeds exactly when the job runs under that lease.
    async fn guarded(&mut self, call: &Call, lease: Lease) {
        let now = self.clock.now();
        let before = self.store.get(&lease.job_id).await.unwrap().unwrap();
        let newest = before.attempt == lease.attempt && before.worker_id.as_ref() == Some(&lease.worker);
        let mut allowed = newest && before.state == JobState::Running;
        let token = before.token();
        let stopped = before.cancel_requested.is_some() || before.deadline.is_some_and(|deadline| deadline <= now);
        let answer = match *call {
            Call::Renew { .. } => {
                let renewed = self.store.renew(&lease, LEASE, &Progress::default(), now).await;
                if let Ok(renewed) = &renewed {
                    assert!(renewed.cancel.is_some() || before.cancel_requested.is_none());
                    self.lease_ends.insert(lease.job_id.clone(), now + LEASE);
                }
                renewed.map(drop)
            }
            Call::Stage { .. } => self.store.stage_file(&lease, &format!("file:///{}", lease.attempt), now).await,
            Call::Intend { .. } => self.store.record_intent(&lease, &receipt(&lease), now).await,
            Call::Record { .. } => {
                allowed |= self.store.ledger(&token).await.unwrap().is_some();
                self.store.record_commit(&lease, &entry(&lease, &token, 7), now).await
            }
            Call::Finish { how, .. } => {
                let not_before = now + Duration::from_secs(30);
                let (outcome, state) = match how {
                    0 => (Outcome::Succeeded(receipt(&lease)), JobState::Succeeded),
                    1 => (Outcome::Failed(fault("x")), JobState::Failed),
                    2 => (Outcome::Cancelled(fault("x")), JobState::Cancelled),
                    3 => (Outcome::Again { fault: fault("x"), not_before }, JobState::Queued),
                    _ => (Outcome::Later { fault: fault("x"), not_before }, JobState::Queued),
                };
                allowed |= newest && before.state == state && state.is_final();
                let answer = self.store.finish(&lease, outcome, now).await;
                if answer.is_ok() && state == JobState::Queued {
                    self.not_before.insert(lease.job_id.clone(), not_before);
                }
                answer.map(|job| assert_eq!(job.state, state))
            }
            _ => unreachable!("not a guarded call"),
        };
        match answer {
            Ok(()) if matches!(call, Call::Intend { .. }) => assert!(allowed && !stopped),
            Ok(()) => assert!(allowed, "{call:?} under {lease:?} succeeded on {before:?}"),
            Err(Error::Stopped { .. }) => {
                assert!(matches!(call, Call::Intend { .. }) && allowed && stopped, "{before:?}");
            }
            Err(Error::LeaseLost { .. }) => assert!(!allowed, "{call:?} under {lease:?} was refused on {before:?}"),
            Err(other) => panic!("{call:?}: {other}"),
        }
    }

    async fn cancel(&mut self, task: &str, epoch: u32) {
        let before = self.store.get(&id(task)).await.unwrap();
        let answer = self.store.cancel(&id(task), epoch, "x", self.clock.now()).await;
        let Some(before) = before else {
            assert!(matches!(answer, Err(Error::NotFound { .. })));
            return;
        };
        match answer.unwrap() {
            CancelOutcome::StaleEpoch { current } => assert!(epoch < current && current == before.epoch),
            CancelOutcome::Final(job) => assert!(before.state.is_final() && job == before),
            CancelOutcome::Cancelled(_) => assert!(before.state == JobState::Queued && before.attempt == 0),
            CancelOutcome::Requested(job) => {
                assert!(before.attempt > 0 && !before.state.is_final() && job.cancel_requested.is_some());
            }
        }
    }
}
