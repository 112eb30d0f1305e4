//! Jobs, attempts, leases, the ledger of commits and the names of staged files.
//!
//! One trait, [`JobStore`], says what a job store promises; [`open`] gives the one a URL names. The store is
//! the pool's only memory: whatever a worker must know after a crash stands here before it acts on it.
//!
//! What a lease guards is written by one statement whose WHERE holds the attempt number, the worker and the
//! state, so that a worker that lost its lease changes nothing, whenever it wakes up. Time is passed in.
//!
//! The store refuses to interpret a job: the spec is bytes to it, and nothing here sees Arrow, Iceberg or
//! protobuf.

mod database;
mod error;
mod loads;
mod orphans;
mod row;
mod sql;
mod sql_loads;
mod sql_store;
#[cfg(test)]
mod tests;
mod values;
mod workers;

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use moulin_core::{JobId, JobKey, Progress, Receipt, Token};
use sqlx::postgres::PgConnectOptions;

use database::Database;
pub use error::Error;
pub use loads::{Claimed, FileLoad, LoadCursor, LoadFilter, LoadLedger, LoadState, Wanted};
pub use orphans::{Leftover, Leftovers, Standing};
use sql_store::SqlStore;
pub use values::{
    CancelOutcome, Claim, JobFilter, JobPage, Lease, LedgerEntry, MovedFiles, NewJob, Outcome, Renewed, StagedFile,
    StoredJob, Submitted,
};
pub use workers::{LiveWorker, Which, Workers};

/// What every job store promises. All writes are durable when the call returns.
///
/// # Cancel safety
/// A dropped call has either happened as a whole or not at all.
#[async_trait]
pub trait JobStore: LoadLedger + Leftovers + Workers + Send + Sync + 'static {
    /// Stores a job, or finds the one that has this key and generation already, whatever its state and spec.
    ///
    /// A newer epoch is recorded; an older one just attaches. A newer epoch of a job that failed or was cancelled
    /// queues it again with the new spec and deadline: a retry is to do the work, and nothing of it is visible yet.
    async fn submit(&self, new: NewJob, now: SystemTime) -> Result<Submitted, Error>;

    /// One job as it stands.
    async fn get(&self, id: &JobId) -> Result<Option<StoredJob>, Error>;

    /// The jobs of a key, each a generation, the oldest first.
    async fn generations(&self, key: &JobKey) -> Result<Vec<StoredJob>, Error>;

    /// Jobs, newest first.
    ///
    /// # Errors
    /// `PageToken` when the token is not from this store.
    async fn list(&self, filter: &JobFilter) -> Result<JobPage, Error>;

    /// Takes the next job that nobody works on: queued, or running under a lease that ran out.
    ///
    /// The next one is that of the highest priority, and of several the one that waits longest; but each point of
    /// priority counts as a minute of waiting, so that one of low priority is passed only by those that come soon after it.
    ///
    /// The attempt number grows by one and is the fencing epoch of everything the attempt writes. A job whose
    /// cancel is requested can be claimed too: only an attempt can find out whether an earlier one committed.
    ///
    async fn claim(
        &self,
        worker: &str,
        lease: Duration,
        which: Which<'_>,
        now: SystemTime,
    ) -> Result<Option<Claim>, Error>;

    /// Holds the lease for `lease` more from now on, stores the progress, and answers whether to stop.
    ///
    /// # Errors
    /// `LeaseLost` when another attempt has the job or the job is over.
    async fn renew(
        &self,
        lease: &Lease,
        lease_for: Duration,
        progress: &Progress,
        now: SystemTime,
    ) -> Result<Renewed, Error>;

    /// Gives back every job this worker runs: the worker has restarted and knows nothing of them.
    ///
    /// Answers how many there were; they can be claimed at once.
    async fn release_worker(&self, worker: &str, now: SystemTime) -> Result<u64, Error>;

    /// Names a data file before it is created. Naming it again is fine.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn stage_file(&self, lease: &Lease, uri: &str, now: SystemTime) -> Result<(), Error> {
        self.stage_file_of(lease, lease.attempt, uri, now).await
    }

    /// Names a data file that whoever holds the lease makes for an earlier attempt, whose commit it completes.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn stage_file_of(&self, lease: &Lease, attempt: u32, uri: &str, now: SystemTime) -> Result<(), Error>;

    /// Forgets one file that was removed.
    async fn unstage_file(&self, id: &JobId, uri: &str) -> Result<(), Error>;

    /// The files all attempts named and nobody forgot, oldest attempt first.
    async fn staged_files(&self, id: &JobId) -> Result<Vec<StagedFile>, Error>;

    /// Forgets the files of the attempts before `attempts_before`.
    async fn forget_staged(&self, id: &JobId, attempts_before: u32) -> Result<(), Error>;

    /// Stores the receipt as it will be if the commit succeeds. The newest one of an attempt stands.
    ///
    /// This is where a cancel and a commit meet: a job that was asked to stop may not commit any more, and a cancel
    /// that comes later is too late for this attempt.
    ///
    /// # Errors
    /// `LeaseLost`; `Stopped` when a cancel is requested or the deadline has passed.
    async fn record_intent(&self, lease: &Lease, receipt: &Receipt, now: SystemTime) -> Result<(), Error>;

    /// The receipt an attempt was about to commit.
    async fn intent(&self, id: &JobId, attempt: u32) -> Result<Option<Receipt>, Error>;

    /// Writes a commit into the ledger, which outlives jobs and snapshots, with the files that its attempt had staged:
    /// those of an attempt that committed are all in the table. Writing the same commit again is fine.
    ///
    /// # Errors
    /// `LeaseLost`; `LedgerConflict` when the token stands there with another snapshot.
    async fn record_commit(&self, lease: &Lease, entry: &LedgerEntry, now: SystemTime) -> Result<(), Error> {
        self.record_commit_of(lease, entry, &MovedFiles::default(), now).await
    }

    /// As [`JobStore::record_commit`], of a commit that also changes which files are those of other tokens.
    ///
    /// # Errors
    /// The same.
    async fn record_commit_of(
        &self,
        lease: &Lease,
        entry: &LedgerEntry,
        moved: &MovedFiles,
        now: SystemTime,
    ) -> Result<(), Error>;

    /// The commit of a token.
    async fn ledger(&self, token: &Token) -> Result<Option<LedgerEntry>, Error>;

    /// The newest commit of an earlier generation of the key.
    async fn commit_before(&self, key: &JobKey, generation: u32) -> Result<Option<LedgerEntry>, Error>;

    /// The data files of a commit in the ledger, by name; none: it was recorded before the ledger knew them.
    async fn committed_files(&self, token: &Token) -> Result<Vec<String>, Error>;

    /// Ends the attempt. Saying the same final outcome again is fine.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn finish(&self, lease: &Lease, outcome: Outcome, now: SystemTime) -> Result<StoredJob, Error>;

    /// Cancels a job that no attempt has begun; asks for it when one has.
    ///
    /// A job that is queued again after an attempt is only asked too, because that attempt may have committed
    /// without telling; the next claim finds out.
    ///
    /// # Errors
    /// `NotFound`.
    async fn cancel(&self, id: &JobId, epoch: u32, reason: &str, now: SystemTime) -> Result<CancelOutcome, Error>;

    /// Fails the jobs whose deadline passed before they were begun, and asks those that were begun to stop.
    ///
    /// Answers the jobs of both kinds, each once.
    async fn expire_deadlines(&self, now: SystemTime) -> Result<Vec<JobId>, Error>;

    /// How many jobs wait for a worker.
    async fn queued(&self) -> Result<u64, Error>;

    /// Writes nothing, but proves that a write would succeed; answers in words what the store is.
    async fn check(&self) -> Result<String, Error>;
}

