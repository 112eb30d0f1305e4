//! Replays of one table by the workers of several job stores.
//!
//! Workers of one job store keep each other off the rejects that they read ([`super::loads::hold_rejects`]). Two job stores
//! know nothing of each other, but they commit to one target, and there the snapshot of a replay says that it is one. So a
//! replay notes which there are before it looks for rejects, and commits only as long as there is no other; and it does not
//! begin while one of them has landed its rows and not yet marked the rejects that these were.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use moulin_core::{Fault, FaultKind, TableName, Token};
use moulin_lake::Requirement;

use super::rejects_rows::{RejectRows, texts};
use super::rejects_table::{self, REPLAYED_BY};
use crate::worker::Worker;

/// Property of a snapshot's summary: how many rejects the replay has taken.
pub(super) const REPLAYED: &str = "moulin.rejects-replayed";

const PAUSE: Duration = Duration::from_millis(200);

/// What the commit of a replay requires, so that it takes no reject that another one has taken; waits about as long as a
/// lease for one that has landed rows and not marked its rejects.
///
/// # Errors
/// `Unavailable`: it still has not; store, catalog or warehouse do not answer.
pub(super) async fn all_have_marked(worker: &Worker, table: &TableName, own: &Token) -> Result<Requirement, Fault> {
    let begun = Instant::now();
    loop {
        let replays = worker.lake.commits_with(table, REPLAYED).await?;
        let Some((token, snapshot_id)) = half_done(worker, table, own, &replays).await? else {
            let snapshots = replays.into_iter().map(|(_, snapshot_id, _)| snapshot_id).collect();
            return Ok(Requirement::OnlyThese { property: REPLAYED, snapshots });
        };
        if begun.elapsed() >= worker.config.job.lease {
            return Err(not_marked(table, &token, snapshot_id));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A replay of another job store whose rows are in the table, and whose rejects are not marked.
async fn half_done(
    worker: &Worker,
    table: &TableName,
    own: &Token,
    replays: &[(Token, i64, String)],
) -> Result<Option<(Token, i64)>, Fault> {
    let marks = worker.lake.commits_with(&rejects_table::of(table), REPLAYED).await?;
    // One that was done anew has lost its rows again, and what it had marked is open.
    let is_settled = |token: &Token| {
        let is_newer = |other: &Token| other.key() == token.key() && other.generation() > token.generation();
        let of_rows = replays.iter().any(|(other, ..)| is_newer(other));
        of_rows || marks.iter().any(|(other, ..)| other == token || is_newer(other))
    };
    let taken = replays.iter().filter(|(token, _, count)| count != "0" && token.key() != own.key());
    let mut left = Vec::new();
    for (token, snapshot_id, _) in taken.filter(|(token, ..)| !is_settled(token)) {
        // One of the own job store holds the rejects until it is over.
        let is_own = worker.store.get(&token.job_id()).await?.is_some() || worker.store.ledger(token).await?.is_some();
        if !is_own {
            left.push((token.clone(), *snapshot_id));
        }
    }
    if left.is_empty() {
        return Ok(None);
    }
    let marked = marked_by(worker, table).await?;
    Ok(left.into_iter().find(|(token, _)| !marked.contains(&token.0)))
}

/// The replays that rejects are marked by.
async fn marked_by(worker: &Worker, table: &TableName) -> Result<HashSet<String>, Fault> {
    let mut found = HashSet::new();
    let Some(rejects) = RejectRows::open(worker, table).await? else { return Ok(found) };
    for file in rejects.files().await? {
        let mut rows = rejects.rows(&file);
        while let Some(batch) = rows.next().await {
            found.extend(texts(&batch?, REPLAYED_BY)?.iter().flatten().map(str::to_owned));
        }
    }
    Ok(found)
}

fn not_marked(table: &TableName, token: &Token, snapshot_id: i64) -> Fault {
    let rejects = rejects_table::of(table);
    let message = format!(
        "{table}: the replay {token} of another job store has landed rows, in snapshot {snapshot_id}, and not yet marked in {rejects} what it took"
    );
    Fault::new(FaultKind::Unavailable, message).with_hint(
        "let its worker finish it; if its job store is lost, set replayed_by of those rejects to that token yourself",
    )
}
