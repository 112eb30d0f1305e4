//! Each token at most once, each commit of many at last.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use moulin_core::{Fault, FaultKind, Landing, Token};

use super::fixture::{Place, added, commit, land, landing, numbers, options, sorted, table, token, write};
use crate::catalog::{Catalog, Swapped};
use crate::{Commit, Fence, Landed};

#[tokio::test]
async fn two_jobs_append_and_totals_add_up() {
    let place = Place::new();
    let lake = place.lake().await;
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..10)]).await.unwrap();
    let second = land(&lake, &landing(&[], &[]), "b", &[numbers(10..15)]).await.unwrap();
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let snapshot = target.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.snapshot_id(), second.snapshot_id);
    assert_eq!(snapshot.summary().operation.as_str(), "append");
    let found = &snapshot.summary().additional_properties;
    let text = |key: &str| found.get(key).map(String::as_str);
    assert_eq!((text("added-records"), text("total-records")), (Some("5"), Some("15")));
    assert_eq!((text("added-data-files"), text("total-data-files")), (Some("1"), Some("2")));
    assert_eq!(
        (text("moulin.job"), text("moulin.attempt"), text("moulin.dag")),
        (Some("d/r/b/-1/0"), Some("1"), Some("d"))
    );
    assert_eq!(snapshot.sequence_number(), 2);
    assert_eq!(target.metadata.metadata_log().len(), 2);
}

#[tokio::test]
async fn files_that_were_written_down_are_committed_by_another_process() {
    let place = Place::new();
    let by_id = landing(&["bucket(4, n)"], &[]);
    let (text, locations) = {
        let lake = place.lake().await;
        let target = lake.target(&by_id, &numbers(0..1).schema()).await.unwrap();
        let landed = write(&lake, &target, options("a", 1), &[numbers(0..100)]).await.unwrap();
        let locations: Vec<String> = landed.locations().map(str::to_owned).collect();
        (landed.to_text(&target).unwrap(), locations)
    };
    assert_eq!(Landed::locations_in_text(&text).unwrap(), locations);
    let lake = place.lake().await;
    let target = lake.target(&by_id, &numbers(0..1).schema()).await.unwrap();
    let landed = Landed::from_text(&target, &text).unwrap();
    assert_eq!((landed.rows(), landed.files()), (100, locations.len() as u64));
    let committed = lake.commit(&target, commit("a", landed)).await.unwrap();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), (0..100).collect::<Vec<_>>());
    // Another table takes none of them.
    let other = Landing { table: "bronze.other".parse().unwrap(), ..by_id };
    let other = lake.target(&other, &numbers(0..1).schema()).await.unwrap();
    assert_eq!(Landed::from_text(&other, &text).unwrap_err().kind(), FaultKind::NotFound);
}

#[tokio::test]
async fn a_caller_cannot_shadow_what_is_counted() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let mut commit = commit("a", landed);
    commit.summary.insert("total-records".into(), "0".into());
    commit.summary.insert("added-records".into(), "1".into());
    commit.summary.insert("moulin.job".into(), "another".into());
    lake.commit(&target, commit).await.unwrap();
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let summary = &target.metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((summary["total-records"].as_str(), summary["moulin.job"].as_str()), ("10", "d/r/a/-1/0"));
}

