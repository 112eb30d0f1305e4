//! Fan-out of the batches of one running job to readers that come and go.
//!
//! The newest batches stand in one ring bounded in bytes; every reader has its own place in it. Publishing never
//! waits: the oldest batches leave the ring, and a reader that had not reached them is told how many rows it
//! lost. A batch costs the job one lock and one reference count when nobody listens.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::Stream;
use moulin_core::{Fault, FaultKind};
use parking_lot::Mutex;

/// The writing end; dropping it without [`Tap::finish`] ends the readers with a fault.
#[derive(Debug)]
pub struct Tap {
    schema: SchemaRef,
    shared: Arc<Mutex<Ring>>,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq)]
pub enum TapItem {
    /// The next batch that is still there.
    Batch(RecordBatch),
    /// Rows that were published and left the ring before this reader came to them. The next batch follows them.
    Dropped {
        /// How many.
        rows: u64,
    },
}

/// One reader's view of a [`Tap`], from the oldest batch that is still there to the end of the job.
///
/// # Cancel safety
/// Dropping it stops the reading only; the job does not notice.
#[derive(Debug)]
pub struct TapStream {
    schema: SchemaRef,
    shared: Arc<Mutex<Ring>>,
    id: u64,
    /// Rows this reader has got or was told it lost.
    position: u64,
    over: bool,
}

#[derive(Debug)]
struct Ring {
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    capacity_bytes: usize,
    published_rows: u64,
    outcome: Option<Result<(), Fault>>,
    next_reader: u64,
    waiting: HashMap<u64, Waker>,
}

#[derive(Debug)]
struct Kept {
    batch: RecordBatch,
    bytes: usize,
    /// Rows published before this batch.
    starts_at: u64,
}

