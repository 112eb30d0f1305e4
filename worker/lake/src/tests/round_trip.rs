//! What is landed comes back, value for value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, builder::Int32Builder,
};
use arrow::datatypes::{DataType, Field, Fields};

use super::fixture::{Place, added, land, landing, numbers, options, sorted, table, write};

fn every_type() -> RecordBatch {
    let decimal = |p, s, v: Vec<Option<i128>>| {
        Arc::new(Decimal128Array::from(v).with_precision_and_scale(p, s).unwrap()) as ArrayRef
    };
    let mut list = ListBuilder::new(Int32Builder::new());
    list.append_value([Some(1), None, Some(3)]);
    list.append_null();
    list.append_value([]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("a");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let inner = Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let parts: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
        Arc::new(StringArray::from(vec![Some("é"), None, None])),
    ];
    let nested = StructArray::new(inner, parts, Some(vec![true, true, false].into()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("int", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("long", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("float", Arc::new(Float32Array::from(vec![Some(-0.0), Some(f32::NAN), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(f64::MIN), Some(f64::INFINITY), None]))),
        ("decimal_9_2", decimal(9, 2, vec![Some(-999_999_999), Some(1), None])),
        ("decimal_18_4", decimal(18, 4, vec![Some(-999_999_999_999_999_999), Some(1), None])),
        ("decimal_38_10", decimal(38, 10, vec![Some(-(10i128.pow(38) - 1)), Some(10i128.pow(38) - 1), None])),
        ("date", Arc::new(Date32Array::from(vec![Some(-719_162), Some(19_000), None]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![Some(0), Some(86_399_999_999), None]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(1_700_000_000_000_001), None]))),
        (
            "timestamptz",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-1), Some(1_700_000_000_000_001), None]).with_timezone("UTC"),
            ),
        ),
        ("string", Arc::new(StringArray::from(vec![Some(""), Some("a 'quoted' text, ünïcode"), None]))),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), Some(&b""[..]), None]))),
        ("list", Arc::new(list.finish())),
        ("struct", Arc::new(nested)),
        ("map", Arc::new(map.finish())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

#[tokio::test]
async fn every_type_comes_back_with_its_nulls() {
    let place = Place::new();
    let lake = place.lake().await;
    let batch = every_type();
    let committed = land(&lake, &landing(&[], &[]), "a", std::slice::from_ref(&batch)).await.unwrap();
    let found = added(&lake, committed.snapshot_id).await;
    assert_eq!(found.num_columns(), batch.num_columns());
    for (index, field) in batch.schema().fields().iter().enumerate() {
        let (sent, got) = (batch.column(index), found.column(index));
        assert_eq!(found.schema().field(index).name(), field.name());
        if field.data_type().is_nested() {
            // Names inside lists and maps are Iceberg's own; the values are compared.
            assert_eq!(format!("{:?}", rows(sent)), format!("{:?}", rows(got)), "{}", field.name());
        } else {
            assert_eq!(got, sent, "{}", field.name());
        }
    }
}

fn rows(column: &ArrayRef) -> Vec<Option<String>> {
    let options = arrow::util::display::FormatOptions::new().with_null("∅");
    let formatter = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string())).collect()
}

#[tokio::test]
async fn bounds_and_counts_describe_the_file() {
    let place = Place::new();
    let lake = place.lake().await;
    let batch = every_type();
    let target = lake.target(&landing(&[], &[]), &batch.schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 1), &[batch]).await.unwrap();
    let [file] = landed.data_files() else { panic!("one file") };
    let schema = target.metadata.current_schema();
    let id = |name: &str| schema.field_id_by_name(name).unwrap();
    let bound = |name: &str| (file.lower_bounds()[&id(name)].to_string(), file.upper_bounds()[&id(name)].to_string());
    assert_eq!(bound("decimal_9_2"), ("-9999999.99".into(), "0.01".into()));
    assert_eq!(bound("decimal_18_4"), ("-99999999999999.9999".into(), "0.0001".into()));
    assert_eq!(bound("date"), ("0001-01-01".into(), "2022-01-08".into()));
    assert_eq!(bound("string"), ("\"\"".into(), "\"a 'quoted' text-\"".into()));
    assert_eq!(bound("struct.x"), ("1".into(), "1".into()));
    assert_eq!(file.null_value_counts()[&id("long")], 1);
    assert_eq!(file.value_counts()[&id("long")], 3);
    assert!(!file.lower_bounds().contains_key(&id("list.element")));
    assert!(file.column_sizes().contains_key(&id("list.element")));
    assert_eq!(file.split_offsets(), Some(&[4][..]));
    assert_eq!(file.file_size_in_bytes(), std::fs::metadata(place.files(".parquet")[0].as_str()).unwrap().len());
}

