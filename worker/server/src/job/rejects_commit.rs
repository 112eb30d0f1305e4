//! The commit to a table of rejects: new ones come, earlier ones go or are marked, in one snapshot with the job's token.
//!
//! It comes after the commit of the rows, so it must not fail for good: whatever others do to the table in between, which
//! rows are meant is said by [`super::rejects_rows::Judge`], and the files that hold them are looked up anew for each try.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use futures::StreamExt as _;
use moulin_core::{
    Contract, Counters, Fault, FaultKind, FaultPoint, Landing, Receipt, RejectsChange, TableName, Token,
};
use moulin_lake::{Commit, Committed, Landed, Removed, Requirement, Target};

use super::generations;
use super::rejects_rows::{Fate, Judge, RejectRows, column, texts};
use super::rejects_table::{self, REPLAYED_AT, REPLAYED_BY, TOKEN};
use super::settle::{Settlement, summary};
use super::staging;
use crate::worker::Worker;

/// How often the files of the rows are looked up, when others write them again meanwhile.
const TRIES: u32 = 20;

/// What a redo takes out of the table of rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Replaced {
    /// Rows that go.
    pub(crate) gone: u64,
    /// Rows that are open again.
    pub(crate) opened: u64,
}

/// What would go from the rejects of a table.
///
/// # Errors
/// `NotFound`: a replay has taken rows that the earlier generation of this replay rejected; store or catalog do not answer.
pub(crate) async fn replaced(
    worker: &Worker,
    table: &TableName,
    own: &Token,
    change: &RejectsChange,
) -> Result<Replaced, Fault> {
    let mut replaced = Replaced::default();
    let Some(rejects) = RejectRows::open(worker, table).await? else { return Ok(replaced) };
    let judge = Judge::new(own, &RejectsChange { mark: None, ..change.clone() }, rejects.schema())?;
    for file in rejects.files().await? {
        let mut rows = rejects.rows(&file);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let (token, origin) = (texts(&batch, TOKEN)?, super::rejects_rows::origins(&batch)?);
            let by = texts(&batch, REPLAYED_BY)?;
            for (row, fate) in judge.fates(&batch)?.into_iter().enumerate() {
                replaced.gone += u64::from(fate == Fate::Goes);
                replaced.opened += u64::from(fate == Fate::Opens);
                // Of another job's row, rejected by the replay that is done anew: the later replay has landed it.
                let is_own = change.replaces(own, origin.value(row));
                if fate == Fate::Goes && !is_own && by.is_valid(row) && !change.replaces(own, by.value(row)) {
                    return Err(taken_since(table, token.value(row), by.value(row)));
                }
            }
        }
    }
    Ok(replaced)
}

fn taken_since(table: &TableName, token: &str, by: &str) -> Fault {
    let message = format!("{table}: rows that {token} rejected again have been replayed by {by} since");
    Fault::new(FaultKind::NotFound, message).with_hint(
        "done anew, this replay would land them a second time: begin a new replay instead, or keep what there is with on_rerun: skip",
    )
}

