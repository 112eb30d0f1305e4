//! What every job store must do. Each function takes a store that is empty.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use moulin_core::{FaultKind, JobState, Progress, Token};
use moulin_testkit::FakeClock;

use super::build::{LEASE, entry, fault, id, job, key, receipt};
use crate::{CancelOutcome, Claim, Error, JobFilter, JobStore, NewJob, Outcome, StagedFile, StoredJob, Which};

type Store = Arc<dyn JobStore>;

/// Runs every function of this file as a test on the stores that `$make` opens.
macro_rules! conformance {
    ($make:path: $($name:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let (_folder, store) = $make().await;
            super::$name(store).await;
        }
    )*};
}

macro_rules! on_every_store {
    ($($names:tt)*) => {
        mod on_sqlite {
            conformance!(super::super::build::sqlite_store: $($names)*);
        }
        mod on_postgres {
            conformance!(super::super::build::postgres_store: $($names)*);
        }
    };
}

on_every_store!(
    a_second_submit_finds_the_first_job,
    sixteen_submits_at_once_make_one_job,
    a_commit_keeps_the_names_of_its_files_and_is_found_by_the_next_generation,
    a_new_generation_is_another_job,
    a_newer_epoch_takes_over_and_an_older_one_attaches,
    a_newer_try_begins_a_failed_job_again_and_the_same_try_does_not,
    a_newer_try_begins_a_cancelled_job_again_with_what_is_asked_now,
    a_newer_try_of_a_job_in_work_changes_nothing_of_it,
    a_newer_try_of_a_job_that_succeeded_only_attaches,
    jobs_are_claimed_oldest_first_and_once,
    a_job_is_claimed_again_when_its_lease_ran_out,
    only_the_job_that_is_named_is_claimed,
    a_new_attempt_has_no_progress_yet,
    a_lost_lease_changes_nothing,
    a_lease_in_the_name_of_another_worker_is_none,
    a_renewed_lease_holds_and_tells_progress,
    a_restarted_worker_gives_its_jobs_back,
    an_attempt_to_be_repeated_waits_until_then,
    waiting_for_another_job_is_no_failure,
    a_final_outcome_may_be_said_twice,
    an_old_attempt_has_no_part_in_the_end_of_a_newer_one,
    staged_files_are_known_until_forgotten,
    the_ledger_takes_a_token_once,
    a_later_attempt_records_the_commit_of_an_earlier_one,
    an_intent_comes_back_as_it_was,
    a_job_nobody_began_is_cancelled_at_once,
    a_begun_job_is_asked_to_stop,
    a_job_that_was_asked_to_stop_may_not_commit,
    a_job_past_its_deadline_may_not_commit,
    a_job_that_may_have_committed_is_not_cancelled_unseen,
    a_stale_cancel_is_refused,
    a_finished_job_is_not_cancelled,
    a_passed_deadline_ends_what_was_not_begun_and_stops_what_was,
    lists_are_newest_first_filtered_and_paged,
    the_check_counts_open_jobs,
);

async fn a_second_submit_finds_the_first_job(store: Store) {
    let clock = FakeClock::default();
    let first = store.submit(job("t"), clock.now()).await.unwrap();
    clock.advance(LEASE);
    let second = store.submit(NewJob { spec: b"other".to_vec(), ..job("t") }, clock.now()).await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(second.job, first.job);
    assert_eq!((first.job.state, first.job.attempt, first.job.id), (JobState::Queued, 0, id("t")));
}

async fn sixteen_submits_at_once_make_one_job(store: Store) {
    let clock = FakeClock::default();
    let submits = (0..16).map(|_| store.submit(job("t"), clock.now()));
    let answers = futures::future::try_join_all(submits).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    assert_eq!(store.list(&JobFilter::default()).await.unwrap().jobs.len(), 1);
}

async fn a_new_generation_is_another_job(store: Store) {
    let clock = FakeClock::default();
    let first = store.submit(job("t"), clock.now()).await.unwrap().job;
    let cleared = store.submit(NewJob { generation: 1, ..job("t") }, clock.now()).await.unwrap();
    assert!(cleared.created);
    assert_ne!(cleared.job.id, first.id);
    let listed = store.list(&JobFilter::default()).await.unwrap().jobs;
    assert_eq!(listed, [cleared.job.clone(), first.clone()]);
    store.submit(job("other"), clock.now()).await.unwrap();
    assert_eq!(store.generations(&key("t")).await.unwrap(), [first, cleared.job]);
}

