//! Files of attempts that are over: which of them nobody can ever commit.

use std::time::SystemTime;

use async_trait::async_trait;
use moulin_core::{JobId, JobState, Receipt};

use crate::Error;
use crate::database::{Row, query};
use crate::row::{count, json_from_row, micros, time_of, unreadable};
use crate::sql;
use crate::sql_store::SqlStore;

/// Names in one page.
const PAGE_ROWS: i64 = 1000;

/// A file that an attempt named, which is over, and that nobody has forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The job.
    pub job_id: JobId,
    /// `namespace.table` of the job.
    pub table: String,
    /// The attempt that named it.
    pub attempt: u32,
    /// Where it is or would be.
    pub uri: String,
    /// When it was named.
    pub staged_at: SystemTime,
    /// When it was removed; its name is kept a while.
    pub removed_at: Option<SystemTime>,
    /// What can still become of it.
    pub standing: Standing,
}

/// What can still become of a file whose attempt is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nobody can commit it any more.
    Dead,
    /// Its attempt was on its way to commit and never told how that ended: it may be in the table, or come to be.
    Unknown,
    /// It is in the table: only its name is left over.
    Landed,
}

impl Standing {
    /// `dead`, `unknown` or `landed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Unknown => "unknown",
            Self::Landed => "landed",
        }
    }
}

/// What a job store knows about files that are left over.
#[async_trait]
pub trait Leftovers: Send + Sync + 'static {
    /// Files of attempts that a newer attempt or the end of the job has made history of, by job, attempt and uri; those
    /// after `after`, 1,000 at the most.
    ///
    /// An attempt that has not said that it will commit cannot say so any more; its files are dead. One that has is
    /// dead when the job succeeded by another attempt, when it told itself that nothing was committed, or when the job failed
    /// or was cancelled: then nobody commits any more.
    ///
    /// # Errors
    /// `Database`.
    async fn leftovers(&self, after: Option<&Leftover>) -> Result<Vec<Leftover>, Error>;

    /// Remembers that a file was removed.
    ///
    /// # Errors
    /// `Database`.
    async fn leftover_removed(&self, file: &Leftover, now: SystemTime) -> Result<(), Error>;

    /// Forgets the name of a file.
    ///
    /// # Errors
    /// `Database`.
    async fn forget_leftover(&self, file: &Leftover) -> Result<(), Error>;
}

#[async_trait]
impl Leftovers for SqlStore {
    async fn leftovers(&self, after: Option<&Leftover>) -> Result<Vec<Leftover>, Error> {
        let place = after.map_or(("", 0, ""), |file| (&file.job_id.0, i64::from(file.attempt), &file.uri));
        let page = query(sql::LEFTOVERS).bind(place.0).bind(place.1).bind(place.2).bind(PAGE_ROWS);
        self.rows("list files that are left over", page).await?.iter().map(leftover).collect()
    }

    async fn leftover_removed(&self, file: &Leftover, now: SystemTime) -> Result<(), Error> {
        let named = query(sql::LEFTOVER_REMOVED).bind(&file.job_id.0).bind(i64::from(file.attempt)).bind(&file.uri);
        self.write("remember a removed file", named.bind(micros(now))).await.map(drop)
    }

    async fn forget_leftover(&self, file: &Leftover) -> Result<(), Error> {
        let named = query(sql::FORGET_LEFTOVER).bind(&file.job_id.0).bind(i64::from(file.attempt)).bind(&file.uri);
        self.write("forget a removed file", named).await.map(drop)
    }
}

fn leftover(row: &Row) -> Result<Leftover, Error> {
    let attempt = count("attempt", row.get("attempt"))?;
    let state: String = row.get("state");
    let state = JobState::parse(&state).ok_or_else(|| unreadable("state", &state))?;
    let receipt: Option<Receipt> = json_from_row(row, "receipt")?;
    let outcome: Option<String> = row.get("outcome");
    let intended: Option<i64> = row.get("intended_at");
    let removed_at = row.get::<Option<i64>>("removed_at").map(time_of);
    let standing = match (state, receipt) {
        // Nobody removes what can still be committed.
        _ if removed_at.is_some() => Standing::Dead,
        (JobState::Succeeded, Some(receipt)) if receipt.attempt == attempt => Standing::Landed,
        (JobState::Succeeded, Some(_)) => Standing::Dead,
        // A job does not end so before it is ruled out that any of its attempts commits.
        (JobState::Failed | JobState::Cancelled, _) => Standing::Dead,
        _ if intended.is_none() => Standing::Dead,
        // A commit whose end is not known makes the job wait, it ends no attempt in these ways.
        _ if outcome.as_deref().is_some_and(|word| matches!(word, "failed" | "cancelled")) => Standing::Dead,
        _ => Standing::Unknown,
    };
    Ok(Leftover {
        job_id: JobId(row.get("job_id")),
        table: row.get("table_name"),
        attempt,
        uri: row.get("uri"),
        staged_at: time_of(row.get("staged_at")),
        removed_at,
        standing,
    })
}
