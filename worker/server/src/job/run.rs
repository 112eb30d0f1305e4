//! One attempt of one job, from claim to report: the only place that knows the order of the rooms.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use moulin_core::{
    Counters, Fault, FaultKind, FaultPoint, JobSpec, Landing, OnBadRow, PlannedFile, Receipt, Room, TableRead, Token,
};
use moulin_engine::BatchStream;
use moulin_engine::stream::Tap;
use moulin_lake::{Landed, StageFile, Target, WriteOptions};
use moulin_read::{self as read, ReadOptions, reject_schema};
use moulin_store::{Claim, Outcome};
use prost::Message as _;
use tracing::Instrument as _;

use super::admit::{self, Fit, Input};
use super::lease::Kept;
use super::loads::{self, Taken};
use super::redo::{self, Redo};
use super::rejects::{Quarantine, Spool};
use super::rejects_table::{self, Written};
use super::settle::Settlement;
use super::tables::OpenTable;
use crate::worker::Worker;

/// Bytes of input that become one batch, about.
const BATCH_BYTES: usize = 2 << 20;

/// How long a job that waits for another one leaves its slot to others.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(1);

/// Runs a claimed job to the end of this attempt and reports it.
pub(crate) async fn attempt(worker: Arc<Worker>, claim: Claim) {
    let span = tracing::info_span!("job", job_id = %claim.lease.job_id, table = %claim.job.table, attempt = claim.lease.attempt);
    async move {
        let counters = Arc::new(Counters::default());
        worker.enter(&claim.lease.job_id, Arc::clone(&counters));
        let kept = Arc::new(Kept::start(Arc::clone(&worker), claim.lease.clone(), Arc::clone(&counters)));
        let claim = Arc::new(claim);
        let waits = Arc::new(AtomicBool::new(false));
        let this = Attempt {
            worker: Arc::clone(&worker),
            claim: Arc::clone(&claim),
            counters: Arc::clone(&counters),
            kept: Arc::clone(&kept),
            waits: Arc::clone(&waits),
        };
        let result = this.run().await;
        let ended = result.as_ref().map(|_| ()).map_err(Clone::clone);
        let outcome = outcome(&worker, &claim, result, &kept, waits.load(Relaxed));
        let outcome = for_good(&worker, &claim, outcome).await;
        report(Arc::clone(&worker), Arc::clone(&claim), counters, outcome).await;
        // Readers of the running job are told how it really ended: after the commit, and after the job says so itself.
        if let Some(running) = worker.running(&claim.lease.job_id) {
            for tap in running.tap.into_iter().chain(running.rejects) {
                tap.finish(ended.clone());
            }
        }
        worker.leave(&claim.lease.job_id);
    }
    .instrument(span)
    .await;
}

/// Takes the rejected rows of a running job.
type Rejects = tokio::sync::mpsc::Sender<arrow::array::RecordBatch>;

struct Attempt {
    worker: Arc<Worker>,
    claim: Arc<Claim>,
    counters: Arc<Counters>,
    kept: Arc<Kept>,
    /// Set when the attempt ends because it waits for another job.
    waits: Arc<AtomicBool>,
}

/// What became of the rows of an attempt.
struct Filled {
    /// Where they go.
    target: Target,
    /// The data files they are in.
    landed: Landed,
    row_wise: bool,
    /// What was read of the tables among the inputs.
    tables: Vec<TableRead>,
}

