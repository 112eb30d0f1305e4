//! Rejected records are read again, each by itself: from its bytes, at the place where it stood.
//!
//! A record is not put together with others, so that a quote that one of them does not close harms no other. Its bytes may
//! hold several records by now (an unclosed quote had taken the rest of its file), or none (a comment).

use std::collections::{BTreeSet, HashMap};
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Int64Type, Schema};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use moulin_core::{ColumnType, ContractMode, Counters, Format, PlannedFile, Room, RowShape, Source};
use serde::{Deserialize, Serialize};

use crate::accounts::{Accounts, FilePlace};
use crate::added::{Added, OfFile, Places};
use crate::blocks::{Block, Pool, Splitter};
use crate::csv::{Charset, Csv, cut_error};
use crate::fetch::ByteStream;
use crate::ndjson::{Layout, Objects};
use crate::pipeline::{Ask, Parsed, Sizes, Start, Text as _, batch_error};
use crate::{BatchStream, Error, Input, InputSchema, Origin, ReadOptions, Sample, columns, iceberg_type_name};

/// A longer text of columns is not kept with every rejected row.
const COLUMNS_BYTES: usize = 64 << 10;

/// The encoding of what needs no other one.
const UTF8: &str = "utf8";

/// A column of a file, as it is kept with its rejected rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileColumn {
    /// Name.
    pub name: String,
    /// Type in Iceberg's words; empty: the field has no column.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub ty: String,
}

/// The columns that files have themselves.
pub(crate) fn columns_of(schema: &InputSchema) -> Vec<FileColumn> {
    let is_own = |origin: &Origin| !matches!(origin, Origin::Partition | Origin::Provenance | Origin::Rescued);
    let fields = schema.arrow.fields().iter().zip(&schema.origins).filter(|(_, origin)| is_own(origin));
    let column = |(field, _): (&Arc<Field>, _)| FileColumn {
        name: field.name().clone(),
        ty: iceberg_type_name(field.data_type()),
    };
    fields.map(column).collect()
}

impl Input {
    /// How the file is read that starts so.
    pub(crate) fn shape_of(&self, start: &Start) -> Arc<RowShape> {
        self.shape(&start.order, &start.left_out, start.charset)
    }

    /// `order`: the place in the columns of each field; none: fields have names of their own.
    pub(crate) fn shape(&self, order: &[usize], left_out: &[String], charset: Option<Charset>) -> Arc<RowShape> {
        shape(self.source.format.name(), &self.columns, order, left_out, charset)
    }
}

fn shape(
    format: &'static str,
    columns: &[FileColumn],
    order: &[usize],
    left_out: &[String],
    charset: Option<Charset>,
) -> Arc<RowShape> {
    let at = |place: &usize| match columns.get(*place) {
        Some(column) => column.clone(),
        None => {
            let name = left_out.get(place - columns.len()).cloned().unwrap_or_default();
            FileColumn { name, ty: String::new() }
        }
    };
    let in_order: Vec<FileColumn> = if order.is_empty() { columns.to_vec() } else { order.iter().map(at).collect() };
    // A text of names and types always has a form in JSON.
    let text = serde_json::to_string(&in_order).unwrap_or_default();
    let columns = if text.len() <= COLUMNS_BYTES { text } else { String::new() };
    Arc::new(RowShape { format, columns, encoding: charset.map_or(UTF8, Charset::name) })
}

/// The columns that were kept with a rejected row; `None`: they were not.
///
/// # Errors
/// `Schema`: the text is none of these.
pub fn file_columns(text: &str) -> Result<Option<Vec<FileColumn>>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(text)
        .map(Some)
        .map_err(|error| Error::Schema(format!("the columns kept with a rejected row cannot be read: {error}")))
}

/// The formats that a source can read the rejects of.
#[must_use]
pub fn replay_formats(format: &Format) -> &'static [&'static str] {
    match format {
        Format::Csv(_) => &["csv"],
        Format::Ndjson(_) | Format::Json(_) => &["ndjson", "json"],
        Format::Parquet => &[],
    }
}

/// The columns of rejected rows, as they were kept: each text once.
pub type ReplayColumns = BTreeSet<String>;

