//! Text files become batches: one thread cuts blocks, others parse them, batches come out in order.
//!
//! Memory is bounded by construction: a block is cut only when there is room for it in the channel of blocks under
//! way, and that channel is emptied only as fast as batches are asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use moulin_core::{Counters, Room};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::accounts::{Accounts, FilePlace};
use crate::added::Places;
use crate::blocks::{Block, Splitter};
use crate::csv::{Charset, Cut};
use crate::cutter::{Cutter, Step};
use crate::fault::BadRow;
use crate::fetch::ByteStream;
use crate::ranges::{Chain, RangeReader};
use crate::shards::{ShardEnd, Slice, Told};
use crate::{BatchStream, Error, Input, ReadOptions};

/// Rows below which batches wait for more.
const FEW_ROWS: usize = 8192;
/// Cells that a block may become where records need not have all columns: no bytes bound them then. Eight to sixteen bytes
/// each, of some blocks more than there are threads.
pub(crate) const MOST_CELLS: usize = if cfg!(test) { 1 << 12 } else { 2 << 20 };

/// A text format of one schema.
pub(crate) trait Text: Send + Sync + 'static {
    /// The schema of the batches.
    fn schema(&self) -> &SchemaRef;
    /// Columns that are checked, those that are not handed out among them.
    fn columns(&self) -> usize {
        self.schema().fields().len()
    }
    /// Reads what stands before the first record of a file.
    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error>;
    /// Whether records can be told apart from any place of a file on, and mean the same wherever they are read from.
    fn splits(&self) -> bool {
        false
    }
    /// One past the last of the first `rows` records of a text of whole ones; `None`: there are no more than these.
    fn end_of(&self, start: &Start, text: &[u8], rows: usize) -> Option<usize>;
    /// Whether records make cells that no byte of them stands for.
    fn has_absent_cells(&self, start: &Start) -> bool;
    /// Parses whole records.
    fn parse(&self, start: &Start, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error>;
}

/// What a parser is asked for besides the values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// Nothing after the first bad row.
    pub(crate) stop_at_first: bool,
    /// Bad rows whose place, reason and bytes are kept: so many, the first.
    pub(crate) bad_rows_kept: usize,
    /// Whether the place of each row is kept.
    pub(crate) offsets: bool,
}

/// What the start of a file says about its records.
pub(crate) struct Start {
    pub(crate) cut: Cut,
    /// Place in the schema of each field; empty when fields have names of their own. Those behind the columns of the
    /// files are of fields that have no column.
    pub(crate) order: Vec<usize>,
    /// The names of fields that have no column.
    pub(crate) left_out: Vec<String>,
    /// Lines before the first record.
    pub(crate) lines: u64,
    /// Records before the first block.
    pub(crate) records: u64,
    /// The encoding of the file; `None`: UTF-8.
    pub(crate) charset: Option<Charset>,
    /// Records that were read with the start.
    pub(crate) first: Option<Block>,
}

/// What became of a block.
pub(crate) struct Parsed {
    pub(crate) batch: RecordBatch,
    /// Line ends of the block, the one that the end of the file lacked among them.
    pub(crate) lines: u64,
    /// For each bad row, in order: the good rows of the block before it.
    pub(crate) bad_after: Vec<u32>,
    /// The first bad rows, as many as were asked for.
    pub(crate) kept: Vec<BadRow>,
    /// Where each good row starts in the decompressed file; empty when nobody asked.
    pub(crate) offsets: Vec<i64>,
    /// Of the block.
    pub(crate) bytes: usize,
    /// Bytes of text of each column.
    pub(crate) text_bytes: Vec<usize>,
}

/// How large columns became so far: room is made once, at the start of a block.
#[derive(Debug)]
pub(crate) struct Sizes {
    bytes_per_row: AtomicUsize,
    text_bytes: Vec<AtomicUsize>,
}

