//! A job as it stands, for those who watch it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Fault, JobId, JobKey, JobState, Progress, Receipt};

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// Who asked.
    pub key: JobKey,
    /// How often the user asked for the work anew.
    pub generation: u32,
    /// The newest try that submitted or re-attached.
    pub epoch: u32,
    /// How it stands.
    pub state: JobState,
    /// How often a worker has begun it.
    pub attempt: u32,
    /// The worker that holds or last held the lease; empty: never claimed.
    pub worker_id: String,
    /// `namespace.table`.
    pub table: String,
    /// When it was submitted.
    pub submitted_at: SystemTime,
    /// When the newest attempt began.
    pub started_at: Option<SystemTime>,
    /// When it was over.
    pub finished_at: Option<SystemTime>,
    /// How far the newest attempt is.
    pub progress: Progress,
    /// Present when it succeeded.
    pub receipt: Option<Receipt>,
    /// Present when it failed or was cancelled, and while it waits for another attempt.
    pub fault: Option<Fault>,
    /// The higher, the earlier it is begun.
    pub priority: i32,
    /// Only workers that serve this pool begin it.
    pub pool: String,
    /// Why it is not begun although workers may have slots free; empty: it waits its turn, or it is not queued.
    pub waiting: String,
}