/// The schema that rejected rows are read as: declared columns win, the rest is as the jobs had it that rejected them.
/// `files`: those that the rows stood in.
///
/// # Errors
/// `Schema`: what the source does not say and the rows do not either, or do in different ways.
pub fn replay_schema(source: &Source, kept: &ReplayColumns, files: &[PlannedFile]) -> Result<InputSchema, Error> {
    let added = Added::new(source, files)?;
    let source = added.source_of_files(source);
    let mut known: Vec<FileColumn> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let declared = |name: &str| source.columns.iter().find(|column| column.name == name);
    for text in kept {
        for column in file_columns(text)?.unwrap_or_default() {
            match places.get(&column.name) {
                None => {
                    places.insert(column.name.clone(), known.len());
                    known.push(column);
                }
                Some(at) if known[*at].ty.is_empty() => known[*at] = column,
                Some(at) if known[*at].ty != column.ty && !column.ty.is_empty() && declared(&column.name).is_none() => {
                    return Err(Error::Schema(format!(
                        "column `{}` was read as {} in some of the rejects and as {} in others; declare it in source.columns, or replay them apart with a condition",
                        column.name, known[*at].ty, column.ty
                    )));
                }
                Some(_) => {}
            }
        }
    }
    if let Format::Csv(csv) = &source.format {
        if !csv.column_names.is_empty() {
            let ty = |name: &String| places.get(name).map(|at| known[*at].ty.clone()).unwrap_or_default();
            known = csv.column_names.iter().map(|name| FileColumn { name: name.clone(), ty: ty(name) }).collect();
        } else if known.is_empty() && source.columns.is_empty() {
            return Err(Error::Schema(
                "the columns of the rejects were not kept with them, for they are too many; say csv.column_names and declare source.columns".to_owned(),
            ));
        }
    }
    // As of files: a contract that takes no new columns makes the declared ones all there are.
    let only_declared = !source.columns.is_empty() && source.contract.columns != ContractMode::Evolve;
    let mut schema = InputSchema::new(Arc::new(Schema::empty()), Vec::new());
    let mut fields = Vec::new();
    let missing = source.columns.iter().filter(|column| !known.iter().any(|other| other.name == column.name));
    let missing: Vec<FileColumn> =
        missing.map(|column| FileColumn { name: column.name.clone(), ty: String::new() }).collect();
    for column in known.iter().chain(&missing) {
        let (ty, origin) = match declared(&column.name) {
            Some(declared) => (declared.ty.clone(), Origin::Declared),
            None if only_declared || (column.ty.is_empty() && source.rescued_column.is_some()) => continue,
            None => (kept_type(column)?, Origin::Inferred),
        };
        fields.push(Field::new(&column.name, columns::arrow_type_of(&ty), true));
        schema.origins.push(origin);
    }
    schema.arrow = Arc::new(Schema::new(fields));
    schema.sample = Sample::default();
    crate::with_rescued(schema, &source).and_then(|schema| added.extend(schema))
}

fn kept_type(column: &FileColumn) -> Result<ColumnType, Error> {
    column.ty.parse().map_err(|why: String| {
        let name = &column.name;
        Error::Schema(if column.ty.is_empty() {
            format!("nothing says the type of column `{name}`: declare it in source.columns")
        } else {
            format!("the type of column `{name}` that was kept with the rejects is none: {why}")
        })
    })
}

/// Batches of rejected rows with the columns that [`raw_columns`] names.
pub type RawRows = BoxStream<'static, Result<RecordBatch, Error>>;

/// The columns of rejected rows that are needed to read them again.
#[must_use]
pub fn raw_columns() -> &'static [&'static str] {
    &["uri", "record", "line", "byte_offset", "raw", "format", "columns", "encoding"]
}

/// Streams rejected rows as batches of the schema, in their order; those that still do not fit go the way of all bad
/// rows, with the place they have had from the first. `files`: those that the rows stood in. Rows in whose bytes there
/// is no record any more are counted in `empty`.
///
/// # Errors
/// As [`crate::batches`].
///
/// # Cancel safety
/// Dropping the stream stops all work above it.
#[must_use]
pub fn replay(
    source: &Source,
    schema: &InputSchema,
    files: &[PlannedFile],
    rows: RawRows,
    options: ReadOptions,
    empty: Arc<std::sync::atomic::AtomicU64>,
) -> BatchStream {
    match Again::new(source, schema, files, &options, empty) {
        Ok(again) => stream(again, rows, options),
        Err(error) => crate::failed(error),
    }
}

