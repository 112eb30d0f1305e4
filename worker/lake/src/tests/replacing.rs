//! Commits that take files out of the table.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use iceberg::spec::Operation;
use moulin_core::{Fault, FaultKind, Token};

use super::fixture::{Place, added, commit, land, landing, numbers, options, sorted, table, write};
use crate::{Commit, Committed, Error, Lake, Landed, Removed, Requirement};

// The rows of the table as it is now, of whatever snapshot.
async fn rows(lake: &Lake) -> Vec<i64> {
    let loaded = lake.loaded(&table()).await;
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    let mut rows = Vec::new();
    for manifest in crate::commit::manifest_list(&table(), &loaded.metadata, snapshot, lake.files()).await.unwrap() {
        let manifest = manifest.load_manifest(&lake.files().io(&manifest.manifest_path)).await.unwrap();
        for entry in manifest.entries().iter().filter(|e| e.is_alive()) {
            rows.extend(sorted(&added_file(entry.file_path())));
        }
    }
    rows.sort_unstable();
    rows
}

fn added_file(location: &str) -> RecordBatch {
    let file = std::fs::File::open(location.strip_prefix("file://").unwrap()).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1 << 20).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

fn generation(number: u32) -> Token {
    Token(format!("d/r/a/-1/{number}"))
}

async fn landed(lake: &Lake, name: &str, values: std::ops::Range<i64>) -> Landed {
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    write(lake, &target, options(name, 1), &[numbers(values)]).await.unwrap()
}

async fn commit_to(lake: &Lake, commit: Commit) -> Result<Committed, Error> {
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    lake.commit(&target, commit).await
}

async fn replacing(lake: &Lake, old: &Landed, added_by: Option<i64>, new: Landed) -> Result<Committed, Error> {
    let mut commit = Commit::new(generation(1), 1, new);
    commit.removed = Removed { locations: old.locations().map(str::to_owned).collect(), added_by };
    commit_to(lake, commit).await
}

#[tokio::test]
async fn files_are_replaced_in_one_snapshot_whatever_came_between() {
    let place = Place::new();
    let lake = place.lake().await;
    let old = landed(&lake, "a", 0..10).await;
    let first = commit_to(&lake, Commit::new(generation(0), 1, old.clone())).await.unwrap();
    land(&lake, &landing(&[], &[]), "b", &[numbers(100..105)]).await.unwrap();
    let new = landed(&lake, "a", 0..7).await;
    let second = replacing(&lake, &old, Some(first.snapshot_id), new).await.unwrap();
    assert_eq!(rows(&lake).await, (0..7).chain(100..105).collect::<Vec<_>>());
    assert_eq!(sorted(&added(&lake, second.snapshot_id).await), (0..7).collect::<Vec<_>>());
    let loaded = lake.loaded(&table()).await;
    let summary = loaded.metadata.current_snapshot().unwrap().summary();
    assert_eq!(summary.operation, Operation::Overwrite);
    let text = |key: &str| summary.additional_properties[key].as_str();
    assert_eq!((text("added-records"), text("deleted-records"), text("total-records")), ("7", "10", "12"));
    assert_eq!((text("deleted-data-files"), text("total-data-files")), ("1", "2"));
    // A manifest that only tells of a removal is not carried on.
    land(&lake, &landing(&[], &[]), "c", &[numbers(200..201)]).await.unwrap();
    let loaded = lake.loaded(&table()).await;
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    let list = crate::commit::manifest_list(&table(), &loaded.metadata, snapshot, lake.files()).await.unwrap();
    assert_eq!(list.len(), 3);
    assert_eq!(rows(&lake).await, (0..7).chain(100..105).chain(200..201).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_of_a_manifest_of_several_goes_and_the_others_keep_their_age() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&["n"], &[]), &numbers(0..1).schema()).await.unwrap();
    let old = write(&lake, &target, options("a", 1), &[numbers([1, 2, 3])]).await.unwrap();
    let first = lake.commit(&target, commit("a", old.clone())).await.unwrap();
    let mut delete = Commit::new(generation(1), 1, Landed::default());
    let one: BTreeSet<String> = old.locations().filter(|l| l.contains("n=2/")).map(str::to_owned).collect();
    // Without knowing the snapshot that added it.
    delete.removed = Removed { locations: one, added_by: None };
    lake.commit(&target, delete).await.unwrap();
    assert_eq!(rows(&lake).await, [1, 3]);
    let loaded = lake.loaded(&table()).await;
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Delete);
    let list = crate::commit::manifest_list(&table(), &loaded.metadata, snapshot, lake.files()).await.unwrap();
    let manifest = list[0].load_manifest(&lake.files().io(&list[0].manifest_path)).await.unwrap();
    let ages: Vec<_> =
        manifest.entries().iter().map(|e| (e.is_alive(), e.snapshot_id(), e.sequence_number())).collect();
    let (was, now) = (Some(first.snapshot_id), Some(snapshot.snapshot_id()));
    assert_eq!(ages.iter().filter(|age| **age == (true, was, Some(1))).count(), 2, "{ages:?}");
    assert_eq!(ages.iter().filter(|age| **age == (false, now, Some(1))).count(), 1, "{ages:?}");
}

