//! Commits that wait for one table become one snapshot.

use std::collections::HashSet;

use moulin_core::FaultKind;

use super::fixture::{Place, added, commit, landing, numbers, options, sorted, table, token, write};
use crate::{Commit, Lake, Landed, Target};

async fn written(lake: &Lake, target: &Target, name: &str, values: std::ops::Range<i64>) -> Landed {
    write(lake, target, options(name, 1), &[numbers(values)]).await.unwrap()
}

#[tokio::test]
async fn commits_that_wait_together_are_one_snapshot_with_all_their_tokens() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let names = ["a", "b", "c \"quoted\"", "d"];
    let mut landed = Vec::new();
    for (at, name) in (0i64..).zip(names) {
        landed.push(written(&lake, &target, name, at * 10..at * 10 + 10).await);
    }
    // One thread, and no commit yields before it waits: all are there when the first begins.
    let commits = names.iter().zip(&landed).map(|(name, landed)| {
        let attempt_id = format!("attempt of {name}");
        lake.commit(&target, Commit { attempt_id, ..commit(name, landed.clone()) })
    });
    let committed: Vec<_> = futures::future::join_all(commits).await.into_iter().map(Result::unwrap).collect();
    let ids: HashSet<i64> = committed.iter().map(|c| c.snapshot_id).collect();
    assert_eq!(ids.len(), 1);
    for (at, name) in (0i64..).zip(names) {
        // Another process finds each of them, and its rows alone.
        let other = place.lake().await;
        let found = other.find_token(&table(), &token(name)).await.unwrap().unwrap();
        assert_eq!((found.snapshot_id, found.attempt), (committed[0].snapshot_id, 1));
        assert!(found.may_be_of(&format!("attempt of {name}")) && !found.may_be_of("attempt of another"), "{found:?}");
        let files = other.files_added(&table(), found.snapshot_id, &token(name).job_id()).await.unwrap();
        assert!(files.iter().map(String::as_str).eq(landed[usize::try_from(at).unwrap()].locations()));
    }
    assert_eq!(sorted(&added(&lake, committed[0].snapshot_id).await), (0..40).collect::<Vec<_>>());
    let metadata = lake.loaded(&table()).await.metadata;
    let summary = &metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((summary["moulin.job"].as_str(), summary["total-records"].as_str()), (token("a").0.as_str(), "40"));
    // Committed again, together or alone, they are where they were.
    let again = names.iter().zip(&landed).map(|(name, landed)| lake.commit(&target, commit(name, landed.clone())));
    let again: Vec<_> = futures::future::join_all(again).await.into_iter().map(Result::unwrap).collect();
    assert!(again.iter().all(|c| c.snapshot_id == committed[0].snapshot_id));
    assert_eq!(lake.loaded(&table()).await.metadata.snapshots().len(), 1);
}

#[tokio::test]
async fn a_member_that_cannot_commit_harms_nobody() {
    let place = Place::new();
    let lake = place.lake().await;
    let old = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let stale = written(&lake, &old, "stale", 0..5).await;
    // The table is made anew: what was written for the old one must not come in.
    let pool = sqlx::SqlitePool::connect(&place.settings().uri).await.unwrap();
    sqlx::query("DELETE FROM iceberg_tables").execute(&pool).await.unwrap();
    let new = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let (a, b) = (written(&lake, &new, "a", 10..15).await, written(&lake, &new, "b", 20..25).await);
    let (first, second, third) = tokio::join!(
        lake.commit(&new, commit("a", a)),
        lake.commit(&old, commit("stale", stale)),
        lake.commit(&new, commit("b", b)),
    );
    assert_eq!(second.unwrap_err().kind(), FaultKind::NotFound);
    let (first, third) = (first.unwrap(), third.unwrap());
    assert_eq!(first.snapshot_id, third.snapshot_id);
    assert_eq!(sorted(&added(&lake, first.snapshot_id).await), (10..15).chain(20..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_nobody_with_it() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let (a, b) = (written(&lake, &target, "a", 0..5).await, written(&lake, &target, "b", 5..9).await);
    let mut gone = Box::pin(lake.commit(&target, commit("a", a)));
    // Begun, and dropped before it can be over.
    assert!(futures::poll!(&mut gone).is_pending());
    drop(gone);
    let committed = lake.commit(&target, commit("b", b)).await.unwrap();
    let found = lake.find_token(&table(), &token("a")).await.unwrap().unwrap();
    assert_eq!(found.snapshot_id, committed.snapshot_id);
}
