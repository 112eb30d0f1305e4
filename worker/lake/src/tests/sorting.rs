//! Rows in the table's sort order, and partitions beyond number.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use moulin_core::Landing;
use tokio::sync::Semaphore;

use super::fixture::{FROZEN, Place, commit, landing, numbers, open_files, options, write};
use crate::{StageFile, WriteOptions};

fn sorted_by(partition_by: &[&str], sort_by: &[&str]) -> Landing {
    let sort_by = sort_by.iter().map(|text| text.parse().unwrap()).collect();
    Landing { sort_by, ..landing(partition_by, &[]) }
}

// Rows in no order, with nulls.
fn rows(from: i64, count: i64, parts: i64) -> RecordBatch {
    let shuffled = |n: i64| (n * 7919) % 1_000_003;
    let numbers: ArrayRef =
        Arc::new((from..from + count).map(|n| (n % 50 != 0).then_some(shuffled(n))).collect::<Int64Array>());
    let parts: ArrayRef = Arc::new((from..from + count).map(|n| Some(shuffled(n) % parts)).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new((from..from + count).map(|n| Some(format!("row {n}"))).collect::<StringArray>());
    RecordBatch::try_from_iter_with_nullable([("n", numbers, true), ("part", parts, true), ("text", texts, true)])
        .unwrap()
}

fn column(path: &str) -> Vec<Option<i64>> {
    let file = std::fs::File::open(path).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 1 << 20).unwrap();
    reader.flat_map(|batch| batch.unwrap()["n"].as_primitive::<Int64Type>().iter().collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn each_file_is_sorted_also_when_the_rows_do_not_fit_in_memory() {
    let place = Place::new();
    let lake = place.lake().await;
    let landing = sorted_by(&["bucket(2, part)"], &["n desc nulls first"]);
    let target = lake.target(&landing, &rows(0, 1, 4).schema()).await.unwrap();
    // Beyond what a lane holds, so that several runs are merged.
    let batches: Vec<_> = (0..80).map(|at| rows(at * 20_000, 20_000, 4)).collect();
    let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
    assert!(bytes > 40 << 20, "{bytes}");
    let mut options = options("a", 1);
    options.spill_dir = place.folder.path().join("spill");
    let landed = write(&lake, &target, options, &batches).await.unwrap();
    assert_eq!((landed.rows(), landed.files()), (1_600_000, 2));
    let counts = landed.counts();
    assert_eq!((counts.partitions, counts.threads, counts.full, counts.clustered), (2, 1, 0, false));
    assert!(counts.spilled_bytes > 20 << 20, "{counts:?}");
    assert!(place.folder.path().join("spill").exists(), "nothing was spilled");
    assert_eq!(std::fs::read_dir(place.folder.path().join("spill")).unwrap().count(), 0);
    for path in place.files(".parquet") {
        let found = column(&path);
        let nulls = found.iter().take_while(|value| value.is_none()).count();
        assert!(nulls > 0 && found[nulls..].windows(2).all(|pair| pair[0] >= pair[1] && pair[1].is_some()));
    }
    assert!(landed.data_files().iter().all(|file| file.sort_order_id() == Some(1)));
    lake.commit(&target, commit("a", landed)).await.unwrap();
}

#[tokio::test]
async fn open_files_do_not_grow_with_threads_and_rows() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&sorted_by(&[], &["n"]), &rows(0, 1, 1).schema()).await.unwrap();
    let spill = place.folder.path().join("spill");
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, folder) = (most.clone(), spill.clone());
    // Files are announced while the runs are merged.
    let stage: StageFile = Arc::new(move |_| {
        seen.fetch_max(open_files(&folder), Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    let options = WriteOptions { stage, spill_dir: spill.clone(), ..options("a", 64) };
    let batches: Vec<_> = (0..60).map(|at| rows(at * 20_000, 20_000, 4)).collect();
    let landed = write(&lake, &target, options, &batches).await.unwrap();
    assert_eq!(landed.rows(), 1_200_000);
    assert!(landed.counts().spilled_bytes > 20 << 20, "{:?}", landed.counts());
    let most = most.load(Ordering::SeqCst);
    assert!((1..=4).contains(&most), "{most} files were open at once");
    assert_eq!(open_files(&spill), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_ends_when_the_job_is_cancelled_and_nothing_is_left_on_the_disk() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&sorted_by(&["part"], &["n"]), &rows(0, 1, 1).schema()).await.unwrap();
    let spill = place.folder.path().join("spill");
    let (announced, cancelled) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (says, waits) = (announced.clone(), cancelled.clone());
    let staged = Arc::new(AtomicUsize::new(0));
    let count = staged.clone();
    let stage: StageFile = Arc::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        says.add_permits(1);
        let waits = waits.clone();
        Box::pin(async move {
            drop(waits.acquire().await);
            Ok(())
        })
    });
    let mut writer = lake.writer(&target, WriteOptions { stage, spill_dir: spill.clone(), ..options("a", 1) });
    for at in 0..80 {
        writer.write(rows(at * 20_000, 20_000, 100)).await.unwrap();
    }
    tokio::select! {
        _ = writer.finish() => unreachable!("no file is made before it is cancelled"),
        first = announced.acquire() => drop(first),
    }
    assert!(open_files(&spill) > 0);
    cancelled.add_permits(1000);
    while open_files(&spill) > 0 {
        tokio::task::yield_now().await;
    }
    let staged = staged.load(Ordering::SeqCst);
    assert!(staged < 50, "{staged} of 100 files were made for nobody");
    assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
}

