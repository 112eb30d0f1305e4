//! Apache Parquet, a row group at a time.
//!
//! Rows come with the types that land (see `landable`): short and unsigned integers widened, dictionaries and views
//! plain, moments in microseconds, or in nanoseconds where the first file has those. As many row groups are decoded at
//! once as there are threads, on blocking threads, while their compressed bytes fit a budget (`BYTES_AT_ONCE`); they come
//! out in order.
//! What cannot be decoded makes the file a bad one, with the row group and the column that are damaged. A value that is
//! none of the type of its column, declared or that of the first file, makes its row a bad one: texts are read by the rules
//! of all formats (`texts`), all else is cast, and must come back from the cast as it was (`ways`).
//!
//! Columns that nobody asks for are not fetched, nor are row groups and pages whose statistics say that they hold no
//! wanted row (`prune`). Their rows are counted all the same: the footer says how many they are. Where rows are numbered
//! none are passed over, and where a row may be a bad one neither are they nor the columns that say so.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use moulin_core::{ContractMode, Counters, PlannedFile, ProvenanceColumn, Source};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::RowGroupMetaData;
use tokio::runtime::Handle;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};

use super::{InputSchema, ReadOptions};
use crate::accounts::{Accounts, FilePlace};
use crate::added::Places;
use crate::condition::Condition;
use crate::fetch::Fetcher;
use crate::pipeline::Parsed;
use crate::shards::{ShardEnd, Told};
use crate::{BatchStream, Error, Input};
use footer::footer;
use make::Make;

mod checksums;
mod decode;
mod fit;
mod footer;
mod limits;
mod make;
mod mend;
mod prune;
mod texts;
mod units;
mod ways;

/// Compressed bytes of row groups under way, at the most; a row group that has more is alone.
const BYTES_AT_ONCE: u64 = 128 << 20;
/// Batches of a row group that wait.
const BATCHES_AHEAD: usize = 2;

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
    /// With the rows before those that follow.
    File {
        number: usize,
        rows: u64,
    },
    Group(mpsc::Receiver<Result<Parsed, Error>>),
    FileEnd,
}

/// Streams files as batches of those columns of the schema that the projection has, with the added columns.
/// `groups`: of the one file there is, those row groups, and who is told of their end.
pub(super) fn batches(
    input: Input,
    schema: &InputSchema,
    options: ReadOptions,
    groups: Option<(Option<Range<usize>>, Told)>,
) -> BatchStream {
    let all = Arc::clone(&schema.arrow);
    let is_read = |field: &&Arc<Field>| options.projection.as_ref().is_none_or(|names| names.contains(field.name()));
    let read: Vec<Arc<Field>> = all.fields().iter().filter(is_read).cloned().collect();
    let added = input.schema.fields().iter().skip(all.fields().len()).cloned();
    let with_added: SchemaRef = Arc::new(Schema::new(read.iter().cloned().chain(added).collect::<Vec<_>>()));
    // The number of a row counts those before it: then all of them are read.
    let row = ProvenanceColumn::Row;
    let is_wanted = options.projection.as_ref().is_none_or(|names| names.iter().any(|name| name == row.name()));
    let is_numbered = is_wanted && input.source.provenance_columns.contains(&row);
    let input = Arc::new(input);
    Box::pin(async_stream::try_stream! {
        let mut accounts = Accounts::new(&options);
        let shape = input.shape(&[], &[], None);
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
        let (groups, told) = groups.unzip();
        let groups = groups.flatten();
        let (first_group, last_group) = groups.as_ref().map_or((0, u64::MAX), |groups| (groups.start as u64, groups.end as u64));
        let at_once = threads.max(1);
        let (sender, mut steps) = mpsc::channel(at_once);
        let opening = tokio::task::spawn_blocking(move || {
            if let Err(error) = reading.open_all(at_once, groups, &sender) {
                // Nobody is left to tell when this fails.
                let _ = sender.blocking_send(Err(error));
            }
        });
        let mut added = input.added.of_file(&with_added, 0, "");
        let mut rows_before = 0;
        'reading: while let Some(step) = steps.recv().await {
            match step? {
                Step::File { number, rows } => {
                    let uri = input.files[number].uri.clone();
                    added = input.added.of_file(&with_added, number, &uri);
                    accounts.begin(FilePlace { uri, lines: 0, records: rows, shape: Arc::clone(&shape) });
                    rows_before = rows;
                }
                Step::FileEnd => Counters::add(&counters.files_done, 1),
                Step::Group(mut batches) => {
                    while let Some(batch) = batches.recv().await {
                        let mut parsed = batch?;
                        counters.enter(moulin_core::Room::Read);
                        let records_before = accounts.block(&mut parsed).await?;
                        let places = Places { records_before, bad_after: &parsed.bad_after, offsets: None };
                        yield added.append(parsed.batch, places)?;
                        if accounts.are_enough() {
                            break 'reading;
                        }
                    }
                }
            }
        }
        if !accounts.are_enough() {
            opening.await.map_err(|error| Error::Internal(format!("the thread that opens files ended: {error}")))?;
            accounts.end()?;
        }
        if let Some(told) = told {
            let records = accounts.place().records - rows_before;
            told.tell(ShardEnd { from: first_group, to: last_group, records, lines: 0 });
        }
    })
}

