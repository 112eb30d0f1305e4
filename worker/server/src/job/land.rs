//! From the inputs of an attempt to data files: fetch, read, transform, tap, land.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures::{StreamExt as _, TryStreamExt as _};
use moulin_core::{Counters, Fault, FaultKind, FaultPoint, JobSpec, Replay, ReplayedFiles, Room, TableRead, Token};
use moulin_engine::BatchStream;
use moulin_engine::stream::Tap;
use moulin_lake::{Landed, Requirement, Target};
use moulin_read::{self as read, ReadOptions};
use tracing::Instrument as _;

use super::admit::{self, Fit, Input};
use super::loads;
use super::other_replays;
use super::rejects_table;
use super::replay::{self, Asker, Found};
use super::run::{Attempt, Filled, Rejects, Replayed};
use super::tables::OpenTable;

/// Bytes of input that become one batch, about.
const BATCH_BYTES: usize = 2 << 20;

/// How often a replay looks anew because rejects of other jobs came to those that it has asked others to keep off.
const LOOKS: u32 = 5;

/// Where the rows of an attempt go.
struct Landing<'a> {
    fit: &'a Fit,
    target: &'a Target,
    tap: &'a Tap,
}

impl Attempt {
    /// Lands what is in files and tables.
    pub(super) async fn land(
        &self,
        spec: &JobSpec,
        input: Input,
        fit: &Fit,
        target: Target,
        rejects: Option<Rejects>,
    ) -> Result<Filled, Fault> {
        let row_wise = input.prepared.row_wise();
        let tap = self.open_tap(fit);
        let wanted = input.prepared.wanted();
        let options = ReadOptions {
            max_bad_rows: spec.max_bad_rows,
            max_bad_ratio: spec.max_bad_ratio,
            projection: wanted.columns,
            conditions: wanted.conditions,
            ..self.read_options(spec, rejects)
        };
        let batches: BatchStream = match (&spec.source, &input.schema) {
            (Some(source), Some(schema)) => {
                let batches = read::batches(&self.worker.fetcher, source, &input.files, schema, options);
                Box::pin(batches.map_err(moulin_engine::Error::from))
            }
            _ => Box::pin(futures::stream::empty()),
        };
        let rows = input.prepared.apply(batches, Arc::clone(&self.counters));
        let to = Landing { fit, target: &target, tap: &tap };
        let landed = self.pour(rows, &to).instrument(tracing::info_span!("land")).await;
        if input.schema.is_none() {
            OpenTable::settle(&input.tables, &self.counters);
        }
        let tables: Vec<TableRead> = input.tables.iter().map(OpenTable::read).collect();
        Ok(Filled { target, landed: landed?, row_wise, tables, replayed: Replayed::default() })
    }

    /// Lands what the rejects of the target have become; `None`: there are none to be taken.
    pub(super) async fn land_rejects(
        &self,
        spec: &JobSpec,
        replay: &Replay,
        asker: &Asker,
        rejects: Option<Rejects>,
    ) -> Result<Option<Filled>, Fault> {
        let (found, requires) = self.find_rejects(spec, replay, asker).await?;
        let _ = self.replayed.set(found.counts.clone());
        let (files, bytes) = found.size();
        Counters::add(&self.counters.files_total, files);
        Counters::add(&self.counters.bytes_total, bytes);
        if found.counts.replayed == 0 {
            return Ok(None);
        }
        let source = replay::source_of(spec)?;
        let schema = found.schema(source)?;
        let prepared = admit::prepare_rejects(&self.worker, spec, &schema).await?;
        let fit = admit::fit(&self.worker, spec, prepared.output()).await?;
        let target = self.worker.lake.target_that_follows(&spec.landing, &fit.schema, &spec.contract()).await?;
        let tap = self.open_tap(&fit);
        let to = Landing { fit: &fit, target: &target, tap: &tap };
        let (mut landed, mut replayed) = (
            Landed::default(),
            Replayed { mark: Some(found.mark.clone()), requires: Some(requires), ..Default::default() },
        );
        let mut prepared = Some(prepared);
        for (origin, of_origin) in &found.origins {
            let rejected_before = self.counters.rows_rejected.load(Relaxed);
            let prepared = match prepared.take() {
                Some(prepared) => prepared,
                None => admit::prepare_rejects(&self.worker, spec, &schema).await?,
            };
            let options = self.read_options(spec, rejects.clone());
            let rows = found.rows_of(origin);
            let batches = read::replay(source, &schema, &found.files, rows, options, Arc::clone(&self.emptied));
            let batches: BatchStream = Box::pin(batches.map_err(moulin_engine::Error::from));
            let rows = prepared.apply(batches, Arc::clone(&self.counters));
            let of_one = self.pour(rows, &to).instrument(tracing::info_span!("land", origin)).await?;
            Counters::add(&self.counters.files_done, of_origin.len() as u64);
            let rejected = self.counters.rows_rejected.load(Relaxed);
            self.within_limits(spec, false)?;
            replayed.rejected.push((origin.clone(), rejected - rejected_before));
            let locations = of_one.locations().map(str::to_owned).collect();
            replayed.files.push(ReplayedFiles { origin: origin.clone(), locations });
            landed.add(of_one);
        }
        self.within_limits(spec, true)?;
        Ok(Some(Filled { target, landed, row_wise: true, tables: Vec::new(), replayed }))
    }

