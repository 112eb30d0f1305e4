//! Bytes become Arrow batches; rows that do not fit become rejects with their place.
//!
//! [`schema`] says what the files of a source hold, [`batches`] streams them. CSV and NDJSON are cut into blocks at
//! record ends and parsed in parallel (`pipeline`); Parquet is decoded a row group at a time. All formats stream:
//! memory does not grow with the files, and a batch that nobody asks for is not made.
//!
//! The files of a source have one schema, that of the first: columns are matched by name.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use futures::Stream;
use moulin_core::{Counters, Format, OnBadRow, PlannedFile, PlannedOption, Ratio, Source};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod accounts;
mod blocks;
mod columns;
mod csv;
mod error;
mod fault;
pub mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod infer;
mod inflate;
mod landable;
mod ndjson;
mod parquet;
mod pipeline;
mod rejects;
mod type_names;
mod unbuilt;
mod values;

pub use error::Error;
pub use landable::landable;
pub use rejects::{reject_batch, reject_schema};
pub use type_names::iceberg_type_name;

use blocks::{Pool, Splitter};
use fetch::{ByteStream, Fetcher};

/// Batches of one schema, in order. Dropping it stops all work above it.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, Error>> + Send>>;

/// The columns that a source is read as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSchema {
    /// Names and types, in the order of the file. Every column may hold nulls.
    pub arrow: SchemaRef,
    /// Where the type of each column comes from.
    pub origins: Vec<Origin>,
    /// What was seen while the schema was looked for.
    pub sample: Sample,
}

impl InputSchema {
    /// A schema for which no sample was looked at.
    #[must_use]
    pub fn new(arrow: SchemaRef, origins: Vec<Origin>) -> Self {
        Self { arrow, origins, sample: Sample::default() }
    }
}

/// What was seen in the part of the input that a schema was inferred from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Records looked at, from the first of the file on, bad ones among them.
    pub rows: u64,
    /// Of those, bad ones whatever the types.
    pub rows_bad: u64,
    /// Why each column would have the type that its texts say, in the order of the columns; empty: the file says it.
    pub reasons: Vec<String>,
    /// Options that were found in the sample, not declared.
    pub sniffed: Vec<PlannedOption>,
}

/// Where the type of a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The source declares it.
    Declared,
    /// A sample of the first file.
    Inferred,
    /// The file itself says it (Parquet).
    File,
}

impl Origin {
    /// `declared`, `inferred` or `file`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Inferred => "inferred",
            Self::File => "file",
        }
    }
}

/// How a source is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// What a bad row does.
    pub on_bad_row: OnBadRow,
    /// More bad rows than this are an error.
    pub max_bad_rows: Option<u64>,
    /// A larger share of bad rows among all is an error, at the end.
    pub max_bad_ratio: Option<Ratio>,
    /// Blocks parsed at once.
    pub threads: usize,
    /// Input bytes of a batch, roughly; 0: one MiB.
    pub batch_bytes: usize,
    /// Files, bytes, rows, rejects and busy time are counted here.
    pub counters: Arc<Counters>,
    /// Takes every rejected row, as batches of [`reject_schema`]; a receiver that does not take them makes the reader
    /// wait, one that is gone does not. `None`: only the first are kept, in the counters.
    pub rejects: Option<mpsc::Sender<RecordBatch>>,
}

impl ReadOptions {
    /// Fail at the first bad row, two threads.
    #[must_use]
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            on_bad_row: OnBadRow::Fail,
            max_bad_rows: None,
            max_bad_ratio: None,
            threads: 2,
            batch_bytes: 0,
            counters,
            rejects: None,
        }
    }
}

/// The schema of a source. Declared columns win; the rest is inferred from the first rows (`source.inference`) of the
/// first file that is not empty, or read from its Parquet footer.
///
/// # Errors
/// `InvalidSpec` when a declared column is not in the file, or when there is nothing to infer from; `BadFile` and
/// `NotFound` for the file; what its store says.
pub async fn schema(fetcher: &Fetcher, source: &Source, files: &[PlannedFile]) -> Result<InputSchema, Error> {
    let (fetcher, source, files) = (fetcher.clone(), source.clone(), files.to_vec());
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || schema_blocking(&fetcher, &source, &files, &runtime))
        .await
        .map_err(|error| Error::Internal(format!("the thread that reads the schema ended: {error}")))?
}