fn stream(mut again: Again, mut rows: RawRows, options: ReadOptions) -> BatchStream {
    Box::pin(async_stream::try_stream! {
        let mut accounts = Accounts::new(&options);
        let counters = Arc::clone(&options.counters);
        // The receiver of the rejects sees their end when this stream is at its own.
        drop(options);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            // Parsing is no work for the threads that wait.
            let task = tokio::task::spawn_blocking(move || {
                let read = again.read(&batch);
                (again, read)
            });
            let (back, read) =
                task.await.map_err(|error| Error::Internal(format!("the thread that reads rejects ended: {error}")))?;
            again = back;
            let mut good = Vec::new();
            counters.enter(Room::Read);
            for Record { file, place, parsed } in read? {
                accounts.begin(place);
                for mut parsed in parsed {
                    Counters::add(&counters.bytes_done, parsed.bytes as u64);
                    let records_before = accounts.block(&mut parsed).await?;
                    let offsets = Some(std::mem::take(&mut parsed.offsets));
                    let places = Places { records_before, bad_after: &parsed.bad_after, offsets };
                    let batch = again.added(file).append(parsed.batch, places)?;
                    if batch.num_rows() > 0 {
                        good.push(batch);
                    }
                }
            }
            if !good.is_empty() {
                yield concat_batches(&good[0].schema(), &good).map_err(batch_error)?;
            }
        }
        accounts.end()?;
    })
}

/// What became of the bytes of one rejected row.
struct Record {
    /// Number of its file.
    file: usize,
    place: FilePlace,
    parsed: Vec<Parsed>,
}

/// How rejected rows are read.
struct Again {
    source: Source,
    reader: Reader,
    schema: InputSchema,
    columns: Vec<FileColumn>,
    ask: Ask,
    sizes: Sizes,
    pool: Pool,
    /// Of each text of columns, how the rows of such files are read.
    starts: HashMap<String, Arc<Start>>,
    files: HashMap<String, usize>,
    uris: Vec<String>,
    added: Added,
    /// The file that the last row stood in.
    last: Option<(usize, OfFile)>,
    empty: Arc<std::sync::atomic::AtomicU64>,
}

enum Reader {
    Csv(Box<Csv>),
    /// Lines, and the elements of documents.
    Json(Box<Objects>, Box<Objects>),
}

impl Again {
    fn new(
        source: &Source,
        schema: &InputSchema,
        files: &[PlannedFile],
        options: &ReadOptions,
        empty: Arc<std::sync::atomic::AtomicU64>,
    ) -> Result<Self, Error> {
        let added = Added::new(source, files)?;
        let own = schema.of_files();
        let reader = match &source.format {
            Format::Csv(format) => Reader::Csv(Box::new(Csv::new(source, format, &own)?)),
            Format::Ndjson(moulin_core::NdjsonFormat { duplicate_keys })
            | Format::Json(moulin_core::JsonFormat { duplicate_keys, .. }) => {
                let objects = |layout| Objects::new(source, *duplicate_keys, layout, &own).map(Box::new);
                Reader::Json(objects(Layout::Lines)?, objects(Layout::Items)?)
            }
            Format::Parquet => {
                return Err(Error::Schema("rows of Parquet files are kept without their bytes".to_owned()));
            }
        };
        let fields = own.arrow.fields().len();
        let uris: Vec<String> = files.iter().map(|file| file.uri.clone()).collect();
        Ok(Self {
            source: source.clone(),
            reader,
            columns: columns_of(schema),
            schema: schema.clone(),
            ask: Ask { offsets: added.offsets(), ..Accounts::ask(options) },
            sizes: Sizes::new(fields),
            pool: Pool::default(),
            starts: HashMap::new(),
            files: uris.iter().cloned().enumerate().map(|(at, uri)| (uri, at)).collect(),
            uris,
            added,
            last: None,
            empty,
        })
    }

    fn added(&mut self, file: usize) -> &mut OfFile {
        if self.last.as_ref().is_none_or(|(last, _)| *last != file) {
            self.last = None;
        }
        let (schema, added, uris) = (&self.schema.arrow, &self.added, &self.uris);
        &mut self.last.get_or_insert_with(|| (file, added.of_file(schema, file, &uris[file]))).1
    }