impl Reading {
    /// Ends early, and without an error, when nobody receives any more.
    fn open_all(
        &self,
        at_once: usize,
        groups: Option<Range<usize>>,
        steps: &mpsc::Sender<Result<Step, Error>>,
    ) -> Result<(), Error> {
        let room = Room::new(at_once);
        for (number, file) in self.input.files.iter().enumerate() {
            if !self.input.admits(file, &self.counters, || self.verify(file))? {
                continue;
            }
            let prunes = !self.conditions.is_empty();
            let footer = self.footer(file, prunes)?;
            let fit = Arc::new(self.fit(file, footer.schema())?);
            let asked = groups.clone().unwrap_or(0..footer.metadata().num_row_groups());
            let rows =
                footer.metadata().row_groups().iter().map(rows_of).take(asked.start).fold(0, u64::saturating_add);
            if steps.blocking_send(Ok(Step::File { number, rows })).is_err() {
                return Ok(());
            }
            // A bad row is one whether it would be wanted or not.
            let reading = if fit.checks { Self { conditions: Arc::default(), ..self.clone() } } else { self.clone() };
            let wanted = prune::groups(&footer, &self.all, &reading.conditions);
            for (group, wanted) in wanted.into_iter().enumerate().filter(|(group, _)| asked.contains(group)) {
                if !wanted {
                    self.pass_over(rows_of(footer.metadata().row_group(group)));
                    continue;
                }
                let place = self.runtime.block_on(room.take(bytes_of(&footer, group, &fit.places())))?;
                let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
                if steps.blocking_send(Ok(Step::Group(batches))).is_err() {
                    return Ok(());
                }
                let (reading, file, footer, fit) = (reading.clone(), file.clone(), footer.clone(), Arc::clone(&fit));
                self.runtime.spawn_blocking(move || {
                    let _place = place;
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

    /// Counts rows that nobody wants, and that are not read.
    fn pass_over(&self, rows: u64) {
        Counters::add(&self.counters.rows_read, rows);
        Counters::add(&self.counters.rows_pruned, rows);
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

fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}

/// Compressed bytes of the columns at `places` of a row group.
fn bytes_of(footer: &ArrowReaderMetadata, group: usize, places: &[usize]) -> u64 {
    let mask = ProjectionMask::roots(footer.parquet_schema(), places.iter().copied());
    let columns = footer.metadata().row_group(group).columns().iter().enumerate();
    columns
        .filter(|(leaf, _)| mask.leaf_included(*leaf))
        .map(|(_, column)| u64::try_from(column.compressed_size()).unwrap_or(0))
        .fold(0, u64::saturating_add)
}

/// Room for row groups that are decoded at once.
struct Room {
    threads: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

impl Room {
    const KIB: u64 = BYTES_AT_ONCE >> 10;

    fn new(threads: usize) -> Self {
        Self { threads: Arc::new(Semaphore::new(threads)), kib: Arc::new(Semaphore::new(Self::KIB as usize)) }
    }

    /// Waits until a row group of so many bytes may be read.
    async fn take(&self, bytes: u64) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Error> {
        let kib = (bytes >> 10).clamp(1, Self::KIB) as u32;
        let closed = |error: AcquireError| Error::Internal(error.to_string());
        let thread = Arc::clone(&self.threads).acquire_owned().await.map_err(closed)?;
        Ok((thread, Arc::clone(&self.kib).acquire_many_owned(kib).await.map_err(closed)?))
    }
}