impl Attempt {
    async fn run(self) -> Result<Receipt, Fault> {
        let started = Instant::now();
        let spec = decode(&self.claim.job.spec)?;
        let token = Token::new(&self.claim.job.key, self.claim.job.generation);
        let settle = Settlement {
            worker: Arc::clone(&self.worker),
            lease: self.claim.lease.clone(),
            table: spec.landing.table.clone(),
            token: token.clone(),
        };
        let spool = Spool::new(&self.worker.config);
        if self.claim.lease.attempt > 1
            && let Some(receipt) = self.landed_before(&settle).await?
        {
            settle.sweep(Some(receipt.attempt)).await;
            spool.keep_only(&self.claim.lease.job_id, receipt.attempt);
            return Ok(receipt);
        }
        if let Some(reason) = &self.claim.job.cancel_requested {
            return Err(Fault::new(FaultKind::Cancelled, format!("cancelled: {reason}")));
        }
        let before = redo::before(&self.worker, &self.claim.job, &token).await?;
        if let Some(receipt) = redo::attached(&settle, &spec.landing, before.as_ref(), started).await? {
            return Ok(receipt);
        }
        let (Filled { target, landed, row_wise, tables }, rejected) = match self.fill(&spec, &spool, &token).await {
            Ok(Some(done)) => done,
            // Every file is loaded already: nothing is read, and nothing becomes visible unless something has to go.
            Ok(None) if before.is_none() => {
                return self.receipt(&token, &spec, &Landed::default(), true, Vec::new(), started);
            }
            Ok(None) => (self.nothing_to_land(&spec).await?, None),
            Err(fault) => {
                // Nothing of this attempt can be visible: its files may go.
                settle.sweep(None).await;
                return Err(fault);
            }
        };
        FaultPoint::FilesWritten.pass();
        loads::release_damaged(&self.worker, &self.claim, &self.counters).await?;
        let redo = match Redo::new(&self.worker, &spec.landing, &target, before).await {
            Ok(redo) => redo,
            Err(fault) => {
                settle.sweep(None).await;
                return Err(fault);
            }
        };
        let mut receipt = self.receipt(&token, &spec, &landed, row_wise, tables, started)?;
        redo.note(&mut receipt);
        if let Some(rejected) = &rejected {
            receipt.rejects_table = rejected.target.table().to_string();
            receipt.rejects_to_commit = rejected.landed.to_text(&rejected.target)?;
        }
        if landed.rows() == 0 && redo.is_empty() && rejected.is_none() {
            spool.keep_only(&self.claim.lease.job_id, receipt.attempt);
            return Ok(receipt);
        }
        self.counters.enter(Room::Commit);
        let committing = Instant::now();
        let committed = settle.commit(&target, landed, &redo, &receipt).instrument(tracing::info_span!("commit")).await;
        let mut receipt = match committed {
            Ok(receipt) => receipt,
            Err(fault) => {
                if surely_not_committed(fault.kind) {
                    settle.sweep(None).await;
                    spool.discard(&self.claim.lease.job_id, self.claim.lease.attempt);
                }
                return Err(fault);
            }
        };
        if receipt.attempt == self.claim.lease.attempt {
            self.counters.busy(Room::Commit, committing.elapsed());
            receipt.rooms = self.counters.rooms();
            receipt.elapsed = started.elapsed();
        }
        settle.sweep(Some(receipt.attempt)).await;
        spool.keep_only(&self.claim.lease.job_id, receipt.attempt);
        account(&receipt);
        Ok(receipt)
    }

    /// Data files with all rows, and a file with all rejects, when the job keeps them; ends early when the attempt may not
    /// go on.
    ///
    /// `None`: there is no file that is not loaded already.
    async fn fill(
        &self,
        spec: &JobSpec,
        spool: &Spool,
        token: &Token,
    ) -> Result<Option<(Filled, Option<Written>)>, Fault> {
        let (rejects, quarantine) = self.quarantine(spec, spool).unzip();
        let landing = async {
            let Some((files, table_is_named)) = self.take_files(spec).await? else { return Ok(None) };
            let input = admit::look(&self.worker, spec, files, &self.counters).await?;
            let fit = admit::fit(&self.worker, spec, input.prepared.output()).await?;
            let contract = &spec.contract();
            let target = self.worker.lake.target_that_follows(&spec.landing, &fit.schema, contract).await?;
            if !table_is_named {
                self.worker.store.name_table(&self.claim.lease, &target.uuid()).await?;
            }
            let files = input.files.clone();
            let landed = self.land(spec, input, &fit, target, rejects).await?;
            // What was read is what was listed, and so what the load ledger will say.
            self.worker.fetcher.unchanged(&files).await?;
            Ok(Some(landed))
        };
        let result = self.unless_stopped(landing).await;
        let Some(quarantine) = quarantine else { return result.map(|done| done.map(|done| (done, None))) };
        match result {
            Ok(done) => {
                let rejects = async {
                    let kept = quarantine.end().await?;
                    self.all_kept(kept)?;
                    self.write_rejects(kept, spec, spool, token).await
                };
                let rejected = self.unless_stopped(rejects).await;
                if rejected.is_err() {
                    spool.discard(&self.claim.lease.job_id, self.claim.lease.attempt);
                }
                let rejected = rejected?;
                Ok(done.map(|done| (done, rejected)))
            }
            Err(fault) => {
                self.abandon(spool, quarantine, &fault).await;
                Err(fault)
            }
        }
    }