    fn read(&mut self, batch: &RecordBatch) -> Result<Vec<Record>, Error> {
        let lacks = |name: &str| Error::Internal(format!("the rejects have no column `{name}` of its type"));
        let column = |name: &'static str| batch.column_by_name(name).ok_or_else(|| lacks(name));
        let text = |name: &'static str| column(name)?.as_string_opt::<i32>().ok_or_else(|| lacks(name));
        let number = |name: &'static str| column(name)?.as_primitive_opt::<Int64Type>().ok_or_else(|| lacks(name));
        let (uri, format, columns) = (text("uri")?, text("format")?, text("columns")?);
        let encoding = text("encoding")?;
        let (record, line, offset) = (number("record")?, number("line")?, number("byte_offset")?);
        let raw = column("raw")?.as_binary_opt::<i32>().ok_or_else(|| lacks("raw"))?;
        let mut records = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let count = |value: i64| u64::try_from(value).unwrap_or(0);
            let uri = uri.value(row);
            let file = *self
                .files
                .get(uri)
                .ok_or_else(|| Error::Internal(format!("a reject of {uri}, which was not among the rejects before")))?;
            let (parsed, shape) = self.read_one(
                uri,
                raw.value(row),
                count(offset.value(row)),
                format.value(row),
                columns.value(row),
                Charset::named(encoding.value(row)),
            )?;
            let place = FilePlace {
                uri: uri.to_owned(),
                lines: count(line.value(row)).saturating_sub(1),
                records: count(record.value(row)).saturating_sub(1),
                shape,
            };
            let is_empty = |parsed: &Parsed| parsed.batch.num_rows() == 0 && parsed.bad_after.is_empty();
            if parsed.iter().all(is_empty) {
                self.empty.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            records.push(Record { file, place, parsed });
        }
        Ok(records)
    }

    fn read_one(
        &mut self,
        uri: &str,
        raw: &[u8],
        offset: u64,
        format: &str,
        columns: &str,
        kept: Option<Charset>,
    ) -> Result<(Vec<Parsed>, Arc<RowShape>), Error> {
        let name = self.source.format.name();
        match &self.reader {
            Reader::Csv(csv) => {
                let start = match self.starts.get(columns) {
                    Some(start) => Arc::clone(start),
                    None => {
                        let names = self.names(columns)?;
                        let start = Arc::new(csv.start_of_records(uri, names.as_deref())?);
                        self.starts.insert(columns.to_owned(), Arc::clone(&start));
                        start
                    }
                };
                let charset = csv.charset_of_records(kept);
                let shape = shape(name, &self.columns, &start.order, &start.left_out, charset);
                let input = ByteStream::new(Cursor::new(raw.to_vec()));
                let room = raw.len() * charset.map_or(1, |_| Charset::MOST_TEXT) + 1;
                let mut splitter = Splitter::new(input, room, self.pool.clone()).with_limits(&self.source.limits);
                splitter = splitter.of_range(offset, false);
                if let Some(charset) = charset {
                    splitter.recode(charset);
                }
                let mut parsed = Vec::new();
                while let Some(block) = splitter.next(&start.cut).map_err(|error| cut_error(uri, error))? {
                    parsed.push(csv.parse(&start, &block, &self.sizes, self.ask)?);
                }
                Ok((parsed, shape))
            }
            Reader::Json(lines, items) => {
                let (objects, ending): (_, &[u8]) = if format == "json" { (items, b"") } else { (lines, b"\n") };
                let block = Block::of(&[raw, ending].concat(), offset);
                let shape = shape(if format == "json" { "json" } else { "ndjson" }, &self.columns, &[], &[], None);
                Ok((vec![objects.parse(&block, &self.sizes, self.ask)?], shape))
            }
        }
    }

    /// The names of the fields of a file with such columns; `None`: those of the schema, in its order.
    fn names(&self, columns: &str) -> Result<Option<Vec<String>>, Error> {
        if let Format::Csv(csv) = &self.source.format
            && !csv.column_names.is_empty()
        {
            return Ok(Some(csv.column_names.clone()));
        }
        Ok(file_columns(columns)?.map(|columns| columns.into_iter().map(|column| column.name).collect()))
    }
}
