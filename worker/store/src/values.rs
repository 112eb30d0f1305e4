//! What goes into a job store and comes out of it.

use std::time::SystemTime;

use moulin_core::{Fault, JobId, JobKey, JobState, Progress, Receipt, ReplayedFiles, Token};

/// A job to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Who asks.
    pub key: JobKey,
    /// How often the user asked for this work anew.
    pub generation: u32,
    /// The caller's try number.
    pub epoch: u32,
    /// The spec, opaque to the store.
    pub spec: Vec<u8>,
    /// The target, `namespace.table`, to be listed by.
    pub table: String,
    /// The higher, the earlier; see [`JobStore::claim`](crate::JobStore::claim).
    pub priority: i32,
    /// Only workers that serve this pool claim the job. Holds no line end.
    pub pool: String,
    /// When the job must be over; `None`: never.
    pub deadline: Option<SystemTime>,
}

/// The answer to a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The job as it stands.
    pub job: StoredJob,
    /// Whether this submit made it.
    pub created: bool,
}

/// A job as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredJob {
    /// Its name, made from key and generation.
    pub id: JobId,
    /// Who asked.
    pub key: JobKey,
    /// How often the user asked for this work anew.
    pub generation: u32,
    /// The newest try that submitted.
    pub epoch: u32,
    /// How it stands.
    pub state: JobState,
    /// How often a worker has begun it; the fencing epoch of the newest lease.
    pub attempt: u32,
    /// How many attempts failed and were to be tried again, since it was submitted or a newer try began it anew. One that
    /// could not find out what became of an earlier commit is none.
    pub failures: u32,
    /// The worker that holds or last held the lease; `None`: never claimed.
    pub worker_id: Option<String>,
    /// The target, `namespace.table`.
    pub table: String,
    /// The higher, the earlier.
    pub priority: i32,
    /// Only workers that serve this pool claim it.
    pub pool: String,
    /// The spec as submitted first.
    pub spec: Vec<u8>,
    /// When it was submitted first.
    pub submitted_at: SystemTime,
    /// When its newest attempt began.
    pub started_at: Option<SystemTime>,
    /// When it was over.
    pub finished_at: Option<SystemTime>,
    /// When it must be over.
    pub deadline: Option<SystemTime>,
    /// What the newest attempt told last; all zero until it tells.
    pub progress: Progress,
    /// Of a job that succeeded.
    pub receipt: Option<Receipt>,
    /// Of a job that failed or was cancelled, or that waits for another attempt.
    pub fault: Option<Fault>,
    /// Why the job is to stop, when somebody asked for it.
    pub cancel_requested: Option<String>,
}

impl StoredJob {
    /// The commit token of this job.
    #[must_use]
    pub fn token(&self) -> Token {
        Token::new(&self.key, self.generation)
    }
}

/// Which jobs to list. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// In any of these states; empty: in any.
    pub states: Vec<JobState>,
    /// Of this DAG; `None`: of any.
    pub dag_id: Option<String>,
    /// Into this table; `None`: into any.
    pub table: Option<String>,
    /// At the most this many: 100 when 0, never more than 1,000.
    pub page_size: u32,
    /// From the page before; `None`: from the newest.
    pub page_token: Option<String>,
}

/// One page of jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// Newest first.
    pub jobs: Vec<StoredJob>,
    /// `None`: there are no more.
    pub next_page_token: Option<String>,
}

/// The right to work on a job, until it runs out and somebody else claims the job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The attempt, which fences everything written under the lease.
    pub attempt: u32,
    /// Who holds it.
    pub worker: String,
}

/// A job that was just claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The right to work on it.
    pub lease: Lease,
    /// The job, already running.
    pub job: StoredJob,
    /// The workers that were lost while they ran it, since one of its attempts last told its end; the last one last.
    pub lost_workers: Vec<String>,
}

/// The answer to a renewed lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// Why the attempt is to stop, when it is.
    pub cancel: Option<String>,
    /// Whether it is to stop because its deadline passed: a failure then, and no cancel by somebody.
    pub deadline_passed: bool,
}

/// A data file that was named before it was created. Whether it exists is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedFile {
    /// The attempt that named it.
    pub attempt: u32,
    /// Where it is or would be.
    pub uri: String,
}

/// A commit that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The commit token.
    pub token: Token,
    /// `namespace.table`.
    pub table: String,
    /// The snapshot it made.
    pub snapshot_id: i64,
    /// Where the table's metadata stood right after it.
    pub metadata_location: String,
    /// The attempt that committed, which need not be the one that tells.
    pub attempt: u32,
    /// The job.
    pub job_id: JobId,
}

/// What a commit changes about the files of other tokens in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MovedFiles {
    /// All files of these tokens are gone from the table.
    pub replaced: Vec<Token>,
    /// Files of the commit that are also those of the jobs whose rejects are in them: when such a job is redone, they go
    /// with its own.
    pub replayed: Vec<ReplayedFiles>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Committed.
    Succeeded(Receipt),
    /// Not committed, and another attempt cannot help.
    Failed(Fault),
    /// Not committed, because somebody asked for it.
    Cancelled(Fault),
    /// To be tried again.
    Again {
        /// Why the attempt did not do.
        fault: Fault,
        /// The job is not claimed earlier, unless its cancel is requested.
        not_before: SystemTime,
    },
    /// Not done and no failure: the job waits for another one, and its slot is given back.
    Later {
        /// What it waits for.
        fault: Fault,
        /// As of `Again`.
        not_before: SystemTime,
    },
}

impl Outcome {
    /// Whether the job goes on with another attempt.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self, Self::Again { .. } | Self::Later { .. })
    }
}

/// What a cancel came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// Nobody had begun the job: it is cancelled.
    Cancelled(StoredJob),
    /// An attempt has begun: it is asked to stop.
    Requested(StoredJob),
    /// It was over already and stays as it is.
    Final(StoredJob),
    /// Somebody newer has the job; nothing changed.
    StaleEpoch {
        /// The newest epoch.
        current: u32,
    },
}