fn schema_blocking(
    fetcher: &Fetcher,
    source: &Source,
    files: &[PlannedFile],
    runtime: &Handle,
) -> Result<InputSchema, Error> {
    unbuilt::refuse(source)?;
    let stop = CancellationToken::new();
    let _stopped_on_return = stop.clone().drop_guard();
    for file in files {
        let found = match &source.format {
            Format::Parquet => Some(parquet::schema(fetcher, file, &source.columns, runtime)?),
            Format::Csv(format) => {
                let mut splitter = sample(fetcher, source, file, runtime, &stop)?;
                csv::sample::schema(&file.uri, source, format, &mut splitter)?
            }
            Format::Json(_) => return Err(Error::Schema("no reader for json documents is built in".to_owned())),
            Format::Ndjson(_) => {
                let mut splitter = sample(fetcher, source, file, runtime, &stop)?;
                ndjson::sample::schema(&file.uri, &source.columns, source.inference.sample_rows, &mut splitter)?
            }
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    if source.columns.is_empty() {
        let names: Vec<&str> = files.iter().take(3).map(|file| file.uri.as_str()).collect();
        return Err(Error::Schema(format!(
            "there is no row to infer a schema from in {}; declare source.columns",
            names.join(", ")
        )));
    }
    let fields: Vec<Field> = source
        .columns
        .iter()
        .map(|column| Field::new(&column.name, columns::arrow_type_of(&column.ty), true))
        .collect();
    let origins = vec![Origin::Declared; fields.len()];
    Ok(InputSchema::new(Arc::new(Schema::new(fields)), origins))
}

/// The start of a file. Nothing is counted: the job has not begun.
fn sample(
    fetcher: &Fetcher,
    source: &Source,
    file: &PlannedFile,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<Splitter<ByteStream>, Error> {
    let counters = Arc::new(Counters::default());
    let stream = fetcher.open(file, &counters, runtime, stop)?;
    let stream = inflate::inflated(&file.uri, source.compression, &source.limits, stream, &counters, runtime);
    let sample_bytes = usize::try_from(source.inference.sample_bytes).unwrap_or(usize::MAX);
    Ok(Splitter::new(stream, sample_bytes, Pool::default()).with_limits(&source.limits))
}

/// Streams all files as batches of the schema, in the order of the files. It must be polled on a Tokio runtime;
/// parsing goes on on blocking threads. Rows of a failed job that come before the bad one may have been handed out.
///
/// # Errors
/// The first item that is an error is the last. `BadRow` is the first bad row in file order when `on_bad_row` is
/// `fail`. `InvalidSpec` when a later file has other columns than the first.
///
/// # Cancel safety
/// Dropping the stream stops all work above it.
#[must_use]
pub fn batches(
    fetcher: &Fetcher,
    source: &Source,
    files: &[PlannedFile],
    schema: &InputSchema,
    options: ReadOptions,
) -> BatchStream {
    let counters = Arc::clone(&options.counters);
    Counters::add(&counters.files_total, files.len() as u64);
    Counters::add(&counters.bytes_total, files.iter().map(|file| file.size_bytes).sum());
    let block_bytes = match options.batch_bytes {
        0 => 1 << 20,
        bytes => bytes.clamp(256 << 10, 4 << 20),
    };
    let failed = |error: Error| -> BatchStream { Box::pin(futures::stream::once(async { Err(error) })) };
    match &source.format {
        Format::Csv(format) => match csv::Csv::new(source, format, schema) {
            Ok(text) => pipeline::batches(fetcher, source, files, text, block_bytes, options),
            Err(error) => failed(error),
        },
        Format::Ndjson(_) => {
            let text = ndjson::Ndjson::new(schema);
            pipeline::batches(fetcher, source, files, text, block_bytes, options)
        }
        Format::Json(_) => failed(Error::Schema("no reader for json documents is built in".to_owned())),
        Format::Parquet => parquet::batches(fetcher, files, schema, options),
    }
}

#[cfg(test)]
mod tests;
