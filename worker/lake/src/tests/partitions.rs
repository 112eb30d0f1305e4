//! Rows go to the partition their values say.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
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
async fn files_of_several_writers_are_counted_together() {
    let place = Place::new();
    let lake = place.lake().await;
    let batch = flights(300);
    let target = lake.target(&landing(&["origin"], &[]), &batch.schema()).await.unwrap();
    let mut landed = Landed::default();
    // Three partitions, then one of them.
    for (name, rows) in [("a", 300), ("b", 1)] {
        landed.add(write(&lake, &target, options(name, 1), &[batch.slice(0, rows)]).await.unwrap());
    }
    assert_eq!(landed.files(), 4);
    assert_eq!(landed.counts().words(landed.files()), "3 partitions, 2 threads");
    assert_eq!(landed.counts().target_bytes, 512 << 20);
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
        ("day.x", "there is no column `day.x`; `day` is date, not a struct"),
    ] {
        let error = lake.plan(&landing(&[field], &[]), &schema, &FROZEN).await.unwrap_err();
        assert_eq!(error.kind(), FaultKind::InvalidSpec);
        assert!(error.to_string().contains(words) && error.to_string().contains(field), "{error}");
    }
}

/// The columns of `flights` in structs, `of.plane.origin` and `of.at`; every tenth row has none.
fn nested(rows: i64) -> RecordBatch {
    let flat = flights(rows);
    let column = |name: &str| flat.column_by_name(name).unwrap().clone();
    let plane = Fields::from(vec![Field::new("origin", DataType::Utf8, true)]);
    let of = Fields::from(vec![
        Field::new("plane", DataType::Struct(plane.clone()), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let plane: ArrayRef = Arc::new(StructArray::new(plane, vec![column("origin")], None));
    let there = NullBuffer::from((0..rows).map(|n| n % 10 != 0).collect::<Vec<bool>>());
    let of: ArrayRef = Arc::new(StructArray::new(of, vec![plane, column("at")], Some(there)));
    RecordBatch::try_from_iter_with_nullable([("n", column("n"), true), ("of", of, true)]).unwrap()
}

#[tokio::test]
async fn fields_of_structs_make_partitions_and_those_of_a_null_struct_are_null() {
    let place = Place::new();
    let lake = place.lake().await;
    let landing = landing(&["of.plane.origin", "month(of.at)"], &[("commit.manifest-merge.enabled", "true")]);
    let batch = nested(900);
    let plan = lake.plan(&landing, &batch.schema(), &FROZEN).await.unwrap();
    assert_eq!(plan.partition_by, ["of.plane.origin", "month(of.at)"]);
    let target = lake.target(&landing, &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), std::slice::from_ref(&batch)).await.unwrap();
    let expected = [
        ("of.plane.origin=JFK/of.at_month=1969-12", 270),
        ("of.plane.origin=LGA%2F2/of.at_month=1970-01", 270),
        ("of.plane.origin=null/of.at_month=1970-02", 270),
        ("of.plane.origin=null/of.at_month=null", 90),
    ];
    assert_eq!(rows_by_folder(&landed), expected.map(|(f, n)| (f.to_owned(), n)).into());
    let committed = lake.commit(&target, commit("a", landed.clone())).await.unwrap();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await).len(), 900);
    // Manifests are read again, and their partitions with them: whoever replaces files has to.
    let plan = lake.plan(&landing, &batch.schema(), &FROZEN).await.unwrap();
    assert!(plan.exists && plan.partition_by == ["of.plane.origin", "month(of.at)"], "{plan:?}");
    let mut replacing = commit("b", write(&lake, &target, options("b", 1), &[nested(9)]).await.unwrap());
    replacing.removed.locations = landed.locations().take(2).map(str::to_owned).collect();
    lake.commit(&target, replacing).await.unwrap();
    let metadata = lake.loaded(&super::fixture::table()).await.metadata;
    let spec = metadata.default_partition_spec();
    assert_eq!(spec.fields()[1].name, "of.at_month");
    assert_eq!(metadata.current_snapshot().unwrap().summary().additional_properties["deleted-data-files"], "2");
    assert_eq!(partitions_of(&lake).await, expected_after(&landed));
}

