//! A generation after another one of the same key: what becomes of the rows that one has landed.
//!
//! They are known by name: from the ledger, which outlives snapshots, or, when the earlier job ended before it could write
//! there, from the snapshot that carries its token.

use std::time::Instant;

use moulin_core::{Fault, FaultKind, JobId, Landing, OnRerun, Receipt, RejectsChange, TableName, Token};
use moulin_lake::{Commit, Committed, Removed, Requirement, Target};
use moulin_store::StoredJob;

use super::generations;
use super::rejects_commit;
use super::rejects_table;
use super::settle::Settlement;
use super::staging;
use crate::worker::Worker;

/// The newest commit of an earlier generation.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    token: Token,
    job_id: JobId,
    committed: Committed,
    table: String,
    /// Whether the ledger knows it.
    is_recorded: bool,
}

impl Before {
    pub(crate) fn generation(&self) -> Option<u32> {
        self.token.generation()
    }
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
            is_recorded: false,
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
        is_recorded: true,
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
    let mut receipt = settle.receipt_of(&before.job_id, before.committed.clone()).await?;
    if receipt.touches_rejects() {
        let found = settle.worker.lake.find_token(&rejects_table::of(&landing.table), &before.token).await?;
        receipt.rejects_snapshot_id = found.map(|found| found.snapshot_id);
    }
    tracing::info!(token = %before.token, snapshot_id = before.committed.snapshot_id, "on_rerun is skip: the rows are landed");
    Ok(Some(Receipt {
        job_id: settle.lease.job_id.0.clone(),
        attempt: settle.lease.attempt,
        token: settle.token.to_string(),
        elapsed: started.elapsed(),
        attached_to: Some(before.token.to_string()),
        // That one did: it is told there, and what it has loaded stays so.
        rows_replaced: 0,
        replaced_snapshot_id: None,
        replaced_from: None,
        rejects_replaced: 0,
        ..receipt.settled()
    }))
}

/// What a commit takes out of the table, and the generation it knows to be the newest before its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redo {
    /// Whether rows of an earlier generation that nobody has seen yet would be in the table twice.
    alone: bool,
    newest: Option<u32>,
    /// The generations from this one on are replaced; `None`: none is. The commit leaves its token in the table also where it
    /// has nothing to land and nothing to take away: one of them that wakes up late finds it there.
    replaced_from: Option<u32>,
    rows: u64,
    removed: Removed,
    /// The tokens that the removed files are of.
    tokens: Vec<Token>,
    rejects: RejectsChange,
    rejects_gone: u64,
    /// Of a replay: which others there may be.
    replays: Option<Requirement>,
}

impl Redo {
    /// What landing the job anew replaces: the rows of the generation before, and what replays have made of its rejects.
    ///
    /// # Errors
    /// Store or catalog do not answer; `NotFound` when nobody knows any more which files the rows are in, or when rows that
    /// an earlier generation of a replay rejected again were replayed since.
    pub(crate) async fn new(
        worker: &Worker,
        landing: &Landing,
        target: &Target,
        own: &Token,
        before: Option<Before>,
    ) -> Result<Self, Fault> {
        let newest = before.as_ref().and_then(Before::generation);
        let mut redo = Self { alone: landing.on_rerun != OnRerun::Append, newest, ..Self::default() };
        let generation = own.generation().unwrap_or_default();
        if generation == 0 || landing.on_rerun != OnRerun::Replace {
            return Ok(redo);
        }
        if let Some(before) = before.as_ref().filter(|before| before.table != landing.table.to_string()) {
            tracing::warn!(table = before.table, "the generation before landed in another table: its rows stay there");
            return Ok(redo);
        }
        // Generations after that one have landed no row; replays of their rejects may have.
        let from = newest.unwrap_or_default();
        redo.replaced_from = Some(from);
        redo.rejects(worker, landing, own, from).await?;
        if target.is_new() {
            tracing::info!("the table was made anew: there is nothing to replace");
            return Ok(redo);
        }
        for other in (from..generation).map(|other| Token(format!("{}/{other}", own.key()))) {
            let files = worker.store.committed_files(&other).await?;
            if !files.is_empty() {
                redo.removed.locations.extend(files);
                redo.tokens.push(other);
            }
        }
        let is_replay = match &before {
            Some(before) => redo.add_own(worker, landing, before).await?,
            None => false,
        };
        redo.count_rows_of_replays(worker, landing, is_replay).await?;
        Ok(redo)
    }

