//! Rows go to the partition their values say.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use moulin_core::FaultKind;

use super::fixture::{FROZEN, Place, added, commit, landing, options, sorted, write};
use crate::Landed;

const DAY: i64 = 86_400_000_000;

/// Three months around 1970-01-01, three origins (one null), in turns.
fn flights(rows: i64) -> RecordBatch {
    let origins = [Some("JFK"), Some("LGA/2"), None];
    let pick = |n: i64, of: i64| usize::try_from(n % of).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new((0..rows).collect::<Int64Array>())),
        ("origin", Arc::new((0..rows).map(|n| origins[pick(n, 3)]).collect::<StringArray>())),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(|n| (n % 3 - 1) * 31 * DAY + n)))),
        ("day", Arc::new(Date32Array::from_iter_values((0..rows).map(|n| i32::try_from(n % 3 - 1).unwrap())))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn rows_by_folder(landed: &Landed) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for file in landed.data_files() {
        let (_, folder) = file.file_path().split_once("/data/").unwrap();
        let (folder, _) = folder.rsplit_once('/').unwrap();
        *found.entry(folder.to_owned()).or_default() += file.record_count();
    }
    found
}

async fn landed(partition_by: &[&str]) -> (Vec<i64>, Landed) {
    let place = Place::new();
    let lake = place.lake().await;
    let batches: Vec<_> = (0..3).map(|_| flights(900)).collect();
    let target = lake.target(&landing(partition_by, &[]), &batches[0].schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 2), &batches).await.unwrap();
    let committed = lake.commit(&target, commit("a", landed.clone())).await.unwrap();
    (sorted(&added(&lake, committed.snapshot_id).await), landed)
}

#[tokio::test]
async fn months_and_names_make_one_file_per_partition() {
    let (found, landed) = landed(&["month(at)", "origin"]).await;
    assert_eq!(found.len(), 2_700);
    let expected = [
        ("at_month=1969-12/origin=JFK", 900),
        ("at_month=1970-01/origin=LGA%2F2", 900),
        ("at_month=1970-02/origin=null", 900),
    ];
    assert_eq!(rows_by_folder(&landed), expected.map(|(f, n)| (f.to_owned(), n)).into());
    assert_eq!(landed.files(), 3);
    let mut values: Vec<String> = landed.data_files().iter().map(|f| format!("{:?}", f.partition())).collect();
    values.sort();
    assert!(values[0].contains("Int(-1)") && values[0].contains("JFK"), "{values:?}");
}

#[tokio::test]
async fn days_and_buckets_follow_the_specification() {
    let (found, landed) = landed(&["day(day)", "bucket(4, origin)"]).await;
    assert_eq!(found.len(), 2_700);
    // Murmur3 as in the specification: what PyIceberg gives for the same values; null stays null.
    let folders: Vec<String> = rows_by_folder(&landed).into_keys().collect();
    assert_eq!(
        folders,
        [
            "day_day=1969-12-31/origin_bucket=0",
            "day_day=1970-01-01/origin_bucket=3",
            "day_day=1970-01-02/origin_bucket=null"
        ]
    );
}

#[tokio::test]
async fn more_partitions_than_open_files_lose_no_row() {
    let place = Place::new();
    let lake = place.lake().await;
    let batch = flights(600);
    let target = lake.target(&landing(&["n"], &[]), &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[batch.clone(), batch]).await.unwrap();
    assert_eq!(landed.rows(), 1_200);
    assert_eq!(rows_by_folder(&landed).len(), 600);
    let committed = lake.commit(&target, commit("a", landed)).await.unwrap();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await).len(), 1_200);
}

#[tokio::test]
async fn impossible_partition_fields_are_refused_by_name() {
    let place = Place::new();
    let lake = place.lake().await;
    let schema = flights(1).schema();
    for (field, words) in [
        ("tail", "there is no column `tail`; there are n, origin, at, day"),
        ("month(origin)", "month does not take string"),
        ("hour(day)", "hour does not take date"),
    ] {
        let error = lake.plan(&landing(&[field], &[]), &schema, &FROZEN).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::InvalidSpec);
        assert!(error.to_string().contains(words) && error.to_string().contains(field), "{error}");
    }
}
