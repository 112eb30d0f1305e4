//! The other generations of a job's key, as the job store knows them.
//!
//! What a newer generation has replaced must not come back by an older one that was stopped on its way and wakes up. Tables
//! say so by the tokens in their snapshots: a redo that replaces leaves its own also where it has nothing to land. The job
//! store says it when these snapshots are expired, and which newer generations left the rows of an older one in the table.

use std::collections::BTreeSet;

use moulin_core::{Fault, FaultKind, TableName, Token};
use moulin_store::{JobStore, StoredJob};

/// Whether one of the earlier generations, from this one on, is not over: it may still land something.
///
/// # Errors
/// The store does not answer.
pub(super) async fn may_still_land(store: &dyn JobStore, own: &Token, from: u32) -> Result<bool, Fault> {
    let Some(job) = store.get(&own.job_id()).await? else { return Ok(false) };
    let jobs = store.generations(&job.key).await?;
    Ok(jobs.iter().any(|other| (from..job.generation).contains(&other.generation) && !other.state.is_final()))
}

/// Refuses a commit to a table in which a newer generation has landed. `rows_are_there`: the job's rows are in its target
/// already, so that only one which replaced them counts.
///
/// # Errors
/// `StaleEpoch`: one has; the store does not answer.
pub(super) async fn refuse_after_newer(
    store: &dyn JobStore,
    job: &StoredJob,
    table: &TableName,
    rows_are_there: bool,
) -> Result<(), Fault> {
    for newer in newer(store, job).await? {
        let entry = store.ledger(&newer.token()).await?.filter(|entry| entry.table == table.to_string());
        let Some(entry) = entry else { continue };
        if rows_are_there && replaces(store, &newer, job.generation).await? != Some(true) {
            continue;
        }
        let (number, snapshot, token) = (newer.generation, entry.snapshot_id, job.token());
        let message = format!(
            "{table}: generation {number} of this job has landed already, in snapshot {snapshot}; {token} is older"
        );
        return Err(Fault::new(FaultKind::StaleEpoch, message));
    }
    Ok(())
}

/// The newer generations that are on their way to commit, or have committed, and leave the rows of the job in the table.
///
/// # Errors
/// The store does not answer.
pub(super) async fn that_add(store: &dyn JobStore, job: &StoredJob) -> Result<BTreeSet<u32>, Fault> {
    let mut found = BTreeSet::new();
    for newer in newer(store, job).await? {
        if replaces(store, &newer, job.generation).await? == Some(false) {
            found.insert(newer.generation);
        }
    }
    Ok(found)
}

async fn newer(store: &dyn JobStore, job: &StoredJob) -> Result<Vec<StoredJob>, Fault> {
    let mut jobs = store.generations(&job.key).await?;
    jobs.retain(|other| other.generation > job.generation);
    Ok(jobs)
}

/// Whether a generation replaces an earlier one; `None`: it was never on its way to commit.
async fn replaces(store: &dyn JobStore, newer: &StoredJob, earlier: u32) -> Result<Option<bool>, Fault> {
    for attempt in (1..=newer.attempt).rev() {
        if let Some(intent) = store.intent(&newer.id, attempt).await? {
            return Ok(Some(intent.replaced_from.is_some_and(|from| from <= earlier)));
        }
    }
    Ok(None)
}
