//! Apache Parquet, a row group at a time.
//!
//! Rows come with the types that land (see `landable`): short and unsigned integers widened, dictionaries and views
//! plain, times in microseconds. Up to two row groups are decoded at once, on blocking threads, and come out in order.
//! What cannot be decoded makes the file a bad one, with the row group and the column that are damaged. A value that is
//! none of the type that is declared for its column makes its row a bad one: texts are read by the rules of all formats
//! (`make`), all else is cast, and must come back from the cast as it was.
//!
//! Columns that nobody asks for are not fetched, nor are row groups and pages whose statistics say that they hold no
//! wanted row (`prune`). Where rows are numbered none are passed over, and where a row may be a bad one neither are they
//! nor the columns that say so.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use moulin_core::{ContractMode, Counters, PlannedFile, ProvenanceColumn, Room, Source};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::{InputSchema, ReadOptions};
use crate::accounts::{Accounts, FilePlace};
use crate::added::Places;
use crate::condition::Condition;
use crate::fetch::Fetcher;
use crate::pipeline::Parsed;
use crate::{BatchStream, Error, Input};
use footer::footer;
use make::Make;

mod decode;
mod fit;
mod footer;
mod limits;
mod make;
mod prune;

/// Row groups decoded at once at the most: each holds its compressed bytes in memory.
const GROUPS_AT_ONCE: usize = 2;

/// The schema of a file, from its footer and the declared columns.
pub(super) fn schema(
    fetcher: &Fetcher,
    file: &PlannedFile,
    source: &Source,
    runtime: &Handle,
) -> Result<InputSchema, Error> {
    let footer = footer(fetcher, file, false, &Counters::default(), runtime)?;
    limits::check(file, &footer, &source.limits)?;
    let found = footer.schema();
    let (declared, places) = (make::by_name(&source.columns), make::places(found));
    if let Some(missing) = source.columns.iter().find(|column| !places.contains_key(column.name.as_str())) {
        return Err(missing_column(file, &missing.name, found));
    }
    // A contract that takes no new columns makes the declared ones, if there are any, all there are.
    let only_declared = !declared.is_empty() && source.contract.columns != ContractMode::Evolve;
    if only_declared {
        fit::extras(file, source, found, |name| declared.contains_key(name))?;
    }
    let (mut fields, mut origins) = (Vec::new(), Vec::new());
    for found in found.fields() {
        let declared = declared.get(found.name().as_str()).copied();
        if declared.is_none() && only_declared {
            continue;
        }
        let (ty, origin) = make::type_of(file, found, declared)?;
        let field = Field::new(found.name(), ty, true);
        Make::new(file, found, &field, declared)?;
        fields.push(field);
        origins.push(origin);
    }
    Ok(InputSchema::new(Arc::new(Schema::new(fields)), origins))
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
    /// Bad rows of a batch whose reason is kept.
    bad_rows_kept: usize,
    counters: Arc<Counters>,
    runtime: Handle,
}

/// What the opening thread hands on, in the order of the files.
enum Step {
    File { number: usize },
    Group(mpsc::Receiver<Result<Parsed, Error>>),
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
    let input = Arc::new(input);
    Box::pin(async_stream::try_stream! {
        let mut accounts = Accounts::new(&options);
        let bad_rows_kept = Accounts::ask(&options).bad_rows_kept;
        let (threads, counters) = (options.threads, Arc::clone(&options.counters));
        let conditions: Arc<[Condition]> = if is_numbered { Vec::new() } else { options.conditions.clone() }.into();
        // The receiver of the rejects sees their end when this stream is at its own.
        drop(options);
        let reading = Reading {
            input: Arc::clone(&input),
            all,
            schema: Arc::new(Schema::new(read)),
            conditions,
            bad_rows_kept,
            counters: Arc::clone(&counters),
            runtime: Handle::current(),
        };
        let at_once = threads.clamp(1, GROUPS_AT_ONCE);
        let (sender, mut steps) = mpsc::channel(GROUPS_AT_ONCE);
        let opening = tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.open_all(at_once, &sender) {
                // Nobody is left to tell when this fails.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let mut added = input.added.of_file(&with_added, 0, "");
        while let Some(step) = steps.recv().await {
            match step? {
                Step::File { number } => {
                    let uri = input.files[number].uri.clone();
                    added = input.added.of_file(&with_added, number, &uri);
                    accounts.begin(FilePlace { uri, lines: 0, records: 0 });
                }
                Step::FileEnd => Counters::add(&counters.files_done, 1),
                Step::Group(mut batches) => {
                    while let Some(batch) = batches.recv().await {
                        let mut parsed = batch?;
                        counters.enter(Room::Read);
                        let records_before = accounts.block(&mut parsed).await?;
                        let places = Places { records_before, bad_after: &parsed.bad_after, offsets: None };
                        yield added.append(parsed.batch, places)?;
                    }
                }
            }
        }
        opening.await.map_err(|error| Error::Internal(format!("the thread that opens files ended: {error}")))?;
        accounts.end()?;
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
            let footer = self.footer(file, prunes)?;
            let fit = Arc::new(self.fit(file, footer.schema())?);
            // A bad row is one whether it would be wanted or not.
            let reading = if fit.checks { Self { conditions: Arc::default(), ..self.clone() } } else { self.clone() };
            let wanted = prune::groups(&footer, &self.all, &reading.conditions);
            for group in wanted.into_iter().enumerate().filter_map(|(group, wanted)| wanted.then_some(group)) {
                let permit = self.runtime.block_on(Arc::clone(&permits).acquire_owned());
                let permit = permit.map_err(|error| Error::Internal(error.to_string()))?;
                let (sender, batches) = mpsc::channel(2);
                if steps.blocking_send(Ok(Step::Group(batches))).is_err() {
                    return Ok(());
                }
                let (reading, file, footer, fit) = (reading.clone(), file.clone(), footer.clone(), Arc::clone(&fit));
                self.runtime.spawn_blocking(move || {
                    let _permit = permit;
                    let emit = |batch| sender.blocking_send(Ok(batch)).is_ok();
                    if let Err(error) = reading.decode(&file, footer, group, &fit, emit) {
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
        let footer = reading.footer(file, false)?;
        let fit = self.fit(file, footer.schema())?;
        for group in 0..footer.metadata().num_row_groups() {
            reading.decode(file, footer.clone(), group, &fit, |_| true)?;
        }
        Ok(())
    }

    /// The footer of a file that is within all limits.
    fn footer(&self, file: &PlannedFile, with_pages: bool) -> Result<ArrowReaderMetadata, Error> {
        let footer = footer(&self.input.fetcher, file, with_pages, &self.counters, &self.runtime)?;
        limits::check(file, &footer, &self.input.source.limits)?;
        Ok(footer)
    }
}
