//! The commit and everything around it that must survive a crash.
//!
//! The order is what makes a row land once: receipt as it will be (intent) -> commit with the token -> commit of the rejects
//! with the same token -> ledger -> report -> files of dead attempts removed. The intent holds what the second commit needs.
//! Whoever comes after a crash looks for the token first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use moulin_core::{Fault, FaultKind, FaultPoint, JobId, JobState, Receipt, TableName, Token};
use moulin_lake::{Commit, Committed, Fence, Landed, Target};
use moulin_store::{Lease, LedgerEntry, MovedFiles};

use super::generations;
use super::other_replays::REPLAYED;
use super::redo::Redo;
use super::rejects_table;
use crate::worker::Worker;

/// An attempt on its way to commit.
#[derive(Clone)]
pub(crate) struct Settlement {
    pub(crate) worker: Arc<Worker>,
    pub(crate) lease: Lease,
    pub(crate) table: TableName,
    pub(crate) token: Token,
}

/// What the attempts before one were on their way to commit.
struct Intended {
    /// The last of them.
    attempt: u32,
    /// Whether one of them would have committed to the target.
    to_target: bool,
    /// Whether one of them had nothing but rejects.
    only_rejects: bool,
}

/// What there is of a job's earlier attempts.
pub(crate) enum Earlier {
    /// None of them has landed anything.
    Nothing,
    /// One has: its receipt, recorded now if it was not.
    Landed(Box<Receipt>),
    /// The token is in the table, from an attempt that this job store does not know: none of its own lands any more.
    Elsewhere(Fault),
}

impl Settlement {
    /// What earlier attempts have landed.
    ///
    /// # Errors
    /// Store or catalog do not answer: nothing may be assumed. `CommitUnknown`: one has landed its rows, and what else
    /// belongs to that commit cannot be done.
    pub(crate) async fn recover(&self) -> Result<Earlier, Fault> {
        let id = &self.lease.job_id;
        if let Some(entry) = self.worker.store.ledger(&self.token).await? {
            let committed = Committed {
                snapshot_id: entry.snapshot_id,
                metadata_location: entry.metadata_location,
                attempt: entry.attempt,
                attempt_id: None,
            };
            let mut receipt = self.receipt_of(id, committed).await?;
            // Rejects are committed before the ledger is written.
            if receipt.touches_rejects() {
                let found = self.find(&rejects_table::of(&self.table)).await?;
                receipt.rejects_snapshot_id = found.map(|found| found.snapshot_id);
            }
            return Ok(Earlier::Landed(Box::new(receipt.settled())));
        }
        let Some(committed) = self.find(&self.table).await? else { return self.rejects_alone().await };
        if self.intent_of(&self.lease.job_id, &committed).await?.is_none() {
            return Ok(Earlier::Elsewhere(unknown_here(&self.table, &committed)));
        }
        tracing::info!(snapshot_id = committed.snapshot_id, "an earlier attempt's commit landed");
        let receipt = self.complete(&committed).await.map_err(|fault| half_way(&fault))?;
        Ok(Earlier::Landed(Box::new(receipt)))
    }

    /// The commit of an earlier attempt, as the table of rows or the one of rejects knows it.
    pub(super) async fn find(&self, table: &TableName) -> Result<Option<Committed>, Fault> {
        let lake = &self.worker.lake;
        let found = lake.find_token(table, &self.token).await?;
        if found.is_some() || !self.may_have_committed().await? {
            return Ok(found);
        }
        // Whoever expires snapshots does not know that a token is still looked for.
        let staged = self.worker.store.staged_files(&self.lease.job_id).await?;
        let named = staged.into_iter().map(|file| (file.uri, file.attempt)).collect();
        Ok(lake.find_expired(table, &self.token, &named).await?)
    }

    /// The receipt of an earlier attempt that had no row to land, and whose rejects are in their table.
    async fn rejects_alone(&self) -> Result<Earlier, Fault> {
        for (attempt, mut receipt) in self.intents().await? {
            if !receipt.touches_rejects() {
                continue;
            }
            let found = self.find(&rejects_table::of(&self.table)).await?;
            if found.is_some_and(|found| found.attempt == attempt && found.may_be_of(&receipt.attempt_id)) {
                self.commit_rejects(&mut receipt).await.map_err(|fault| half_way(&fault))?;
                return Ok(Earlier::Landed(Box::new(receipt)));
            }
        }
        Ok(Earlier::Nothing)
    }

