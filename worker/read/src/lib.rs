//! Bytes become Arrow batches; rows that do not fit become rejects with their place.
//!
//! [`schema`] says what the files of a source hold, [`batches`] streams them. CSV and NDJSON are cut into blocks at
//! record ends and parsed in parallel (`pipeline`); Parquet is decoded a row group at a time. All formats stream:
//! memory does not grow with the files, and a batch that nobody asks for is not made.
//!
//! The files of a source have one schema, that of the first: columns are matched by name.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{Stream, StreamExt};
use moulin_core::{
    Counters, CsvFormat, Format, OnBadFile, OnBadRow, PlannedFile, PlannedOption, Ratio, SkippedFile, Source,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod accounts;
mod added;
mod blocks;
mod code;
mod columns;
mod condition;
mod crew;
mod csv;
mod cutter;
mod error;
mod fault;
pub mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod infer;
mod inflate;
mod json;
mod landable;
mod ndjson;
mod notation;
mod parquet;
mod pieces;
mod pipeline;
mod ranges;
mod rejects;
mod replay;
mod report;
mod shards;
mod type_names;
mod values;

pub use condition::{Comparison, Condition, Literal, Test};
pub use error::Error;
pub use landable::landable;
pub use rejects::{reject_batch, reject_schema};
pub use replay::{
    FileColumn, RawRows, ReplayColumns, file_columns, raw_columns, replay, replay_formats, replay_schema,
};
pub use report::infer;
pub use shards::{Part, Shard, ShardEnd, ShardRead, ShardStart, read_shard, shards, starts};
pub use type_names::iceberg_type_name;

use added::Added;
use blocks::{Pool, Splitter};
use fetch::{ByteStream, Fetcher};
use shards::Piece;

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

    /// Of the columns, those that the files themselves have.
    fn of_files(&self) -> Self {
        let is_added = |origin: &Origin| matches!(origin, Origin::Partition | Origin::Provenance);
        let columns = self.arrow.fields().iter().zip(&self.origins).filter(|(_, origin)| !is_added(origin));
        let (fields, origins): (Vec<_>, Vec<_>) = columns.map(|(field, origin)| (Arc::clone(field), *origin)).unzip();
        Self { arrow: Arc::new(Schema::new(fields)), origins, sample: self.sample.clone() }
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
    /// The format with those options filled in; `None`: it was not looked for (`csv.dialect`).
    pub dialect: Option<CsvFormat>,
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
    /// The names of the folders `key=value` say it.
    Partition,
    /// The reader: the column says where each row comes from.
    Provenance,
    /// The reader: the column takes what has none of its own.
    Rescued,
}

impl Origin {
    /// `declared`, `inferred`, `file`, `partition`, `provenance` or `rescued`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Inferred => "inferred",
            Self::File => "file",
            Self::Partition => "partition",
            Self::Provenance => "provenance",
            Self::Rescued => "rescued",
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
    /// The columns that come out, in this order; `None`: all of the schema. Of Parquet files the others are not read;
    /// of text files they are still checked, so that the verdict on a row is the same.
    pub projection: Option<Vec<String>>,
    /// Once so many rows have been read, good and bad ones together, the stream ends; a block may bring a few more. `None`:
    /// all are read.
    pub most_rows: Option<u64>,
    /// What all wanted rows fulfil. Hints: rows that do not may come out too. Of Parquet files, row groups and pages
    /// that hold no wanted row are not read.
    pub conditions: Vec<Condition>,
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
            projection: None,
            most_rows: None,
            conditions: Vec::new(),
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
    let stop = CancellationToken::new();
    let _stopped_on_return = stop.clone().drop_guard();
    let added = Added::new(source, files)?;
    let source = added.source_of_files(source);
    let mut first_error = None;
    for file in files {
        match schema_of_file(fetcher, &source, file, runtime, &stop) {
            Ok(Some(found)) => return with_rescued(found, &source).and_then(|found| added.extend(found)),
            Ok(None) => {}
            // It is left out; when all are, the first says why.
            Err(error) if source.on_bad_file == OnBadFile::Skip && error.is_of_file() => {
                first_error = first_error.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(error) = first_error {
        return Err(error);
    }
    let found = declared_schema(&source, files)?;
    with_rescued(found, &source).and_then(|found| added.extend(found))
}

/// `None` for a file without anything in it.
fn schema_of_file(
    fetcher: &Fetcher,
    source: &Source,
    file: &PlannedFile,
    runtime: &Handle,
    stop: &CancellationToken,
) -> Result<Option<InputSchema>, Error> {
    match &source.format {
        Format::Parquet => parquet::schema(fetcher, file, source, runtime).map(Some),
        Format::Csv(format) => {
            let mut splitter = sample(fetcher, source, file, runtime, stop)?;
            csv::sample::schema(&file.uri, source, format, &mut splitter)
        }
        Format::Json(format) => {
            let mut splitter = sample(fetcher, source, file, runtime, stop)?;
            json::begin(&file.uri, format, &mut splitter)?;
            ndjson::sample::schema(&file.uri, source, ndjson::Layout::Items, &mut splitter)
        }
        Format::Ndjson(_) => {
            let mut splitter = sample(fetcher, source, file, runtime, stop)?;
            ndjson::skip_mark(&file.uri, &mut splitter)?;
            ndjson::sample::schema(&file.uri, source, ndjson::Layout::Lines, &mut splitter)
        }
    }
}

/// The schema of files that are all empty.
fn declared_schema(source: &Source, files: &[PlannedFile]) -> Result<InputSchema, Error> {
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

/// The schema, with the column for what has none of its own as its last.
///
/// # Errors
/// `Schema` when the files have a column of its name.
fn with_rescued(mut schema: InputSchema, source: &Source) -> Result<InputSchema, Error> {
    let Some(name) = &source.rescued_column else { return Ok(schema) };
    if schema.arrow.index_of(name).is_ok() {
        return Err(Error::Schema(format!(
            "column `{name}` is in the files, and source.rescued_column is called so too"
        )));
    }
    let rescued = Arc::new(Field::new(name, DataType::Utf8, true));
    schema.arrow = Arc::new(Schema::new(schema.arrow.fields().iter().cloned().chain([rescued]).collect::<Vec<_>>()));
    schema.origins.push(Origin::Rescued);
    schema.sample.reasons.push("fields and values that have no column of their own".to_owned());
    Ok(schema)
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
    let (compression, limits, pool) = (source.compression, &source.limits, Pool::default());
    let on = inflate::Inflaters { runtime, threads: 1, helper: None };
    let stream = inflate::inflated(&file.uri, compression, limits, stream, &counters, &pool, on);
    let sample_bytes = usize::try_from(source.inference.sample_bytes).unwrap_or(usize::MAX);
    Ok(Splitter::new(stream, sample_bytes, pool).with_limits(&source.limits))
}

/// What is read, and as what.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) fetcher: Fetcher,
    pub(crate) source: Source,
    pub(crate) files: Vec<PlannedFile>,
    /// Columns besides those of the files.
    pub(crate) added: Added,
    /// With the added columns.
    pub(crate) schema: SchemaRef,
    /// The columns of the files themselves.
    pub(crate) columns: Vec<FileColumn>,
}

impl Input {
    /// Whether a file is to be read; one that is damaged may be left out, and is then counted and named.
    ///
    /// # Errors
    /// What `verify` says, if that is not for a file alone to bear.
    pub(crate) fn admits(
        &self,
        file: &PlannedFile,
        counters: &Counters,
        verify: impl FnOnce() -> Result<(), Error>,
    ) -> Result<bool, Error> {
        if self.source.on_bad_file == OnBadFile::Fail {
            return Ok(true);
        }
        match verify() {
            Ok(()) => Ok(true),
            Err(error) if error.is_of_file() => {
                tracing::warn!(uri = file.uri, %error, "file left out");
                counters.skip_file(SkippedFile { uri: file.uri.clone(), reason: error.to_string() });
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Streams all files as batches of the schema, or of a projection of it, in the order of the files. It must be polled on a Tokio runtime;
/// parsing goes on on blocking threads. Rows of a failed job that come before the bad one may have been handed out.
///
/// # Errors
/// The first item that is an error is the last. `BadRow` is the first bad row in file order when `on_bad_row` is
/// `fail`. `InvalidSpec` when a later file has other columns than the first.
///
/// With `on_bad_file = skip` a file is read twice: once to know that it is whole, and then for its rows, so that nothing
/// of a damaged file is handed out, however late the damage shows.
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
    projected(fetcher, source, files, schema, options, None)
}

/// Streams the columns of the projection, of all files or of a piece of the one there is.
fn projected(
    fetcher: &Fetcher,
    source: &Source,
    files: &[PlannedFile],
    schema: &InputSchema,
    options: ReadOptions,
    piece: Option<Piece>,
) -> BatchStream {
    let Some(names) = options.projection.clone() else {
        return all_batches(fetcher, source, files, schema, options, piece);
    };
    let known: HashSet<&str> = schema.arrow.fields().iter().map(|field| field.name().as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
        return failed(Error::Schema(format!("no column `{name}` to read; there are {}", column_names(&schema.arrow))));
    }
    let mut places: Option<Vec<usize>> = None;
    let projected = move |batch: Result<RecordBatch, Error>| {
        let batch = batch?;
        // All batches have one schema; which one, the first says.
        let places = places.get_or_insert_with(|| places_of(&names, &batch.schema()));
        batch.project(places).map_err(pipeline::batch_error)
    };
    Box::pin(all_batches(fetcher, source, files, schema, options, piece).map(projected))
}

fn failed(error: Error) -> BatchStream {
    Box::pin(futures::stream::once(async { Err(error) }))
}

/// Where columns stand in a schema that has them all.
fn places_of(names: &[String], schema: &Schema) -> Vec<usize> {
    let fields = schema.fields().iter().enumerate();
    let places: HashMap<&str, usize> = fields.map(|(place, field)| (field.name().as_str(), place)).collect();
    names.iter().filter_map(|name| places.get(name.as_str()).copied()).collect()
}

fn column_names(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

/// Streams at least the columns of the projection.
fn all_batches(
    fetcher: &Fetcher,
    source: &Source,
    files: &[PlannedFile],
    schema: &InputSchema,
    options: ReadOptions,
    piece: Option<Piece>,
) -> BatchStream {
    let counters = Arc::clone(&options.counters);
    Counters::add(&counters.files_total, files.len() as u64);
    Counters::add(&counters.bytes_total, files.iter().map(|file| file.size_bytes).sum());
    let block_bytes = match options.batch_bytes {
        0 => 1 << 20,
        bytes => bytes.clamp(256 << 10, 4 << 20),
    };
    let added = match Added::new(source, files) {
        Ok(added) => added,
        Err(error) => return failed(error),
    };
    let input = Input {
        fetcher: fetcher.clone(),
        source: source.clone(),
        files: files.to_vec(),
        added,
        schema: Arc::clone(&schema.arrow),
        columns: replay::columns_of(schema),
    };
    let schema = &schema.of_files();
    opened(input, source, schema, block_bytes, options, piece).unwrap_or_else(failed)
}

fn opened(
    mut input: Input,
    source: &Source,
    schema: &InputSchema,
    block_bytes: usize,
    options: ReadOptions,
    piece: Option<Piece>,
) -> Result<BatchStream, Error> {
    let uri = input.files.first().map(|file| file.uri.clone()).unwrap_or_default();
    let names = options.projection.clone();
    let names = names.as_deref();
    if !matches!(source.format, Format::Parquet) {
        let own = schema.arrow.fields().len() - usize::from(schema.origins.last() == Some(&Origin::Rescued));
        input.schema = columns::kept(&input.schema, own, names).1;
    }
    let slice = |piece: Option<Piece>| piece.map(|piece| piece.slice(&uri)).transpose();
    Ok(match &source.format {
        Format::Csv(format) => {
            let text = csv::Csv::new(source, schema.sample.dialect.as_ref().unwrap_or(format), schema)?.keeping(names);
            pipeline::batches(input, text, block_bytes, options, slice(piece)?)
        }
        Format::Ndjson(format) => {
            let text = ndjson::Ndjson::new(source, format.duplicate_keys, schema)?.keeping(names);
            pipeline::batches(input, text, block_bytes, options, slice(piece)?)
        }
        Format::Json(format) => {
            let text = json::Json::new(source, format, schema)?.keeping(names);
            pipeline::batches(input, text, block_bytes, options, slice(piece)?)
        }
        Format::Parquet => {
            let groups = piece.map(|piece| piece.groups(&uri)).transpose()?;
            parquet::batches(input, schema, options, groups)
        }
    })
}

#[cfg(test)]
mod tests;
