//! One snapshot, at most once: reload, look for the token, build, compare-and-swap.
//!
//! Why this is exactly once even when an answer is lost: a swap succeeds only if the table still is the base it
//! was built on, and every base is searched for the token first. Whatever became of an earlier swap, it either
//! is in the base that is loaded next, or it has lost its own base for good.

mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moulin_core::{FaultPoint, TableName, Token};
use rand::Rng as _;
use tokio::sync::OwnedMutexGuard;

use crate::catalog::{Catalog, Loaded, Swapped};
use crate::{Error, Landed, Target, warehouse::Warehouse};
use snapshot::Draft;
pub(crate) use snapshot::manifest_list;

/// Snapshot summary property that holds the number of the attempt that committed.
const ATTEMPT_KEY: &str = "moulin.attempt";
/// How often a commit is tried against other writers, or after a lost answer.
const TRIES: u32 = 20;
const FIRST_WAIT: Duration = Duration::from_millis(20);
// Tests of what happens after the last try do not wait for it.
const LONGEST_WAIT: Duration = Duration::from_millis(if cfg!(test) { 2 } else { 2_000 });

/// What one attempt commits.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Looked for before every try, and written into the snapshot.
    pub token: Token,
    /// The data files that become visible.
    pub added: Landed,
    /// More properties of the snapshot's summary.
    pub summary: BTreeMap<String, String>,
    /// The attempt that commits, counted from 1.
    pub attempt: u32,
}

/// A snapshot that carries a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The snapshot.
    pub snapshot_id: i64,
    /// A metadata file of the table that holds it: the commit's own, or the newest when it was found later.
    pub metadata_location: String,
    /// The attempt that committed it.
    pub attempt: u32,
}

/// The snapshot of a loaded table that carries the token.
pub(crate) fn find(loaded: &Loaded, token: &Token) -> Option<Committed> {
    let snapshot = loaded.metadata.snapshots().find(|snapshot| {
        snapshot.summary().additional_properties.get(Token::SUMMARY_KEY).is_some_and(|text| *text == token.0)
    })?;
    let attempt = snapshot.summary().additional_properties.get(ATTEMPT_KEY);
    Some(Committed {
        snapshot_id: snapshot.snapshot_id(),
        metadata_location: loaded.location.clone(),
        attempt: attempt.and_then(|text| text.parse().ok()).unwrap_or_default(),
    })
}

pub(crate) async fn run(
    catalog: &Catalog,
    warehouse: &Warehouse,
    target: &Target,
    commit: Commit,
) -> Result<Committed, Error> {
    let table = &target.table;
    let mut draft = Draft::new(target, &commit);
    let mut lost: Option<Lost> = None;
    for try_number in 1..=TRIES {
        let base = match catalog.load(table).await {
            Ok(base) => base.ok_or_else(|| Error::NotFound { what: format!("table {table}") }),
            Err(e) => Err(e),
        };
        let base = match base {
            Ok(base) => base,
            // Nobody can look just now; the table may answer again.
            Err(error) => match &mut lost {
                Some(lost) => {
                    lost.error = error;
                    wait(try_number).await;
                    continue;
                }
                None => return Err(error),
            },
        };
        if let Some(found) = find(&base, &commit.token) {
            tracing::info!(%table, token = %commit.token, snapshot_id = found.snapshot_id, "the commit is already there");
            return Ok(found);
        }
        lost = lost.filter(|lost| lost.base == base.location);
        let sent = async {
            let swap = draft.on(&base, warehouse).await?;
            FaultPoint::BeforeCommit.pass();
            catalog.swap(table, &base, &swap).await
        };
        match sent.await.map_err(|error| of_the_whole(lost.take(), table, &commit.token, error))? {
            Swapped::Done(metadata_location) => {
                return Ok(Committed { snapshot_id: draft.snapshot_id(), metadata_location, attempt: commit.attempt });
            }
            Swapped::Conflict => {
                draft.forget_list(warehouse).await;
                tracing::debug!(%table, try_number, "another writer was first");
            }
            Swapped::Unknown(error) => {
                tracing::warn!(%table, try_number, %error, "the answer to a commit was lost");
                lost = Some(Lost { base: base.location, error });
            }
        }
        wait(try_number).await;
    }
    let conflict = Error::CommitConflict { table: table.clone(), tries: TRIES };
    Err(of_the_whole(lost, table, &commit.token, conflict))
}

/// A swap whose answer was lost. It may land as long as the table stands at the base it was built on, also after a
/// look that did not find it; a conflict on that base may be its own doing.
struct Lost {
    base: String,
    error: Error,
}

// What ends the last try is the commit's own end only if no earlier swap can still land.
fn of_the_whole(lost: Option<Lost>, table: &TableName, token: &Token, error: Error) -> Error {
    match lost {
        Some(Lost { error, .. }) => {
            Error::CommitUnknown { table: table.clone(), token: token.clone(), source: Box::new(error) }
        }
        None => error,
    }
}

// Full jitter: writers that met once should not meet again.
async fn wait(try_number: u32) {
    let most = LONGEST_WAIT.min(FIRST_WAIT * 2u32.saturating_pow(try_number.min(16)));
    let wait = rand::rng().random_range(Duration::ZERO..most);
    tokio::time::sleep(wait).await;
}

/// Commits of one process to one table take turns: they would only take each other's base away.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<TableName, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(crate) async fn take(&self, table: &TableName) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Tables that nobody commits to now are forgotten.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(table.clone()).or_default().clone()
        };
        turn.lock_owned().await
    }
}