#[tokio::test]
async fn a_file_that_is_gone_is_a_refusal_that_says_what_to_do_and_changes_nothing() {
    let place = Place::new();
    let lake = place.lake().await;
    let old = landed(&lake, "a", 0..10).await;
    commit_to(&lake, Commit::new(generation(0), 1, old.clone())).await.unwrap();
    let mut away = Commit::new(Token("compaction".into()), 1, landed(&lake, "other", 0..10).await);
    away.removed.locations = old.locations().map(str::to_owned).collect();
    commit_to(&lake, away).await.unwrap();
    let metadata = place.files(".avro");
    let error = replacing(&lake, &old, None, landed(&lake, "a", 0..7).await).await.unwrap_err();
    let fault = Fault::from(error);
    assert_eq!(fault.kind, FaultKind::NotFound);
    assert!(
        fault.message.starts_with("bronze.t: 1 of the 1 data files to be replaced are not in the table"),
        "{fault}"
    );
    assert!(fault.hint.contains("on_rerun: append"), "{}", fault.hint);
    assert_eq!(rows(&lake).await, (0..10).collect::<Vec<_>>());
    // At the most the manifest of the files that were added is left.
    assert!(place.files(".avro").len() <= metadata.len() + 1);
}

#[tokio::test]
async fn an_older_generation_does_not_come_after_a_newer_one() {
    let place = Place::new();
    let lake = place.lake().await;
    commit_to(&lake, Commit::new(generation(1), 1, landed(&lake, "a", 0..5).await)).await.unwrap();
    let late = Commit::new(generation(0), 1, landed(&lake, "late", 0..5).await);
    let error = commit_to(&lake, late).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::StaleEpoch);
    assert!(error.to_string().contains("generation 1 of this job has landed already"), "{error}");
    // But where the newer one left its rows, what belongs to them still comes.
    let rest = Commit::new(generation(0), 1, landed(&lake, "rest", 5..6).await);
    commit_to(&lake, Commit { beside: [1].into(), ..rest }).await.unwrap();
    // The other way round: what was not known when the newer one looked is not overlooked.
    let mut newer = Commit::new(generation(2), 1, landed(&lake, "b", 0..5).await);
    newer.requires = vec![Requirement::NewestBefore(None)];
    let error = commit_to(&lake, newer.clone()).await.unwrap_err();
    assert_eq!(error.kind(), FaultKind::CommitConflict);
    assert_eq!(error.to_string(), "bronze.t: generation 1 of the job landed meanwhile");
    newer.requires = vec![Requirement::NewestBefore(Some(1))];
    commit_to(&lake, newer).await.unwrap();
    let before = lake.generations_before(&table(), &generation(5)).await.unwrap();
    assert_eq!(before.iter().map(|(g, _)| *g).collect::<Vec<_>>(), [2, 1, 0]);
}

#[tokio::test]
async fn a_commit_can_ask_for_a_snapshot_set_properties_and_move_a_branch() {
    let place = Place::new();
    let lake = place.lake().await;
    let first = commit_to(&lake, Commit::new(generation(0), 1, landed(&lake, "a", 0..5).await)).await.unwrap();
    let mut on_branch = Commit::new(Token("b/0".into()), 1, landed(&lake, "b", 5..8).await);
    on_branch.branch = "audit".into();
    on_branch.properties.insert("owner".into(), "me".into());
    lake.commit(&lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap(), on_branch).await.unwrap();
    let metadata = lake.loaded(&table()).await.metadata;
    assert_eq!(metadata.current_snapshot_id(), Some(first.snapshot_id));
    let branch = metadata.snapshot_for_ref("audit").unwrap();
    assert_eq!(branch.parent_snapshot_id(), Some(first.snapshot_id));
    assert_eq!(branch.summary().additional_properties["total-records"], "8");
    assert_eq!(metadata.properties()["owner"], "me");
    let mut unmet = Commit::new(Token("c/0".into()), 1, landed(&lake, "c", 5..8).await);
    unmet.requires = vec![Requirement::Snapshot(None)];
    let error = commit_to(&lake, unmet).await.unwrap_err().to_string();
    assert_eq!(error, format!("bronze.t: main stands at snapshot {}, not at no snapshot", first.snapshot_id));
}