async fn a_newer_epoch_takes_over_and_an_older_one_attaches(store: Store) {
    let clock = FakeClock::default();
    for (epoch, newest) in [(2, 2), (5, 5), (1, 5)] {
        let answer = store.submit(NewJob { epoch, ..job("t") }, clock.now()).await.unwrap();
        assert_eq!(answer.job.epoch, newest);
    }
}

async fn a_newer_try_begins_a_failed_job_again_and_the_same_try_does_not(store: Store) {
    let clock = FakeClock::default();
    store.submit(job("t"), clock.now()).await.unwrap();
    let claim = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    store.finish(&claim.lease, Outcome::Failed(fault("no file")), clock.now()).await.unwrap();
    let same = store.submit(NewJob { epoch: claim.job.epoch, ..job("t") }, clock.now()).await.unwrap();
    assert_eq!(same.job.state, JobState::Failed);
    let newer = NewJob { epoch: claim.job.epoch + 1, spec: b"corrected".to_vec(), ..job("t") };
    let again = store.submit(newer, clock.now()).await.unwrap();
    assert!(!again.created);
    assert_eq!((again.job.state, again.job.spec.as_slice()), (JobState::Queued, &b"corrected"[..]));
    assert!(again.job.fault.is_none() && again.job.finished_at.is_none());
    let second = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!(second.lease.attempt, claim.lease.attempt + 1);
}

async fn a_newer_try_begins_a_cancelled_job_again_with_what_is_asked_now(store: Store) {
    let clock = FakeClock::default();
    let first = Some(clock.now() + Duration::from_secs(30));
    store.submit(NewJob { deadline: first, ..job("t") }, clock.now()).await.unwrap();
    let lease = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.cancel(&id("t"), 1, "task marked failed", clock.now()).await.unwrap();
    store.finish(&lease, Outcome::Cancelled(fault("stopped")), clock.now()).await.unwrap();
    let deadline = Some(clock.now() + Duration::from_secs(60));
    let newer = NewJob { epoch: 2, table: "c.d".into(), deadline, ..job("t") };
    let again = store.submit(newer, clock.now()).await.unwrap().job;
    assert_eq!((again.state, again.table.as_str(), again.deadline), (JobState::Queued, "c.d", deadline));
    let claim = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!(claim.job.cancel_requested, None, "the cancel was of the try before");
    store.record_intent(&claim.lease, &receipt(&claim.lease), clock.now()).await.unwrap();
}

async fn a_newer_try_of_a_job_in_work_changes_nothing_of_it(store: Store) {
    let clock = FakeClock::default();
    let claim = claim_new(&store, &clock, "t").await;
    let newer = NewJob { epoch: 2, spec: b"other".to_vec(), table: "c.d".into(), ..job("t") };
    let attached = store.submit(newer, clock.now()).await.unwrap();
    assert_eq!(attached.job, StoredJob { epoch: 2, ..claim.job });
    store.renew(&claim.lease, LEASE, &Progress::default(), clock.now()).await.unwrap();
}

