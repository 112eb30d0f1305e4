//! Runs a planned SELECT on the thread it is called on.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use moulin_core::{Counters, Room};

use super::super::stage::{Inlet, Outlet};
use super::{SqlPlan, words};
use crate::Error;

/// A runtime for DataFusion's own tasks, all on the calling thread: none of them reaches the worker's async threads.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| Error::Internal(format!("no runtime for sql: {error}")))
}

impl SqlPlan {
    /// Runs the plan from `inlet` to `outlet`. Blocks; call it on a thread of its own.
    pub(crate) fn run(self, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<(), Error> {
        runtime()?.block_on(async {
            tokio::select! {
                done = self.drive(inlet, outlet, counters) => done,
                // A query that groups a large table would notice much later that nobody waits for it.
                () = outlet.closed() => Ok(()),
            }
        })
    }

    async fn drive(self, inlet: Inlet, outlet: &Outlet, counters: &Counters) -> Result<(), Error> {
        match &self.input {
            Some(input) if self.scans > 1 => input.spool(inlet, &self.context).await?,
            Some(input) => input.fill(inlet),
            None => {}
        }
        let failed = |error| self.failure.lock().take().unwrap_or_else(|| words::running(&error, self.memory_bytes));
        let mut batches = execute_stream(self.plan.clone(), self.context.clone()).map_err(failed)?;
        while let Some((item, busy)) = next_timed(&mut batches).await {
            counters.busy(Room::Transform, busy);
            let batch = item.map_err(failed)?;
            for piece in counters.timed(Room::Transform, || self.output.cast(&batch))? {
                if !outlet.send(piece).await {
                    return Ok(());
                }
            }
        }
        // A plan that needs no row (`WHERE false`) has not asked for any, and the accounting counts them all.
        if self.row_wise
            && let Some(mut unread) = self.input.as_ref().and_then(|input| input.take_unread())
        {
            while let Some(batch) = unread.next().await {
                batch?;
            }
        }
        Ok(())
    }
}

type Item = datafusion::common::Result<arrow::array::RecordBatch>;

/// The next batch and the time it took to make, without the time spent waiting for the input.
async fn next_timed(batches: &mut SendableRecordBatchStream) -> Option<(Item, Duration)> {
    let mut busy = Duration::ZERO;
    poll_fn(|context| {
        let started = Instant::now();
        let polled = batches.poll_next_unpin(context);
        busy += started.elapsed();
        match polled {
            Poll::Ready(item) => Poll::Ready(item.map(|item| (item, busy))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