/// What a job store's URL may be.
const EXPECTED: &str = "use sqlite:///abs/path/jobs.db or postgresql://user@host:5432/database";

/// Opens the job store a URL names, creating it when absent: `sqlite:///abs/path/jobs.db`, or a database that is there,
/// `postgresql://user@host:5432/database`, whose password may be left to `PGPASSWORD` or a password file.
///
/// # Errors
/// `Url` for anything else; `NewerSchema` when a newer worker has migrated it; `Database` when it does not open.
pub async fn open(url: &str) -> Result<Arc<dyn JobStore>, Error> {
    let refuse = |reason: &str| Err(Error::Url { reason: format!("{reason}; {EXPECTED}") });
    let (database, name) = match url.split_once("://") {
        Some(("sqlite", path)) if path.is_empty() || path.starts_with(':') => {
            return refuse("a sqlite store needs a file that outlives the worker");
        }
        Some(("sqlite", path)) => {
            if let Some(folder) = Path::new(path).parent() {
                std::fs::create_dir_all(folder).map_err(|source| Error::Folder { store: path.to_owned(), source })?;
            }
            (Database::sqlite(path).await, path.to_owned())
        }
        // Neither the URL nor the library's error is repeated: they may hold a password.
        Some(("postgres" | "postgresql", _)) => match PgConnectOptions::from_str(url) {
            Ok(options) => {
                let name = format!(
                    "{}:{}/{}",
                    options.get_host(),
                    options.get_port(),
                    options.get_database().unwrap_or(options.get_username())
                );
                (Database::postgres(options).await, name)
            }
            Err(_) => return refuse("it is not a PostgreSQL address"),
        },
        Some((scheme, _)) => return refuse(&format!("there is no job store for `{scheme}://`")),
        None => return refuse(&format!("`{url}` is not a URL")),
    };
    match database {
        Ok(database) => Ok(Arc::new(SqlStore::open(database, name).await?)),
        Err(source) => Err(Error::Database { action: "open the database", store: name, source }),
    }
}
