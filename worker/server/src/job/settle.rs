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

impl Settlement {
    /// The receipt of an earlier attempt whose commit landed, recorded now if it was not; `None`: nothing has landed.
    ///
    /// # Errors
    /// Store or catalog do not answer: nothing may be assumed.
    pub(crate) async fn recover(&self) -> Result<Option<Receipt>, Fault> {
        let id = &self.lease.job_id;
        if let Some(entry) = self.worker.store.ledger(&self.token).await? {
            let committed = Committed {
                snapshot_id: entry.snapshot_id,
                metadata_location: entry.metadata_location,
                attempt: entry.attempt,
            };
            let mut receipt = self.receipt_of(id, committed).await?;
            // Rejects are committed before the ledger is written.
            if receipt.touches_rejects() {
                let found = self.find(&rejects_table::of(&self.table)).await?;
                receipt.rejects_snapshot_id = found.map(|found| found.snapshot_id);
            }
            return Ok(Some(receipt.settled()));
        }
        match self.find(&self.table).await? {
            Some(committed) => {
                tracing::info!(snapshot_id = committed.snapshot_id, "an earlier attempt's commit landed");
                self.complete(&committed).await.map(Some)
            }
            None => self.rejects_alone().await,
        }
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
    async fn rejects_alone(&self) -> Result<Option<Receipt>, Fault> {
        for attempt in 1..self.lease.attempt {
            let intent = self.worker.store.intent(&self.lease.job_id, attempt).await?;
            let Some(mut receipt) = intent.filter(Receipt::touches_rejects) else { continue };
            let found = self.find(&rejects_table::of(&self.table)).await?;
            if found.is_some_and(|found| found.attempt == attempt) {
                self.commit_rejects(&mut receipt).await?;
                return Ok(Some(receipt));
            }
        }
        Ok(None)
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
        for attempt in 1..self.lease.attempt {
            if self.worker.store.intent(&self.lease.job_id, attempt).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes sure that no earlier attempt commits any more, which one that was stopped on its way there would do when it
    /// wakes up. The receipt of one that has; `None`: nothing has landed, and nothing will.
    ///
    /// It has lost the lease, so its [`Fence`] lets it through on no base that is loaded from now on; on one that it
    /// loaded before, it loses the swap because the table has moved.
    ///
    /// # Errors
    /// Store or catalog do not answer: nothing may be assumed.
    pub(crate) async fn rule_out(&self) -> Result<Option<Receipt>, Fault> {
        let Some(Intended { attempt, to_target, only_rejects }) = self.last_intended().await? else { return Ok(None) };
        // One for all tries after that attempt, and no token of a job.
        let token = Token(format!("{}/overtaken-{attempt}", self.token));
        let lake = &self.worker.lake;
        if to_target {
            lake.move_on(&self.table, token.clone(), self.lease.attempt).await?;
        }
        if only_rejects {
            lake.move_on(&rejects_table::of(&self.table), token, self.lease.attempt).await?;
        }
        self.recover().await
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
        let mut last: Option<Intended> = None;
        for attempt in 1..self.lease.attempt {
            if let Some(receipt) = self.worker.store.intent(&self.lease.job_id, attempt).await? {
                let to_target = receipt.touches_target();
                let only_rejects = !to_target && receipt.touches_rejects();
                last = Some(Intended {
                    attempt,
                    to_target: to_target || last.as_ref().is_some_and(|last| last.to_target),
                    only_rejects: only_rejects || last.is_some_and(|last| last.only_rejects),
                });
            }
        }
        Ok(last)
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
            let mut receipt = intent.clone();
            self.commit_rejects(&mut receipt).await?;
            // They may be those of an earlier attempt, under the same token.
            if let Some(receipt) = self.rejects_alone().await? {
                return Ok(receipt);
            }
            FaultPoint::CommittedNotRecorded.pass();
            return Ok(receipt);
        }
        let mut commit = Commit::new(self.token.clone(), self.lease.attempt, landed);
        commit.fence = Some(self.fence(false));
        commit.summary = summary(intent);
        redo.fill(&mut commit);
        let committed = self.worker.lake.commit(target, commit).await?;
        FaultPoint::RowsCommitted.pass();
        // The rows are visible: whatever fails now must be found and finished by another attempt, never taken for a failure.
        let receipt = self.complete(&committed).await.map_err(half_way)?;
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

    // The attempt that committed wrote its receipt down before: its figures are the true ones, whoever reports them.
    pub(crate) async fn receipt_of(&self, id: &JobId, committed: Committed) -> Result<Receipt, Fault> {
        let intent = self.worker.store.intent(id, committed.attempt).await?.ok_or_else(|| {
            Fault::new(
                FaultKind::Internal,
                format!(
                    "snapshot {} of {} carries this job's token from attempt {}, which this job store does not know",
                    committed.snapshot_id, self.table, committed.attempt
                ),
            )
            .with_hint("the rows are landed; the job store was lost or is another one than the job was submitted to")
        })?;
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
            if kept.is_some() {
                self.worker.store.forget_staged(&self.lease.job_id, u32::MAX).await?;
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

/// A fault after the rows became visible.
fn half_way(fault: Fault) -> Fault {
    match fault.kind {
        FaultKind::LeaseLost => fault,
        _ => Fault::new(FaultKind::CommitUnknown, "the rows are committed, and the rest of the commit is not finished")
            .with_source(&fault),
    }
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