impl Sizes {
    pub(crate) fn new(columns: usize) -> Self {
        Self { bytes_per_row: AtomicUsize::new(64), text_bytes: (0..columns).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// Rows that a block of so many bytes may hold. Of many columns there are few, however short the rows were so far.
    pub(crate) fn rows(&self, bytes: usize) -> usize {
        let most = bytes.max(MOST_CELLS) / self.text_bytes.len().max(1);
        (bytes / self.bytes_per_row.load(Relaxed).max(1) * 17 / 16).min(most) + 16
    }

    /// Bytes of text that a column may hold.
    pub(crate) fn text_bytes(&self, column: usize) -> usize {
        self.text_bytes.get(column).map_or(0, |bytes| bytes.load(Relaxed) * 17 / 16)
    }

    pub(crate) fn learn(&self, parsed: &Parsed) {
        let rows = parsed.batch.num_rows();
        if rows > 0 {
            self.bytes_per_row.store(parsed.bytes / rows, Relaxed);
        }
        for (known, bytes) in self.text_bytes.iter().zip(&parsed.text_bytes) {
            known.store(*bytes, Relaxed);
        }
    }
}

pub(crate) fn batch_error(error: ArrowError) -> Error {
    Error::Internal(format!("the values read make no batch: {error}"))
}

/// Streams files of a text format as batches: all of all files, or a slice of one.
pub(crate) fn batches<T: Text>(
    input: Input,
    text: T,
    block_bytes: usize,
    options: ReadOptions,
    slice: Option<(Option<Slice>, Told)>,
) -> BatchStream {
    Box::pin(async_stream::try_stream! {
        let stop = CancellationToken::new();
        let _stopped_on_drop = stop.clone().drop_guard();
        let mut accounts = Accounts::new(&options);
        let ask = Ask { offsets: input.added.offsets(), ..Accounts::ask(&options) };
        let (threads, counters) = (options.threads.max(1), Arc::clone(&options.counters));
        // The receiver of the rejects sees their end when this stream is at its own.
        drop(options);
        let reader = Arc::new(RangeReader::new(&input, text, block_bytes, ask, &counters));
        let (slice, told) = slice.unzip();
        let slice = slice.flatten();
        let before = slice.as_ref().map_or((0, 0), Slice::before);
        let cutter = Cutter::new(Arc::clone(&reader), threads, slice, stop);
        // With the one awaited here and the one the cutter waits to send, a few more blocks are under way than threads.
        let (sender, mut steps) = mpsc::channel(threads);
        let cutting = tokio::task::spawn_blocking(move || cutter.run(&sender));
        let mut added = input.added.of_file(&input.schema, 0, "");
        let (mut chain, mut from) = (None, u64::MAX);
        let few_rows = FEW_ROWS.min(MOST_CELLS / 2 / input.schema.fields().len().max(1)).max(1);
        let schema = Arc::clone(&input.schema);
        let mut waiting = Waiting { schema, enough_rows: few_rows, batches: Vec::new(), rows: 0, bytes: 0 };
        'reading: while let Some(step) = steps.recv().await {
            let parts = match step? {
                Step::File { number, start, stretch, before } => {
                    let uri = input.files[number].uri.clone();
                    added = input.added.of_file(&input.schema, number, &uri);
                    let shape = input.shape_of(&start);
                    accounts.begin(FilePlace { uri, lines: before.lines, records: before.records, shape });
                    from = before.offset;
                    chain = stretch.map(|stretch| Chain::new(Arc::clone(&reader), start, stretch));
                    continue;
                }
                Step::FileEnd => {
                    Counters::add(&counters.files_done, 1);
                    continue;
                }
                Step::Block { parsed } => {
                    let parsed = parsed.done().await?;
                    vec![parsed]
                }
                Step::Range { read } => match &mut chain {
                    Some(chain) => chain.next(read).await?,
                    None => Err(Error::Internal("a range of a file that is not read in ranges".to_owned()))?,
                },
            };
            let mut parts = parts.into_iter();
            while let Some(mut parsed) = next_of(&mut parts, &mut chain).await? {
                let bytes = parsed.bytes;
                counters.enter(Room::Read);
                let records_before = accounts.block(&mut parsed).await?;
                let offsets = Some(std::mem::take(&mut parsed.offsets));
                let places = Places { records_before, bad_after: &parsed.bad_after, offsets };
                let batch = added.append(parsed.batch, places)?;
                if bytes * 2 >= block_bytes || batch.num_rows() >= few_rows {
                    if let Some(batch) = waiting.take()? {
                        yield batch;
                    }
                    if batch.num_rows() > 0 {
                        yield batch;
                    }
                } else if let Some(batch) = waiting.add(batch, bytes, block_bytes)? {
                    yield batch;
                }
                if accounts.are_enough() {
                    break 'reading;
                }
            }
        }
        if !accounts.are_enough() {
            cutting.await.map_err(|error| Error::Internal(format!("the thread that cuts blocks ended: {error}")))?;
            accounts.end()?;
        }
        if let Some(told) = told {
            let FilePlace { lines, records, .. } = accounts.place();
            let to = chain.as_ref().map_or(u64::MAX, Chain::at);
            // Of a shard that turned out to have nothing, nothing was counted.
            let (records, lines) = (records.saturating_sub(before.0), lines.saturating_sub(before.1));
            told.tell(ShardEnd { from, to, records, lines });
        }
        if let Some(batch) = waiting.take()? {
            yield batch;
        }
    })
}

/// What is at hand, and then what a range that is read again has.
async fn next_of<T: Text>(
    parts: &mut impl Iterator<Item = Parsed>,
    chain: &mut Option<Chain<T>>,
) -> Result<Option<Parsed>, Error> {
    match (parts.next(), chain) {
        (None, Some(chain)) => chain.again().await,
        (part, _) => Ok(part),
    }
}

/// Batches too small to hand on alone: the ends of files, and small files.
struct Waiting {
    schema: SchemaRef,
    enough_rows: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    fn add(&mut self, batch: RecordBatch, bytes: usize, enough_bytes: usize) -> Result<Option<RecordBatch>, Error> {
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.batches.push(batch);
        if self.rows >= self.enough_rows || self.bytes >= enough_bytes { self.take() } else { Ok(None) }
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, Error> {
        (self.rows, self.bytes) = (0, 0);
        match std::mem::take(&mut self.batches).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one.clone())),
            several => concat_batches(&self.schema, several).map(Some).map_err(batch_error),
        }
    }
}
