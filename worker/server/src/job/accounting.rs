//! Every row of an attempt is accounted for before anything is committed.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use moulin_core::{Fault, FaultKind, JobSpec, Receipt, RejectsChange, ReplayCounts, Room, TableRead, Token};
use moulin_lake::Landed;

use super::run::Attempt;

impl Attempt {
    /// Refuses to commit when a rejected row is not in the file.
    pub(super) fn all_kept(&self, kept: u64) -> Result<(), Fault> {
        let rejected = self.counters.rows_rejected.load(Relaxed);
        if kept == rejected {
            return Ok(());
        }
        let message =
            format!("rows are unaccounted for: {rejected} were rejected, but {kept} are kept; nothing was committed");
        Err(Fault::new(FaultKind::Internal, message))
    }

    /// What a replay found and took; of each reject that it took, at least one row is read, unless nothing is in its bytes
    /// any more.
    fn replay_counts(&self) -> Result<Option<ReplayCounts>, Fault> {
        let Some(counts) = self.replayed.get() else { return Ok(None) };
        let mut counts = counts.clone();
        counts.empty = self.emptied.load(Relaxed);
        counts.check()?;
        let read = self.counters.rows_read.load(Relaxed);
        if read + counts.empty < counts.replayed {
            let (replayed, empty) = (counts.replayed, counts.empty);
            let message = format!(
                "rejects are unaccounted for: {replayed} were replayed, but {read} rows read and {empty} had no record; nothing was committed"
            );
            return Err(Fault::new(FaultKind::Internal, message));
        }
        Ok(Some(counts))
    }

    /// The receipt as it will be if the commit lands. Refuses to commit when a row is unaccounted for.
    pub(super) fn receipt(
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
            file_counts: landed.counts(),
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
            rejects_change: RejectsChange::default(),
            rejects_replaced: 0,
            replay: self.replay_counts()?,
            replayed_files: Vec::new(),
            replaced_tokens: Vec::new(),
            replaced_from: None,
            tables,
        };
        receipt.check()?;
        Ok(receipt)
    }
}

/// Says what each room did, for the log.
pub(super) fn account(receipt: &Receipt) {
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
        data_files = receipt.data_files,
        bytes = receipt.bytes_written,
        reason = receipt.file_counts.words(receipt.data_files),
        "data files"
    );
    tracing::info!(
        rows_read = receipt.rows_read,
        rows_landed = receipt.rows_landed,
        rows_rejected = receipt.rows_rejected,
        rows_filtered = receipt.rows_filtered,
        snapshot_id = receipt.snapshot_id,
        "every row accounted for"
    );
}