#[tokio::test]
async fn more_partitions_than_are_written_side_by_side_are_one_file_each() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&["part"], &[]), &rows(0, 1, 1).schema()).await.unwrap();
    let batches: Vec<_> = (0..10).map(|at| rows(at * 800, 800, 500)).collect();
    let landed = write(&lake, &target, options("a", 1), &batches).await.unwrap();
    let partitions: std::collections::HashSet<&str> =
        landed.locations().map(|location| location.rsplit_once('/').unwrap().0).collect();
    assert_eq!(landed.rows(), 8_000);
    assert!(partitions.len() == 500, "{}", partitions.len());
    // Of the partitions that were met before it was known how many there are, some have another file.
    assert!(landed.files() < partitions.len() as u64 + 70, "{} files", landed.files());
    let counts = landed.counts();
    assert_eq!((counts.partitions, counts.threads, counts.clustered), (500, 1, true));
    assert_eq!(landed.files(), counts.partitions + counts.made_way, "{counts:?}");
    assert!(landed.data_files().iter().all(|file| file.sort_order_id().is_none()));
}

#[tokio::test]
async fn a_sort_order_is_for_a_table_that_is_made_and_a_column_that_is_there() {
    let place = Place::new();
    let lake = place.lake().await;
    let schema = numbers(0..1).schema();
    let error = lake.plan(&sorted_by(&[], &["m"]), &schema, &FROZEN).await.unwrap_err().to_string();
    assert_eq!(error, "sort_by `m`: there is no column `m`; there are n");
    lake.target(&sorted_by(&[], &["n desc"]), &schema).await.unwrap();
    lake.plan(&sorted_by(&[], &["n desc"]), &schema, &FROZEN).await.unwrap();
    let error = lake.plan(&sorted_by(&[], &["n"]), &schema, &FROZEN).await.unwrap_err().to_string();
    assert_eq!(error, "bronze.t: the table is sorted by n desc, but the job says sort_by n; leave sort_by out");
}

#[tokio::test]
async fn rows_are_sorted_by_a_field_of_a_struct_and_a_null_struct_is_null() {
    let place = Place::new();
    let lake = place.lake().await;
    let flat = rows(0, 1_000, 4);
    let fields = Fields::from(vec![Field::new("n", DataType::Int64, true)]);
    let there = NullBuffer::from((0..1_000).map(|n| n % 7 != 0).collect::<Vec<bool>>());
    let at: ArrayRef = Arc::new(StructArray::new(fields, vec![flat["n"].clone()], Some(there)));
    let batch = RecordBatch::try_from_iter_with_nullable([("at", at, true)]).unwrap();
    let target = lake.target(&sorted_by(&[], &["at.n desc"]), &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), std::slice::from_ref(&batch)).await.unwrap();
    assert_eq!(landed.data_files()[0].sort_order_id(), Some(1));
    let path = place.files(".parquet").remove(0);
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(std::fs::File::open(path).unwrap(), 1 << 20);
    let found: Vec<Option<i64>> = reader
        .unwrap()
        .flat_map(|batch| {
            let batch = batch.unwrap();
            let at = batch["at"].as_struct().clone();
            let inner = at.column(0).as_primitive::<Int64Type>().clone();
            let value = |row| {
                (arrow::array::Array::is_valid(&at, row) && arrow::array::Array::is_valid(&inner, row))
                    .then(|| inner.value(row))
            };
            (0..batch.num_rows()).map(value).collect::<Vec<_>>()
        })
        .collect();
    let nulls = found.iter().filter(|value| value.is_none()).count();
    assert!(nulls > 140 && found[found.len() - nulls..].iter().all(Option::is_none), "{nulls} nulls");
    assert!(found[..found.len() - nulls].is_sorted_by(|a, b| a >= b));
    let error = lake.plan(&sorted_by(&[], &["at"]), &batch.schema(), &FROZEN).await.unwrap_err().to_string();
    assert!(error.contains("the table is sorted by at.n desc"), "{error}");
}
