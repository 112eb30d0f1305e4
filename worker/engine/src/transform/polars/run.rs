//! Runs a checked plan on the thread it is called on.

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::polars::prelude::{Column, DataFrame, Engine, LazyFrame, PlanCallback};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use futures::StreamExt;
use moulin_core::{Counters, Room};
use parking_lot::Mutex;

use super::super::bridge;
use super::super::input::{Rows, Wanted};
use super::super::output::Output;
use super::super::stage::{Inlet, Outlet, contained, panic_message};
use super::{PolarsPlan, Source, words};
use crate::{BatchStream, Error};

/// Batches are put together until they have this many rows or bytes: a plan is lowered anew for each.
const ROWS_TOGETHER: usize = 64 * 1024;
const BYTES_TOGETHER: usize = 16 << 20;

/// Rows in a batch of a plan that makes its own.
const ROWS_MADE: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

impl PolarsPlan {
    /// Runs the plan from `inlet` to `outlet`. Blocks; call it on a thread of its own.
    pub(crate) fn run(self, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<(), Error> {
        match self.leaves.only().and_then(|at| self.inputs.get(at)) {
            Some(source) if self.row_wise => self.run_by_batch(source, inlet, outlet, counters),
            _ => self.run_gathered(inlet, outlet, counters),
        }
    }

    fn run_by_batch(&self, source: &Source, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<(), Error> {
        let mut together = Together { inlet: source.open(&mut Some(inlet)), over: false };
        while let Some(batch) = together.next()? {
            for piece in counters.timed(Room::Transform, || contained(|| self.run_one(source, &batch)))? {
                if !outlet.send_blocking(piece) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn run_one(&self, source: &Source, batch: &RecordBatch) -> Result<Vec<RecordBatch>, Error> {
        let rows = Arc::new(source.whole(bridge::to_frame(batch)?)?);
        let frames: Vec<_> = self.inputs.iter().map(|_| Arc::clone(&rows)).collect();
        let made = LazyFrame::from(self.leaves.put(&self.plan, &frames)).collect();
        self.output.cast(&bridge::to_batch(made.map_err(|error| words::running(&error))?)?)
    }

    fn run_gathered(&self, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<(), Error> {
        let frames = contained(|| self.gather(inlet, outlet, counters))?;
        if outlet.is_closed() {
            return Ok(());
        }
        let made = Arc::new(Made {
            output: self.output.clone(),
            outlet: outlet.clone(),
            waited: Mutex::default(),
            failure: Mutex::default(),
        });
        let started = Instant::now();
        let outcome = self.collect_into(&frames, &made);
        counters.busy(Room::Transform, started.elapsed().saturating_sub(*made.waited.lock()));
        match made.failure.lock().take() {
            Some(failure) => Err(failure),
            None => outcome,
        }
    }

    /// All rows of every input.
    fn gather(&self, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<Vec<Arc<DataFrame>>, Error> {
        let mut given = Some(inlet);
        let mut bytes = 0_u64;
        let mut frames = Vec::with_capacity(self.inputs.len());
        for source in &self.inputs {
            let mut rows = source.narrow()?;
            let mut batches = source.open(&mut given);
            while let Some(batch) = batches.next() {
                let batch = batch?;
                if outlet.is_closed() {
                    break;
                }
                counters.timed(Room::Transform, || {
                    let frame = bridge::to_frame(&batch)?;
                    bytes += frame.estimated_size() as u64;
                    rows.vstack_mut_owned(frame).map_err(|error| words::running(&error))?;
                    Ok::<_, Error>(())
                })?;
                if bytes > self.memory_bytes {
                    return Err(words::memory(self.memory_bytes));
                }
            }
            frames.push(Arc::new(source.whole(rows)?));
        }
        Ok(frames)
    }

    fn collect_into(&self, frames: &[Arc<DataFrame>], made: &Arc<Made>) -> Result<(), Error> {
        let planned = LazyFrame::from(self.leaves.put(&self.plan, frames));
        let taker = Arc::clone(made);
        let streamed = catch_unwind(AssertUnwindSafe(|| {
            let stop_when_nobody_takes = PlanCallback::new(move |frame| Ok(!taker.take(frame)));
            planned
                .clone()
                .sink_batches(stop_when_nobody_takes, true, Some(ROWS_MADE))?
                .collect_with_engine(Engine::Streaming)
        }));
        match streamed {
            Ok(outcome) => outcome.map(drop).map_err(|error| words::running(&error)),
            // The streaming engine lacks some operations and says so before it makes a row.
            Err(panic) if panic_message(&*panic).contains("not yet implemented") => contained(|| {
                made.take(planned.collect().map_err(|error| words::running(&error))?);
                Ok(())
            }),
            Err(panic) => Err(Error::TransformFailed(panic_message(&*panic))),
        }
    }
}

impl Source {
    /// The rows: those that are given, or those of a scan of the columns that the plan needs.
    fn open(&self, given: &mut Option<Inlet>) -> Batches {
        match &self.input.rows {
            Rows::Given => given.take().map_or(Batches::None, Batches::Given),
            Rows::Scanned(rows) => {
                Batches::Scanned((rows.scan)(Wanted { columns: self.columns.clone(), conditions: Vec::new() }))
            }
        }
    }

    /// A frame without rows of the columns that are read.
    fn narrow(&self) -> Result<DataFrame, Error> {
        let schema = self.input.schema.project(&self.columns).map_err(|error| Error::Internal(error.to_string()))?;
        bridge::empty_frame(&Arc::new(schema))
    }

    /// The rows with all columns of the input; those that the plan does not need are nulls, which take no memory.
    fn whole(&self, rows: DataFrame) -> Result<DataFrame, Error> {
        if self.columns.len() == self.empty.width() {
            return Ok(rows);
        }
        let height = rows.height();
        let column = |empty: &Column| match rows.column(empty.name()) {
            Ok(column) => column.clone(),
            Err(_) => Column::full_null(empty.name().clone(), height, empty.dtype()),
        };
        let columns = self.empty.columns().iter().map(column).collect();
        DataFrame::new(height, columns).map_err(|error| words::running(&error))
    }
}

/// Batches of an input, for a thread that may wait.
enum Batches {
    None,
    Given(Inlet),
    Scanned(BatchStream),
}

impl Batches {
    fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        match self {
            Self::None => None,
            Self::Given(inlet) => inlet.next_blocking(),
            Self::Scanned(stream) => futures::executor::block_on(stream.next()),
        }
    }
}

/// Takes what the streaming engine makes, on its threads.
struct Made {
    output: Output,
    outlet: Outlet,
    /// Time spent waiting for the landing, which is not the transform's.
    waited: Mutex<Duration>,
    failure: Mutex<Option<Error>>,
}

impl Made {
    /// False when no more is wanted.
    fn take(&self, frame: DataFrame) -> bool {
        let pieces = contained(|| self.output.cast(&bridge::to_batch(frame)?));
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(error) => {
                *self.failure.lock() = Some(error);
                return false;
            }
        };
        let started = Instant::now();
        let wanted = pieces.into_iter().all(|piece| self.outlet.send_blocking(piece));
        *self.waited.lock() += started.elapsed();
        wanted
    }
}

/// Small batches put together.
struct Together {
    inlet: Batches,
    over: bool,
}

impl Together {
    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        let (mut waiting, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while !self.over && rows < ROWS_TOGETHER && bytes < BYTES_TOGETHER {
            match self.inlet.next() {
                Some(batch) => {
                    let batch = batch?;
                    rows += batch.num_rows();
                    bytes += batch.get_array_memory_size();
                    waiting.push(batch);
                }
                None => self.over = true,
            }
        }
        if waiting.len() == 1 {
            return Ok(waiting.pop());
        }
        let Some(first) = waiting.first() else { return Ok(None) };
        let together = concat_batches(&first.schema(), &waiting);
        together.map(Some).map_err(|error| Error::Internal(format!("batches of one input do not go together: {error}")))
    }
}
