//! Batches go to Polars and come back as they were: nulls, offsets, empty, sliced, nested.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64NanosecondArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::bridge::{to_batch, to_frame};
use super::super::output::Output;

/// A row of everything a reader makes, from three numbers and a text.
type Row = (Option<i64>, Option<i32>, Option<f64>, Option<String>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_comes_back_from_polars_as_it_went(rows in vec(row(), 0..200), from in 0.0..1.0_f64, keep in 0.0..1.0_f64) {
        let whole = batch(&rows);
        let from = (rows.len() as f64 * from) as usize;
        let part = whole.slice(from, ((rows.len() - from) as f64 * keep) as usize);
        prop_assert_eq!(there_and_back(&part), part.columns());
    }
}

#[test]
fn a_batch_without_rows_keeps_its_types() {
    let empty = batch(&[]);
    assert_eq!(there_and_back(&empty), empty.columns());
    let cut = batch(&[(Some(1), None, None, None)]).slice(1, 0);
    assert_eq!(there_and_back(&cut), cut.columns());
}

#[test]
fn what_polars_was_given_outlives_the_batch_and_the_other_way_around() {
    let rows: Vec<Row> = (0..1000).map(|i| (Some(i), None, Some(0.5), Some("x".repeat(40)))).collect();
    let frame = to_frame(&batch(&rows)).unwrap();
    assert_eq!(frame.height(), 1000);
    let back = to_batch(frame).unwrap();
    let back = Output::of(&back.schema()).unwrap().cast(&back).unwrap().remove(0);
    assert_eq!(back.columns(), batch(&rows).columns());
}

fn there_and_back(batch: &RecordBatch) -> Vec<ArrayRef> {
    let back = to_batch(to_frame(batch).unwrap()).unwrap();
    let output = Output::of(&back.schema()).unwrap();
    let pieces = output.cast(&back).unwrap();
    let back = pieces.into_iter().next().unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(output.schema())));
    back.columns().to_vec()
}

fn row() -> impl Strategy<Value = Row> {
    (option::of(any::<i64>()), option::of(any::<i32>()), option::of(-1e9..1e9_f64), option::of("\\PC{0,20}"))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let long = || rows.iter().map(|r| r.0);
    let int = || rows.iter().map(|r| r.1);
    // Polars has times of day in nanoseconds.
    let time = long().map(|v| v.map(|v| v.rem_euclid(86_400_000_000_000)));
    let decimal = long().map(|v| v.map(|v| i128::from(v % 1_000_000_000_000)));
    let text = || rows.iter().map(|r| r.3.as_deref());
    let lists = rows.iter().map(|r| r.1.map(|_| vec![r.0, None, r.0]));
    let inner: Vec<(Arc<Field>, ArrayRef)> = vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), Arc::new(Int64Array::from_iter(long()))),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from_iter(text()))),
    ];
    let (fields, arrays): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
    let present: Vec<bool> = rows.iter().map(|r| r.2.is_some()).collect();
    // Polars has no row that is null and holds something.
    let arrays = arrays
        .iter()
        .map(|a| arrow::compute::nullif(a, &BooleanArray::from_iter(present.iter().map(|p| Some(!p)))).unwrap())
        .collect();
    let structs = StructArray::try_new_with_length(fields.into(), arrays, Some(present.into()), rows.len()).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("boolean", Arc::new(BooleanArray::from_iter(int().map(|v| v.map(|v| v % 2 == 0))))),
        ("int", Arc::new(Int32Array::from_iter(int()))),
        ("long", Arc::new(Int64Array::from_iter(long()))),
        ("float", Arc::new(Float32Array::from_iter(rows.iter().map(|r| r.2.map(|v| v as f32))))),
        ("double", Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.2)))),
        ("decimal", Arc::new(Decimal128Array::from_iter(decimal).with_precision_and_scale(14, 3).unwrap())),
        ("date", Arc::new(Date32Array::from_iter(int().map(|v| v.map(|v| v % 100_000))))),
        ("time", Arc::new(Time64NanosecondArray::from_iter(time))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from_iter(long()))),
        ("timestamptz", Arc::new(TimestampMicrosecondArray::from_iter(long()).with_timezone("UTC"))),
        ("string", Arc::new(StringArray::from_iter(text()))),
        ("binary", Arc::new(BinaryArray::from_iter(text().map(|v| v.map(str::as_bytes))))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("struct", Arc::new(structs)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}
