//! Reading a table at a snapshot.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::TryStreamExt as _;
use moulin_core::{Fault, FaultKind, Pin, TableInput};

use super::fixture::{Place, land, landing, numbers, sorted, table};
use crate::{Filter, FilterTest, FilterValue, Lake, Relation, Scan, ScanCounts, TableSnapshot};

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_table_is_read_as_it_was() {
    let (_place, lake) = two_commits().await;
    let pin = lake.pin(&TableInput::new(table())).await.unwrap();
    land(&lake, &landing(&[], &[]), "c", &[numbers(6..9)]).await.unwrap();
    let snapshot = lake.table_at(&table(), pin).await.unwrap();
    assert_eq!((snapshot.rows(), snapshot.files()), (Some(6), Some(2)));
    let (rows, counts) = rows(&snapshot, all()).await;
    assert_eq!(sorted(&rows), [0, 1, 2, 3, 4, 5]);
    assert_eq!((counts.rows.load(Relaxed), counts.files_done.load(Relaxed)), (6, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_found_by_id_ref_and_moment_or_named_as_missing() {
    let (_place, lake) = two_commits().await;
    let newest = lake.pin(&TableInput::new(table())).await.unwrap();
    let input = || TableInput::new(table());
    let by_ref = lake.pin(&TableInput { reference: Some("main".into()), ..input() }).await.unwrap();
    assert_eq!(by_ref, newest);
    let by_id = lake.pin(&TableInput { snapshot_id: newest.snapshot_id, ..input() }).await.unwrap();
    assert_eq!(by_id.snapshot_id, newest.snapshot_id);
    let now = Some(std::time::SystemTime::now() + std::time::Duration::from_secs(60));
    assert_eq!(lake.pin(&TableInput { as_of: now, ..input() }).await.unwrap().snapshot_id, newest.snapshot_id);
    for (wrong, words) in [
        (TableInput { snapshot_id: Some(7), ..input() }, "snapshot 7 of table bronze.t"),
        (TableInput { reference: Some("audit".into()), ..input() }, "ref `audit`"),
        (TableInput { as_of: Some(std::time::UNIX_EPOCH), ..input() }, "its history begins at"),
        (TableInput::new("bronze.nothing".parse().unwrap()), "bronze.nothing"),
    ] {
        let error = lake.pin(&wrong).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), FaultKind::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_hold_a_wanted_row_are_not_opened() {
    let (_place, lake) = two_commits().await;
    let snapshot = opened(&lake).await;
    let filter = |relation, value| Filter { column: 0, test: FilterTest::Compare(relation, FilterValue::Long(value)) };
    let scan = Scan { filters: vec![filter(Relation::Greater, 3)], ..all() };
    let (found, counts) = rows(&snapshot, scan).await;
    assert_eq!(sorted(&found), [4, 5]);
    assert_eq!((counts.files.load(Relaxed), counts.files_pruned.load(Relaxed)), (1, 1));
    let (found, _) = rows(&snapshot, Scan { filters: vec![filter(Relation::Equal, 77)], ..all() }).await;
    assert_eq!(found.num_rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_without_a_column() {
    let (_place, lake) = two_commits().await;
    let (found, _) = rows(&opened(&lake).await, Scan { columns: vec![], ..all() }).await;
    assert_eq!((found.num_rows(), found.num_columns()), (6, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_snapshot_has_no_rows_and_a_lost_snapshot_is_an_error() {
    let place = Place::new();
    let lake = place.lake().await;
    lake.target(&landing(&[], &[]), &numbers([]).schema()).await.unwrap();
    let pin = lake.pin(&TableInput::new(table())).await.unwrap();
    assert_eq!(pin.snapshot_id, None);
    assert_eq!(rows(&opened(&lake).await, all()).await.0.num_rows(), 0);
    let lost = Pin { snapshot_id: Some(7), ..pin };
    let error = lake.table_at(&table(), lost).await.unwrap_err();
    assert!(error.to_string().contains("it may have expired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_ends_the_rows_with_its_name() {
    let (place, lake) = two_commits().await;
    let snapshot = opened(&lake).await;
    std::fs::remove_file(&place.files(".parquet")[0]).unwrap();
    let counts = Arc::new(ScanCounts::default());
    let error = snapshot.scan(all(), counts).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains(".parquet"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_not_found_and_a_damaged_one_is_bad_wherever_it_is() {
    for end in [".parquet", "-m0.avro", ".avro", ".metadata.json"] {
        for (damage, kind) in [
            (gone as fn(&str), FaultKind::NotFound),
            (garbled, FaultKind::BadFile),
            (cut_short, FaultKind::BadFile),
            (garbled_behind, FaultKind::BadFile),
        ] {
            let (place, _) = two_commits().await;
            place.files(end).iter().for_each(|file| damage(file));
            let error = read(&place).await.unwrap_err();
            let report = Fault::from(error).report();
            assert_eq!(read(&place).await.unwrap_err().kind(), kind, "{end}: {report}");
        }
    }
}

/// All rows as a worker reads them that has never seen the table.
async fn read(place: &Place) -> Result<Vec<RecordBatch>, crate::Error> {
    let lake = place.lake().await;
    let pin = lake.pin(&TableInput::new(table())).await?;
    let snapshot = lake.table_at(&table(), pin).await?;
    snapshot.scan(all(), Arc::default()).try_collect().await
}

fn gone(file: &str) {
    std::fs::remove_file(file).unwrap();
}

fn garbled(file: &str) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, vec![b'x'; bytes.len()]).unwrap();
}

fn cut_short(file: &str) {
    let bytes = std::fs::read(file).unwrap();
    std::fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

/// The beginning is as it was.
fn garbled_behind(file: &str) {
    let mut bytes = std::fs::read(file).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(b'x');
    std::fs::write(file, bytes).unwrap();
}
/// Readers of large files wait most of the time for somebody to take their rows, and those who are to take them need threads.
#[test]
fn readers_that_wait_leave_the_threads_to_writers() {
    let few =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(4).enable_all().build();
    let runtime = few.unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let lake = place.lake().await;
        for file in 0..8 {
            let rows = numbers(file * FILE_ROWS..(file + 1) * FILE_ROWS);
            land(&lake, &landing(&[], &[]), &format!("file {file}"), &[rows]).await.unwrap();
        }
        let snapshot = opened(&lake).await;
        let mut batches = snapshot.scan(Scan { files_at_a_time: 8, ..all() }, Arc::default());
        let mut rows = batches.try_next().await.unwrap().unwrap().num_rows();
        // Whoever may not wait for ever is told so.
        let others = async { land(&lake, &landing(&[], &[]), "others", &[numbers(0..3)]).await.unwrap() };
        tokio::time::timeout(Duration::from_secs(30), others).await.expect("a writer finds a thread");
        while let Some(batch) = batches.try_next().await.unwrap() {
            rows += batch.num_rows();
        }
        assert_eq!(rows as i64, 8 * FILE_ROWS);
    });
    runtime.shutdown_background();
}

/// More batches than are read ahead.
const FILE_ROWS: i64 = 50_000;

async fn two_commits() -> (Place, Lake) {
    let place = Place::new();
    let lake = place.lake().await;
    land(&lake, &landing(&[], &[]), "a", &[numbers(0..3)]).await.unwrap();
    land(&lake, &landing(&[], &[]), "b", &[numbers(3..6)]).await.unwrap();
    (place, lake)
}

async fn opened(lake: &Lake) -> TableSnapshot {
    let pin = lake.pin(&TableInput::new(table())).await.unwrap();
    lake.table_at(&table(), pin).await.unwrap()
}

fn all() -> Scan {
    Scan { columns: vec![0], filters: vec![], files_at_a_time: 2 }
}

async fn rows(snapshot: &TableSnapshot, scan: Scan) -> (RecordBatch, Arc<ScanCounts>) {
    let counts = Arc::new(ScanCounts::default());
    let schema = snapshot.projected(&scan.columns).unwrap();
    let batches: Vec<RecordBatch> = snapshot.scan(scan, Arc::clone(&counts)).try_collect().await.unwrap();
    (arrow::compute::concat_batches(&schema, &batches).unwrap(), counts)
}
