//! Apache Parquet, a row group at a time.
//!
//! Rows come with the types that land (see `landable`): short and unsigned integers widened, dictionaries and views
//! plain, times in microseconds. Up to two row groups are decoded at once, on blocking threads, and come out in order.
//! A Parquet file has no bad rows: what cannot be decoded or cast makes the file a bad one, with the row group and the
//! column that are damaged.
//!
//! Columns that nobody asks for are not fetched, nor are row groups and pages whose statistics say that they hold no
//! wanted row (`prune`). Where rows are numbered none are passed over.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use moulin_core::{Column, Counters, PlannedFile, ProvenanceColumn, Room};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::columns::arrow_type_of;
use super::{InputSchema, Origin, ReadOptions};
use crate::added::Places;
use crate::condition::Condition;
use crate::fetch::Fetcher;
use crate::landable::landable;
use crate::{BatchStream, Error, Input, iceberg_type_name};
use footer::footer;

mod decode;
mod footer;
mod prune;

/// Row groups decoded at once at the most: each holds its compressed bytes in memory.
const GROUPS_AT_ONCE: usize = 2;

/// The schema of a file, from its footer and the declared columns.
pub(super) fn schema(
    fetcher: &Fetcher,
    file: &PlannedFile,
    declared: &[Column],
    runtime: &Handle,
) -> Result<InputSchema, Error> {
    let footer = footer(fetcher, file, false, &Counters::default(), runtime)?;
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

/// The row groups of a file.
pub(super) fn row_groups(fetcher: &Fetcher, file: &PlannedFile, runtime: &Handle) -> Result<usize, Error> {
    footer(fetcher, file, false, &Counters::default(), runtime).map(|footer| footer.metadata().num_row_groups())
}

/// What every decoding thread needs of the job.
#[derive(Clone)]
struct Reading {
    input: Arc<Input>,
    /// All columns of the files.
    all: SchemaRef,
    /// Those that are read.
    schema: SchemaRef,
    conditions: Arc<[Condition]>,
    counters: Arc<Counters>,
    runtime: Handle,
}

/// What the opening thread hands on, in the order of the files.
enum Step {
    File { number: usize },
    Group(mpsc::Receiver<Result<RecordBatch, Error>>),
    FileEnd,
}

/// Streams files as batches of those columns of the schema that the projection has, with the added columns.
pub(super) fn batches(input: Input, schema: &InputSchema, options: ReadOptions) -> BatchStream {
    let all = Arc::clone(&schema.arrow);
    let is_read = |field: &&Arc<Field>| options.projection.as_ref().is_none_or(|names| names.contains(field.name()));
    let read: Vec<Arc<Field>> = all.fields().iter().filter(is_read).cloned().collect();
    let added = input.schema.fields().iter().skip(all.fields().len()).cloned();
    let with_added: SchemaRef = Arc::new(Schema::new(read.iter().cloned().chain(added).collect::<Vec<_>>()));
    // The number of a row counts those before it: then all of them are read.
    let is_numbered = input.source.provenance_columns.contains(&ProvenanceColumn::Row);
    let conditions = if is_numbered { Vec::new() } else { options.conditions };
    let input = Arc::new(input);
    Box::pin(async_stream::try_stream! {
        let counters = options.counters;
        let reading = Reading {
            input: Arc::clone(&input),
            all,
            schema: Arc::new(Schema::new(read)),
            conditions: conditions.into(),
            counters: Arc::clone(&counters),
            runtime: Handle::current(),
        };
        let at_once = options.threads.clamp(1, GROUPS_AT_ONCE);
        let (sender, mut steps) = mpsc::channel(GROUPS_AT_ONCE);
        let opening = tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.open_all(at_once, &sender) {
                // Nobody is left to tell when this fails.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let mut added = input.added.of_file(&with_added, 0, "");
        let mut records_before = 0;
        while let Some(step) = steps.recv().await {
            match step? {
                Step::File { number } => {
                    added = input.added.of_file(&with_added, number, &input.files[number].uri);
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
            let prunes = !self.conditions.is_empty();
            let footer = footer(&self.input.fetcher, file, prunes, &self.counters, &self.runtime)?;
            let order = self.order(file, footer.schema())?;
            let wanted = prune::groups(&footer, &self.all, &self.conditions);
            for group in wanted.into_iter().enumerate().filter_map(|(group, wanted)| wanted.then_some(group)) {
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
        let reading = Self { counters: Arc::default(), conditions: Arc::default(), ..self.clone() };
        let footer = footer(&self.input.fetcher, file, false, &reading.counters, &self.runtime)?;
        let order = self.order(file, footer.schema())?;
        for group in 0..footer.metadata().num_row_groups() {
            reading.decode(file, footer.clone(), group, &order, |_| true)?;
        }
        Ok(())
    }

    /// The place in the file of each column that is read.
    fn order(&self, file: &PlannedFile, found: &Schema) -> Result<Vec<usize>, Error> {
        if let Some(extra) = found.fields().iter().find(|field| self.all.index_of(field.name()).is_err()) {
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
        self.all.fields().iter().try_for_each(|field| place(field).map(|_| ()))?;
        self.schema.fields().iter().map(place).collect()
    }
}