    /// The rejects that go, also those that an earlier generation brings until then: its rows may be in the table already.
    async fn rejects(&mut self, worker: &Worker, landing: &Landing, own: &Token, from: u32) -> Result<(), Fault> {
        let change = RejectsChange { replaced_from: Some(from), mark: None };
        // Before the look: one that is over by now has brought what it brings.
        let more_may_come = generations::may_still_land(worker.store.as_ref(), own, from).await?;
        let replaced = rejects_commit::replaced(worker, &landing.table, own, &change).await?;
        self.rejects_gone = replaced.gone;
        if more_may_come || replaced != rejects_commit::Replaced::default() {
            self.rejects = change;
        }
        Ok(())
    }

    /// The files that the generation before has landed itself, and how many rows these are; whether it was a replay.
    async fn add_own(&mut self, worker: &Worker, landing: &Landing, before: &Before) -> Result<bool, Fault> {
        let intent = worker.store.intent(&before.job_id, before.committed.attempt).await?;
        let is_replay = intent.as_ref().is_some_and(|receipt| receipt.replay.is_some());
        self.rows = intent.map_or(0, |receipt| receipt.rows_landed);
        let snapshot_id = before.committed.snapshot_id;
        self.removed.added_by = Some(snapshot_id);
        // The ledger names no file of a replay when all of them have gone with the jobs whose rejects they were made of.
        let is_known = before.is_recorded && (is_replay || self.tokens.contains(&before.token));
        if !is_known && self.rows > 0 {
            let found = worker.lake.files_added(&landing.table, snapshot_id, &before.job_id).await;
            self.removed.locations.extend(found.map_err(|error| unknown(error.into(), before))?);
            self.tokens.push(before.token.clone());
        }
        Ok(is_replay)
    }

    /// Counts the rows in the files that replays have made of the rejects: those that other jobs have named. Of a replay that
    /// is done anew all are: some may have gone with the rows of the job whose rejects they were.
    async fn count_rows_of_replays(
        &mut self,
        worker: &Worker,
        landing: &Landing,
        is_replay: bool,
    ) -> Result<(), Fault> {
        let own: Vec<_> = self.tokens.iter().map(Token::job_id).collect();
        let is_own = |uri: &str| !is_replay && own.iter().any(|id| staging::is_named(uri, id));
        let of_replays = self.removed.locations.iter().filter(|uri| !is_own(uri)).cloned().collect();
        self.rows = if is_replay { 0 } else { self.rows } + worker.lake.rows_in(&landing.table, &of_replays).await?;
        Ok(())
    }

    /// The same, on a condition.
    pub(crate) fn requiring(self, replays: Option<Requirement>) -> Self {
        Self { replays, ..self }
    }

    /// What becomes of the rejects that are in their table already.
    pub(crate) fn rejects_change(&self) -> RejectsChange {
        self.rejects.clone()
    }

    /// Says in the receipt what goes.
    pub(crate) fn note(&self, receipt: &mut Receipt) {
        receipt.replaced_from = self.replaced_from;
        if !self.removed.locations.is_empty() {
            receipt.rows_replaced = self.rows;
            receipt.replaced_snapshot_id = self.removed.added_by;
            receipt.replaced_tokens.clone_from(&self.tokens);
        }
        receipt.rejects_replaced = self.rejects_gone;
    }

    pub(crate) fn fill(&self, commit: &mut Commit) {
        commit.removed = self.removed.clone();
        if self.alone {
            commit.requires.push(Requirement::NewestBefore(self.newest));
        }
        commit.requires.extend(self.replays.clone());
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
