//! A generation after another one of the same key: what becomes of the rows that one has landed.
//!
//! They are known by name: from the ledger, which outlives snapshots, or, when the earlier job ended before it could write
//! there, from the snapshot that carries its token.

use std::collections::BTreeSet;
use std::time::Instant;

use moulin_core::{Fault, FaultKind, JobId, Landing, OnRerun, Receipt, TableName, Token};
use moulin_lake::{Commit, Committed, Landed, Removed, Requirement, Target};
use moulin_store::StoredJob;

use super::settle::Settlement;
use crate::worker::Worker;

/// The newest commit of an earlier generation.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    token: Token,
    job_id: JobId,
    committed: Committed,
    table: String,
}

/// What an earlier generation of the job has landed last; `None`: nothing that is known.
///
/// # Errors
/// Store or catalog do not answer.
pub(crate) async fn before(worker: &Worker, job: &StoredJob, token: &Token) -> Result<Option<Before>, Fault> {
    if job.generation == 0 {
        return Ok(None);
    }
    let recorded = worker.store.commit_before(&job.key, job.generation).await?;
    let newest_recorded = recorded.as_ref().and_then(|entry| entry.token.generation());
    let table: TableName = job.table.parse().map_err(|e: String| Fault::new(FaultKind::Internal, e))?;
    let carried = worker.lake.generations_before(&table, token).await?;
    // A commit that the ledger does not know: its worker died before it could say so.
    if let Some((generation, _)) = carried.first().filter(|(generation, _)| Some(*generation) > newest_recorded) {
        let token = Token::new(&job.key, *generation);
        let committed = worker.lake.find_token(&table, &token).await?;
        return Ok(committed.map(|committed| Before {
            job_id: token.job_id(),
            token,
            committed,
            table: job.table.clone(),
        }));
    }
    Ok(recorded.map(|entry| Before {
        token: entry.token,
        job_id: entry.job_id,
        committed: Committed {
            snapshot_id: entry.snapshot_id,
            metadata_location: entry.metadata_location,
            attempt: entry.attempt,
        },
        table: entry.table,
    }))
}

/// The receipt of a job that takes an earlier one's result for its own; `None`: it has to run.
///
/// # Errors
/// The store does not answer, or does not know the earlier job.
pub(crate) async fn attached(
    settle: &Settlement,
    landing: &Landing,
    before: Option<&Before>,
    started: Instant,
) -> Result<Option<Receipt>, Fault> {
    let Some(before) = before.filter(|_| landing.on_rerun == OnRerun::Skip) else { return Ok(None) };
    let receipt = settle.receipt_of(&before.job_id, before.committed.clone()).await?;
    tracing::info!(token = %before.token, snapshot_id = before.committed.snapshot_id, "on_rerun is skip: the rows are landed");
    Ok(Some(Receipt {
        job_id: settle.lease.job_id.0.clone(),
        attempt: settle.lease.attempt,
        token: settle.token.to_string(),
        elapsed: started.elapsed(),
        attached_to: Some(before.token.to_string()),
        rejects_to_commit: String::new(),
        ..receipt
    }))
}

/// What a commit takes out of the table, and the generation it knows to be the newest before its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redo {
    replaces: bool,
    newest: Option<u32>,
    rows: u64,
    removed: Removed,
}

impl Redo {
    /// What landing the job anew replaces.
    ///
    /// # Errors
    /// Store or catalog do not answer; `NotFound` when nobody knows any more which files the rows are in.
    pub(crate) async fn new(
        worker: &Worker,
        landing: &Landing,
        target: &Target,
        before: Option<Before>,
    ) -> Result<Self, Fault> {
        let replaces = landing.on_rerun == OnRerun::Replace;
        let newest = before.as_ref().and_then(|before| before.token.generation());
        let Some(before) = before.filter(|_| replaces) else { return Ok(Self { replaces, newest, ..Self::default() }) };
        if before.table != landing.table.to_string() {
            tracing::warn!(table = before.table, "the generation before landed in another table: its rows stay there");
            return Ok(Self { replaces, newest, ..Self::default() });
        }
        if target.is_new() {
            tracing::info!("the table was made anew: there is nothing to replace");
            return Ok(Self { replaces, newest, ..Self::default() });
        }
        let intent = worker.store.intent(&before.job_id, before.committed.attempt).await?;
        let rows = intent.as_ref().map_or(0, |receipt| receipt.rows_landed);
        let snapshot_id = before.committed.snapshot_id;
        let mut locations: BTreeSet<String> = worker.store.committed_files(&before.token).await?.into_iter().collect();
        // The attempt staged the files of its rejects too, which are in a table of their own and stay there.
        let rejects = intent.map(|receipt| receipt.rejects_to_commit).filter(|text| !text.is_empty());
        for location in rejects.map(|text| Landed::locations_in_text(&text)).transpose()?.into_iter().flatten() {
            locations.remove(&location);
        }
        if locations.is_empty() && rows > 0 {
            locations = match worker.lake.files_added(&landing.table, snapshot_id, &before.job_id).await {
                Ok(found) => found,
                Err(_) if rows == 0 => BTreeSet::new(),
                Err(error) => return Err(unknown(error.into(), &before)),
            };
        }
        Ok(Self { replaces, newest, rows, removed: Removed { locations, added_by: Some(snapshot_id) } })
    }

    /// Whether the commit takes nothing out of the table.
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.locations.is_empty()
    }

    /// Says in the receipt what goes.
    pub(crate) fn note(&self, receipt: &mut Receipt) {
        if !self.is_empty() {
            receipt.rows_replaced = self.rows;
            receipt.replaced_snapshot_id = self.removed.added_by;
        }
    }

    pub(crate) fn fill(&self, commit: &mut Commit) {
        commit.removed = self.removed.clone();
        if self.replaces {
            commit.requires.push(Requirement::NewestBefore(self.newest));
        }
    }
}

// The ledger of an older version did not name files, and the snapshot is expired.
fn unknown(fault: Fault, before: &Before) -> Fault {
    if fault.kind != FaultKind::NotFound {
        return fault;
    }
    let hint = "delete the rows of that run yourself and clear the task with on_rerun: append, or keep them with on_rerun: skip";
    let message =
        format!("{}: it is not known any more which data files the rows of {} are in", before.table, before.token);
    Fault::new(FaultKind::NotFound, message).with_source(&fault).with_hint(hint)
}