    /// Everything between the commit of the rows and the report, whichever attempt committed them: the rejects of that
    /// attempt, and the ledger. The true receipt.
    async fn complete(&self, committed: &Committed) -> Result<Receipt, Fault> {
        let mut receipt = self.receipt_of(&self.lease.job_id, committed.clone()).await?;
        let moved = MovedFiles { replaced: receipt.replaced_tokens.clone(), replayed: receipt.replayed_files.clone() };
        self.commit_rejects(&mut receipt).await?;
        FaultPoint::CommittedNotRecorded.pass();
        self.record(committed, &moved).await?;
        Ok(receipt)
    }

    /// Makes the rejects of an intended commit visible and does what it says to earlier ones, once.
    async fn commit_rejects(&self, receipt: &mut Receipt) -> Result<(), Fault> {
        if receipt.touches_rejects() {
            receipt.rejects_snapshot_id = self.commit_to_rejects(receipt).await?;
        }
        *receipt = receipt.clone().settled();
        Ok(())
    }

    /// Whether an earlier attempt was on its way to commit.
    ///
    /// # Errors
    /// The store does not answer.
    pub(crate) async fn may_have_committed(&self) -> Result<bool, Fault> {
        Ok(!self.intents().await?.is_empty())
    }

    /// What earlier attempts were on their way to commit, the first one first.
    async fn intents(&self) -> Result<Vec<(u32, Receipt)>, Fault> {
        let mut intents = self.worker.store.intents(&self.lease.job_id).await?;
        intents.retain(|(attempt, _)| *attempt < self.lease.attempt);
        Ok(intents)
    }

    /// Makes sure that no earlier attempt commits any more, which one that was stopped on its way there would do when it
    /// wakes up. The receipt of one that has; `None`: none of this job store has landed anything, and none will.
    ///
    /// It has lost the lease, so its [`Fence`] lets it through on no base that is loaded from now on; on one that it
    /// loaded before, it loses the swap because the table has moved.
    ///
    /// # Errors
    /// Store or catalog do not answer: nothing may be assumed.
    pub(crate) async fn rule_out(&self) -> Result<Option<Receipt>, Fault> {
        let Some(Intended { attempt, to_target, only_rejects }) = self.last_intended().await? else { return Ok(None) };
        match self.recover().await? {
            Earlier::Nothing => {}
            Earlier::Landed(receipt) => return Ok(Some(*receipt)),
            // Whoever else holds the token keeps every attempt of this job off the table.
            Earlier::Elsewhere(_) => return Ok(None),
        }
        // One for all tries after that attempt, and no token of a job.
        let token = Token(format!("{}/overtaken-{attempt}", self.token));
        let lake = &self.worker.lake;
        if to_target {
            lake.move_on(&self.table, token.clone(), self.lease.attempt).await?;
        }
        if only_rejects {
            lake.move_on(&rejects_table::of(&self.table), token, self.lease.attempt).await?;
        }
        match self.recover().await? {
            Earlier::Landed(receipt) => Ok(Some(*receipt)),
            Earlier::Nothing | Earlier::Elsewhere(_) => Ok(None),
        }
    }

    /// The receipt of an earlier attempt that has landed after all; `None`: none has, and none does any more to a table that
    /// this attempt does not commit to itself, which would keep the others off it.
    ///
    /// # Errors
    /// As [`Settlement::rule_out`].
    pub(super) async fn overtake(&self, to_target: bool, to_rejects: bool) -> Result<Option<Receipt>, Fault> {
        let Some(earlier) = self.last_intended().await? else { return Ok(None) };
        if (earlier.to_target && !to_target) || (earlier.only_rejects && !to_rejects) {
            return self.rule_out().await;
        }
        Ok(None)
    }

    /// What earlier attempts were on their way to commit.
    async fn last_intended(&self) -> Result<Option<Intended>, Fault> {
        let intents = self.intents().await?;
        let has_only_rejects = |receipt: &Receipt| !receipt.touches_target() && receipt.touches_rejects();
        Ok(intents.last().map(|(attempt, _)| Intended {
            attempt: *attempt,
            to_target: intents.iter().any(|(_, receipt)| receipt.touches_target()),
            only_rejects: intents.iter().any(|(_, receipt)| has_only_rejects(receipt)),
        }))
    }

