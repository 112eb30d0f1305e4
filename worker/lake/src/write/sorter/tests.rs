use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use arrow::array::builder::{Int64Builder, ListBuilder};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringArray, StructArray};
use arrow::datatypes::{Field, Int64Type};
use moulin_core::{FaultKind, Landing};
use proptest::prelude::*;

use super::*;
use crate::Target;
use crate::tests::fixture::{Place, landing};

const TINY: Limits = Limits { run_bytes: 500, fan_in: 3, merge_bytes: 1500, total_bytes: 3000 };

#[derive(Debug, Clone)]
struct Row {
    n: Option<i64>,
    text: Option<String>,
    list: Option<Vec<Option<i64>>>,
    flag: Option<bool>,
}

fn row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![4 => "[abé]{0,3}", 1 => "[a-c]{60,200}", 1 => "z{2000}"];
    let list = proptest::option::of(proptest::collection::vec(proptest::option::of(0..9i64), 0..6));
    let parts = (proptest::option::of(-3..3i64), proptest::option::of(text), list, proptest::option::of(any::<bool>()));
    parts.prop_map(|(n, text, list, flag)| Row { n, text, list, flag })
}

fn batches() -> impl Strategy<Value = Vec<Vec<Row>>> {
    proptest::collection::vec(proptest::collection::vec(row(), 1..30), 0..20)
}

// Rows with their numbers, which nothing is sorted by.
fn batch(rows: &[Row], from: i64) -> RecordBatch {
    let mut lists = ListBuilder::new(Int64Builder::new());
    rows.iter().for_each(|row| lists.append_option(row.list.clone()));
    let flags: BooleanArray = rows.iter().map(|row| row.flag).collect();
    let numbers: ArrayRef = Arc::new((from..from + rows.len() as i64).collect::<Int64Array>());
    let inner = vec![(Arc::new(Field::new("flag", flags.data_type().clone(), true)), Arc::new(flags) as ArrayRef)];
    let columns: [(&str, ArrayRef); 5] = [
        ("n", Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>())),
        ("text", Arc::new(rows.iter().map(|row| row.text.as_deref()).collect::<StringArray>())),
        ("list", Arc::new(lists.finish())),
        ("inner", Arc::new(StructArray::from(inner))),
        ("number", numbers),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

// A table that is sorted by `n`, the greatest first and nulls last, then by `text` with nulls first.
async fn target(place: &Place) -> Target {
    let sort_by = ["n desc nulls last", "text asc nulls first"].map(|text| text.parse().unwrap()).into();
    let landing = Landing { sort_by, ..landing(&[], &[]) };
    let empty = Row { n: None, text: None, list: None, flag: None };
    place.lake().await.target(&landing, &batch(&[empty], 0).schema()).await.unwrap()
}

fn plainly_sorted(rows: &mut [(usize, &Row)]) {
    fn nulls_last(a: Option<i64>, b: Option<i64>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => b.cmp(&a),
            (a, b) => a.is_none().cmp(&b.is_none()),
        }
    }
    rows.sort_by(|(_, a), (_, b)| nulls_last(a.n, b.n).then_with(|| a.text.cmp(&b.text)));
}