    /// What a redo lands whose files are all loaded by others: nothing, in the table as it is.
    async fn nothing_to_land(&self, spec: &JobSpec) -> Result<Filled, Fault> {
        let schema = self.worker.lake.table_schema(&spec.landing.table).await?;
        let target = self.worker.lake.target(&Landing::new(spec.landing.table.clone()), &schema).await?;
        Ok(Filled { target, landed: Landed::default(), row_wise: true, tables: Vec::new() })
    }

    /// Does something that ends early when the attempt may not go on.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::select! {
            result = work => result,
            () = self.kept.stopped() => {
                Err(self.kept.why().unwrap_or_else(|| Fault::new(FaultKind::Internal, "the attempt was stopped")))
            }
        }
    }

    /// Data files with all rejects, when there are some.
    async fn write_rejects(
        &self,
        kept: u64,
        spec: &JobSpec,
        spool: &Spool,
        token: &Token,
    ) -> Result<Option<Written>, Fault> {
        if kept == 0 {
            return Ok(None);
        }
        let lease = &self.claim.lease;
        let path = spool.file(&lease.job_id, lease.attempt);
        let job = (&lease.job_id, token);
        let written = rejects_table::write(&self.worker, &spec.landing.table, job, path, self.write_options()).await?;
        self.all_kept(written.landed.rows())?;
        Ok(Some(written))
    }

    /// The files of the job that nobody has loaded, and whether their claim knows the table. `None`: there are none.
    async fn take_files(&self, spec: &JobSpec) -> Result<Option<(Vec<PlannedFile>, bool)>, Fault> {
        // A job of tables alone has no file that another job could have loaded.
        let Some(source) = &spec.source else { return Ok(Some((Vec::new(), true))) };
        let listed = self.worker.fetcher.list(&source.uris).await?;
        match loads::claim(&self.worker, &self.claim, spec, listed, &self.counters).await? {
            Taken::Files { files, .. } if files.is_empty() => Ok(None),
            Taken::Files { files, table_is_named } => Ok(Some((files, table_is_named))),
            Taken::Later(fault) => {
                self.waits.store(true, Relaxed);
                Err(fault)
            }
        }
    }

    /// What an earlier attempt landed, if one did. While that cannot be found out, and one of them was on its way to commit,
    /// the attempt waits: a job that is called failed although its rows are landed would be landed twice.
    async fn landed_before(&self, settle: &Settlement) -> Result<Option<Receipt>, Fault> {
        let mut pause = Duration::from_millis(500);
        loop {
            let fault = match settle.recover().await {
                Ok(found) => return Ok(found),
                Err(fault) if matches!(fault.kind, FaultKind::Internal | FaultKind::LeaseLost) => return Err(fault),
                Err(fault) => fault,
            };
            if matches!(settle.may_have_committed().await, Ok(false)) {
                return Err(fault);
            }
            // A cancel or a deadline changes nothing about what is landed: only another worker ends the waiting.
            if let Some(lost) = self.kept.why().filter(|why| why.kind == FaultKind::LeaseLost) {
                return Err(lost);
            }
            tracing::warn!(error = %fault, "cannot look for the commit of an earlier attempt; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    /// fetch -> read -> transform -> tap -> land.
    async fn land(
        &self,
        spec: &JobSpec,
        input: Input,
        fit: &Fit,
        target: Target,
        rejects: Option<Rejects>,
    ) -> Result<Filled, Fault> {
        let limits = &self.worker.config.job;
        let row_wise = input.prepared.row_wise();
        let tap = Arc::new(Tap::new(Arc::clone(&fit.schema), limits.tap_bytes));
        self.worker.open_tap(&self.claim.lease.job_id, Arc::clone(&tap));
        let wanted = input.prepared.wanted();
        let options = ReadOptions {
            on_bad_row: spec.on_bad_row,
            max_bad_rows: spec.max_bad_rows,
            max_bad_ratio: spec.max_bad_ratio,
            rejects,
            threads: limits.threads,
            batch_bytes: BATCH_BYTES,
            projection: wanted.columns,
            conditions: wanted.conditions,
            ..ReadOptions::new(Arc::clone(&self.counters))
        };
        let batches: BatchStream = match (&spec.source, &input.schema) {
            (Some(source), Some(schema)) => {
                let batches = read::batches(&self.worker.fetcher, source, &input.files, schema, options);
                Box::pin(batches.map_err(moulin_engine::Error::from))
            }
            _ => Box::pin(futures::stream::empty()),
        };
        let mut rows = input.prepared.apply(batches, Arc::clone(&self.counters));
        let mut writer = self.worker.lake.writer(&target, self.write_options());
        let flow = async {
            while let Some(batch) = rows.next().await {
                let batch = fit.apply(batch?)?;
                self.counters.enter(Room::Land);
                tap.publish(&batch);
                writer.write(batch).await?;
                FaultPoint::MidRead.pass();
            }
            Ok(writer.finish().await?)
        };
        let landed: Result<Landed, Fault> = flow.instrument(tracing::info_span!("land")).await;
        // The reader above lets go of what it holds, the way to the rejects among it.
        drop(rows);
        if input.schema.is_none() {
            OpenTable::settle(&input.tables, &self.counters);
        }
        let tables = input.tables.iter().map(OpenTable::read).collect();
        Ok(Filled { target, landed: landed?, row_wise, tables })
    }

    /// Where rejects go, when the job keeps them.
    fn quarantine(&self, spec: &JobSpec, spool: &Spool) -> Option<(Rejects, Quarantine)> {
        if spec.on_bad_row != OnBadRow::Quarantine {
            return None;
        }
        let lease = &self.claim.lease;
        let tap = Arc::new(Tap::new(reject_schema(), self.worker.config.job.tap_bytes));
        self.worker.open_rejects(&lease.job_id, Arc::clone(&tap));
        Some(Quarantine::begin(spool, &lease.job_id, lease.attempt, tap))
    }

    /// Refuses to commit when a rejected row is not in the file.
    fn all_kept(&self, kept: u64) -> Result<(), Fault> {
        let rejected = self.counters.rows_rejected.load(Relaxed);
        if kept == rejected {
            return Ok(());
        }
        let message =
            format!("rows are unaccounted for: {rejected} were rejected, but {kept} are kept; nothing was committed");
        Err(Fault::new(FaultKind::Internal, message))
    }

    /// The rejects of an attempt that failed: kept when they are why it did, else removed.
    async fn abandon(&self, spool: &Spool, quarantine: Quarantine, fault: &Fault) {
        let (spool, id, attempt) = (spool.clone(), self.claim.lease.job_id.clone(), self.claim.lease.attempt);
        let is_kept = fault.kind == FaultKind::BadRow;
        let end = async move {
            if let Err(fault) = quarantine.end().await {
                tracing::warn!(error = %fault, "the rejects of a failed attempt are not all kept");
            }
            if !is_kept {
                spool.discard(&id, attempt);
            }
        };
        if is_kept {
            end.await;
        } else {
            // A fetch that hangs may hold the last rejects back; the report of the failure does not wait for it.
            tokio::spawn(end);
        }
    }

    fn write_options(&self) -> WriteOptions {
        let (store, lease) = (Arc::clone(&self.worker.store), self.claim.lease.clone());
        let stage: StageFile = Arc::new(move |uri| {
            let (store, lease) = (Arc::clone(&store), lease.clone());
            Box::pin(async move { Ok(store.stage_file(&lease, &uri, SystemTime::now()).await?) })
        });
        WriteOptions {
            job_id: self.claim.lease.job_id.clone(),
            attempt: self.claim.lease.attempt,
            threads: self.worker.config.job.threads,
            counters: Arc::clone(&self.counters),
            stage,
            spill_dir: self.worker.config.state_dir.join("spill"),
        }
    }

    /// The receipt as it will be if the commit lands. Refuses to commit when a row is unaccounted for.
    fn receipt(
        &self,
        token: &Token,
        spec: &JobSpec,
        landed: &Landed,
        row_wise: bool,
        tables: Vec<TableRead>,
        started: Instant,
    ) -> Result<Receipt, Fault> {
        let counters = &self.counters;
        let (read, rejected) = (counters.rows_read.load(Relaxed), counters.rows_rejected.load(Relaxed));
        let (rows_in, rows_out) = (counters.rows_in.load(Relaxed), counters.rows_out.load(Relaxed));
        // The transform would have filtered them, and so they are: the footers of their files count them.
        let pruned = counters.rows_pruned.load(Relaxed);
        let lost = |what: String| {
            Err(Fault::new(FaultKind::Internal, format!("rows are unaccounted for: {what}; nothing was committed")))
        };
        if read != rows_in + rejected + pruned {
            return lost(format!(
                "{read} read, but {rows_in} went into the transform, {rejected} were rejected and {pruned} passed over"
            ));
        }
        if landed.rows() != rows_out {
            return lost(format!("{rows_out} came out of the transform, but {} are in the data files", landed.rows()));
        }
        if row_wise && rows_out > rows_in {
            return lost(format!("{rows_in} went into a row-wise transform and {rows_out} came out"));
        }
        let receipt = Receipt {
            job_id: self.claim.lease.job_id.0.clone(),
            table: spec.landing.table.to_string(),
            files: counters.files_total.load(Relaxed),
            rows_read: read,
            rows_landed: landed.rows(),
            rows_rejected: rejected,
            rows_filtered: row_wise.then(|| pruned + rows_in - rows_out),
            bytes_read: counters.bytes_done.load(Relaxed),
            bytes_written: landed.bytes(),
            data_files: landed.files(),
            snapshot_id: None,
            metadata_location: String::new(),
            elapsed: started.elapsed(),
            rooms: counters.rooms(),
            rejects: counters.rejects(),
            attempt: self.claim.lease.attempt,
            token: token.to_string(),
            skipped_files: counters.skipped_files(),
            files_skipped: counters.files_skipped.load(Relaxed),
            rows_replaced: 0,
            replaced_snapshot_id: None,
            attached_to: None,
            rejects_table: String::new(),
            rejects_snapshot_id: None,
            rejects_to_commit: String::new(),
            tables,
        };
        receipt.check()?;
        Ok(receipt)
    }
}

/// Says what each room did, for the log.
fn account(receipt: &Receipt) {
    for time in &receipt.rooms {
        let busy_ms = u64::try_from(time.busy.as_millis()).unwrap_or(u64::MAX);
        let (rows, bytes) = match time.room {
            Room::Fetch => (None, Some(receipt.bytes_read)),
            Room::Read => (Some(receipt.rows_read), None),
            Room::Transform => (Some(receipt.rows_read - receipt.rows_rejected), None),
            Room::Land => (Some(receipt.rows_landed), Some(receipt.bytes_written)),
            Room::Commit => (None, None),
        };
        tracing::info!(room = time.room.name(), busy_ms, rows, bytes, "room");
    }
    tracing::info!(
        rows_read = receipt.rows_read,
        rows_landed = receipt.rows_landed,
        rows_rejected = receipt.rows_rejected,
        rows_filtered = receipt.rows_filtered,
        snapshot_id = receipt.snapshot_id,
        "every row accounted for"
    );
}

/// Whether a commit that ended so has left nothing: then its files may go. After any other end they stay, named in the store.
fn surely_not_committed(kind: FaultKind) -> bool {
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

/// The spec of a stored job.
///
/// # Errors
/// `Internal`: it is none.
pub(crate) fn decode(spec: &[u8]) -> Result<JobSpec, Fault> {
    let message = moulin_wire::v1::JobSpec::decode(spec)
        .map_err(|e| Fault::new(FaultKind::Internal, format!("the stored job cannot be read: {e}")))?;
    moulin_wire::decode::spec(Some(message))
}

/// What the end of an attempt means for the job; `None`: another worker has it, there is nothing to report.
fn outcome(
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
        return Some(Outcome::Again { fault, not_before: SystemTime::now() + WAIT_FOR_OTHERS });
    }
    tracing::warn!(kind = ?fault.kind, error = %fault, "the attempt failed");
    match fault.kind {
        FaultKind::LeaseLost => None,
        FaultKind::Cancelled => Some(Outcome::Cancelled(fault)),
        // Whether the commit landed must be found out, however often that takes.
        FaultKind::CommitUnknown => Some(again(claim, fault)),
        kind if kind.retryable() && claim.lease.attempt < worker.config.job.max_attempts => Some(again(claim, fault)),
        _ => Some(Outcome::Failed(fault)),
    }
}

/// The outcome, if it is the job's last one and an earlier attempt may still be about to commit, with that ruled out.
async fn for_good(worker: &Arc<Worker>, claim: &Claim, outcome: Option<Outcome>) -> Option<Outcome> {
    let Some(Outcome::Failed(_) | Outcome::Cancelled(_)) = &outcome else { return outcome };
    let Ok(table) = claim.job.table.parse() else { return outcome };
    let settle = Settlement {
        worker: Arc::clone(worker),
        lease: claim.lease.clone(),
        table,
        token: Token::new(&claim.job.key, claim.job.generation),
    };
    match settle.rule_out().await {
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
            Some(again(claim, unknown.with_source(&fault)))
        }
    }
}

fn again(claim: &Claim, fault: Fault) -> Outcome {
    let pause = Duration::from_secs(1 << claim.lease.attempt.min(6));
    Outcome::Again { fault, not_before: SystemTime::now() + pause }
}

async fn report(worker: Arc<Worker>, claim: Arc<Claim>, counters: Arc<Counters>, outcome: Option<Outcome>) {
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
