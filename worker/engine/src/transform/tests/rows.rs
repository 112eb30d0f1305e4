//! Rows, and one call that runs a transform over them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use futures::StreamExt;
use moulin_core::{Counters, Nanoseconds, Transform};

use super::super::{Prepared, TransformOptions, prepare};
use crate::{BatchStream, Error};

/// What came of a transform.
pub(super) struct Ran {
    pub(super) batch: RecordBatch,
    pub(super) rows_in: u64,
    pub(super) rows_out: u64,
    pub(super) row_wise: bool,
}

impl Ran {
    /// The rows as a table of text.
    pub(super) fn text(&self) -> String {
        pretty_format_batches(std::slice::from_ref(&self.batch)).unwrap().to_string()
    }

    /// The rows without the frame around them, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().filter(|line| line.starts_with('|')).skip(1);
        lines
            .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" "))
            .collect()
    }
}

pub(super) fn options(memory_bytes: u64) -> TransformOptions {
    TransformOptions { memory_bytes, spill_dir: std::env::temp_dir(), threads: 1, nanoseconds: Nanoseconds::Refuse }
}

pub(super) async fn prepared(transform: Transform, schema: &SchemaRef) -> Result<Prepared, Error> {
    prepare(Some(&transform), schema, options(256 << 20)).await
}

/// Prepares and runs `transform` over `batches`.
pub(super) async fn run(transform: Transform, batches: Vec<RecordBatch>, memory_bytes: u64) -> Result<Ran, Error> {
    let prepared = prepare(Some(&transform), &batches[0].schema(), options(memory_bytes)).await?;
    run_prepared(prepared, batches.into_iter().map(Ok).collect()).await
}

pub(super) async fn run_prepared(prepared: Prepared, batches: Vec<Result<RecordBatch, Error>>) -> Result<Ran, Error> {
    let (schema, row_wise, counters) =
        (Arc::clone(prepared.output()), prepared.row_wise(), Arc::new(Counters::default()));
    let mut made = Vec::new();
    let mut stream = prepared.apply(stream_of(batches), Arc::clone(&counters));
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        assert_eq!(batch.schema(), schema, "a batch of another schema than was planned");
        made.push(batch);
    }
    let batch = concat_batches(&schema, &made).unwrap();
    let (rows_in, rows_out) = (counters.rows_in.load(Relaxed), counters.rows_out.load(Relaxed));
    assert_eq!(rows_out, batch.num_rows() as u64);
    Ok(Ran { batch, rows_in, rows_out, row_wise })
}

pub(super) fn stream_of(batches: Vec<Result<RecordBatch, Error>>) -> BatchStream {
    Box::pin(futures::stream::iter(batches))
}

/// Four flights, of the schema the stored plans were made for.
pub(super) fn flights() -> RecordBatch {
    let hours = [1_357_034_400, 1_357_038_000, 1_359_712_800, 1_359_716_400].map(|s: i64| s * 1_000_000);
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef),
        ("origin", Arc::new(StringArray::from(vec!["EWR", "JFK", "JFK", "LGA"]))),
        ("dep_delay", Arc::new(Float64Array::from(vec![Some(20.0), Some(30.5), None, Some(-3.0)]))),
        ("price", Arc::new(Decimal128Array::from(vec![100, 250, 399, 1]).with_precision_and_scale(12, 2).unwrap())),
        ("day", Arc::new(Date32Array::from(vec![15706, 15706, 15737, 15737]))),
        ("time_hour", Arc::new(TimestampMicrosecondArray::from(hours.to_vec()).with_timezone("UTC"))),
        ("note", Arc::new(StringArray::from(vec![Some("a b"), None, Some("c"), Some("7")]))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// `flights` in two batches, the second with an offset into its arrays.
pub(super) fn flights_in_two() -> Vec<RecordBatch> {
    let all = flights();
    vec![all.slice(0, 1), all.slice(1, 3)]
}

/// `rows` rows with a distinct `n` and a `word` of `word_bytes`, in batches of 8 Ki.
pub(super) fn many(rows: i64, word_bytes: usize) -> Vec<RecordBatch> {
    let batch = |from: i64| {
        let n = from..rows.min(from + 8192);
        // Scattered, so that a sort has something to do.
        let numbers = Int64Array::from_iter_values(n.clone().map(|i| i.wrapping_mul(7919) % rows));
        let words = StringArray::from_iter_values(n.map(|i| format!("{:0word_bytes$}", i.wrapping_mul(7919) % rows)));
        RecordBatch::try_from_iter([("n", Arc::new(numbers) as ArrayRef), ("word", Arc::new(words))]).unwrap()
    };
    (0..rows).step_by(8192).map(batch).collect()
}