#[tokio::test]
async fn a_token_that_is_there_is_not_committed_again() {
    let place = Place::new();
    let lake = place.lake().await;
    assert_eq!(lake.find_token(&table(), &token("a")).await.unwrap(), None);
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let first = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let committed = lake.commit(&target, commit("a", first.clone())).await.unwrap();
    land(&lake, &landing(&[], &[]), "b", &[numbers(10..15)]).await.unwrap();
    // As after a crash between the swap and its recording: another process, another attempt, the same token.
    let again = place.lake().await;
    let second = write(&again, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let mut retry = commit("a", second);
    retry.attempt = 2;
    retry.attempt_id = "of the second attempt".into();
    let found = again.commit(&target, retry).await.unwrap();
    assert_eq!((found.snapshot_id, found.attempt), (committed.snapshot_id, 1));
    assert!(!found.may_be_of("of the second attempt"));
    assert_eq!(again.find_token(&table(), &token("a")).await.unwrap(), Some(found));
    let now = again.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    assert_eq!(now.metadata.snapshots().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_of_many_processes_all_land_once() {
    let place = Place::new();
    let lakes = [place.lake().await, place.lake().await, place.lake().await];
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..16i64 {
        let lake = lakes[usize::try_from(writer).unwrap() % lakes.len()].clone();
        tasks.spawn(async move {
            let rows = numbers(writer * 100..(writer + 1) * 100);
            land(&lake, &landing(&[], &[]), &format!("writer-{writer}"), &[rows]).await.unwrap()
        });
    }
    let committed = tasks.join_all().await;
    let ids: HashSet<i64> = committed.iter().map(|c| c.snapshot_id).collect();
    // Those of one process that waited together share a snapshot.
    assert!((1..=16).contains(&ids.len()));
    let snapshots = ids.len();
    let mut found = Vec::new();
    for id in ids {
        found.extend(sorted(&added(&lakes[0], id).await));
    }
    found.sort_unstable();
    assert!(found.iter().copied().eq(0..1_600));
    let now = lakes[0].target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let summary = &now.metadata.current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((summary["total-records"].as_str(), summary["total-data-files"].as_str()), ("1600", "16"));
    assert_eq!(now.metadata.snapshots().len(), snapshots);
    // Tries that lost left nothing behind: one list per snapshot, one metadata file per version.
    assert_eq!(place.files(".avro").iter().filter(|f| f.contains("/snap-")).count(), snapshots);
    assert_eq!(place.files(".metadata.json").len(), snapshots + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_token_committed_by_many_at_once_is_one_snapshot() {
    let place = Place::new();
    let mut tasks = tokio::task::JoinSet::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    for _ in 0..8 {
        let (lake, target) = (place.lake().await, target.clone());
        tasks.spawn(async move {
            let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
            lake.commit(&target, commit("a", landed)).await.unwrap().snapshot_id
        });
    }
    let ids: HashSet<i64> = tasks.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    let now = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    assert_eq!(now.metadata.snapshots().len(), 1);
}

#[tokio::test]
async fn a_swap_on_an_old_base_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let lake = place.lake().await;
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..10)]).await.unwrap();
    let catalog =
        Catalog::open(&place.settings(), crate::warehouse::Warehouse::new(&Default::default())).await.unwrap();
    let base = catalog.load(&table()).await.unwrap().unwrap();
    land(&lake, &landing(&[], &[]), "b", &[numbers(10..15)]).await.unwrap();
    let before = place.files(".metadata.json");
    let swap = crate::catalog::Swap { metadata: base.metadata.clone(), updates: Vec::new(), requirements: Vec::new() };
    assert!(matches!(catalog.swap(&table(), &base, &swap).await.unwrap(), Swapped::Conflict));
    assert_eq!(place.files(".metadata.json"), before);
}

#[tokio::test]
async fn an_answer_that_is_lost_for_good_is_unknown_and_no_file_is_removed() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    // Every update fails after it was sent.
    let pool = sqlx::SqlitePool::connect(&place.settings().uri).await.unwrap();
    let trigger =
        "CREATE TRIGGER broken BEFORE UPDATE ON iceberg_tables BEGIN SELECT RAISE(ABORT, 'disk on fire'); END";
    sqlx::query(trigger).execute(&pool).await.unwrap();
    let error = lake.commit(&target, commit("a", landed.clone())).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::CommitUnknown);
    assert!(error.to_string().contains("it is not known whether the commit of d/r/a/-1/0 landed"), "{error}");
    assert_eq!(place.files(".parquet").len(), 1);
    sqlx::query("DROP TRIGGER broken").execute(&pool).await.unwrap();
    let committed = lake.commit(&target, commit("a", landed)).await.unwrap();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_last_conflict_on_the_base_of_a_lost_answer_is_unknown() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&place.settings().uri).await.unwrap();
    // The answers of all tries but the last are lost; the last one comes too late, perhaps for one of them.
    let trigger = "CREATE TRIGGER late BEFORE UPDATE ON iceberg_tables BEGIN \
        INSERT INTO tries VALUES (1); \
        SELECT CASE WHEN (SELECT count(*) FROM tries) < 20 THEN RAISE(FAIL, 'lost') ELSE RAISE(IGNORE) END; END";
    for statement in ["CREATE TABLE tries (one INT)", trigger] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let error = lake.commit(&target, commit("a", landed)).await.unwrap_err();
    let tries: i64 = sqlx::query_scalar("SELECT count(*) FROM tries").fetch_one(&pool).await.unwrap();
    assert_eq!((tries, error.kind()), (20, FaultKind::CommitUnknown), "{error}");
}

