//! One attempt of one job, from claim to report: the only place that knows the order of the rooms.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use moulin_core::{
    Counters, Fault, FaultKind, FaultPoint, JobSpec, Landing, OnBadRow, OnRerun, PlannedFile, Receipt, RejectsChange,
    RejectsMark, ReplayCounts, ReplayedFiles, Room, TableRead, Token,
};
use moulin_engine::stream::Tap;
use moulin_lake::{Landed, Requirement, Target, WriteOptions};
use moulin_read::reject_schema;
use moulin_store::Claim;
use prost::Message as _;
use tracing::Instrument as _;

use super::accounting::account;
use super::admit;
use super::ending::{for_good, outcome, report, surely_not_committed};
use super::lease::Kept;
use super::loads::{self, Taken};
use super::redo::{self, Before, Redo};
use super::rejects::{Quarantine, Spool};
use super::rejects_table::{self, Written};
use super::replay::Asker;
use super::settle::Settlement;
use super::staging;
use crate::worker::Worker;

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
            replayed: OnceLock::new(),
            emptied: Arc::default(),
        };
        let result = Box::pin(this.run()).await;
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
pub(super) type Rejects = tokio::sync::mpsc::Sender<arrow::array::RecordBatch>;

pub(super) struct Attempt {
    pub(super) worker: Arc<Worker>,
    pub(super) claim: Arc<Claim>,
    pub(super) counters: Arc<Counters>,
    kept: Arc<Kept>,
    /// Set when the attempt ends because it waits for another job.
    waits: Arc<AtomicBool>,
    /// What a replay has found.
    pub(super) replayed: OnceLock<ReplayCounts>,
    /// Of the rejects that were read again, those that hold no record any more.
    pub(super) emptied: Arc<AtomicU64>,
}

/// What became of the rows of an attempt.
pub(super) struct Filled {
    /// Where they go.
    pub(super) target: Target,
    /// The data files they are in.
    pub(super) landed: Landed,
    pub(super) row_wise: bool,
    /// What was read of the tables among the inputs.
    pub(super) tables: Vec<TableRead>,
    pub(super) replayed: Replayed,
}

