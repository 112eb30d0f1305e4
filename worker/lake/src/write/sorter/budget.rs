//! How much memory all lanes of a writer take together to sort.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::Error;

/// What all lanes together hold while they sort runs and merge them. A lane that finds too little left waits.
const TOTAL_BYTES: usize = 256 << 20;
/// Rows of all lanes that wait to become runs.
const WAITING_BYTES: usize = 32 << 20;
/// A run is not shorter, however many lanes there are: short ones have to be merged more often.
const SHORTEST_RUN_BYTES: usize = 4 << 20;
/// What merges take when a few lanes do it, and one of many at least.
const MERGES_BYTES: usize = 64 << 20;
const SMALLEST_MERGE_BYTES: usize = 16 << 20;
/// Runs that are merged at once.
const FAN_IN: usize = 16;

/// What one lane may use.
#[derive(Debug, Clone, Copy)]
pub(in crate::write) struct Limits {
    /// Rows that wait before they become a run.
    pub(super) run_bytes: usize,
    /// Runs that are merged at once; at least 2.
    pub(super) fan_in: usize,
    /// Held while runs are merged. Two rows of each run are, however long they are.
    pub(super) merge_bytes: usize,
    /// What all lanes sort and merge with.
    pub(super) total_bytes: usize,
}

impl Limits {
    /// For each of so many lanes.
    pub(in crate::write) fn of(lanes: usize) -> Self {
        Self {
            run_bytes: (WAITING_BYTES / lanes).max(SHORTEST_RUN_BYTES),
            fan_in: FAN_IN,
            merge_bytes: (MERGES_BYTES / lanes).max(SMALLEST_MERGE_BYTES),
            total_bytes: TOTAL_BYTES,
        }
    }

    /// Of what a merge holds, half is for the next rows of its runs and their keys, which may take as much.
    pub(super) fn block_bytes(&self) -> usize {
        self.merge_bytes / self.fan_in / 4
    }

    /// Another quarter is for rows that come out, and the last for the batch that is made of them.
    pub(super) fn spent_bytes(&self) -> usize {
        self.merge_bytes / 4
    }
}

/// One for all lanes of a writer.
#[derive(Debug)]
pub(in crate::write) struct Budget {
    limits: Limits,
    free_bytes: Mutex<usize>,
    freed: Condvar,
    stopped: AtomicBool,
}

impl Budget {
    pub(in crate::write) fn new(limits: Limits) -> Self {
        let free_bytes = Mutex::new(limits.total_bytes);
        Self { limits, free_bytes, freed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits until so much is free, and takes it; more than there is in all is all of it. Whoever has a share must not
    /// wait for another one.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Share, Error> {
        let bytes = bytes.min(self.limits.total_bytes);
        let mut free = self.free();
        while *free < bytes {
            self.go_on()?;
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        Ok(Share { budget: self.clone(), bytes })
    }

    /// Nobody wants the rows any more: whoever sorts or merges ends with an error soon.
    pub(in crate::write) fn stop(&self) {
        let _nobody_is_about_to_wait = self.free();
        self.stopped.store(true, Ordering::SeqCst);
        self.freed.notify_all();
    }

    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.stopped.load(Ordering::SeqCst) {
            return Err(Error::TaskLost { task: "sorting of rows that nobody waits for", source: None });
        }
        Ok(())
    }

    fn free(&self) -> MutexGuard<'_, usize> {
        self.free_bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that others do not have until it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.budget.free() += self.bytes;
        self.budget.freed.notify_all();
    }
}
