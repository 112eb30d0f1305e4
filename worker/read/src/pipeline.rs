//! Text files become batches: one thread cuts blocks, others parse them, batches come out in order.
//!
//! Memory is bounded by construction: a block is cut only when there is room for it in the channel of blocks under
//! way, and that channel is emptied only as fast as batches are asked for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use moulin_core::{Counters, PlannedFile, Room, Source};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::ReadOptions;
use super::accounts::{Accounts, FilePlace};
use super::blocks::{Block, Pool, Splitter};
use super::csv::{Cut, cut_error};
use super::fault::BadRow;
use super::inflate::inflated;
use crate::added::Places;
use crate::fetch::ByteStream;
use crate::{BatchStream, Error, Input};

/// Rows below which batches wait for more.
const FEW_ROWS: usize = 8192;

/// A text format of one schema.
pub(crate) trait Text: Send + Sync + 'static {
    /// The schema of the batches.
    fn schema(&self) -> &SchemaRef;
    /// Reads what stands before the first record of a file.
    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error>;
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
    /// Place in the schema of each field; empty when fields have names of their own.
    pub(crate) order: Vec<usize>,
    /// Lines before the first record.
    pub(crate) lines: u64,
    /// Records before the first block.
    pub(crate) records: u64,
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

    /// Rows that a block of so many bytes may hold.
    pub(crate) fn rows(&self, bytes: usize) -> usize {
        bytes / self.bytes_per_row.load(Relaxed).max(1) * 17 / 16 + 16
    }

    /// Bytes of text that a column may hold.
    pub(crate) fn text_bytes(&self, column: usize) -> usize {
        self.text_bytes.get(column).map_or(0, |bytes| bytes.load(Relaxed) * 17 / 16)
    }

    fn learn(&self, block_bytes: usize, parsed: &Parsed) {
        let rows = parsed.batch.num_rows();
        if rows > 0 {
            self.bytes_per_row.store(block_bytes / rows, Relaxed);
        }
        for (known, bytes) in self.text_bytes.iter().zip(&parsed.text_bytes) {
            known.store(*bytes, Relaxed);
        }
    }
}

pub(crate) fn batch_error(error: ArrowError) -> Error {
    Error::Internal(format!("the values read make no batch: {error}"))
}

/// All that the cutting thread needs.
struct Cutter<T> {
    input: Input,
    text: Arc<T>,
    block_bytes: usize,
    ask: Ask,
    ahead: usize,
    counters: Arc<Counters>,
    runtime: Handle,
    stop: CancellationToken,
}

/// What the cutting thread hands on, in the order of the files.
enum Step {
    File { number: usize, lines: u64, records: u64 },
    Block { parsed: JoinHandle<Result<Parsed, Error>>, bytes: usize },
    FileEnd,
}

type Steps = mpsc::Sender<Result<Step, Error>>;

impl<T: Text> Cutter<T> {
    fn run(self, steps: &Steps) {
        if let Err(error) = self.cut_all(steps) {
            // Nobody is left to tell when this fails.
            let _ = steps.blocking_send(Err(error));
        }
    }

    /// Ends early, and without an error, when nobody receives any more.
    fn cut_all(&self, steps: &Steps) -> Result<(), Error> {
        let (pool, sizes) = (Pool::default(), Arc::new(Sizes::new(self.text.schema().fields().len())));
        // The next files are opened ahead: their latency and their inflating overlap with this one's parsing.
        let mut opened = VecDeque::new();
        let mut unopened = self.input.files.iter();
        for number in 0..self.input.files.len() {
            while opened.len() <= self.ahead {
                let Some(file) = unopened.next() else { break };
                opened.push_back((file, self.open(file)));
            }
            let Some((file, stream)) = opened.pop_front() else { break };
            let Some(stream) = stream? else { continue };
            let splitter = Splitter::new(stream, self.block_bytes, pool.clone()).with_limits(&self.input.source.limits);
            if !self.cut_file(number, &file.uri, splitter, &sizes, steps)? {
                break;
            }
        }
        Ok(())
    }

    /// `None`: the file is damaged and left out.
    fn open(&self, file: &PlannedFile) -> Result<Option<ByteStream>, Error> {
        if !self.input.admits(file, &self.counters, || self.verify(file))? {
            return Ok(None);
        }
        self.stream(file, &self.counters).map(Some)
    }

    fn stream(&self, file: &PlannedFile, counters: &Arc<Counters>) -> Result<ByteStream, Error> {
        let Source { compression, limits, .. } = &self.input.source;
        let stream = self.input.fetcher.open(file, counters, &self.runtime, &self.stop)?;
        Ok(inflated(&file.uri, *compression, limits, stream, counters, &self.runtime))
    }