/// What a replay has made of rejects; of other jobs nothing.
#[derive(Default)]
pub(super) struct Replayed {
    /// Which of them it has taken.
    pub(super) mark: Option<RejectsMark>,
    /// The jobs that had read them from their files, each with how many of its rows were rejected again, in this order.
    pub(super) rejected: Vec<(String, u64)>,
    /// The data files with the rows of each of these jobs.
    pub(super) files: Vec<ReplayedFiles>,
    /// What must hold when they are committed.
    pub(super) requires: Option<Requirement>,
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
            return Ok(self.keep_only(&settle, &spool, receipt).await);
        }
        if let Some(reason) = &self.claim.job.cancel_requested {
            return Err(Fault::new(FaultKind::Cancelled, format!("cancelled: {reason}")));
        }
        self.keep_replays_off(&spec).await?;
        let before = redo::before(&self.worker, &self.claim.job, &token).await?;
        if let Some(receipt) = redo::attached(&settle, &spec.landing, before.as_ref(), started).await? {
            return Ok(receipt);
        }
        let asker = self.asker(&spec, &token, before.as_ref());
        let (filled, rejected) = match Box::pin(self.fill(&spec, &spool, &asker)).await {
            Ok(Some(done)) => done,
            // Every file is loaded already: nothing is read, and nothing becomes visible unless something has to go.
            Ok(None) if self.claim.job.generation == 0 => {
                return self.receipt(&token, &spec, &Landed::default(), true, Vec::new(), started);
            }
            Ok(None) => (self.nothing_to_land(&spec).await?, None),
            Err(fault) => {
                // Nothing of this attempt can be visible: its files may go.
                settle.sweep(None).await;
                return Err(fault);
            }
        };
        let Filled { target, landed, row_wise, tables, replayed } = filled;
        FaultPoint::FilesWritten.pass();
        loads::release_damaged(&self.worker, &self.claim, &self.counters).await?;
        let redo = match Redo::new(&self.worker, &spec.landing, &target, &token, before).await {
            Ok(redo) => redo.requiring(replayed.requires),
            Err(fault) => {
                settle.sweep(None).await;
                return Err(fault);
            }
        };
        let mut receipt = self.receipt(&token, &spec, &landed, row_wise, tables, started)?;
        redo.note(&mut receipt);
        receipt.rejects_change = RejectsChange { mark: replayed.mark, ..redo.rejects_change() };
        receipt.replayed_files = replayed.files;
        if let Some(rejected) = &rejected {
            receipt.rejects_table = rejected.target.table().to_string();
            receipt.rejects_to_commit = rejected.landed.to_text(&rejected.target)?;
        }
        if !receipt.touches_target() && !receipt.touches_rejects() {
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
        account(&receipt);
        Ok(self.keep_only(&settle, &spool, receipt).await)
    }

    /// Removes what other attempts than the one that committed have left.
    async fn keep_only(&self, settle: &Settlement, spool: &Spool, receipt: Receipt) -> Receipt {
        settle.sweep(Some(receipt.attempt)).await;
        spool.keep_only(&self.claim.lease.job_id, receipt.attempt);
        receipt
    }

    /// Data files with all rows, and a file with all rejects, when the job keeps them; ends early when the attempt may not
    /// go on.
    ///
    /// `None`: there is no file that is not loaded already.
    async fn fill(
        &self,
        spec: &JobSpec,
        spool: &Spool,
        asker: &Asker,
    ) -> Result<Option<(Filled, Option<Written>)>, Fault> {
        let (rejects, quarantine) = self.quarantine(spec, spool).unzip();
        let landing = async {
            if let Some(replay) = &spec.replay {
                return self.land_rejects(spec, replay, asker, rejects).await;
            }
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
        let result = Box::pin(self.unless_stopped(landing)).await;
        let Some(quarantine) = quarantine else { return result.map(|done| done.map(|done| (done, None))) };
        match result {
            Ok(done) => {
                let rejects = async {
                    let kept = quarantine.end().await?;
                    self.all_kept(kept)?;
                    let origins = done.as_ref().map_or(&[][..], |done| &done.replayed.rejected);
                    self.write_rejects(kept, spec, spool, &asker.own, origins).await
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
        let replayed = Replayed::default();
        Ok(Filled { target, landed: Landed::default(), row_wise: true, tables: Vec::new(), replayed })
    }

    /// Keeps replays off the rejects of the generations before, which this one replaces.
    async fn keep_replays_off(&self, spec: &JobSpec) -> Result<(), Fault> {
        if self.claim.job.generation == 0 || spec.landing.on_rerun != OnRerun::Replace {
            return Ok(());
        }
        let (table, key) = (rejects_table::of(&spec.landing.table), self.claim.job.key.to_string());
        let held = self.unless_stopped(loads::hold_rejects(&self.worker, &self.claim, &table, [key], false)).await?;
        self.or_later(held)
    }

    /// Gives the slot back when another job has what this one needs.
    pub(super) fn or_later(&self, held: Result<(), Fault>) -> Result<(), Fault> {
        if held.is_err() {
            self.waits.store(true, Relaxed);
        }
        held
    }

    fn asker(&self, spec: &JobSpec, token: &Token, before: Option<&Before>) -> Asker {
        let is_redo = self.claim.job.generation > 0 && spec.landing.on_rerun == OnRerun::Replace;
        let from = before.and_then(Before::generation).unwrap_or_default();
        Asker::of(&self.claim.job, token, is_redo.then_some(from))
    }

    /// Does something that ends early when the attempt may not go on.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
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
        origins: &[(String, u64)],
    ) -> Result<Option<Written>, Fault> {
        if kept == 0 {
            return Ok(None);
        }
        let lease = &self.claim.lease;
        let path = spool.file(&lease.job_id, lease.attempt);
        let job = (&lease.job_id, token);
        let options = WriteOptions { job_id: staging::of_rejects(&lease.job_id), ..self.write_options() };
        let written = rejects_table::write(&self.worker, &spec.landing.table, job, origins, path, options).await?;
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

    pub(super) fn write_options(&self) -> WriteOptions {
        let lease = &self.claim.lease;
        staging::write_options(&self.worker, lease, lease.attempt, lease.job_id.clone(), &self.counters)
    }
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
