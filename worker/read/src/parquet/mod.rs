//! Apache Parquet, a row group at a time.
//!
//! Rows come with the types that land (see `landable`): short and unsigned integers widened, dictionaries and views
//! plain, times in microseconds. Up to two row groups are decoded at once, on blocking threads, and come out in order.
//! A Parquet file has no bad rows: what cannot be decoded or cast makes the file a bad one.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use moulin_core::{Column, Counters, PlannedFile, Room};
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataPushDecoder;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::columns::arrow_type_of;
use super::pipeline::batch_error;
use super::{InputSchema, Origin, ReadOptions};
use crate::added::Places;
use crate::fetch::Fetcher;
use crate::landable::landable;
use crate::{BatchStream, Error, Input, iceberg_type_name};

/// Rows of a batch.
const BATCH_ROWS: usize = 32 << 10;
/// Row groups decoded at once at the most: each holds its compressed bytes in memory.
const GROUPS_AT_ONCE: usize = 2;

/// The schema of a file, from its footer and the declared columns.
pub(super) fn schema(
    fetcher: &Fetcher,
    file: &PlannedFile,
    declared: &[Column],
    runtime: &Handle,
) -> Result<InputSchema, Error> {
    let footer = footer(fetcher, file, &Counters::default(), runtime)?;
    let found = footer.schema();
    if let Some(missing) = declared.iter().find(|column| found.index_of(&column.name).is_err()) {
        return Err(missing_column(file, &missing.name, found));
    }
    let mut columns = Vec::with_capacity(found.fields().len());
    for field in found.fields() {
        let declared = declared.iter().find(|column| column.name == *field.name());
        let (ty, origin) = match declared {
            Some(column) => (arrow_type_of(&column.ty), Origin::Declared),
            None => (landed_type(file, field)?, Origin::File),
        };
        check_cast(file, field, &ty)?;
        columns.push((Field::new(field.name(), ty, true), origin));
    }
    let (fields, origins): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(InputSchema::new(Arc::new(Schema::new(fields)), origins))
}

fn landed_type(file: &PlannedFile, field: &Field) -> Result<DataType, Error> {
    landable(field.data_type()).map_err(|why| Error::Schema(format!("column `{}` of {} {why}", field.name(), file.uri)))
}

fn check_cast(file: &PlannedFile, field: &Field, ty: &DataType) -> Result<(), Error> {
    if field.data_type() == ty || can_cast_types(field.data_type(), ty) {
        return Ok(());
    }
    Err(Error::Schema(format!(
        "column `{}` of {} is {}, which cannot be made {}",
        field.name(),
        file.uri,
        iceberg_type_name(field.data_type()),
        iceberg_type_name(ty)
    )))
}

fn missing_column(file: &PlannedFile, column: &str, found: &Schema) -> Error {
    let names: Vec<&str> = found.fields().iter().map(|field| field.name().as_str()).collect();
    Error::Schema(format!("{} has no column `{column}`; its columns are: {}", file.uri, names.join(", ")))
}

fn damaged(file: &PlannedFile, error: &ParquetError) -> Error {
    Error::BadFile { uri: file.uri.clone(), reason: error.to_string() }
}

/// The row groups of a file.
pub(super) fn row_groups(fetcher: &Fetcher, file: &PlannedFile, runtime: &Handle) -> Result<usize, Error> {
    footer(fetcher, file, &Counters::default(), runtime).map(|footer| footer.metadata().num_row_groups())
}

fn footer(
    fetcher: &Fetcher,
    file: &PlannedFile,
    counters: &Counters,
    runtime: &Handle,
) -> Result<ArrowReaderMetadata, Error> {
    let mut decoder = ParquetMetaDataPushDecoder::try_new(file.size_bytes).map_err(|error| damaged(file, &error))?;
    loop {
        match decoder.try_decode().map_err(|error| damaged(file, &error))? {
            DecodeResult::NeedsData(ranges) => {
                let parts = fetcher.ranges(file, &ranges, counters, runtime)?;
                decoder.push_ranges(ranges, parts).map_err(|error| damaged(file, &error))?;
            }
            DecodeResult::Data(footer) => {
                return ArrowReaderMetadata::try_new(Arc::new(footer), ArrowReaderOptions::new())
                    .map_err(|error| damaged(file, &error));
            }
            DecodeResult::Finished => {
                return Err(Error::BadFile { uri: file.uri.clone(), reason: "it has no footer".to_owned() });
            }
        }
    }
}

/// What every decoding thread needs of the job.
#[derive(Clone)]
struct Reading {
    input: Arc<Input>,
    schema: SchemaRef,
    counters: Arc<Counters>,
    runtime: Handle,
}

/// What the opening thread hands on, in the order of the files.
enum Step {
    File { number: usize },
    Group(mpsc::Receiver<Result<RecordBatch, Error>>),
    FileEnd,
}

