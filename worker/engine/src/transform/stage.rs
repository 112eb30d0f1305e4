//! A thread of its own between two bounded channels.
//!
//! Engines compute, and computing must not hold up the async threads. The input is polled on the runtime that
//! polls the output (it may do IO there) and handed over batch by batch; a full channel holds back either side.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use moulin_core::{Counters, Room};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::{BatchStream, Error};

/// Batches waiting on either side of the thread.
const BATCHES_WAITING: usize = 2;

/// Plans are trees, and a query of a thousand terms is a deep one. Stack is address space until it is used.
const STACK_BYTES: usize = 64 << 20;

enum Passage {
    Batch(RecordBatch),
    /// The input's own end: a channel that closes without it was cut off, and the rows so far are not all.
    End,
}

/// The thread's end of the input.
pub(crate) struct Inlet {
    receiver: mpsc::Receiver<Result<Passage, Error>>,
    over: bool,
}

/// The thread's end of the output.
#[derive(Clone)]
pub(crate) struct Outlet {
    sender: mpsc::Sender<Result<RecordBatch, Error>>,
}

impl Inlet {
    /// The next batch; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        if self.over {
            return None;
        }
        let passage = self.receiver.recv().await;
        self.pass(passage)
    }

    /// The next batch, for threads that may wait.
    pub(crate) fn next_blocking(&mut self) -> Option<Result<RecordBatch, Error>> {
        if self.over {
            return None;
        }
        let passage = self.receiver.blocking_recv();
        self.pass(passage)
    }

    fn pass(&mut self, passage: Option<Result<Passage, Error>>) -> Option<Result<RecordBatch, Error>> {
        let item = match passage {
            Some(Ok(Passage::Batch(batch))) => return Some(Ok(batch)),
            Some(Ok(Passage::End)) => None,
            Some(Err(error)) => Some(Err(error)),
            None => Some(Err(Error::Internal("the input of the transform was cut off before its end".to_owned()))),
        };
        self.over = true;
        item
    }
}

impl Outlet {
    /// Hands a batch on. False when nobody takes it any more.
    pub(crate) async fn send(&self, batch: RecordBatch) -> bool {
        batch.num_rows() == 0 || self.sender.send(Ok(batch)).await.is_ok()
    }

    /// Hands a batch on, for threads that may wait. False when nobody takes it any more.
    pub(crate) fn send_blocking(&self, batch: RecordBatch) -> bool {
        batch.num_rows() == 0 || self.sender.blocking_send(Ok(batch)).is_ok()
    }

    /// Done when nobody takes batches any more.
    pub(crate) async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Whether nobody takes batches any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Runs `work` between `input` and the stream it returns, from the first poll on. A panic ends the stream with an error.
pub(crate) fn run<F>(name: &'static str, input: BatchStream, counters: Arc<Counters>, work: F) -> BatchStream
where
    F: FnOnce(Inlet, Outlet) -> Result<(), Error> + Send + 'static,
{
    Box::pin(async_stream::stream! {
        let (passages, receiver) = mpsc::channel(BATCHES_WAITING);
        let (sender, mut batches) = mpsc::channel(BATCHES_WAITING);
        let pump = AbortOnDropHandle::new(tokio::spawn(pump(input, passages, Arc::clone(&counters))));
        let outlet = Outlet { sender: sender.clone() };
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES).spawn(move || {
            if let Err(error) = contained(|| work(Inlet { receiver, over: false }, outlet)) {
                // Nobody to tell is fine: the stream was dropped.
                sender.blocking_send(Err(error)).ok();
            }
        });
        if let Err(error) = thread {
            yield Err(no_thread(name, &error));
            return;
        }
        while let Some(item) = batches.recv().await {
            let failed = item.is_err();
            if let Ok(batch) = &item {
                Counters::add(&counters.rows_out, batch.num_rows() as u64);
            }
            yield item;
            if failed {
                break;
            }
        }
        drop(pump);
    })
}

async fn pump(mut input: BatchStream, passages: mpsc::Sender<Result<Passage, Error>>, counters: Arc<Counters>) {
    while let Some(item) = input.next().await {
        let failed = item.is_err();
        if let Ok(batch) = &item {
            counters.enter(Room::Transform);
            Counters::add(&counters.rows_in, batch.num_rows() as u64);
        }
        if passages.send(item.map(Passage::Batch)).await.is_err() || failed {
            return;
        }
    }
    passages.send(Ok(Passage::End)).await.ok();
}

/// Runs `work` on a thread of its own and waits for it without blocking. A panic is an error.
pub(crate) async fn off_the_async_threads<T, F>(name: &'static str, work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    let (sender, result) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || sender.send(contained(work)).ok())
        .map_err(|error| no_thread(name, &error))?;
    result.await.map_err(|_| Error::Internal(format!("the thread {name} was lost")))?
}

/// Runs `work`; a panic in it is an error with the panic's message.
pub(crate) fn contained<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What `work` held is dropped with it, so nothing half-changed is seen afterwards.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::TransformFailed(panic_message(&*panic))))
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    format!("panicked: {}", text.as_deref().unwrap_or("no message"))
}

fn no_thread(name: &str, error: &std::io::Error) -> Error {
    Error::Internal(format!("no thread for {name}: {error}"))
}
