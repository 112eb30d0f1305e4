//! The load ledger: which files a table was loaded with.
//!
//! A file is its uri, its entity tag and its size. An attempt claims its files before it reads them, all in one
//! transaction; claims of a job that is not over keep other jobs off, and become loads only when the job has succeeded,
//! in the transaction that says so. Whatever happens to an attempt, its job ends in one of two ways: some attempt
//! reports the commit (its files are loaded), or the job fails or is cancelled (they are free again).

use std::time::SystemTime;

use async_trait::async_trait;
use moulin_core::{JobId, JobKey, PlannedFile};

use crate::{Error, Lease};

/// Files that an attempt wants to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// `namespace.table`.
    pub table: String,
    /// The table as it is now; `None`: it is not there, so nothing is loaded into it.
    pub table_uuid: Option<String>,
    /// Who asks, to know the loads of its own earlier generations.
    pub key: JobKey,
    /// How often the user asked for this work anew.
    pub generation: u32,
    /// Whether files that are loaded already are claimed too.
    pub reload: bool,
    /// The files as listed.
    pub files: Vec<PlannedFile>,
}

/// The answer to a claim of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// All files but these, which are loaded already, belong to the attempt now.
    Files {
        /// In the order of the files asked for.
        loaded: Vec<FileLoad>,
    },
    /// Nothing was claimed: another job loads one of them, and how that ends is not known yet.
    Busy {
        /// The claim in the way.
        by: Box<FileLoad>,
    },
}

/// How a load of a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    /// A job that is not over reads it.
    Claimed,
    /// Its rows are in the table, or were rejected or filtered by the job.
    Loaded,
    /// Nothing of it landed: the job failed or was cancelled, or the file is damaged.
    Released,
    /// It was loaded, and a later generation of the same key replaced what it had landed.
    Replaced,
}

impl LoadState {
    /// `claimed`, `loaded`, `released` or `replaced`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Loaded => "loaded",
            Self::Released => "released",
            Self::Replaced => "replaced",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Claimed, Self::Loaded, Self::Released, Self::Replaced].into_iter().find(|state| state.as_str() == text)
    }
}

/// One file, as one attempt claimed it, and what became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLoad {
    /// `namespace.table`.
    pub table: String,
    /// Which table of that name; `None`: it was not made.
    pub table_uuid: Option<String>,
    /// The file as listed then.
    pub file: PlannedFile,
    /// The job.
    pub job_id: JobId,
    /// The attempt that claimed it.
    pub attempt: u32,
    /// The job's key as text, without generation.
    pub key: String,
    /// The job's generation.
    pub generation: u32,
    /// How it stands.
    pub state: LoadState,
    /// Why nothing of it landed, when that is known; else empty.
    pub reason: String,
    /// The snapshot with its rows; `None`: no row landed.
    pub snapshot_id: Option<i64>,
    /// When it was claimed.
    pub claimed_at: SystemTime,
    /// When it was loaded or released.
    pub settled_at: Option<SystemTime>,
    /// The last job that left the file out because of this load, and when.
    pub skipped: Option<(JobId, SystemTime)>,
}

/// Which loads to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadFilter {
    /// Into this table; `None`: into any.
    pub table: Option<String>,
    /// Of this file; `None`: of any.
    pub uri: Option<String>,
    /// Those after this one, in the order of the answer; `None`: from the first.
    pub after: Option<LoadCursor>,
    /// At the most this many; 0: 1,000.
    pub page_size: u32,
}

/// The place of a load in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadCursor {
    table: String,
    uri: String,
    job_id: String,
    attempt: u32,
}

impl From<&FileLoad> for LoadCursor {
    fn from(load: &FileLoad) -> Self {
        Self {
            table: load.table.clone(),
            uri: load.file.uri.clone(),
            job_id: load.job_id.0.clone(),
            attempt: load.attempt,
        }
    }
}

impl LoadCursor {
    pub(crate) fn parts(&self) -> (&str, &str, &str, i64) {
        (&self.table, &self.uri, &self.job_id, i64::from(self.attempt))
    }
}

/// What a job store knows about files that were loaded. All writes are durable when the call returns.
///
/// # Cancel safety
/// A dropped call has either happened as a whole or not at all.
#[async_trait]
pub trait LoadLedger: Send + Sync + 'static {
    /// Claims files for an attempt: all that are not loaded already, or none when another job is loading one of them.
    ///
    /// A file that another job has loaded is left out unless `reload`; loads of an earlier generation of the same key do
    /// not count, nor those into another table of this name. A file without entity tag is never known again.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn claim_files(&self, lease: &Lease, wanted: &Wanted, now: SystemTime) -> Result<Claimed, Error>;

    /// What [`LoadLedger::claim_files`] would answer: every load and claim of other jobs in the way. Writes nothing.
    ///
    /// # Errors
    /// `Database`.
    async fn loads_in_the_way(&self, wanted: &Wanted) -> Result<Vec<FileLoad>, Error>;

    /// Gives back files of an attempt that it leaves out, so that a later job may load them.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn release_files(&self, lease: &Lease, uris: &[String], reason: &str, now: SystemTime) -> Result<(), Error>;

    /// Says which table an attempt's files go to, when it was not there at the claim.
    ///
    /// # Errors
    /// `LeaseLost`.
    async fn name_table(&self, lease: &Lease, table_uuid: &str) -> Result<(), Error>;

    /// Loads by table, file and job.
    ///
    /// # Errors
    /// `Database`.
    async fn file_loads(&self, filter: &LoadFilter) -> Result<Vec<FileLoad>, Error>;
}
