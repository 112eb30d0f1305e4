//! Threads that parse. Each takes the next part of the work as soon as it is done with one: nobody has to wake it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::Error;

type Work = Box<dyn FnOnce() + Send>;

/// So many threads, and the queue of what they are to do. They end when the last one who may ask is gone.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    queue: mpsc::Sender<Work>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<mpsc::Receiver<Work>>,
    /// How many of the threads take no work at the moment.
    resting: Mutex<usize>,
    changed: Condvar,
}

/// Lets a thread that has nothing better to do take a part of the work of a crew. It does not keep the crew alive.
#[derive(Debug, Clone)]
pub(crate) struct Helper(Arc<Shared>);

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
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), resting: Mutex::new(0), changed: Condvar::new() });
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            // Not joined: it ends with the queue.
            runtime.spawn_blocking(move || shared.work(number));
        }
        Self { queue, shared }
    }

    /// For threads that could do some of the work.
    pub(crate) fn helper(&self) -> Helper {
        Helper(Arc::clone(&self.shared))
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
        struct Taken(Arc<Shared>);
        impl Drop for Taken {
            fn drop(&mut self) {
                *self.0.resting.lock() -= 1;
                self.0.changed.notify_all();
            }
        }
        *self.shared.resting.lock() += 1;
        Taken(Arc::clone(&self.shared))
    }
}

impl Shared {
    /// What one thread of the crew does.
    fn work(&self, number: usize) {
        loop {
            self.changed.wait_while(&mut self.resting.lock(), |resting| number < *resting);
            let next = self.waiting.lock().blocking_recv();
            match next {
                Some(work) => work(),
                None => return,
            }
        }
    }
}

impl Helper {
    /// Does the next part of the work; `false`: nothing waits to be done.
    pub(crate) fn help(&self) -> bool {
        // A thread that waits for work holds the lock: then there is none.
        let next = self.0.waiting.try_lock().and_then(|mut waiting| waiting.try_recv().ok());
        next.map(|work| work()).is_some()
    }
}

fn told<R: Send + 'static>(work: impl FnOnce() -> Result<R, Error> + Send + 'static) -> (Work, Doing<R>) {
    let (sender, receiver) = oneshot::channel();
    let work = Box::new(move || {
        // A part that panics is told as one that ended early; whoever did it goes on.
        if let Ok(result) = catch_unwind(AssertUnwindSafe(work)) {
            // Nobody waits for it any more when this fails.
            let _ = sender.send(result);
        }
    });
    (work, Doing(receiver))
}