    /// Inflates and cuts the whole file, and throws it away. Nothing is counted.
    fn verify(&self, file: &PlannedFile) -> Result<(), Error> {
        let stream = self.stream(file, &Arc::default())?;
        let limits = &self.input.source.limits;
        let mut splitter = Splitter::new(stream, self.block_bytes, Pool::default()).with_limits(limits);
        let cut = self.text.begin(&file.uri, &mut splitter)?.cut;
        while splitter.next(&cut).map_err(|error| cut_error(&file.uri, error))?.is_some() {
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    fn cut_file(
        &self,
        number: usize,
        uri: &str,
        mut splitter: Splitter<ByteStream>,
        sizes: &Arc<Sizes>,
        steps: &Steps,
    ) -> Result<bool, Error> {
        let mut start = self.text.begin(uri, &mut splitter)?;
        let mut next = start.first.take();
        let start = Arc::new(start);
        let step = Step::File { number, lines: start.lines, records: start.records };
        if steps.blocking_send(Ok(step)).is_err() {
            return Ok(false);
        }
        loop {
            let block = match next.take() {
                Some(block) => block,
                None => match splitter.next(&start.cut).map_err(|error| cut_error(uri, error))? {
                    Some(block) => block,
                    None => break,
                },
            };
            self.counters.busy(Room::Read, splitter.take_time());
            let bytes = block.end - block.start;
            let parsed = self.parse(&start, block, sizes);
            if steps.blocking_send(Ok(Step::Block { parsed, bytes })).is_err() {
                return Ok(false);
            }
        }
        Ok(steps.blocking_send(Ok(Step::FileEnd)).is_ok())
    }

    fn parse(&self, start: &Arc<Start>, block: Block, sizes: &Arc<Sizes>) -> JoinHandle<Result<Parsed, Error>> {
        let (text, start, sizes) = (Arc::clone(&self.text), Arc::clone(start), Arc::clone(sizes));
        let (counters, ask) = (Arc::clone(&self.counters), self.ask);
        self.runtime.spawn_blocking(move || {
            let parsed = counters.timed(Room::Read, || text.parse(&start, &block, &sizes, ask))?;
            sizes.learn(block.end - block.start, &parsed);
            Ok(parsed)
        })
    }
}

/// Streams files of a text format as batches.
pub(crate) fn batches<T: Text>(input: Input, text: T, block_bytes: usize, options: ReadOptions) -> BatchStream {
    Box::pin(async_stream::try_stream! {
        let stop = CancellationToken::new();
        let _stopped_on_drop = stop.clone().drop_guard();
        let mut accounts = Accounts::new(&options);
        let ask = Ask { offsets: input.added.offsets(), ..Accounts::ask(&options) };
        let (threads, counters) = (options.threads.max(1), Arc::clone(&options.counters));
        // The receiver of the rejects sees their end when this stream is at its own.
        drop(options);
        let text = Arc::new(text);
        let cutter = Cutter {
            input: input.clone(),
            text: Arc::clone(&text),
            block_bytes,
            ask,
            ahead: threads.min(2),
            counters: Arc::clone(&counters),
            runtime: Handle::current(),
            stop,
        };
        // With the one awaited here and the one the cutter waits to send, as many blocks are under way as threads, and one more.
        let (sender, mut steps) = mpsc::channel(threads.saturating_sub(1).max(1));
        let cutting = tokio::task::spawn_blocking(move || cutter.run(&sender));
        let mut added = input.added.of_file(&input.schema, 0, "");
        let mut waiting = Waiting { schema: Arc::clone(&input.schema), batches: Vec::new(), rows: 0, bytes: 0 };
        while let Some(step) = steps.recv().await {
            match step? {
                Step::File { number, lines, records } => {
                    let uri = input.files[number].uri.clone();
                    added = input.added.of_file(&input.schema, number, &uri);
                    accounts.begin(FilePlace { uri, lines, records });
                }
                Step::FileEnd => Counters::add(&counters.files_done, 1),
                Step::Block { parsed, bytes } => {
                    let mut parsed = parsed.await.map_err(|error| Error::Internal(format!("a thread that parses ended: {error}")))??;
                    counters.enter(Room::Read);
                    let records_before = accounts.block(&mut parsed).await?;
                    let places = Places { records_before, bad_after: &parsed.bad_after, offsets: Some(&parsed.offsets) };
                    let batch = added.append(parsed.batch, places)?;
                    if bytes * 2 >= block_bytes || batch.num_rows() >= FEW_ROWS {
                        if let Some(batch) = waiting.take()? {
                            yield batch;
                        }
                        if batch.num_rows() > 0 {
                            yield batch;
                        }
                    } else if let Some(batch) = waiting.add(batch, bytes, block_bytes)? {
                        yield batch;
                    }
                }
            }
        }
        cutting.await.map_err(|error| Error::Internal(format!("the thread that cuts blocks ended: {error}")))?;
        accounts.end()?;
        if let Some(batch) = waiting.take()? {
            yield batch;
        }
    })
}

/// Batches too small to hand on alone: the ends of files, and small files.
struct Waiting {
    schema: SchemaRef,
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
        if self.rows >= FEW_ROWS || self.bytes >= enough_bytes { self.take() } else { Ok(None) }
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