impl Tap {
    /// A tap for batches of `schema` that keeps at most `capacity_bytes` of them.
    #[must_use]
    pub fn new(schema: SchemaRef, capacity_bytes: usize) -> Self {
        let ring = Ring {
            kept: VecDeque::new(),
            kept_bytes: 0,
            capacity_bytes,
            published_rows: 0,
            outcome: None,
            next_reader: 0,
            waiting: HashMap::new(),
        };
        Self { schema, shared: Arc::new(Mutex::new(ring)) }
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Shows a batch to all readers, now and later ones. Never waits; does nothing after [`Tap::finish`].
    pub fn publish(&self, batch: &RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        let woken = self.shared.lock().publish(batch);
        wake(woken);
    }

    /// Ends every reader's stream once it has read what is left. Only the first outcome counts.
    pub fn finish(&self, outcome: Result<(), Fault>) {
        let woken = {
            let mut ring = self.shared.lock();
            ring.outcome.get_or_insert(outcome);
            std::mem::take(&mut ring.waiting)
        };
        wake(woken);
    }

    /// A new reader. It begins with the oldest batch still there, after being told how many rows went before.
    #[must_use]
    pub fn subscribe(&self) -> TapStream {
        let mut ring = self.shared.lock();
        ring.next_reader += 1;
        TapStream {
            schema: Arc::clone(&self.schema),
            shared: Arc::clone(&self.shared),
            id: ring.next_reader,
            position: 0,
            over: false,
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.finish(Err(Fault::new(FaultKind::Internal, "the job ended without saying how")));
    }
}

impl Ring {
    fn publish(&mut self, batch: &RecordBatch) -> HashMap<u64, Waker> {
        if self.outcome.is_some() {
            return HashMap::new();
        }
        let bytes = batch.get_array_memory_size();
        self.kept.push_back(Kept { batch: batch.clone(), bytes, starts_at: self.published_rows });
        self.kept_bytes += bytes;
        self.published_rows += batch.num_rows() as u64;
        while self.kept_bytes > self.capacity_bytes {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.kept_bytes -= oldest.bytes;
        }
        std::mem::take(&mut self.waiting)
    }

    /// What comes after `position` rows: the batch that starts there, or how many rows are gone.
    fn after(&self, position: u64) -> Option<TapItem> {
        let place = self.kept.partition_point(|kept| kept.starts_at < position);
        let starts_at = self.kept.get(place).map_or(self.published_rows, |kept| kept.starts_at);
        if starts_at > position {
            return Some(TapItem::Dropped { rows: starts_at - position });
        }
        self.kept.get(place).map(|kept| TapItem::Batch(kept.batch.clone()))
    }
}

fn wake(woken: HashMap<u64, Waker>) {
    for waker in woken.into_values() {
        waker.wake();
    }
}

impl TapStream {
    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Stream for TapStream {
    type Item = Result<TapItem, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let shared = Arc::clone(&self.shared);
        let mut ring = shared.lock();
        if let Some(item) = ring.after(self.position) {
            self.position += match &item {
                TapItem::Batch(batch) => batch.num_rows() as u64,
                TapItem::Dropped { rows } => *rows,
            };
            return Poll::Ready(Some(Ok(item)));
        }
        match &ring.outcome {
            None => {
                ring.waiting.insert(self.id, context.waker().clone());
                Poll::Pending
            }
            Some(outcome) => {
                self.over = true;
                Poll::Ready(outcome.clone().err().map(Err))
            }
        }
    }
}

impl Drop for TapStream {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn every_reader_gets_every_batch_in_order() {
        let tap = tap_for(100);
        let (one, two) = (tap.subscribe(), tap.subscribe());
        tap.publish(&batch(0, 3));
        tap.publish(&batch(3, 2));
        tap.finish(Ok(()));
        for reader in [one, two, tap.subscribe()] {
            assert_eq!(all(reader).await, [Ok(rows(0, 3)), Ok(rows(3, 2))]);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_loses_the_oldest_and_is_told_how_many() {
        let tap = tap_for(2);
        let mut slow = tap.subscribe();
        tap.publish(&batch(0, 4));
        assert_eq!(slow.next().await, Some(Ok(rows(0, 4))));
        for i in 1..5 {
            tap.publish(&batch(i * 4, 4));
        }
        assert_eq!(slow.next().await, Some(Ok(TapItem::Dropped { rows: 8 })));
        assert_eq!(slow.next().await, Some(Ok(rows(12, 4))));
        assert_eq!(slow.next().await, Some(Ok(rows(16, 4))));
        assert!(slow.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_late_reader_is_told_what_went_before() {
        let tap = tap_for(1);
        tap.publish(&batch(0, 4));
        tap.publish(&batch(4, 4));
        tap.finish(Ok(()));
        assert_eq!(all(tap.subscribe()).await, [Ok(TapItem::Dropped { rows: 4 }), Ok(rows(4, 4))]);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_ring_is_reported_as_dropped() {
        let tap = Tap::new(batch(0, 1).schema(), 1);
        tap.publish(&batch(0, 4));
        tap.finish(Ok(()));
        assert_eq!(all(tap.subscribe()).await, [Ok(TapItem::Dropped { rows: 4 })]);
        assert_eq!(tap.shared.lock().kept_bytes, 0);
    }

    #[tokio::test]
    async fn a_fault_ends_the_readers_after_the_last_batch() {
        let tap = tap_for(10);
        let reader = tap.subscribe();
        tap.publish(&batch(0, 1));
        let fault = Fault::new(FaultKind::BadRow, "row 7 is bad");
        tap.finish(Err(fault.clone()));
        tap.finish(Ok(()));
        tap.publish(&batch(1, 1));
        assert_eq!(all(reader).await, [Ok(rows(0, 1)), Err(fault)]);
    }

    #[tokio::test]
    async fn a_tap_that_is_dropped_unfinished_ends_its_readers_with_a_fault() {
        let tap = tap_for(10);
        let reader = tap.subscribe();
        drop(tap);
        let items = all(reader).await;
        assert!(matches!(&items[..], [Err(fault)] if fault.kind == FaultKind::Internal), "{items:?}");
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_and_a_dropped_one_leaves_nothing_behind() {
        let tap = tap_for(10);
        let mut gone = tap.subscribe();
        assert!(gone.next().now_or_never().is_none());
        assert_eq!(tap.shared.lock().waiting.len(), 1);
        drop(gone);
        assert!(tap.shared.lock().waiting.is_empty());

        let waiting = tokio::spawn(all(tap.subscribe()));
        tokio::task::yield_now().await;
        tap.publish(&batch(0, 2));
        tap.finish(Ok(()));
        assert_eq!(waiting.await.unwrap(), [Ok(rows(0, 2))]);
    }

    async fn all(reader: TapStream) -> Vec<Result<TapItem, Fault>> {
        reader.collect().await
    }

    fn rows(first: i64, count: i64) -> TapItem {
        TapItem::Batch(batch(first, count))
    }

    fn batch(first: i64, count: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(first..first + count))]).unwrap()
    }

    /// A tap that holds `batches` batches of four rows.
    fn tap_for(batches: usize) -> Tap {
        let four = batch(0, 4);
        Tap::new(four.schema(), batches * four.get_array_memory_size())
    }
}
