//! The end of an attempt: what it means for the job, and that it is told.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moulin_core::{Counters, Fault, FaultKind, FaultPoint, Receipt, Token};
use moulin_store::{Claim, Outcome};

use super::lease::Kept;
use super::rejects::Spool;
use super::settle::Settlement;
use crate::worker::Worker;

/// How long a job that waits for another one leaves its slot to others.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(1);

/// Whether a commit that ended so has left nothing: then its files may go. After any other end they stay, named in the store.
pub(super) fn surely_not_committed(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Cancelled
            | FaultKind::DeadlineExceeded
            | FaultKind::CommitConflict
            | FaultKind::StaleEpoch
            | FaultKind::NotFound
            | FaultKind::SchemaMismatch
    )
}

/// What the end of an attempt means for the job; `None`: another worker has it, there is nothing to report.
pub(super) fn outcome(
    worker: &Worker,
    claim: &Claim,
    result: Result<Receipt, Fault>,
    kept: &Kept,
    waits: bool,
) -> Option<Outcome> {
    let fault = match result {
        Ok(receipt) => return Some(Outcome::Succeeded(receipt)),
        Err(fault) => kept.why().filter(|_| !fault.retryable()).unwrap_or(fault),
    };
    if waits && fault.kind == FaultKind::Unavailable {
        tracing::info!(reason = %fault, "the job waits for another one");
        return Some(Outcome::Later { fault, not_before: SystemTime::now() + WAIT_FOR_OTHERS });
    }
    tracing::warn!(kind = ?fault.kind, error = %fault, "the attempt failed");
    after(fault, failures(claim), worker.config.job.max_attempts, SystemTime::now())
}

/// What the last of so many failures means for the job.
fn after(fault: Fault, failures: u32, most: u32, now: SystemTime) -> Option<Outcome> {
    match fault.kind {
        FaultKind::LeaseLost => None,
        FaultKind::Cancelled => Some(Outcome::Cancelled(fault)),
        // Whether the commit landed must be found out, however often that takes.
        FaultKind::CommitUnknown => Some(again(fault, failures, now)),
        kind if kind.retryable() && failures < most => Some(again(fault, failures, now)),
        _ => Some(Outcome::Failed(fault)),
    }
}

// With the one of this attempt. Attempts that waited for another job are none; of those whose worker died nobody knows.
fn failures(claim: &Claim) -> u32 {
    claim.job.failures.saturating_add(1)
}

fn again(fault: Fault, failures: u32, now: SystemTime) -> Outcome {
    Outcome::Again { fault, not_before: now + Duration::from_secs(1 << failures.min(6)) }
}

/// The outcome, if it is the job's last one and an earlier attempt may still be about to commit, with that ruled out. The
/// job's own commit has done so by itself.
pub(super) async fn for_good(worker: &Arc<Worker>, claim: &Claim, outcome: Option<Outcome>) -> Option<Outcome> {
    let Some(Outcome::Failed(_) | Outcome::Cancelled(_) | Outcome::Succeeded(_)) = &outcome else { return outcome };
    let Ok(table) = claim.job.table.parse() else { return outcome };
    let settle = Settlement {
        worker: Arc::clone(worker),
        lease: claim.lease.clone(),
        table,
        token: Token::new(&claim.job.key, claim.job.generation),
    };
    let ruled_out = match &outcome {
        Some(Outcome::Succeeded(receipt)) => {
            let own_rows = receipt.snapshot_id.is_some() && receipt.attached_to.is_none();
            let own_rejects = receipt.rejects_snapshot_id.is_some() && receipt.attached_to.is_none();
            settle.overtake(own_rows, own_rows || own_rejects).await
        }
        _ => settle.rule_out().await,
    };
    match ruled_out {
        Ok(None) => outcome,
        Ok(Some(receipt)) => {
            settle.sweep(Some(receipt.attempt)).await;
            Spool::new(&worker.config).keep_only(&claim.lease.job_id, receipt.attempt);
            Some(Outcome::Succeeded(receipt))
        }
        Err(fault) if fault.kind == FaultKind::LeaseLost => None,
        Err(fault) => {
            tracing::warn!(error = %fault, "it cannot be ruled out that an earlier attempt commits; trying again");
            let unknown = Fault::new(FaultKind::CommitUnknown, "an earlier attempt may still commit");
            Some(again(unknown.with_source(&fault), failures(claim), SystemTime::now()))
        }
    }
}

pub(super) async fn report(worker: Arc<Worker>, claim: Arc<Claim>, counters: Arc<Counters>, outcome: Option<Outcome>) {
    let Some(outcome) = outcome else { return };
    // The last figures: a short job ends before its lease was ever renewed.
    let progress = counters.snapshot();
    if let Err(error) = worker.store.renew(&claim.lease, worker.config.job.lease, &progress, SystemTime::now()).await {
        tracing::debug!(error = %Fault::from(error), "the last figures could not be stored");
    }
    let succeeded = matches!(outcome, Outcome::Succeeded(_));
    match worker.store.finish(&claim.lease, outcome, SystemTime::now()).await {
        Ok(job) => tracing::info!(state = %job.state, "the attempt is over"),
        // The lease runs out and the next attempt finds what this one did.
        Err(error) => tracing::error!(error = %Fault::from(error), "the end of the attempt could not be reported"),
    }
    if succeeded {
        FaultPoint::AfterReport.pass();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_a_retry_could_help_is_final_after_so_many_and_the_pauses_grow() {
        let now = SystemTime::UNIX_EPOCH;
        let pauses = (1..=5).map(|failures| match after(Fault::new(FaultKind::Unavailable, "x"), failures, 5, now) {
            Some(Outcome::Again { not_before, .. }) => not_before.duration_since(now).unwrap().as_secs(),
            _ => 0,
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [2, 4, 8, 16, 0]);
        let unknown = after(Fault::new(FaultKind::CommitUnknown, "x"), 50, 5, now);
        assert!(unknown.is_some_and(|outcome| outcome.goes_on()));
    }
}
