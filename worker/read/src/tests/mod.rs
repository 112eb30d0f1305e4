//! What every reader must do.

mod added_columns;
mod bad_files;
mod conformance;
mod csv_auto;
mod csv_contract;
mod csv_dialect;
mod csv_encodings;
mod csv_options;
mod csv_spectrum;
mod csv_splits;
mod every_split;
mod files;
mod fuzzing;
mod hostile;
mod json_documents;
mod json_rules;
mod json_texts;
mod limits;
mod long_records;
mod ndjson;
mod parquet;
mod parquet_casts;
mod parquet_contract;
mod parquet_kinds;
mod parquet_parts;
mod parquet_units;
mod pieces;
mod projection;
mod properties;
mod rejects;
mod remote;
mod shards;
mod values;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use moulin_core::{Column, Counters, CsvFormat, Format, OnBadRow, Reject, Source, StorageSettings};

use super::{InputSchema, ReadOptions, batches, schema};
use crate::Error;
use crate::fetch::Fetcher;
use crate::fuzzing::{Outcome, read_serially, rows_of};

impl Outcome {
    fn codes(&self) -> Vec<&str> {
        self.rejects.iter().map(|reject| reject.code.as_str()).collect()
    }
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

/// Cases of a generated test: so many by default, or as many as `MOULIN_CASES` says.
fn cases(default: u32) -> u32 {
    std::env::var("MOULIN_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