async fn a_newer_try_of_a_job_that_succeeded_only_attaches(store: Store) {
    let clock = FakeClock::default();
    store.submit(job("t"), clock.now()).await.unwrap();
    let claim = store.claim("w", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    store.finish(&claim.lease, Outcome::Succeeded(receipt(&claim.lease)), clock.now()).await.unwrap();
    let newer = NewJob { epoch: claim.job.epoch + 1, ..job("t") };
    let again = store.submit(newer, clock.now()).await.unwrap();
    assert_eq!((again.job.state, again.job.epoch), (JobState::Succeeded, claim.job.epoch + 1));
    assert!(again.job.receipt.is_some());
}

async fn jobs_are_claimed_oldest_first_and_once(store: Store) {
    let clock = FakeClock::default();
    for task in ["a", "b"] {
        store.submit(job(task), clock.now()).await.unwrap();
    }
    clock.advance(Duration::from_secs(3));
    let first = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!((first.job.id, second.job.id), (id("a"), id("b")));
    assert_eq!((first.job.state, first.lease.attempt, second.lease.attempt), (JobState::Running, 1, 1));
    assert_eq!((first.job.worker_id.as_deref(), first.job.started_at), (Some("w1"), Some(clock.now())));
    assert_eq!(store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap(), None);
}

async fn a_job_is_claimed_again_when_its_lease_ran_out(store: Store) {
    let clock = FakeClock::default();
    claim_new(&store, &clock, "t").await;
    clock.advance(LEASE - Duration::from_micros(1));
    assert_eq!(store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap(), None);
    clock.advance(Duration::from_micros(1));
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!((second.lease.attempt, second.lease.worker.as_str()), (2, "w2"));
    assert_eq!(second.job.started_at, Some(clock.now()));
}

async fn only_the_job_that_is_named_is_claimed(store: Store) {
    let clock = FakeClock::default();
    for task in ["a", "b"] {
        store.submit(job(task), clock.now()).await.unwrap();
    }
    let claim = store.claim("w1", LEASE, Which::Job(&id("b")), clock.now()).await.unwrap().unwrap();
    assert_eq!(claim.job.id, id("b"));
    assert_eq!(store.claim("w1", LEASE, Which::Job(&id("b")), clock.now()).await.unwrap(), None);
}

async fn a_new_attempt_has_no_progress_yet(store: Store) {
    let clock = FakeClock::default();
    let first = claim_new(&store, &clock, "t").await;
    let progress = Progress { rows_read: 1, ..Progress::default() };
    store.renew(&first.lease, LEASE, &progress, clock.now()).await.unwrap();
    clock.advance(LEASE);
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!(second.job.progress, Progress::default());
}

async fn a_lease_in_the_name_of_another_worker_is_none(store: Store) {
    let clock = FakeClock::default();
    let mut lease = claim_new(&store, &clock, "t").await.lease;
    lease.worker = "w2".into();
    is_lost(store.renew(&lease, LEASE, &Progress::default(), clock.now()).await);
    is_lost(store.finish(&lease, Outcome::Failed(fault("x")), clock.now()).await);
}

async fn a_lost_lease_changes_nothing(store: Store) {
    let clock = FakeClock::default();
    let old = claim_new(&store, &clock, "t").await.lease;
    clock.advance(LEASE);
    let new = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    let (now, token) = (clock.now(), new.job.token());
    let progress = Progress::default();
    is_lost(store.renew(&old, LEASE, &progress, now).await);
    is_lost(store.stage_file(&old, "file:///x", now).await);
    is_lost(store.record_intent(&old, &receipt(&old), now).await);
    is_lost(store.record_commit(&old, &entry(&old, &token, 7), now).await);
    is_lost(store.finish(&old, Outcome::Succeeded(receipt(&old)), now).await);
    is_lost(store.finish(&old, Outcome::Again { fault: fault("x"), not_before: now }, now).await);
    assert_eq!(store.get(&id("t")).await.unwrap().unwrap(), new.job);
    assert_eq!(store.staged_files(&id("t")).await.unwrap(), []);
    assert_eq!(store.intent(&id("t"), 1).await.unwrap(), None);
    assert_eq!(store.ledger(&token).await.unwrap(), None);
}

async fn a_renewed_lease_holds_and_tells_progress(store: Store) {
    let clock = FakeClock::default();
    let claim = claim_new(&store, &clock, "t").await;
    clock.advance(LEASE - Duration::from_secs(1));
    let progress = Progress { rows_read: 12, elapsed: Duration::from_nanos(1_000_000_001), ..Progress::default() };
    let renewed = store.renew(&claim.lease, LEASE, &progress, clock.now()).await.unwrap();
    assert_eq!((renewed.cancel, renewed.deadline_passed), (None, false));
    assert_eq!(store.get(&id("t")).await.unwrap().unwrap().progress, progress);
    clock.advance(LEASE - Duration::from_secs(1));
    assert_eq!(store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap(), None);
}

async fn a_restarted_worker_gives_its_jobs_back(store: Store) {
    let clock = FakeClock::default();
    let mine = claim_new(&store, &clock, "mine").await;
    store.submit(job("theirs"), clock.now()).await.unwrap();
    store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!(store.release_worker("w1", clock.now()).await.unwrap(), 1);
    is_lost(store.renew(&mine.lease, LEASE, &Progress::default(), clock.now()).await);
    assert_eq!(store.get(&id("mine")).await.unwrap().unwrap().state, JobState::Queued);
    let again = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!((again.job.id, again.lease.attempt), (id("mine"), 2));
    assert_eq!(store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap(), None);
}

async fn an_attempt_to_be_repeated_waits_until_then(store: Store) {
    let clock = FakeClock::default();
    let claim = claim_new(&store, &clock, "t").await;
    let not_before = clock.now() + Duration::from_secs(60);
    let again = Outcome::Again { fault: fault("the store does not answer"), not_before };
    let stored = store.finish(&claim.lease, again, clock.now()).await.unwrap();
    let why = Some(fault("the store does not answer"));
    assert_eq!((stored.state, stored.fault, stored.finished_at), (JobState::Queued, why, None));
    clock.advance(Duration::from_secs(59));
    assert_eq!(store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap(), None);
    clock.advance(Duration::from_secs(1));
    let again = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    assert_eq!((again.lease.attempt, again.job.fault), (2, None));
}

async fn waiting_for_another_job_is_no_failure(store: Store) {
    let clock = FakeClock::default();
    store.submit(job("t"), clock.now()).await.unwrap();
    let not_before = clock.now();
    let again = || Outcome::Again { fault: fault("x"), not_before };
    let later = || Outcome::Later { fault: fault("waits"), not_before };
    for (attempt, (outcome, failures)) in (1..).zip([(later(), 0), (again(), 1), (later(), 1), (again(), 2)]) {
        let claim = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
        let stored = store.finish(&claim.lease, outcome, clock.now()).await.unwrap();
        assert_eq!((stored.state, stored.attempt, stored.failures), (JobState::Queued, attempt, failures));
    }
    // A newer try begins with none.
    let lease = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.finish(&lease, Outcome::Failed(fault("x")), clock.now()).await.unwrap();
    let newer = store.submit(NewJob { epoch: 2, ..job("t") }, clock.now()).await.unwrap().job;
    assert_eq!((newer.attempt, newer.failures), (5, 0));
}

async fn a_final_outcome_may_be_said_twice(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    let first = store.finish(&lease, Outcome::Succeeded(receipt(&lease)), clock.now()).await.unwrap();
    assert_eq!((first.state, first.finished_at), (JobState::Succeeded, Some(clock.now())));
    assert_eq!(first.receipt, Some(receipt(&lease)));
    clock.advance(LEASE);
    assert_eq!(store.finish(&lease, Outcome::Succeeded(receipt(&lease)), clock.now()).await.unwrap(), first);
    is_lost(store.finish(&lease, Outcome::Failed(fault("too late")), clock.now()).await);
    assert_eq!(store.get(&id("t")).await.unwrap().unwrap(), first);
}

async fn an_old_attempt_has_no_part_in_the_end_of_a_newer_one(store: Store) {
    let clock = FakeClock::default();
    let old = claim_new(&store, &clock, "t").await.lease;
    clock.advance(LEASE);
    let new = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.finish(&new, Outcome::Succeeded(receipt(&new)), clock.now()).await.unwrap();
    is_lost(store.finish(&old, Outcome::Succeeded(receipt(&old)), clock.now()).await);
}

async fn staged_files_are_known_until_forgotten(store: Store) {
    let clock = FakeClock::default();
    let first = claim_new(&store, &clock, "t").await.lease;
    for uri in ["file:///1b", "file:///1a", "file:///1b"] {
        store.stage_file(&first, uri, clock.now()).await.unwrap();
    }
    clock.advance(LEASE);
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    store.stage_file(&second, "file:///2", clock.now()).await.unwrap();
    let file = |attempt, uri: &str| StagedFile { attempt, uri: uri.into() };
    let all = [file(1, "file:///1a"), file(1, "file:///1b"), file(2, "file:///2")];
    assert_eq!(store.staged_files(&id("t")).await.unwrap(), all);
    store.forget_staged(&id("t"), 2).await.unwrap();
    assert_eq!(store.staged_files(&id("t")).await.unwrap(), all[2..]);
}

async fn the_ledger_takes_a_token_once(store: Store) {
    let clock = FakeClock::default();
    let claim = claim_new(&store, &clock, "t").await;
    let (lease, token) = (claim.lease, claim.job.token());
    let commit = entry(&lease, &token, i64::MIN);
    for _ in 0..2 {
        store.record_commit(&lease, &commit, clock.now()).await.unwrap();
    }
    let other = store.record_commit(&lease, &entry(&lease, &token, 8), clock.now()).await;
    assert!(matches!(other, Err(Error::LedgerConflict { recorded: i64::MIN, offered: 8, .. })), "{other:?}");
    assert_eq!(store.ledger(&token).await.unwrap(), Some(commit));
    assert_eq!(store.ledger(&Token::new(&key("t"), 1)).await.unwrap(), None);
}

async fn a_later_attempt_records_the_commit_of_an_earlier_one(store: Store) {
    let clock = FakeClock::default();
    let first = claim_new(&store, &clock, "t").await;
    let commit = entry(&first.lease, &first.job.token(), 7);
    clock.advance(LEASE);
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap();
    store.record_commit(&second.lease, &commit, clock.now()).await.unwrap();
    assert_eq!(store.ledger(&commit.token).await.unwrap().unwrap().attempt, 1);
}

async fn an_intent_comes_back_as_it_was(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    assert_eq!(store.intent(&id("t"), 1).await.unwrap(), None);
    store.record_intent(&lease, &receipt(&lease), clock.now()).await.unwrap();
    assert_eq!(store.intent(&id("t"), 1).await.unwrap(), Some(receipt(&lease)));
    assert_eq!(store.intent(&id("t"), 2).await.unwrap(), None);
}

async fn a_job_nobody_began_is_cancelled_at_once(store: Store) {
    let clock = FakeClock::default();
    store.submit(job("t"), clock.now()).await.unwrap();
    let outcome = store.cancel(&id("t"), 1, "task marked failed", clock.now()).await.unwrap();
    let CancelOutcome::Cancelled(cancelled) = outcome else { panic!("{outcome:?}") };
    assert_eq!((cancelled.state, cancelled.finished_at), (JobState::Cancelled, Some(clock.now())));
    let fault = cancelled.fault.unwrap();
    assert_eq!(fault.kind, FaultKind::Cancelled);
    assert!(fault.message.contains("task marked failed"), "{}", fault.message);
    assert_eq!(store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap(), None);
    let unknown = store.cancel(&id("nobody"), 1, "", clock.now()).await;
    assert!(matches!(unknown, Err(Error::NotFound { .. })), "{unknown:?}");
}

async fn a_begun_job_is_asked_to_stop(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    for reason in ["first", "second"] {
        let outcome = store.cancel(&id("t"), 1, reason, clock.now()).await.unwrap();
        assert!(matches!(&outcome, CancelOutcome::Requested(job) if job.state == JobState::Running), "{outcome:?}");
    }
    let renewed = store.renew(&lease, LEASE, &Progress::default(), clock.now()).await.unwrap();
    assert_eq!((renewed.cancel.as_deref(), renewed.deadline_passed), (Some("first"), false));
    let job = store.finish(&lease, Outcome::Cancelled(fault("stopped")), clock.now()).await.unwrap();
    assert_eq!((job.state, job.fault), (JobState::Cancelled, Some(fault("stopped"))));
}

async fn a_job_that_was_asked_to_stop_may_not_commit(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    store.cancel(&id("t"), 1, "enough", clock.now()).await.unwrap();
    let stopped = store.record_intent(&lease, &receipt(&lease), clock.now()).await.unwrap_err();
    assert_eq!(stopped.kind(), FaultKind::Cancelled);
    assert!(stopped.to_string().contains("enough"), "{stopped}");
    assert_eq!(store.intent(&id("t"), 1).await.unwrap(), None);
}

async fn a_job_past_its_deadline_may_not_commit(store: Store) {
    let clock = FakeClock::default();
    let deadline = Some(clock.now() + Duration::from_secs(10));
    store.submit(NewJob { deadline, ..job("t") }, clock.now()).await.unwrap();
    let lease = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    clock.advance(Duration::from_secs(9));
    store.record_intent(&lease, &receipt(&lease), clock.now()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let stopped = store.record_intent(&lease, &receipt(&lease), clock.now()).await.unwrap_err();
    assert_eq!(stopped.kind(), FaultKind::DeadlineExceeded);
}

async fn a_job_that_may_have_committed_is_not_cancelled_unseen(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    let not_before = clock.now() + Duration::from_secs(3600);
    store.finish(&lease, Outcome::Again { fault: fault("x"), not_before }, clock.now()).await.unwrap();
    let outcome = store.cancel(&id("t"), 1, "enough", clock.now()).await.unwrap();
    assert!(matches!(&outcome, CancelOutcome::Requested(job) if job.state == JobState::Queued), "{outcome:?}");
    let claim =
        store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().expect("a requested cancel does not wait");
    assert_eq!(claim.job.cancel_requested.as_deref(), Some("enough"));
}

async fn a_stale_cancel_is_refused(store: Store) {
    let clock = FakeClock::default();
    let before = store.submit(NewJob { epoch: 3, ..job("t") }, clock.now()).await.unwrap().job;
    let outcome = store.cancel(&id("t"), 2, "cleared", clock.now()).await.unwrap();
    assert_eq!(outcome, CancelOutcome::StaleEpoch { current: 3 });
    assert_eq!(store.get(&id("t")).await.unwrap().unwrap(), before);
    let outcome = store.cancel(&id("t"), 3, "killed", clock.now()).await.unwrap();
    assert!(matches!(outcome, CancelOutcome::Cancelled(_)), "{outcome:?}");
}

async fn a_finished_job_is_not_cancelled(store: Store) {
    let clock = FakeClock::default();
    let lease = claim_new(&store, &clock, "t").await.lease;
    let job = store.finish(&lease, Outcome::Failed(fault("x")), clock.now()).await.unwrap();
    assert_eq!(store.cancel(&id("t"), 9, "late", clock.now()).await.unwrap(), CancelOutcome::Final(job));
}

async fn a_passed_deadline_ends_what_was_not_begun_and_stops_what_was(store: Store) {
    let clock = FakeClock::default();
    let deadline = Some(clock.now() + Duration::from_secs(10));
    for task in ["begun", "unbegun"] {
        store.submit(NewJob { deadline, ..job(task) }, clock.now()).await.unwrap();
    }
    store.submit(job("forever"), clock.now()).await.unwrap();
    store.submit(NewJob { deadline, ..job("waiting") }, clock.now()).await.unwrap();
    let lease = store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    let waiting = store.claim("w1", LEASE, Which::Job(&id("waiting")), clock.now()).await.unwrap().unwrap().lease;
    let again = Outcome::Again { fault: fault("x"), not_before: clock.now() };
    store.finish(&waiting, again, clock.now()).await.unwrap();
    clock.advance(Duration::from_secs(9));
    assert_eq!(store.expire_deadlines(clock.now()).await.unwrap(), []);
    clock.advance(Duration::from_secs(1));
    let expired: BTreeSet<_> = store.expire_deadlines(clock.now()).await.unwrap().into_iter().collect();
    assert_eq!(expired, BTreeSet::from([id("begun"), id("unbegun"), id("waiting")]));
    assert_eq!(store.expire_deadlines(clock.now()).await.unwrap(), []);
    let unbegun = store.get(&id("unbegun")).await.unwrap().unwrap();
    assert_eq!((unbegun.state, unbegun.fault.unwrap().kind), (JobState::Failed, FaultKind::DeadlineExceeded));
    assert_eq!(store.get(&id("begun")).await.unwrap().unwrap().state, JobState::Running);
    let renewed = store.renew(&lease, LEASE, &Progress::default(), clock.now()).await.unwrap();
    assert_eq!((renewed.cancel.as_deref(), renewed.deadline_passed), (Some("the job's deadline passed"), true));
    for task in ["forever", "waiting"] {
        assert_eq!(store.get(&id(task)).await.unwrap().unwrap().state, JobState::Queued);
    }
}

async fn lists_are_newest_first_filtered_and_paged(store: Store) {
    let clock = FakeClock::default();
    for task in ["a", "b", "c", "d", "e"] {
        store.submit(job(task), clock.now()).await.unwrap();
    }
    let mut foreign = job("f");
    foreign.key.dag_id = "other".into();
    foreign.table = "x.y".into();
    store.submit(foreign, clock.now()).await.unwrap();
    store.cancel(&id("c"), 1, "", clock.now()).await.unwrap();
    let none = JobFilter::default();
    assert_eq!(tasks(&store, none.clone()).await, "fedcba");
    assert_eq!(tasks(&store, JobFilter { dag_id: Some("dag".into()), ..none.clone() }).await, "edcba");
    assert_eq!(tasks(&store, JobFilter { table: Some("x.y".into()), ..none.clone() }).await, "f");
    assert_eq!(tasks(&store, JobFilter { states: vec![JobState::Cancelled], ..none.clone() }).await, "c");
    let either = vec![JobState::Running, JobState::Queued];
    assert_eq!(tasks(&store, JobFilter { states: either, ..none.clone() }).await, "fedba");
    assert_eq!(tasks(&store, JobFilter { page_size: 2, ..none.clone() }).await, "fe dc ba");
    assert_eq!(tasks(&store, JobFilter { page_size: 4, ..none.clone() }).await, "fedc ba");
    let wrong = store.list(&JobFilter { page_token: Some("x".into()), ..none }).await.unwrap_err();
    assert!(matches!(&wrong, Error::PageToken { token } if token == "x"), "{wrong:?}");
}

async fn the_check_counts_open_jobs(store: Store) {
    let clock = FakeClock::default();
    claim_new(&store, &clock, "a").await;
    for task in ["b", "c"] {
        store.submit(job(task), clock.now()).await.unwrap();
    }
    let words = store.check().await.unwrap();
    assert!(words.contains("2 jobs queued, 1 running"), "{words}");
}

async fn claim_new(store: &Store, clock: &FakeClock, task: &str) -> Claim {
    store.submit(job(task), clock.now()).await.unwrap();
    store.claim("w1", LEASE, Which::Any, clock.now()).await.unwrap().unwrap()
}

/// Task names page by page.
async fn tasks(store: &Store, mut filter: JobFilter) -> String {
    let mut pages = Vec::new();
    loop {
        let page = store.list(&filter).await.unwrap();
        pages.push(page.jobs.iter().map(|job| job.key.task_id.as_str()).collect::<String>());
        if page.next_page_token.is_none() {
            return pages.join(" ");
        }
        filter.page_token = page.next_page_token;
    }
}

fn is_lost<T: std::fmt::Debug>(answer: Result<T, Error>) {
    assert!(matches!(answer, Err(Error::LeaseLost { .. })), "{answer:?}");
}

async fn a_commit_keeps_the_names_of_its_files_and_is_found_by_the_next_generation(store: Store) {
    let clock = FakeClock::default();
    let first = claim_new(&store, &clock, "t").await.lease;
    store.stage_file(&first, "file:///lost", clock.now()).await.unwrap();
    clock.advance(LEASE);
    let second = store.claim("w2", LEASE, Which::Any, clock.now()).await.unwrap().unwrap().lease;
    for uri in ["file:///b", "file:///a"] {
        store.stage_file(&second, uri, clock.now()).await.unwrap();
    }
    let token = Token::new(&key("t"), 0);
    assert_eq!(store.commit_before(&key("t"), 5).await.unwrap(), None);
    store.record_commit(&second, &entry(&second, &token, 7), clock.now()).await.unwrap();
    store.record_commit(&second, &entry(&second, &token, 7), clock.now()).await.unwrap();
    store.forget_staged(&id("t"), u32::MAX).await.unwrap();
    assert_eq!(store.committed_files(&token).await.unwrap(), ["file:///a", "file:///b"]);
    let found = store.commit_before(&key("t"), 5).await.unwrap().unwrap();
    assert_eq!((found.token, found.snapshot_id, found.attempt), (token, 7, 2));
    // Not its own, and not another key's.
    assert_eq!(store.commit_before(&key("t"), 0).await.unwrap(), None);
    assert_eq!(store.commit_before(&key("other"), 5).await.unwrap(), None);
}
