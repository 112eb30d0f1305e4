//! What can go wrong with a job store.

use moulin_core::{Fault, FaultKind, JobId, Token};

/// A job store that does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such job.
    #[error("there is no job `{job_id}`")]
    NotFound {
        /// The name asked for.
        job_id: JobId,
    },
    /// The lease no longer guards anything.
    #[error("attempt {attempt} of {job_id} on worker {worker} has lost its lease")]
    LeaseLost {
        /// The job.
        job_id: JobId,
        /// The attempt whose lease it was.
        attempt: u32,
        /// Who held it.
        worker: String,
    },
    /// The job was asked to stop, or its deadline passed, before it said that it will commit.
    #[error("stopped before the commit: {reason}")]
    Stopped {
        /// As given with the request.
        reason: String,
        /// Whether it was the deadline that asked.
        deadline_passed: bool,
    },
    /// Two commits of one token.
    #[error("the ledger holds snapshot {recorded} for `{token}`, and snapshot {offered} was to be recorded")]
    LedgerConflict {
        /// The commit token.
        token: Token,
        /// What stands there.
        recorded: i64,
        /// What should have been written.
        offered: i64,
    },
    /// A page token from somewhere else.
    #[error("page_token `{token}` is not from an earlier answer")]
    PageToken {
        /// As given.
        token: String,
    },
    /// The database did not do it.
    #[error("cannot {action} (job store {store})")]
    Database {
        /// What was to be done.
        action: &'static str,
        /// The store, without credentials.
        store: String,
        /// Why.
        source: sqlx::Error,
    },
    /// The database's folder could not be made.
    #[error("cannot create the folder of the job store {store}")]
    Folder {
        /// The store.
        store: String,
        /// Why.
        source: std::io::Error,
    },
    /// A stored value that this version cannot read.
    #[error("the job store holds `{found}` as {what}, which this worker does not understand")]
    Unreadable {
        /// The column's meaning.
        what: &'static str,
        /// The value, capped.
        found: String,
    },
    /// The schema is newer than this worker.
    #[error("job store {store} has schema version {found}; this worker knows versions up to {known}")]
    NewerSchema {
        /// The store.
        store: String,
        /// What it has.
        found: i64,
        /// What this worker knows.
        known: i64,
    },
    /// Not the URL of a job store.
    #[error("the job store's URL is wrong: {reason}")]
    Url {
        /// What is wrong and what to write.
        reason: String,
    },
}

impl Error {
    /// What kind of thing went wrong.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::NotFound { .. } => FaultKind::NotFound,
            Self::LeaseLost { .. } => FaultKind::LeaseLost,
            Self::Stopped { deadline_passed: true, .. } => FaultKind::DeadlineExceeded,
            Self::Stopped { .. } => FaultKind::Cancelled,
            Self::LedgerConflict { .. } | Self::Unreadable { .. } => FaultKind::Internal,
            Self::PageToken { .. } | Self::Url { .. } | Self::NewerSchema { .. } => FaultKind::InvalidSpec,
            Self::Folder { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                FaultKind::PermissionDenied
            }
            Self::Folder { .. } => FaultKind::Unavailable,
            Self::Database { source, .. } => crate::database::kind(source),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::from_error(error.kind(), &error)
    }
}
