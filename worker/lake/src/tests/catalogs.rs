//! What every catalog must do. Each function takes a place with an empty one.

use std::collections::HashSet;

use moulin_core::FaultKind;

use super::fixture::{Place, added, commit, land, landing, numbers, options, sorted, table, token, write};
use crate::Lake;
use crate::catalog::{Catalog, Swap, Swapped};
use crate::warehouse::Warehouse;

/// Runs every function of this file as a test on the places that `$make` opens.
macro_rules! conformance {
    ($make:path: $($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            super::$name($make().await).await;
        }
    )*};
}

macro_rules! on_every_catalog {
    ($($names:tt)*) => {
        mod on_sqlite {
            conformance!(super::super::fixture::Place::on_sqlite: $($names)*);
        }
        mod on_postgres {
            conformance!(super::super::fixture::Place::on_postgres: $($names)*);
        }
    };
}

on_every_catalog!(
    a_table_is_found_only_once_it_is_made,
    a_table_made_by_many_at_once_is_one_table,
    commits_of_many_processes_all_land_once,
    one_token_of_many_processes_is_one_snapshot,
    a_swap_on_an_old_base_is_a_conflict_and_leaves_nothing,
    a_new_catalog_may_be_opened_by_many_at_once,
    the_check_counts_the_tables_of_this_catalog,
);

async fn a_table_is_found_only_once_it_is_made(place: Place) {
    let lake = place.lake().await;
    assert!(lake.existing(&table()).await.unwrap().is_none());
    assert_eq!(lake.find_token(&table(), &token("a")).await.unwrap(), None);
    let error = lake.table_schema(&table()).await.unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (FaultKind::NotFound, "table bronze.t does not exist".into()));
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..3)]).await.unwrap();
    assert!(place.lake().await.find_token(&table(), &token("a")).await.unwrap().is_some());
}

async fn a_table_made_by_many_at_once_is_one_table(place: Place) {
    let lakes = lakes(&place, 6).await;
    let (landing, schema) = (landing(&[], &[]), numbers(0..1).schema());
    let targets = futures::future::try_join_all(lakes.iter().map(|lake| lake.target(&landing, &schema))).await.unwrap();
    let uuids: HashSet<_> = targets.iter().map(|target| target.metadata.uuid()).collect();
    assert_eq!(uuids.len(), 1);
    assert_eq!(place.files(".metadata.json").len(), 1);
}

async fn commits_of_many_processes_all_land_once(place: Place) {
    let lakes = lakes(&place, 8).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (writer, lake) in (0i64..).zip(lakes.clone()) {
        tasks.spawn(async move {
            let rows = numbers(writer * 100..(writer + 1) * 100);
            land(&lake, &landing(&[], &[]), &format!("writer-{writer}"), &[rows]).await.unwrap().snapshot_id
        });
    }
    let snapshots: HashSet<i64> = tasks.join_all().await.into_iter().collect();
    assert_eq!(snapshots.len(), 8);
    let mut found = Vec::new();
    for id in snapshots {
        found.extend(sorted(&added(&lakes[0], id).await));
    }
    found.sort_unstable();
    assert!(found.iter().copied().eq(0..800));
    // Tries that lost left nothing behind.
    assert_eq!(place.files(".metadata.json").len(), 9);
}

async fn one_token_of_many_processes_is_one_snapshot(place: Place) {
    let lakes = lakes(&place, 6).await;
    let target = lakes[0].target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for lake in lakes {
        let target = target.clone();
        tasks.spawn(async move {
            let landed = write(&lake, &target, options("a", 1), &[numbers(0..10)]).await.unwrap();
            lake.commit(&target, commit("a", landed)).await.unwrap().snapshot_id
        });
    }
    let snapshots: HashSet<i64> = tasks.join_all().await.into_iter().collect();
    assert_eq!(snapshots.len(), 1);
}

async fn a_swap_on_an_old_base_is_a_conflict_and_leaves_nothing(place: Place) {
    let lake = place.lake().await;
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..10)]).await.unwrap();
    let catalog = Catalog::open(&place.settings(), Warehouse::new(&Default::default())).await.unwrap();
    let base = catalog.load(&table()).await.unwrap().unwrap();
    land(&lake, &landing(&[], &[]), "b", &[numbers(10..15)]).await.unwrap();
    let before = place.files(".metadata.json");
    let swap = Swap { metadata: base.metadata.clone(), updates: Vec::new(), requirements: Vec::new() };
    assert!(matches!(catalog.swap(&table(), &base, &swap).await.unwrap(), Swapped::Conflict));
    assert_eq!(place.files(".metadata.json"), before);
}

async fn a_new_catalog_may_be_opened_by_many_at_once(place: Place) {
    for lake in lakes(&place, 8).await {
        lake.check_catalog().await.unwrap();
    }
}

async fn the_check_counts_the_tables_of_this_catalog(place: Place) {
    let lake = place.lake().await;
    assert!(lake.check_catalog().await.unwrap().contains("catalog `moulin` with 0 tables at "));
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..3)]).await.unwrap();
    assert!(lake.check_catalog().await.unwrap().contains("catalog `moulin` with 1 tables at "));
    let other = crate::CatalogSettings { name: "other".into(), ..place.settings() };
    let other = Lake::open(&other, &Default::default()).await.unwrap();
    assert!(other.check_catalog().await.unwrap().contains("catalog `other` with 0 tables at "));
    assert!(other.existing(&table()).await.unwrap().is_none());
}

/// Several processes' views of one catalog, opened at once.
async fn lakes(place: &Place, count: usize) -> Vec<Lake> {
    futures::future::join_all((0..count).map(|_| place.lake())).await
}