/// Streams files as batches of the schema.
pub(super) fn batches(input: Input, schema: &InputSchema, options: ReadOptions) -> BatchStream {
    let (input, schema) = (Arc::new(input), Arc::clone(&schema.arrow));
    Box::pin(async_stream::try_stream! {
        let counters = options.counters;
        let reading = Reading { input: Arc::clone(&input), schema, counters: Arc::clone(&counters), runtime: Handle::current() };
        let at_once = options.threads.clamp(1, GROUPS_AT_ONCE);
        let (sender, mut steps) = mpsc::channel(GROUPS_AT_ONCE);
        let opening = tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.open_all(at_once, &sender) {
                // Nobody is left to tell when this fails.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let mut added = input.added.of_file(&input.schema, 0, "");
        let mut records_before = 0;
        while let Some(step) = steps.recv().await {
            match step? {
                Step::File { number } => {
                    added = input.added.of_file(&input.schema, number, &input.files[number].uri);
                    records_before = 0;
                }
                Step::FileEnd => Counters::add(&counters.files_done, 1),
                Step::Group(mut batches) => {
                    while let Some(batch) = batches.recv().await {
                        let batch = batch?;
                        counters.enter(Room::Read);
                        Counters::add(&counters.rows_read, batch.num_rows() as u64);
                        let places = Places { records_before, bad_after: &[], offsets: None };
                        records_before += batch.num_rows() as u64;
                        yield added.append(batch, places)?;
                    }
                }
            }
        }
        opening.await.map_err(|error| Error::Internal(format!("the thread that opens files ended: {error}")))?;
    })
}

impl Reading {
    /// Ends early, and without an error, when nobody receives any more.
    fn open_all(&self, at_once: usize, steps: &mpsc::Sender<Result<Step, Error>>) -> Result<(), Error> {
        let permits = Arc::new(Semaphore::new(at_once));
        for (number, file) in self.input.files.iter().enumerate() {
            if !self.input.admits(file, &self.counters, || self.verify(file))? {
                continue;
            }
            if steps.blocking_send(Ok(Step::File { number })).is_err() {
                return Ok(());
            }
            let footer = footer(&self.input.fetcher, file, &self.counters, &self.runtime)?;
            let order = self.order(file, footer.schema())?;
            for group in 0..footer.metadata().num_row_groups() {
                let permit = self.runtime.block_on(Arc::clone(&permits).acquire_owned());
                let permit = permit.map_err(|error| Error::Internal(error.to_string()))?;
                let (sender, batches) = mpsc::channel(2);
                if steps.blocking_send(Ok(Step::Group(batches))).is_err() {
                    return Ok(());
                }
                let (reading, file, footer, order) = (self.clone(), file.clone(), footer.clone(), order.clone());
                self.runtime.spawn_blocking(move || {
                    let _permit = permit;
                    let emit = |batch| sender.blocking_send(Ok(batch)).is_ok();
                    if let Err(error) = reading.decode(&file, footer, group, &order, emit) {
                        // Nobody is left to tell when this fails.
                        let _ = sender.blocking_send(Err(error));
                    }
                });
            }
            if steps.blocking_send(Ok(Step::FileEnd)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Decodes the whole file, and throws it away. Nothing is counted.
    fn verify(&self, file: &PlannedFile) -> Result<(), Error> {
        let reading = Self { counters: Arc::default(), ..self.clone() };
        let footer = footer(&self.input.fetcher, file, &reading.counters, &self.runtime)?;
        let order = self.order(file, footer.schema())?;
        for group in 0..footer.metadata().num_row_groups() {
            reading.decode(file, footer.clone(), group, &order, |_| true)?;
        }
        Ok(())
    }

    /// The place in the file of each column of the schema.
    fn order(&self, file: &PlannedFile, found: &Schema) -> Result<Vec<usize>, Error> {
        if let Some(extra) = found.fields().iter().find(|field| self.schema.index_of(field.name()).is_err()) {
            return Err(Error::Schema(format!(
                "{} has a column `{}` that the first file does not have; all files of a job have the same columns",
                file.uri,
                extra.name()
            )));
        }
        let place = |field: &Arc<Field>| {
            let place = found.index_of(field.name()).map_err(|_| missing_column(file, field.name(), found))?;
            check_cast(file, found.field(place), field.data_type())?;
            Ok(place)
        };
        self.schema.fields().iter().map(place).collect()
    }

    /// Decodes a row group until nobody takes its batches.
    fn decode(
        &self,
        file: &PlannedFile,
        footer: ArrowReaderMetadata,
        group: usize,
        order: &[usize],
        mut emit: impl FnMut(RecordBatch) -> bool,
    ) -> Result<(), Error> {
        let builder = ParquetPushDecoderBuilder::new_with_metadata(footer);
        let builder = builder.with_row_groups(vec![group]).with_batch_size(BATCH_ROWS);
        let mut decoder = builder.build().map_err(|error| damaged(file, &error))?;
        loop {
            let step =
                self.counters.timed(Room::Read, || decoder.try_decode()).map_err(|error| damaged(file, &error))?;
            match step {
                DecodeResult::NeedsData(ranges) => {
                    let parts = self.input.fetcher.ranges(file, &ranges, &self.counters, &self.runtime)?;
                    decoder.push_ranges(ranges, parts).map_err(|error| damaged(file, &error))?;
                }
                DecodeResult::Data(batch) => {
                    let batch = self.counters.timed(Room::Read, || self.fitted(file, &batch, order))?;
                    if !emit(batch) {
                        return Ok(());
                    }
                }
                DecodeResult::Finished => return Ok(()),
            }
        }
    }

    /// The batch with the columns and types of the schema.
    fn fitted(&self, file: &PlannedFile, batch: &RecordBatch, order: &[usize]) -> Result<RecordBatch, Error> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let column = |(field, place): (&Arc<Field>, &usize)| -> Result<ArrayRef, Error> {
            let array = batch.column(*place);
            if array.data_type() == field.data_type() {
                return Ok(Arc::clone(array));
            }
            cast_with_options(array, field.data_type(), &options).map_err(|error| Error::BadFile {
                uri: file.uri.clone(),
                reason: format!(
                    "column `{}` cannot be made {}: {error}",
                    field.name(),
                    iceberg_type_name(field.data_type())
                ),
            })
        };
        let columns = self.schema.fields().iter().zip(order).map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(batch_error)
    }
}
