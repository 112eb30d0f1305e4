//! What every reader must do.

mod csv_dialect;
mod csv_splits;
mod files;
mod ndjson;
mod parquet;
mod values;

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use futures::{StreamExt, TryStreamExt};
use moulin_core::{Column, Counters, CsvFormat, Format, OnBadRow, Reject, Source, StorageSettings};

use super::blocks::{Pool, Splitter};
use super::pipeline::{Sizes, Text};
use super::{InputSchema, ReadOptions, batches, schema};
use crate::Error;
use crate::fetch::{ByteStream, Fetcher};

/// All that came of reading.
#[derive(Debug, Clone, PartialEq, Default)]
struct Outcome {
    rows: Vec<Vec<String>>,
    rejects: Vec<Reject>,
    rows_read: u64,
}

impl Outcome {
    fn codes(&self) -> Vec<&str> {
        self.rejects.iter().map(|reject| reject.code.as_str()).collect()
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<Vec<String>> {
    let cell = |column: &Arc<dyn Array>, row| {
        if column.is_null(row) { "NULL".to_owned() } else { array_value_to_string(column, row).unwrap() }
    };
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

/// Reads bytes with a text format, one block after another on this thread. Keeps every bad row of small blocks.
fn read_serially<T: Text>(text: &T, bytes: &[u8], block_bytes: usize) -> Result<Outcome, Error> {
    let stream: ByteStream = Box::new(Cursor::new(bytes.to_vec()));
    let mut splitter = Splitter::new(stream, block_bytes, Pool::default());
    let mut start = text.begin("file:///t", &mut splitter)?;
    let sizes = Sizes::new(text.schema().fields().len());
    let (mut outcome, mut records, mut lines) = (Outcome::default(), start.records, start.lines);
    let mut next = start.first.take();
    loop {
        let block = match next.take() {
            Some(block) => block,
            None => match splitter.next(start.cut).map_err(|error| super::csv::cut_error("file:///t", error))? {
                Some(block) => block,
                None => break,
            },
        };
        let parsed = text.parse(&start, &block, &sizes, false)?;
        outcome.rows.extend(rows_of(&parsed.batch));
        outcome.rejects.extend(parsed.kept.into_iter().map(|row| row.into_reject("file:///t", records, lines)));
        records += parsed.batch.num_rows() as u64 + parsed.bad_rows;
        lines += parsed.lines;
    }
    outcome.rows_read = records;
    Ok(outcome)
}

fn columns(declared: &[(&str, &str)]) -> Vec<Column> {
    declared.iter().map(|(name, ty)| Column::new(*name, ty.parse::<moulin_core::ColumnType>().unwrap())).collect()
}

fn source(path: &Path, format: Format, declared: &[(&str, &str)]) -> Source {
    let uris = vec![format!("file://{}", path.display())];
    Source { columns: columns(declared), ..Source::new(uris, format) }
}

fn csv() -> Format {
    Format::Csv(CsvFormat::default())
}

fn options(on_bad_row: OnBadRow) -> ReadOptions {
    ReadOptions { on_bad_row, ..ReadOptions::new(Arc::new(Counters::default())) }
}

async fn schema_of(source: &Source) -> Result<InputSchema, Error> {
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    let files = fetcher.list(&source.uris).await?;
    schema(&fetcher, source, &files).await
}

/// Names, types and origins, as a plan shows them.
async fn described(source: &Source) -> Result<String, Error> {
    let found = schema_of(source).await?;
    let columns = found.arrow.fields().iter().zip(&found.origins);
    let columns = columns.map(|(field, origin)| {
        format!("{} {} {}", field.name(), crate::iceberg_type_name(field.data_type()), origin.as_str())
    });
    Ok(columns.collect::<Vec<_>>().join(", "))
}

/// Reads files the way a job does.
async fn read_with(source: &Source, options: ReadOptions) -> Result<Outcome, Error> {
    let fetcher = Fetcher::new(&StorageSettings::default())?;
    let files = fetcher.list(&source.uris).await?;
    let schema = schema(&fetcher, source, &files).await?;
    let counters = Arc::clone(&options.counters);
    let read: Vec<RecordBatch> = batches(&fetcher, source, &files, &schema, options).try_collect().await?;
    assert!(read.iter().all(|batch| batch.schema() == schema.arrow));
    Ok(Outcome {
        rows: read.iter().flat_map(rows_of).collect(),
        rejects: counters.rejects(),
        rows_read: counters.rows_read.load(Relaxed),
    })
}

async fn read(source: &Source, on_bad_row: OnBadRow) -> Result<Outcome, Error> {
    read_with(source, options(on_bad_row)).await
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}