fn sorter(target: &Target, folder: &Path, limits: Limits) -> Sorter {
    let order = Order::new(target, true).unwrap();
    Sorter::new(order, folder.to_owned(), Arc::new(Budget::new(limits)))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_as_a_plain_sort_brings_them_however_they_are_cut() {
    let place = Place::new();
    let target = target(&place).await;
    let folder = place.folder.path().join("spill");
    proptest!(ProptestConfig::with_cases(150), |(batches in batches())| {
        let mut sorter = sorter(&target, &folder, TINY);
        let mut from = 0;
        for rows in &batches {
            sorter.push(batch(rows, from)).unwrap();
            from += rows.len() as i64;
        }
        let mut found = Vec::new();
        sorter.finish(|batch| { found.push(batch.clone()); Ok(()) }).unwrap();
        found.retain(|batch| batch.num_rows() > 0);
        let all: Vec<Row> = batches.into_iter().flatten().collect();
        let mut rows: Vec<(usize, &Row)> = all.iter().enumerate().collect();
        plainly_sorted(&mut rows);
        if let Some(first) = found.first() {
            let numbers: UInt32Array = rows.iter().map(|(number, _)| u32::try_from(*number).unwrap()).collect();
            let expected = take_record_batch(&batch(&all, 0), &numbers).unwrap();
            prop_assert_eq!(concat_batches(&first.schema(), &found).unwrap(), expected);
        } else {
            prop_assert!(all.is_empty());
        }
    });
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

fn numbers(from: i64, count: i64) -> Vec<Row> {
    let shuffled = |n: i64| Some((n * 7919) % 10_007);
    (from..from + count).map(|n| Row { n: shuffled(n), text: None, list: None, flag: None }).collect()
}

#[tokio::test]
async fn files_and_passes_grow_with_the_logarithm_of_the_runs() {
    let place = Place::new();
    let target = target(&place).await;
    let folder = place.folder.path().join("spill");
    let mut sorter = sorter(&target, &folder, TINY);
    let (mut most_open, mut most_runs, mut highest) = (0, 0, 0);
    for at in 0..300 {
        // Each is a run.
        sorter.push(batch(&numbers(at * 30, 30), at * 30)).unwrap();
        most_open = most_open.max(open_files(&folder));
        most_runs = most_runs.max(sorter.runs.len());
        highest = highest.max(sorter.runs[0].0);
    }
    // 3^5 < 300 < 3^6: each row was written five times again at most, and five levels had two runs each.
    assert_eq!((most_open, most_runs, highest), (5, 10, 5));
    let mut rows = 0;
    let finished = sorter.finish(|batch| {
        most_open = most_open.max(open_files(&folder));
        rows += batch.num_rows();
        Ok(())
    });
    finished.unwrap();
    assert_eq!((rows, open_files(&folder)), (9000, 0));
    assert!(most_open <= 7, "{most_open} files");
}

#[tokio::test]
async fn a_merge_is_bounded_in_bytes_however_long_rows_are() {
    let place = Place::new();
    let target = target(&place).await;
    let limits = Limits { run_bytes: 1 << 20, fan_in: 4, merge_bytes: 4 << 20, total_bytes: 8 << 20 };
    let mut sorter = sorter(&target, place.folder.path(), limits);
    for at in 0..40 {
        let mut rows = numbers(at * 30, 30);
        rows.iter_mut().for_each(|row| row.text = Some("x".repeat(100_000)));
        sorter.push(batch(&rows, at * 30)).unwrap();
    }
    assert!(sorter.runs.iter().all(|(_, run)| run.widest_bytes <= limits.block_bytes()));
    let (mut rows, mut most) = (0, 0);
    let finished = sorter.finish(|batch| {
        rows += batch.num_rows();
        most = most.max(batch_bytes(batch));
        Ok(())
    });
    finished.unwrap();
    assert_eq!(rows, 1200);
    assert!(most <= limits.merge_bytes / 2, "{most} bytes came at once");
}

#[tokio::test]
async fn rows_longer_than_a_merge_may_hold_are_merged_two_by_two() {
    let place = Place::new();
    let target = target(&place).await;
    let limits = Limits { run_bytes: 1000, fan_in: 4, merge_bytes: 4000, total_bytes: 8000 };
    let mut sorter = sorter(&target, place.folder.path(), limits);
    let mut most_runs = 0;
    for at in 0..64 {
        let mut rows = numbers(at, 1);
        rows[0].text = Some("x".repeat(10_000));
        sorter.push(batch(&rows, at)).unwrap();
        most_runs = most_runs.max(sorter.runs.len());
    }
    assert_eq!((most_runs, sorter.runs.len(), sorter.runs[0].0), (6, 1, 6));
    let mut found = Vec::new();
    sorter
        .finish(|batch| {
            found.extend(batch["n"].as_primitive::<Int64Type>().values().to_vec());
            Ok(())
        })
        .unwrap();
    assert!(found.len() == 64 && found.is_sorted_by(|a, b| a >= b), "{found:?}");
}

#[test]
fn a_full_disk_is_named_and_tried_again() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let rows = batch(&numbers(0, 20_000), 0);
    let mut writer = RunFile::of(full).append(0, 1 << 20, rows.schema()).unwrap();
    let error = writer.write(&rows).and_then(|()| writer.finish().map(drop)).unwrap_err();
    assert_eq!(error.to_string(), "cannot write sorted rows in a test");
    assert_eq!(error.kind(), FaultKind::Unavailable);
    let fault = moulin_core::Fault::from(error);
    assert!(fault.report().contains("No space left on device"), "{}", fault.report());
    assert!(fault.report().contains("make room"), "{}", fault.report());
}

#[test]
fn a_lane_that_waits_for_others_ends_when_nobody_wants_the_rows() {
    let budget = Arc::new(Budget::new(TINY));
    // More than there is in all is all of it.
    let share = budget.take(usize::MAX).unwrap();
    let waiting = std::thread::spawn({
        let budget = budget.clone();
        move || budget.take(1).map(drop)
    });
    budget.stop();
    let error = waiting.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("nobody waits"), "{error}");
    drop(share);
    budget.take(TINY.total_bytes).unwrap();
}

#[test]
fn a_share_is_free_again_when_it_is_dropped() {
    let budget = Arc::new(Budget::new(TINY));
    let all = budget.take(TINY.total_bytes).unwrap();
    let waiting = std::thread::spawn({
        let budget = budget.clone();
        move || budget.take(TINY.total_bytes).map(drop)
    });
    drop(all);
    waiting.join().unwrap().unwrap();
    drop(budget.take(TINY.total_bytes).unwrap());
}

#[test]
fn a_run_has_a_shortest_length_however_many_lanes_there_are() {
    assert_eq!((Limits::of(1).run_bytes, Limits::of(4).run_bytes), (32 << 20, 8 << 20));
    assert_eq!((Limits::of(16).run_bytes, Limits::of(256).run_bytes), (4 << 20, 4 << 20));
    assert!(Limits::of(256).merge_bytes >= 16 << 20);
}

fn open_files(folder: &Path) -> usize {
    crate::tests::fixture::open_files(folder)
}