impl Settlement {
    /// Makes the rejects of an intended commit visible and does what it says to earlier ones, once. The snapshot; `None`:
    /// there was nothing to do any more.
    ///
    /// # Errors
    /// Store, catalog or warehouse do not answer; `LeaseLost`.
    pub(super) async fn commit_to_rejects(&self, receipt: &Receipt) -> Result<Option<i64>, Fault> {
        let change = &receipt.rejects_change;
        if self.may_have_committed().await?
            && let Some(found) = self.find(&rejects_table::of(&self.table)).await?
        {
            self.forget_unused(receipt, &found, Vec::new()).await;
            return Ok(Some(found.snapshot_id));
        }
        if receipt.rejects_to_commit.is_empty() && change.mark.is_none() && !self.has_rejects().await? {
            return Ok(None);
        }
        for number in 1..=TRIES {
            // Before the look: what an earlier generation brings after this is not overlooked by the commit.
            let requires = self.no_more_rejects(change).await?;
            let draft = self.draft(receipt.attempt, change).await?;
            let mut added = match receipt.rejects_to_commit.as_str() {
                "" => Landed::default(),
                text => Landed::from_text(&draft.target, text)?,
            };
            let copies: Vec<String> = draft.copies.locations().map(str::to_owned).collect();
            added.add(draft.copies);
            let rows_are_there = receipt.snapshot_id.is_some();
            let beside = if rows_are_there { self.that_add().await? } else { BTreeSet::new() };
            let mut commit = Commit::new(self.token.clone(), receipt.attempt, added);
            commit.removed = Removed { locations: draft.replaced, added_by: None };
            commit.requires.extend(requires);
            commit.beside.clone_from(&beside);
            commit.fence = Some(self.fence(rows_are_there));
            commit.summary = summary(receipt);
            FaultPoint::RejectsWritten.pass();
            match self.worker.lake.commit(&draft.target, commit).await {
                Ok(committed) => {
                    // Another attempt may have committed it, with copies of its own.
                    self.forget_unused(receipt, &committed, copies).await;
                    return Ok(Some(committed.snapshot_id));
                }
                Err(error) if error.is_files_gone() || error.is_moved() => {
                    tracing::info!(number, %error, "rejects were written again by others: looking where they are now");
                    self.forget_copies(copies).await;
                    tokio::time::sleep(Duration::from_millis(10 << number.min(7))).await;
                }
                Err(error) if error.kind() == FaultKind::StaleEpoch => {
                    self.forget_copies(copies).await;
                    if !rows_are_there {
                        return Err(error.into());
                    }
                    // One that came meanwhile may leave the rows where they are.
                    if self.that_add().await? == beside {
                        tracing::info!(%error, "rejects of a job that was done anew meanwhile are left out");
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let table = rejects_table::of(&self.table);
        Err(Fault::new(FaultKind::Unavailable, format!("{table} was written again by others {TRIES} times in a row")))
    }

    async fn has_rejects(&self) -> Result<bool, Fault> {
        Ok(self.worker.lake.table_uuid(&rejects_table::of(&self.table)).await?.is_some())
    }

    /// What must hold so that no reject comes which the change would take out.
    async fn no_more_rejects(&self, change: &RejectsChange) -> Result<Option<Requirement>, Fault> {
        if change.replaced_from.is_none() {
            return Ok(None);
        }
        let before = self.worker.lake.generations_before(&rejects_table::of(&self.table), &self.token).await?;
        Ok(Some(Requirement::NewestBefore(before.first().map(|(generation, _)| *generation))))
    }

    /// The newer generations of the job that leave its rows where they are.
    async fn that_add(&self) -> Result<BTreeSet<u32>, Fault> {
        let Some(job) = self.worker.store.get(&self.lease.job_id).await? else { return Ok(BTreeSet::new()) };
        generations::that_add(self.worker.store.as_ref(), &job).await
    }

    /// The rows that change, in new data files.
    async fn draft(&self, attempt: u32, change: &RejectsChange) -> Result<Draft, Fault> {
        let rejects = if change.is_empty() { None } else { RejectRows::open(&self.worker, &self.table).await? };
        let Some(rejects) = rejects else {
            let target = rejects_table::target(&self.worker, &self.table).await?;
            return Ok(Draft { target, copies: Landed::default(), replaced: BTreeSet::new() });
        };
        let landing = Landing::new(rejects_table::of(&self.table));
        let target = self.worker.lake.target_that_follows(&landing, rejects.schema(), &Contract::default()).await?;
        let begin = staging::of_rejects_again(&self.lease.job_id);
        let counters = Arc::new(Counters::default());
        let options = staging::write_options(&self.worker, &self.lease, attempt, begin, &counters);
        let mut writer = self.worker.lake.writer(&target, moulin_lake::WriteOptions { threads: 1, ..options });
        let judge = Judge::new(&self.token, change, rejects.schema())?;
        let mut replaced = BTreeSet::new();
        let changes = Changes::new(&self.token);
        for file in rejects.files().await? {
            if !changes_some(&rejects, &file, &judge).await? {
                continue;
            }
            let mut rows = rejects.rows(&file);
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                writer.write(changes.of(&batch, &judge.fates(&batch)?)?).await?;
            }
            replaced.insert(file.location().to_owned());
        }
        Ok(Draft { target, copies: writer.finish().await?, replaced })
    }

    /// Removes the copies of earlier rejects that attempts of this job made (`own`: this one), but for those that its commit
    /// brought: with the job's token in the table, nobody can commit the others any more.
    async fn forget_unused(&self, receipt: &Receipt, found: &Committed, own: Vec<String>) {
        if receipt.rejects_change.is_empty() {
            return;
        }
        let begin = staging::of_rejects_again(&self.lease.job_id);
        let unused = async {
            let (lake, table) = (&self.worker.lake, rejects_table::of(&self.table));
            let live = lake.files_added(&table, found.snapshot_id, &self.lease.job_id).await?;
            let staged = self.worker.store.staged_files(&self.lease.job_id).await?.into_iter().map(|file| file.uri);
            let made: BTreeSet<String> = staged.filter(|uri| staging::is_named(uri, &begin)).chain(own).collect();
            Ok::<_, Fault>(made.difference(&live).cloned().collect())
        };
        match unused.await {
            Ok(unused) => self.forget_copies(unused).await,
            // Which they are is not known any more: none is removed.
            Err(fault) => tracing::debug!(error = %fault, "it is not known which copies of rejects the commit brought"),
        }
    }

    /// Removes copies of earlier rejects that no snapshot refers to, nor ever will.
    async fn forget_copies(&self, dead: Vec<String>) {
        let result = async {
            self.worker.lake.remove_files(&dead).await?;
            for uri in &dead {
                self.worker.store.unstage_file(&self.lease.job_id, uri).await?;
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = result.await {
            tracing::warn!(error = %fault, "copies of rejects that were not needed could not be removed");
        }
    }
}

struct Draft {
    target: Target,
    copies: Landed,
    replaced: BTreeSet<String>,
}

async fn changes_some(rejects: &RejectRows, file: &moulin_lake::TableFile, judge: &Judge) -> Result<bool, Fault> {
    let mut rows = rejects.rows(file);
    while let Some(batch) = rows.next().await {
        let changes = |fate: &Fate| matches!(fate, Fate::Goes | Fate::Opens | Fate::Taken);
        if judge.fates(&batch?)?.iter().any(changes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes down in rows what becomes of them.
struct Changes {
    by: String,
    at: i64,
}

impl Changes {
    fn new(own: &Token) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { by: own.0.clone(), at: i64::try_from(now.as_micros()).unwrap_or(i64::MAX) }
    }

    fn of(&self, batch: &RecordBatch, fates: &[Fate]) -> Result<RecordBatch, Fault> {
        let broken = |error: &(dyn std::error::Error + 'static)| {
            Fault::new(FaultKind::Internal, "rejects cannot be marked").with_source(error)
        };
        let by = texts(batch, REPLAYED_BY)?;
        let at = column(batch, REPLAYED_AT)?;
        let at = at.as_any().downcast_ref::<TimestampMicrosecondArray>();
        let at = at.ok_or_else(|| Fault::new(FaultKind::Internal, "replayed_at of rejects has another type"))?;
        let new_by = StringArray::from_iter(fates.iter().enumerate().map(|(row, fate)| match fate {
            Fate::Taken => Some(self.by.as_str()),
            Fate::Opens => None,
            _ => by.is_valid(row).then(|| by.value(row)),
        }));
        let new_at = TimestampMicrosecondArray::from_iter(fates.iter().enumerate().map(|(row, fate)| match fate {
            Fate::Taken => Some(self.at),
            Fate::Opens => None,
            _ => at.is_valid(row).then(|| at.value(row)),
        }));
        let new_at = new_at.with_timezone("UTC");
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, old)| {
            let new: ArrayRef = match field.name().as_str() {
                REPLAYED_BY => Arc::new(new_by.clone()),
                REPLAYED_AT => Arc::new(new_at.clone()),
                _ => return Ok(Arc::clone(old)),
            };
            arrow::compute::cast(&new, field.data_type()).map_err(|error| broken(&error))
        });
        let changed = RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, Fault>>()?);
        let kept: BooleanArray = fates.iter().map(|fate| Some(*fate != Fate::Goes)).collect();
        let changed = changed.map_err(|error| broken(&error))?;
        arrow::compute::filter_record_batch(&changed, &kept).map_err(|error| broken(&error))
    }
}