    /// Lets a commit through as long as the attempt has its lease, and no newer generation has landed. `rows_are_there`: of
    /// these only one that replaced the job's rows counts.
    pub(super) fn fence(&self, rows_are_there: bool) -> Fence {
        let (store, lease, table) = (Arc::clone(&self.worker.store), self.lease.clone(), self.table.clone());
        Fence::new(move || {
            let (store, lease, table) = (Arc::clone(&store), lease.clone(), table.clone());
            Box::pin(async move {
                let job = store.get(&lease.job_id).await?.filter(|job| {
                    job.state == JobState::Running
                        && job.attempt == lease.attempt
                        && job.worker_id.as_deref() == Some(&lease.worker)
                });
                let Some(job) = job else {
                    let message = "another attempt has the job: this one does not commit any more";
                    return Err(Fault::new(FaultKind::LeaseLost, message));
                };
                generations::refuse_after_newer(store.as_ref(), &job, &table, rows_are_there).await
            })
        })
    }

    /// Commits, records and returns the true receipt.
    ///
    /// # Cancel safety
    /// None: it must run to its end. It is never put in a `select!`.
    ///
    /// # Errors
    /// `LeaseLost` before the commit; `CommitConflict`, `CommitUnknown`, `Unavailable` from it.
    pub(crate) async fn commit(
        &self,
        target: &Target,
        landed: Landed,
        redo: &Redo,
        intent: &Receipt,
    ) -> Result<Receipt, Fault> {
        // Fenced: an attempt that was overtaken while it wrote stops here.
        self.worker.store.record_intent(&self.lease, intent, SystemTime::now()).await?;
        // Rejects come after the rows: those of an attempt that has nothing else must not come in between.
        if let Some(receipt) = self.overtake(intent.touches_target(), !intent.touches_target()).await? {
            return Ok(receipt);
        }
        if !intent.touches_target() {
            self.no_other_has_rejects().await?;
            let mut receipt = intent.clone();
            self.commit_rejects(&mut receipt).await?;
            // They may be those of an earlier attempt, under the same token.
            if let Earlier::Landed(receipt) = self.rejects_alone().await? {
                return Ok(*receipt);
            }
            FaultPoint::CommittedNotRecorded.pass();
            return Ok(receipt);
        }
        let mut commit = Commit::new(self.token.clone(), self.lease.attempt, landed);
        commit.attempt_id.clone_from(&intent.attempt_id);
        commit.fence = Some(self.fence(false));
        commit.summary = summary(intent);
        redo.fill(&mut commit);
        let committed = self.worker.lake.commit(target, commit).await?;
        FaultPoint::RowsCommitted.pass();
        if self.intent_of(&self.lease.job_id, &committed).await.map_err(|fault| half_way(&fault))?.is_none() {
            return Err(self.overtaken_elsewhere(&self.table, &committed).await);
        }
        // The rows are visible: whatever fails now must be found and finished by another attempt, never taken for a failure.
        let receipt = self.complete(&committed).await.map_err(|fault| half_way(&fault))?;
        FaultPoint::RecordedNotReported.pass();
        Ok(receipt)
    }

    async fn record(&self, committed: &Committed, moved: &MovedFiles) -> Result<(), Fault> {
        let entry = LedgerEntry {
            token: self.token.clone(),
            job_id: self.lease.job_id.clone(),
            table: self.table.to_string(),
            snapshot_id: committed.snapshot_id,
            metadata_location: committed.metadata_location.clone(),
            attempt: committed.attempt,
        };
        Ok(self.worker.store.record_commit_of(&self.lease, &entry, moved, SystemTime::now()).await?)
    }

    /// Ends the commit of rejects alone when an attempt that this job store does not know has brought them.
    async fn no_other_has_rejects(&self) -> Result<(), Fault> {
        let rejects = rejects_table::of(&self.table);
        let Some(found) = self.worker.lake.find_token(&rejects, &self.token).await? else { return Ok(()) };
        match self.intent_of(&self.lease.job_id, &found).await? {
            Some(_) => Ok(()),
            None => Err(self.overtaken_elsewhere(&rejects, &found).await),
        }
    }

    /// The end of an attempt that finds the commit of one that this job store does not know: its own files are in no table.
    async fn overtaken_elsewhere(&self, table: &TableName, committed: &Committed) -> Fault {
        self.sweep(None).await;
        unknown_here(table, committed)
    }

