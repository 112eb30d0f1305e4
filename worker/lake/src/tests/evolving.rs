//! Tables that follow the rows they are given.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
};
use arrow::array::{ListArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type};
use moulin_core::{Contract, FaultKind};

use super::fixture::{Place, added, commit, landing, numbers, options, table, write};
use crate::{Committed, Error, Lake, Target};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn points(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields: Vec<_> =
        fields.into_iter().map(|(n, c)| (Arc::new(Field::new(n, c.data_type().clone(), true)), c)).collect();
    let item: ArrayRef = Arc::new(StructArray::from(fields));
    let field = Arc::new(Field::new("item", item.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths((0..item.len()).map(|_| 1));
    Arc::new(ListArray::new(field, offsets, item, None))
}

async fn target(lake: &Lake, batch: &RecordBatch) -> Result<Target, Error> {
    lake.target_that_follows(&landing(&[], &[]), &batch.schema(), &Contract::default()).await
}

async fn follow(lake: &Lake, name: &str, batch: &RecordBatch) -> Result<Committed, Error> {
    let target = target(lake, batch).await?;
    let landed = write(lake, &target, options(name, 1), std::slice::from_ref(batch)).await?;
    lake.commit(&target, commit(name, landed)).await
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[tokio::test]
async fn columns_are_added_nested_too_and_types_widened_and_old_rows_read_right() {
    let place = Place::new();
    let lake = place.lake().await;
    let old = batch(vec![
        ("n", Arc::new(Int32Array::from(vec![1]))),
        ("f", Arc::new(Float32Array::from(vec![0.5]))),
        ("p", points(vec![("x", Arc::new(Int32Array::from(vec![7])))])),
    ]);
    let first = follow(&lake, "a", &old).await.unwrap();
    let new = batch(vec![
        ("p", points(vec![("y", texts(&["new"])), ("x", Arc::new(Int64Array::from(vec![1 << 40])))])),
        ("n", Arc::new(Int64Array::from(vec![1 << 40]))),
        ("f", Arc::new(Float64Array::from(vec![0.1]))),
        ("s", texts(&["text"])),
    ]);
    let second = follow(&lake, "b", &new).await.unwrap();
    // At the first snapshot the table has the columns it had then.
    let before = added(&lake, first.snapshot_id).await;
    assert_eq!(before.column_by_name("n").unwrap().as_primitive::<Int32Type>().value(0), 1);
    assert!(before.column_by_name("s").is_none());
    let after = added(&lake, second.snapshot_id).await;
    assert_eq!(after.column_by_name("n").unwrap().as_primitive::<Int64Type>().value(0), 1 << 40);
    let point = after.column_by_name("p").unwrap().as_list::<i32>().values().as_struct().clone();
    assert_eq!(point.column_by_name("x").unwrap().as_primitive::<Int64Type>().value(0), 1 << 40);
    assert_eq!(point.column_by_name("y").unwrap().as_string::<i32>().value(0), "new");
    // The old rows again, into the table as it is now: what they lack is null.
    let third = follow(&lake, "c", &old).await.unwrap();
    let again = added(&lake, third.snapshot_id).await;
    assert_eq!(again.column_by_name("n").unwrap().as_primitive::<Int64Type>().value(0), 1);
    let point = again.column_by_name("p").unwrap().as_list::<i32>().values().as_struct().clone();
    assert_eq!(
        (point.column_by_name("y").unwrap().null_count(), again.column_by_name("s").unwrap().null_count()),
        (1, 1)
    );
    let metadata = lake.loaded(&table()).await.metadata;
    assert_eq!((metadata.snapshots().len(), metadata.schemas_iter().len()), (3, 2));
    assert_eq!(metadata.current_snapshot().unwrap().schema_id(), Some(metadata.current_schema_id()));
}

#[tokio::test]
async fn a_job_that_never_commits_leaves_the_schema_as_it_was() {
    let place = Place::new();
    let lake = place.lake().await;
    follow(&lake, "a", &numbers(0..1)).await.unwrap();
    let wider = batch(vec![("n", Arc::new(Int64Array::from(vec![1]))), ("s", texts(&["x"]))]);
    let target = target(&lake, &wider).await.unwrap();
    write(&lake, &target, options("b", 1), &[wider]).await.unwrap();
    assert_eq!(lake.table_schema(&table()).await.unwrap().fields().len(), 1);
}

#[tokio::test]
async fn two_that_add_columns_at_once_are_reconciled_or_told_to_come_again() {
    let place = Place::new();
    let lake = place.lake().await;
    follow(&lake, "a", &numbers(0..1)).await.unwrap();
    let with = |name: &str| batch(vec![("n", Arc::new(Int64Array::from(vec![1]))), (name, texts(&["x"]))]);
    let (x, y) = (with("x"), with("y"));
    let mut ready = Vec::new();
    for (name, batch) in [("b", &x), ("c", &x), ("d", &y)] {
        let target = target(&lake, batch).await.unwrap();
        let landed = write(&lake, &target, options(name, 1), std::slice::from_ref(batch)).await.unwrap();
        ready.push((name, target, landed));
    }
    let commits = ready.iter().map(|(name, target, landed)| lake.commit(target, commit(name, landed.clone())));
    let mut answers = futures::future::join_all(commits).await;
    let error = answers.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), FaultKind::CommitConflict);
    assert_eq!(error.to_string(), "bronze.t: its schema was changed meanwhile: column `y` is `x`");
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    follow(&lake, "d", &y).await.unwrap();
    let names: Vec<String> =
        lake.table_schema(&table()).await.unwrap().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["n", "x", "y"]);
}

#[tokio::test]
async fn a_type_that_iceberg_does_not_widen_is_refused_by_name() {
    let place = Place::new();
    let lake = place.lake().await;
    follow(&lake, "a", &batch(vec![("n", Arc::new(Int32Array::from(vec![1])))])).await.unwrap();
    let error = follow(&lake, "b", &batch(vec![("n", texts(&["x"]))])).await.unwrap_err();
    assert_eq!(error.to_string(), "bronze.t: column `n` is int in the table, but string in the job");
    // A date is no timestamp in format version 2.
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![Field::new("n", DataType::Date32, true)]));
    assert!(lake.target_that_follows(&landing(&[], &[]), &schema, &Contract::default()).await.is_err());
}
