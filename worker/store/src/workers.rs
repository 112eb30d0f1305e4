//! Who claims jobs now, and of which pools.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use moulin_core::JobId;

use crate::Error;
use crate::database::{Row, query};
use crate::row::{count, json_from_row, micros, time_of, to_json};
use crate::sql;
use crate::sql_store::SqlStore;

/// A worker that was not heard of for so long is forgotten, though it keeps its name.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// Which jobs a worker claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// Any.
    Any,
    /// Those of these pools.
    Pools(&'a [String]),
    /// This one, whatever its pool.
    Job(&'a JobId),
}

impl<'a> Which<'a> {
    /// Those of these pools; of every pool when none is named.
    #[must_use]
    pub fn of(pools: &'a [String]) -> Self {
        if pools.is_empty() { Self::Any } else { Self::Pools(pools) }
    }

    pub(crate) fn job(self) -> Option<&'a JobId> {
        match self {
            Self::Job(id) => Some(id),
            Self::Any | Self::Pools(_) => None,
        }
    }

    /// The pools between line ends, which no name holds; `None`: every pool.
    pub(crate) fn pools(self) -> Option<String> {
        match self {
            Self::Pools(pools) => Some(format!("\n{}\n", pools.join("\n"))),
            Self::Any | Self::Job(_) => None,
        }
    }
}

/// A worker that claims jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveWorker {
    /// Its name.
    pub id: String,
    /// The pools whose jobs it claims; empty: every pool.
    pub pools: Vec<String>,
    /// Jobs that it runs at a time.
    pub slots: u32,
    /// It is taken for dead from then on, unless it is heard of before.
    pub seen_until: SystemTime,
}

impl LiveWorker {
    /// Whether it claims jobs of this pool.
    #[must_use]
    pub fn serves(&self, pool: &str) -> bool {
        self.pools.is_empty() || self.pools.iter().any(|served| served == pool)
    }
}

/// What a job store knows about workers.
#[async_trait]
pub trait Workers {
    /// Says that a worker claims jobs. What it said before is replaced.
    async fn announce(&self, worker: &LiveWorker, now: SystemTime) -> Result<(), Error>;

    /// Says that a worker claims no more jobs. Saying it again is fine.
    async fn withdraw(&self, worker: &str) -> Result<(), Error>;

    /// The workers that claim jobs, by name.
    async fn live_workers(&self, now: SystemTime) -> Result<Vec<LiveWorker>, Error>;
}

#[async_trait]
impl Workers for SqlStore {
    async fn announce(&self, worker: &LiveWorker, now: SystemTime) -> Result<(), Error> {
        const ACTION: &str = "announce a worker";
        let announce = query(sql::ANNOUNCE_WORKER)
            .bind(&worker.id)
            .bind(to_json("pools", &worker.pools)?)
            .bind(i64::from(worker.slots))
            .bind(micros(worker.seen_until));
        self.write(ACTION, announce).await?;
        let forget = query(sql::FORGET_WORKERS).bind(micros(now).saturating_sub(FORGOTTEN.as_micros() as i64));
        self.write(ACTION, forget).await.map(drop)
    }

    async fn withdraw(&self, worker: &str) -> Result<(), Error> {
        self.write("withdraw a worker", query(sql::WITHDRAW_WORKER).bind(worker)).await.map(drop)
    }

    async fn live_workers(&self, now: SystemTime) -> Result<Vec<LiveWorker>, Error> {
        let rows = self.rows("list workers", query(sql::LIVE_WORKERS).bind(micros(now))).await?;
        rows.iter().map(worker_from_row).collect()
    }
}

fn worker_from_row(row: &Row) -> Result<LiveWorker, Error> {
    Ok(LiveWorker {
        id: row.get("worker_id"),
        pools: json_from_row(row, "pools")?.unwrap_or_default(),
        slots: count("slots", row.get("slots"))?,
        seen_until: time_of(row.get("seen_until")),
    })
}
