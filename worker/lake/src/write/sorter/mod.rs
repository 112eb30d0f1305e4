//! Any number of rows in order, in bounded memory: sorted runs go to the disk and are merged.
//!
//! As many runs of one level as are merged at once become one run of the next level, so that each row is written again
//! only once a level, and levels grow with the logarithm of the rows. The runs of a level are in one file.

mod budget;
mod merge;
mod runs;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};

use super::order::Order;
use super::size::batch_bytes;
use super::tally::Tally;
use crate::Error;
pub(super) use budget::{Budget, Limits};
use merge::Merge;
use runs::{Run, RunFile, RunWriter};

/// Rows of a batch that comes out.
const ROWS_OUT: usize = 8192;
/// Rows that wait, their copy in order, and the keys they are sorted by.
const COPIES: usize = 3;

/// Takes batches of one schema and gives them back in order. Equal rows stay as they came.
pub(super) struct Sorter {
    order: Order,
    folder: PathBuf,
    budget: Arc<Budget>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// With their levels, from the oldest rows to the newest.
    runs: Vec<(u32, Run)>,
    tally: Arc<Tally>,
}

impl Sorter {
    /// Runs go to `folder`, which is made when it is needed.
    pub(super) fn new(order: Order, folder: PathBuf, budget: Arc<Budget>) -> Self {
        let tally = Arc::default();
        Self { order, folder, budget, waiting: Vec::new(), waiting_bytes: 0, runs: Vec::new(), tally }
    }

    /// Tells `tally` what goes to the disk.
    pub(super) fn counted_by(self, tally: Arc<Tally>) -> Self {
        Self { tally, ..self }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<(), Error> {
        self.waiting_bytes += batch_bytes(&batch);
        self.waiting.push(batch);
        if self.waiting_bytes >= self.budget.limits().run_bytes {
            self.spill()?;
        }
        Ok(())
    }

    /// Hands all rows on, in order.
    pub(super) fn finish(mut self, mut emit: impl FnMut(&RecordBatch) -> Result<(), Error>) -> Result<(), Error> {
        if self.runs.is_empty() {
            let _share = self.budget.take(self.waiting_bytes * COPIES)?;
            let sorted = self.sorted()?;
            return slices(&sorted, ROWS_OUT).try_for_each(|batch| emit(&batch));
        }
        if !self.waiting.is_empty() {
            self.spill()?;
        }
        while let Some(count) = self.too_many_at_last() {
            self.merge(count)?;
        }
        let _share = self.budget.take(self.budget.limits().merge_bytes)?;
        Merge::new(&self.order, &self.budget, self.runs.iter().map(|(_, run)| run))?.run(emit)
    }

    // What waits becomes a run.
    fn spill(&mut self) -> Result<(), Error> {
        let share = self.budget.take(self.waiting_bytes * COPIES)?;
        let sorted = self.sorted()?;
        let mut writer = self.begin(0, sorted.schema())?;
        writer.write(&sorted)?;
        drop((sorted, share));
        let run = writer.finish()?;
        // What is written again when runs are merged are the same rows.
        self.tally.spilled(run.stored_bytes());
        self.runs.push((0, run));
        while let Some(count) = self.full_level() {
            self.merge(count)?;
        }
        Ok(())
    }

    // What waits, sorted.
    fn sorted(&mut self) -> Result<RecordBatch, Error> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let Some(first) = waiting.first() else { return Ok(RecordBatch::new_empty(Arc::new(Schema::empty()))) };
        let all = concat_batches(&first.schema(), &waiting).map_err(|e| Error::encode("sorted rows", e))?;
        drop(waiting);
        let keys = self.order.keys(&all)?;
        let mut places: Vec<u32> = (0..u32::try_from(all.num_rows()).unwrap_or(u32::MAX)).collect();
        places.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        drop(keys);
        take_record_batch(&all, &UInt32Array::from(places)).map_err(|e| Error::encode("sorted rows", e))
    }

    // A run behind those of its level. The last of them to go takes the file with it.
    fn begin(&self, level: u32, schema: SchemaRef) -> Result<RunWriter, Error> {
        let block_bytes = self.budget.limits().block_bytes();
        match self.runs.iter().rev().find(|(of, _)| *of == level) {
            Some((_, last)) => last.file.clone().append(last.end, block_bytes, schema),
            None => RunFile::create(&self.folder)?.append(0, block_bytes, schema),
        }
    }

    // How many of the newest runs are a whole level, if they are.
    fn full_level(&self) -> Option<usize> {
        let lowest = self.runs.last()?.0;
        let count = self.runs.iter().rev().take_while(|(level, _)| *level == lowest).count();
        let is_full = count >= self.budget.limits().fan_in || self.fitting() < count;
        (is_full && count > 1).then_some(count)
    }

    // How many of the newest runs are to be one, for the last merge to be of as many as may be: the newest are the
    // shortest.
    fn too_many_at_last(&self) -> Option<usize> {
        let (count, fitting) = (self.runs.len(), self.fitting().max(2));
        (count > fitting).then(|| (count - fitting + 1).clamp(2, fitting))
    }

    // How many of the newest runs can be merged at once. Where a row is longer than a block is meant to be, those are few.
    fn fitting(&self) -> usize {
        let Limits { fan_in, merge_bytes, .. } = self.budget.limits();
        let mut held_bytes = 0;
        let held = self.runs.iter().rev().take(*fan_in).take_while(|(_, run)| {
            held_bytes += 2 * run.widest_bytes;
            held_bytes <= *merge_bytes
        });
        held.count()
    }

    // Makes one run of the newest ones.
    fn merge(&mut self, count: usize) -> Result<(), Error> {
        let _share = self.budget.take(self.budget.limits().merge_bytes)?;
        let newest = self.runs.len() - count;
        let (level, schema) = (self.runs[newest].0 + 1, self.runs[newest].1.schema.clone());
        let mut writer = self.begin(level, schema)?;
        let merge = Merge::new(&self.order, &self.budget, self.runs[newest..].iter().map(|(_, run)| run))?;
        merge.run(|batch| writer.write(batch))?;
        let run = writer.finish()?;
        self.runs.truncate(newest);
        self.runs.push((level, run));
        Ok(())
    }
}

fn slices(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    (0..batch.num_rows()).step_by(rows).map(move |from| batch.slice(from, rows.min(batch.num_rows() - from)))
}

#[cfg(test)]
mod tests;