/// The partition values that the manifests of the table name, those of files that are gone too.
async fn partitions_of(lake: &crate::Lake) -> Vec<String> {
    let table = super::fixture::table();
    let metadata = lake.loaded(&table).await.metadata;
    let current = metadata.current_snapshot().unwrap();
    let mut found = Vec::new();
    for manifest in crate::commit::manifest_list(&table, &metadata, current, lake.files()).await.unwrap() {
        let manifest = manifest.load_manifest(&lake.files().io(&manifest.manifest_path)).await.unwrap();
        found.extend(manifest.entries().iter().map(|entry| format!("{:?}", entry.data_file().partition())));
    }
    found.sort();
    found
}

// Nine rows have the same four partitions.
fn expected_after(landed: &Landed) -> Vec<String> {
    let values = || landed.data_files().iter().map(|file| format!("{:?}", file.partition()));
    let mut expected: Vec<String> = values().chain(values()).collect();
    expected.sort();
    expected
}

#[tokio::test]
async fn a_partition_field_may_have_a_name_that_avro_does_not_take() {
    let place = Place::new();
    let lake = place.lake().await;
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let batch = RecordBatch::try_from_iter_with_nullable([("tail no", names, true)]).unwrap();
    let target = lake.target(&landing(&["tail no"], &[]), &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), std::slice::from_ref(&batch)).await.unwrap();
    let committed = lake.commit(&target, commit("a", landed.clone())).await.unwrap();
    assert_eq!(added(&lake, committed.snapshot_id).await.num_rows(), 2);
    let mut expected: Vec<String> = landed.data_files().iter().map(|file| format!("{:?}", file.partition())).collect();
    expected.sort();
    assert_eq!(partitions_of(&lake).await, expected);
}

#[tokio::test]
async fn a_void_field_makes_no_partitions_and_the_same_job_lands_again() {
    let place = Place::new();
    let lake = place.lake().await;
    let landing = landing(&["void(n)", "origin"], &[]);
    for name in ["a", "b"] {
        let target = lake.target(&landing, &flights(1).schema()).await.unwrap();
        let landed = write(&lake, &target, options(name, 1), &[flights(30)]).await.unwrap();
        assert_eq!(
            rows_by_folder(&landed).into_keys().collect::<Vec<_>>(),
            ["origin=JFK", "origin=LGA%2F2", "origin=null"]
        );
        lake.commit(&target, commit(name, landed)).await.unwrap();
    }
}

#[tokio::test]
async fn any_moment_may_be_a_partition_also_one_that_no_calendar_has() {
    let place = Place::new();
    let lake = place.lake().await;
    let moments = TimestampMicrosecondArray::from(vec![-1, 0, i64::MIN, i64::MAX]);
    let days: ArrayRef = Arc::new(Date32Array::from(vec![-1, 0, i32::MIN, i32::MAX]));
    let columns: [(&str, ArrayRef); 3] =
        [("zoned", Arc::new(moments.clone().with_timezone("UTC"))), ("plain", Arc::new(moments)), ("day", days)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
    let properties = [("write.summary.partition-limit", "100")];
    let target = lake.target(&landing(&["zoned", "plain", "day"], &properties), &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), std::slice::from_ref(&batch)).await.unwrap();
    let folders: Vec<String> = rows_by_folder(&landed).into_keys().collect();
    assert_eq!(folders.len(), 4, "{folders:?}");
    assert!(folders.iter().any(|one| one.starts_with("zoned=1969-12-31+23%3A59%3A59.999999+UTC/")), "{folders:?}");
    let committed = lake.commit(&target, commit("a", landed)).await.unwrap();
    assert_eq!(added(&lake, committed.snapshot_id).await.num_rows(), 4);
}