    /// The receipt that the attempt of a commit wrote down before; `None`: this job store does not know that attempt. One of
    /// another job store may have the same number.
    async fn intent_of(&self, id: &JobId, committed: &Committed) -> Result<Option<Receipt>, Fault> {
        let intent = self.worker.store.intent(id, committed.attempt).await?;
        Ok(intent.filter(|intent| committed.may_be_of(&intent.attempt_id)))
    }

    // The attempt that committed wrote its receipt down before: its figures are the true ones, whoever reports them.
    pub(crate) async fn receipt_of(&self, id: &JobId, committed: Committed) -> Result<Receipt, Fault> {
        let intent = self.intent_of(id, &committed).await?;
        let intent = intent.ok_or_else(|| unknown_here(&self.table, &committed))?;
        Ok(Receipt {
            snapshot_id: Some(committed.snapshot_id),
            metadata_location: committed.metadata_location,
            ..intent
        })
    }

    /// Removes the data files of attempts other than `kept`, once nobody can commit them any more: after the token is in the
    /// table, or (`kept = None`) when nothing of this job was committed and only this attempt's own files are concerned.
    pub(crate) async fn sweep(&self, kept: Option<u32>) {
        let own = self.lease.attempt;
        let result = async {
            let staged = self.worker.store.staged_files(&self.lease.job_id).await?;
            let dead: Vec<String> = staged
                .into_iter()
                .filter(|file| if kept.is_some() { Some(file.attempt) != kept } else { file.attempt == own })
                .map(|file| file.uri)
                .collect();
            self.worker.lake.remove_files(&dead).await?;
            if let Some(kept) = kept {
                // A writer that sleeps may make a file of a dead attempt after all: their names are kept for a while.
                self.worker.store.forget_committed(&self.lease.job_id, kept, SystemTime::now()).await?;
            }
            Ok::<_, Fault>(dead.len())
        };
        match result.await {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "files of unfinished attempts removed"),
            // They stay named in the store; the next sweep finds them.
            Err(fault) => tracing::warn!(error = %fault, "files of unfinished attempts could not be removed"),
        }
    }
}

/// A commit of the token by an attempt that the job store does not know.
fn unknown_here(table: &TableName, committed: &Committed) -> Fault {
    let Committed { snapshot_id, attempt, .. } = committed;
    let message = format!(
        "snapshot {snapshot_id} of {table} carries this job's token from attempt {attempt}, which this job store does not know"
    );
    let hint = "the rows are landed, and this job lands none; the job store was lost or is another one than the job was submitted to";
    Fault::new(FaultKind::Internal, message).with_hint(hint)
}

/// A fault after the rows became visible.
fn half_way(fault: &Fault) -> Fault {
    let unfinished = "the rows are committed, and the rest of the commit is not finished";
    match fault.kind {
        FaultKind::LeaseLost => fault.clone(),
        _ => unsettled(unfinished, fault),
    }
}

/// The fault of an attempt that cannot find out about an earlier commit, or cannot finish it: the next one tries again.
pub(super) fn unsettled(message: &str, cause: &Fault) -> Fault {
    let hint = if cause.retryable() {
        FaultKind::CommitUnknown.hint().to_owned()
    } else {
        format!("nothing is landed twice, and the job goes on by itself once this is put right: {}", cause.hint)
    };
    Fault::new(FaultKind::CommitUnknown, message).because(cause).with_hint(hint)
}

/// What the snapshot itself says about the job.
pub(super) fn summary(receipt: &Receipt) -> BTreeMap<String, String> {
    let mut summary = BTreeMap::from([
        ("moulin.job-id".to_owned(), receipt.job_id.clone()),
        ("moulin.rows-read".to_owned(), receipt.rows_read.to_string()),
        ("moulin.rows-rejected".to_owned(), receipt.rows_rejected.to_string()),
    ]);
    if receipt.rows_replaced > 0 {
        summary.insert("moulin.rows-replaced".to_owned(), receipt.rows_replaced.to_string());
    }
    if receipt.rejects_replaced > 0 {
        summary.insert("moulin.rejects-replaced".to_owned(), receipt.rejects_replaced.to_string());
    }
    if let Some(replay) = &receipt.replay {
        summary.insert(REPLAYED.to_owned(), replay.replayed.to_string());
    }
    if let Some(filtered) = receipt.rows_filtered {
        summary.insert("moulin.rows-filtered".to_owned(), filtered.to_string());
    }
    summary
}