    /// The rejects that the replay takes, which no other job takes or takes away until this one is over.
    async fn find_rejects(
        &self,
        spec: &JobSpec,
        replay: &Replay,
        asker: &Asker,
    ) -> Result<(Found, Requirement), Fault> {
        let table = rejects_table::of(&spec.landing.table);
        let mut held = std::collections::BTreeSet::new();
        for _ in 0..LOOKS {
            // Before the look: what others mark after this is not overlooked by the commit.
            let requires = other_replays::all_have_marked(&self.worker, &spec.landing.table, &asker.own).await?;
            let found = replay::find(&self.worker, spec, replay, asker).await?;
            let keys: std::collections::BTreeSet<String> =
                found.origins.keys().map(|origin| Token(origin.clone()).key().to_owned()).collect();
            if !keys.is_empty() && keys.is_subset(&held) {
                FaultPoint::FilesClaimed.pass();
                return Ok((found, requires));
            }
            if keys.is_empty() {
                return Ok((found, requires));
            }
            let hold = loads::hold_rejects(&self.worker, &self.claim, &table, keys.iter().cloned(), true);
            self.or_later(hold.await?)?;
            // What was found may have been taken by the job that was waited for.
            held.extend(keys);
        }
        let message =
            format!("{table}: rejects of more and more jobs came while the replay asked others to keep off them");
        Err(Fault::new(FaultKind::Unavailable, message))
    }

    /// Checks the limits of all rows of a replay, which are read in several streams.
    fn within_limits(&self, spec: &JobSpec, at_end: bool) -> Result<(), Fault> {
        let (rows, bad) = (self.counters.rows_read.load(Relaxed), self.counters.rows_rejected.load(Relaxed));
        let exceeded = |limit: String| Err(read::Error::TooManyBadRows { bad, rows, limit }.into());
        if let Some(limit) = spec.max_bad_rows.filter(|limit| bad > *limit) {
            return exceeded(format!("max_bad_rows = {limit}"));
        }
        #[allow(clippy::cast_precision_loss, reason = "a share of rows")]
        let is_above = |limit: f64| bad as f64 > limit * rows as f64;
        match spec.max_bad_ratio.filter(|limit| at_end && is_above(limit.get())) {
            Some(limit) => exceeded(format!("max_bad_ratio = {}", limit.get())),
            None => Ok(()),
        }
    }

    fn open_tap(&self, fit: &Fit) -> Arc<Tap> {
        let tap = Arc::new(Tap::new(Arc::clone(&fit.schema), self.worker.config.job.tap_bytes));
        self.worker.open_tap(&self.claim.lease.job_id, Arc::clone(&tap));
        tap
    }

    fn read_options(&self, spec: &JobSpec, rejects: Option<Rejects>) -> ReadOptions {
        ReadOptions {
            on_bad_row: spec.on_bad_row,
            rejects,
            threads: self.worker.config.job.threads,
            batch_bytes: BATCH_BYTES,
            ..ReadOptions::new(Arc::clone(&self.counters))
        }
    }

    /// Lands rows as they come. The reader above them lets go of what it holds, the way to the rejects among it.
    async fn pour(&self, mut rows: BatchStream, to: &Landing<'_>) -> Result<Landed, Fault> {
        let mut writer = self.worker.lake.writer(to.target, self.write_options());
        while let Some(batch) = rows.next().await {
            let batch = to.fit.apply(batch?)?;
            self.counters.enter(Room::Land);
            to.tap.publish(&batch);
            writer.write(batch).await?;
            FaultPoint::MidRead.pass();
        }
        Ok(writer.finish().await?)
    }
}