#[tokio::test]
async fn a_small_target_size_rolls_files_and_each_is_announced_first() {
    let place = Place::new();
    let lake = place.lake().await;
    let landing = landing(&[], &[("write.target-file-size-bytes", "20000")]);
    let batches: Vec<_> =
        (0..20).map(|b| numbers((0..5_000).map(move |n| (b * 5_000 + n) * 7_919 % 1_000_003))).collect();
    let target = lake.target(&landing, &batches[0].schema()).await.unwrap();
    let (options, staged) = super::fixture::noting("a", 1);
    let landed = write(&lake, &target, options, &batches).await.unwrap();
    assert!(landed.files() > 3, "{} files", landed.files());
    let mut staged = staged.lock().unwrap().clone();
    let mut files: Vec<String> = landed.locations().map(str::to_owned).collect();
    staged.sort();
    files.sort();
    assert_eq!(staged, files);
    assert_eq!(place.files(".parquet").len() as u64, landed.files());
    let committed = lake.commit(&target, super::fixture::commit("a", landed)).await.unwrap();
    let mut expected: Vec<i64> = (0..100_000).map(|n| n * 7_919 % 1_000_003).collect();
    expected.sort_unstable();
    assert_eq!(sorted(&added(&lake, committed.snapshot_id).await), expected);
}

#[tokio::test]
async fn several_lanes_lose_no_row() {
    let place = Place::new();
    let lake = place.lake().await;
    let big: Vec<_> = (0..24).map(|b| numbers(b * 1_000_000..(b + 1) * 1_000_000)).collect();
    let target = lake.target(&landing(&[], &[]), &big[0].schema()).await.unwrap();
    let landed = write(&lake, &target, options("a", 3), &big).await.unwrap();
    assert_eq!(landed.rows(), 24_000_000);
    let committed = lake.commit(&target, super::fixture::commit("a", landed)).await.unwrap();
    let found = sorted(&added(&lake, committed.snapshot_id).await);
    assert!(found.iter().copied().eq(0..24_000_000));
}

#[tokio::test]
async fn a_snapshot_gives_its_own_rows_after_another_append() {
    let place = Place::new();
    let lake = place.lake().await;
    let first = land(&lake, &landing(&[], &[]), "a", &[numbers(0..10)]).await.unwrap();
    let second = land(&lake, &landing(&[], &[]), "b", &[numbers(10..15)]).await.unwrap();
    assert_eq!(sorted(&added(&lake, first.snapshot_id).await), (0..10).collect::<Vec<_>>());
    assert_eq!(sorted(&added(&lake, second.snapshot_id).await), (10..15).collect::<Vec<_>>());
    let error = lake.added_by(&table(), 42, None).await.err().unwrap();
    assert_eq!(error.to_string(), "snapshot 42 of table bronze.t (it may have expired) does not exist");
}

// The way to an object store, with Iceberg's store in memory in its place.
#[tokio::test]
async fn a_warehouse_that_is_not_local_takes_and_gives_the_same_rows() {
    let place = Place::new();
    let warehouse = crate::warehouse::Warehouse::in_memory();
    let lake = crate::Lake::over(&place.settings(), warehouse, "memory://bucket/w".into()).await.unwrap();
    assert!(lake.check_warehouse().await.is_ok());
    // More than one part of an upload: numbers that do not compress.
    let values = |n: i64| (n.wrapping_mul(0x5851_F42D_4C95_7F2D) ^ n >> 7).wrapping_mul(0x1405_7B7E_F767_814F) >> 1;
    let batches: Vec<_> = (0..20).map(|b| numbers((b * 100_000..(b + 1) * 100_000).map(values))).collect();
    let committed = land(&lake, &landing(&[], &[]), "a", &batches).await.unwrap();
    let mut expected: Vec<i64> = (0..2_000_000).map(values).collect();
    expected.sort_unstable();
    assert!(sorted(&added(&lake, committed.snapshot_id).await) == expected);
    assert!(place.files(".parquet").is_empty());
}

#[tokio::test]
async fn a_writer_that_is_dropped_leaves_no_finished_file() {
    let place = Place::new();
    let lake = place.lake().await;
    let target = lake.target(&landing(&[], &[]), &numbers(0..1).schema()).await.unwrap();
    let (options, staged) = super::fixture::noting("a", 1);
    let stage_seen = staged.clone();
    let mut writer = lake.writer(&target, options);
    while stage_seen.lock().unwrap().is_empty() {
        writer.write(numbers(0..10)).await.unwrap();
    }
    drop(writer);
    let locations = staged.lock().unwrap().clone();
    lake.remove_files(&locations).await.unwrap();
    lake.remove_files(&locations).await.unwrap();
    assert!(lake.find_token(&table(), &super::fixture::token("a")).await.unwrap().is_none());
}