#[tokio::test]
async fn a_conflict_that_never_ends_is_told_after_the_last_try() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
    let pool = sqlx::SqlitePool::connect(&place.settings().uri).await.unwrap();
    // Every update is passed over, as if another writer had been first each time.
    let trigger = "CREATE TRIGGER late BEFORE UPDATE ON iceberg_tables BEGIN SELECT RAISE(IGNORE); END";
    sqlx::query(trigger).execute(&pool).await.unwrap();
    let error = lake.commit(&target, commit("a", landed)).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::CommitConflict);
    assert_eq!(error.to_string(), "bronze.t: other writers won all 20 tries to commit");
    assert_eq!(place.files(".avro").iter().filter(|f| f.contains("/snap-")).count(), 0);
    assert_eq!(place.files(".parquet").len(), 1);
}

#[tokio::test]
async fn an_attempt_that_is_not_let_through_leaves_the_table_alone() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..3)]).await.unwrap();
    let fence = Fence::new(|| Box::pin(async { Err(Fault::new(FaultKind::LeaseLost, "not you")) }));
    let error = lake.commit(&target, Commit { fence: Some(fence), ..commit("a", landed) }).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (FaultKind::LeaseLost, "not you"));
    assert_eq!(lake.find_token(&table(), &token("a")).await.unwrap(), None);
    assert_eq!(place.files(".metadata.json").len(), 1);
}

#[tokio::test]
async fn who_was_overtaken_between_the_question_and_the_swap_does_not_land() {
    let place = Place::new();
    let (lake, other) = (place.lake().await, place.lake().await);
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[numbers(0..3)]).await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let fence = Fence::new({
        let asked = asked.clone();
        move || {
            let (other, first) = (other.clone(), asked.fetch_add(1, Ordering::SeqCst) == 0);
            Box::pin(async move {
                if !first {
                    return Err(Fault::new(FaultKind::LeaseLost, "not you"));
                }
                for _ in 0..2 {
                    other.move_on(&table(), Token("overtaken".into()), 2).await.unwrap();
                }
                Ok(())
            })
        }
    });
    let error = lake.commit(&target, Commit { fence: Some(fence), ..commit("a", landed) }).await.unwrap_err();
    assert_eq!((error.kind(), asked.load(Ordering::SeqCst)), (FaultKind::LeaseLost, 2));
    let loaded = lake.loaded(&table()).await;
    assert_eq!(loaded.metadata.snapshots().len(), 1, "the table was moved on once for its token");
    let snapshot = loaded.metadata.current_snapshot().unwrap().snapshot_id();
    assert!(sorted(&added(&lake, snapshot).await).is_empty());
    // A table that is not there takes no commit.
    lake.move_on(&"bronze.none".parse().unwrap(), Token("overtaken".into()), 2).await.unwrap();
}
