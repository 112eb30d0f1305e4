//! Threads that parse. Each takes the next part of the work as soon as it is done with one: nobody has to wake it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::Error;

type Work = Box<dyn FnOnce() + Send>;

/// So many threads, and the queue of what they are to do. They end when the last one who may ask is gone.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    queue: mpsc::Sender<Work>,
}

/// What comes of a part of the work.
#[derive(Debug)]
pub(crate) struct Doing<R>(oneshot::Receiver<Result<R, Error>>);

impl<R: Send + 'static> Doing<R> {
    /// What an asynchronous task of the runtime does, not a thread of a crew.
    pub(crate) fn of(runtime: &Handle, work: impl Future<Output = Result<R, Error>> + Send + 'static) -> Self {
        let (sender, receiver) = oneshot::channel();
        runtime.spawn(async move {
            // Nobody waits for it any more when this fails.
            let _ = sender.send(work.await);
        });
        Self(receiver)
    }

    /// Waits for it.
    ///
    /// # Errors
    /// Its own, and `Internal` when it ended without any.
    pub(crate) async fn done(self) -> Result<R, Error> {
        self.0.await.unwrap_or_else(|_| Err(Error::Internal("a thread that parses ended early".to_owned())))
    }
}

impl Crew {
    /// As much work may wait as is being done: a thread that is done with one part finds the next one.
    pub(crate) fn new(threads: usize, runtime: &Handle) -> Self {
        let (queue, waiting) = mpsc::channel::<Work>(threads);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            // Not joined: it ends with the queue.
            runtime.spawn_blocking(move || {
                loop {
                    let next = waiting.lock().blocking_recv();
                    match next {
                        Some(work) => work(),
                        None => return,
                    }
                }
            });
        }
        Self { queue }
    }

    /// Has a part of the work done; waits until there is room for it.
    pub(crate) fn blocking_ask<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Error> + Send + 'static,
    ) -> Doing<R> {
        let (work, doing) = told(work);
        // When all threads have ended, `done` says so.
        let _ = self.queue.blocking_send(work);
        doing
    }

    /// The same for those who may not block.
    pub(crate) async fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Error> + Send + 'static,
    ) -> Doing<R> {
        let (work, doing) = told(work);
        let _ = self.queue.send(work).await;
        doing
    }

    /// Keeps one of the threads from work until what is returned is dropped.
    pub(crate) fn take_one(&self) -> impl Drop + use<> {
        struct Taken(Option<oneshot::Sender<()>>);
        impl Drop for Taken {
            fn drop(&mut self) {
                self.0.take();
            }
        }
        let (sender, until) = oneshot::channel::<()>();
        self.blocking_ask(move || {
            let _ = until.blocking_recv();
            Ok(())
        });
        Taken(Some(sender))
    }
}

fn told<R: Send + 'static>(work: impl FnOnce() -> Result<R, Error> + Send + 'static) -> (Work, Doing<R>) {
    let (sender, receiver) = oneshot::channel();
    let work = Box::new(move || {
        // Nobody waits for it any more when this fails.
        let _ = sender.send(work());
    });
    (work, Doing(receiver))
}
