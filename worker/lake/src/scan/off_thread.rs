//! Reading is waiting and computing by turns: only the computing takes a thread.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;

use crate::Error;

/// Polls a future on the threads of the runtime that may block, and holds none of them while the future waits.
///
/// A reader that waits for somebody to take its rows would otherwise keep its thread from the very writer that is to take
/// them: there are only so many of these threads.
///
/// # Errors
/// `Internal` when the future panics.
///
/// # Cancel safety
/// Dropped, the future is polled no more.
pub(super) async fn off_thread<F>(future: F) -> Result<F::Output, Error>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let woken = Arc::new(Woken::default());
    let mut future = Box::pin(future);
    loop {
        let waker = Waker::from(Arc::clone(&woken));
        let polling = tokio::task::spawn_blocking(move || {
            let poll = future.as_mut().poll(&mut Context::from_waker(&waker));
            (future, poll)
        });
        let polled = polling.await;
        match polled.map_err(|e| Error::TaskLost { task: "reading of data files", source: Some(e) })? {
            (_, Poll::Ready(output)) => return Ok(output),
            (waiting, Poll::Pending) => future = waiting,
        }
        // It may have been woken since: then this is over at once.
        woken.0.notified().await;
    }
}

#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
