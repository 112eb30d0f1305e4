//! One thread goes through the files and hands out parts of them, in order, to be parsed by others.
//!
//! A stream is cut here, block by block. A plain file of this machine is not even read here: ranges of it are read, cut
//! and parsed by the others (`ranges`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use moulin_core::{Compression, Counters, PlannedFile, Room, Source};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::csv::cut_error;
use crate::fetch::ByteStream;
use crate::inflate::inflated;
use crate::pipeline::{Parsed, Start, Text};
use crate::ranges::{RangeRead, RangeReader};

/// Files of fewer blocks are read as a stream.
const RANGES_FROM_BLOCKS: u64 = 4;

/// What the cutting thread hands on, in the order of the files.
pub(crate) enum Step {
    /// `ranges`: from the first record to the end of the file, when ranges of that follow; else blocks do.
    File {
        number: usize,
        start: Arc<Start>,
        ranges: Option<Range<u64>>,
    },
    Block {
        parsed: JoinHandle<Result<Parsed, Error>>,
    },
    /// A range whose start is a guess.
    Range {
        range: Range<u64>,
        read: JoinHandle<Result<RangeRead, Error>>,
    },
    FileEnd,
}

pub(crate) type Steps = mpsc::Sender<Result<Step, Error>>;

/// All that the cutting thread needs.
pub(crate) struct Cutter<T> {
    reader: Arc<RangeReader<T>>,
    /// Files opened before their turn.
    ahead: usize,
    /// One for each thread that may parse.
    permits: Arc<Semaphore>,
    runtime: Handle,
    stop: CancellationToken,
}

impl<T: Text> Cutter<T> {
    pub(crate) fn new(reader: Arc<RangeReader<T>>, threads: usize, stop: CancellationToken) -> Self {
        let permits = Arc::new(Semaphore::new(threads));
        Self { reader, ahead: threads.min(2), permits, runtime: Handle::current(), stop }
    }

    pub(crate) fn run(self, steps: &Steps) {
        if let Err(error) = self.cut_all(steps) {
            // Nobody is left to tell when this fails.
            let _ = steps.blocking_send(Err(error));
        }
    }

    /// Ends early, and without an error, when nobody receives any more.
    fn cut_all(&self, steps: &Steps) -> Result<(), Error> {
        let input = &self.reader.input;
        // The next files are opened ahead: their latency and their inflating overlap with this one's parsing.
        let mut opened = VecDeque::new();
        let mut unopened = input.files.iter();
        for number in 0..input.files.len() {
            while opened.len() <= self.ahead {
                let Some(file) = unopened.next() else { break };
                opened.push_back((file, self.open(file)));
            }
            let Some((file, stream)) = opened.pop_front() else { break };
            let Some(stream) = stream? else { continue };
            let goes_on = match self.cut_ranges(number, file, steps)? {
                Some(goes_on) => goes_on,
                None => self.cut_stream(number, &file.uri, self.splitter(stream), steps)?,
            };
            if !goes_on || steps.blocking_send(Ok(Step::FileEnd)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// `None`: the file is damaged and left out.
    fn open(&self, file: &PlannedFile) -> Result<Option<ByteStream>, Error> {
        if !self.reader.input.admits(file, &self.reader.counters, || self.verify(file))? {
            return Ok(None);
        }
        self.stream(file, &self.reader.counters).map(Some)
    }

    fn stream(&self, file: &PlannedFile, counters: &Arc<Counters>) -> Result<ByteStream, Error> {
        let Source { compression, limits, .. } = &self.reader.input.source;
        let stream = self.reader.input.fetcher.open(file, counters, &self.runtime, &self.stop)?;
        Ok(inflated(&file.uri, *compression, limits, stream, counters, &self.runtime))
    }

    fn splitter(&self, stream: ByteStream) -> Splitter<ByteStream> {
        let RangeReader { block_bytes, pool, input, .. } = self.reader.as_ref();
        Splitter::new(stream, *block_bytes, pool.clone()).with_limits(&input.source.limits)
    }

    /// Inflates and cuts the whole file, and throws it away. Nothing is counted.
    fn verify(&self, file: &PlannedFile) -> Result<(), Error> {
        let mut splitter = self.splitter(self.stream(file, &Arc::default())?);
        let cut = self.reader.text.begin(&file.uri, &mut splitter)?.cut;
        while splitter.next(&cut).map_err(|error| cut_error(&file.uri, error))?.is_some() {
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// `false`: nobody receives any more.
    fn cut_stream(
        &self,
        number: usize,
        uri: &str,
        mut splitter: Splitter<ByteStream>,
        steps: &Steps,
    ) -> Result<bool, Error> {
        let mut start = self.reader.text.begin(uri, &mut splitter)?;
        let mut next = start.first.take();
        let start = Arc::new(start);
        if steps.blocking_send(Ok(Step::File { number, start: Arc::clone(&start), ranges: None })).is_err() {
            return Ok(false);
        }
        loop {
            let block = match next.take() {
                Some(block) => block,
                None => match splitter.next(&start.cut).map_err(|error| cut_error(uri, error))? {
                    Some(block) => block,
                    None => return Ok(true),
                },
            };
            self.reader.counters.busy(Room::Read, splitter.take_time());
            let parsed = self.parse(&start, block)?;
            if steps.blocking_send(Ok(Step::Block { parsed })).is_err() {
                return Ok(false);
            }
        }
    }

    fn parse(&self, start: &Arc<Start>, block: Block) -> Result<JoinHandle<Result<Parsed, Error>>, Error> {
        let (reader, start, permit) = (Arc::clone(&self.reader), Arc::clone(start), self.permit()?);
        Ok(self.runtime.spawn_blocking(move || {
            let parsed = reader.parse(&start, &block);
            drop(permit);
            parsed
        }))
    }

    /// Waits until one more thread may parse.
    fn permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        let permit = self.runtime.block_on(Arc::clone(&self.permits).acquire_owned());
        permit.map_err(|error| Error::Internal(error.to_string()))
    }

    /// Hands out ranges, if the file can be read so; `Some(false)`: nobody receives any more.
    fn cut_ranges(&self, number: usize, file: &PlannedFile, steps: &Steps) -> Result<Option<bool>, Error> {
        let RangeReader { input, text, block_bytes, counters, .. } = self.reader.as_ref();
        let is_plain = matches!(input.source.compression.of(&file.uri), Compression::None | Compression::Auto);
        let size = input.fetcher.local_size(file).filter(|_| is_plain && text.splits());
        let Some(size) = size.filter(|size| *size >= RANGES_FROM_BLOCKS * *block_bytes as u64) else { return Ok(None) };
        let mut splitter = self.splitter(self.stream(file, &Arc::default())?);
        let mut start = text.begin(&file.uri, &mut splitter)?;
        if start.cut.footer_rows() > 0 {
            return Ok(None);
        }
        let first = start.first.take().map(|block| block.offset);
        let Some(mut from) = splitter.position().map(|next| first.unwrap_or(next)) else { return Ok(None) };
        drop(splitter);
        Counters::add(&counters.bytes_done, from);
        let start = Arc::new(start);
        let step = Step::File { number, start: Arc::clone(&start), ranges: Some(from..size) };
        if steps.blocking_send(Ok(step)).is_err() {
            return Ok(Some(false));
        }
        while from < size {
            let to = self.reader.guess_end(file, &start, from, size)?;
            let (reader, start, permit) = (Arc::clone(&self.reader), Arc::clone(&start), self.permit()?);
            let range = from..to;
            let read = self.runtime.spawn_blocking({
                let range = range.clone();
                move || {
                    let read = reader.read(number, &start, range, size);
                    drop(permit);
                    read
                }
            });
            if steps.blocking_send(Ok(Step::Range { range, read })).is_err() {
                return Ok(Some(false));
            }
            from = to;
        }
        Ok(Some(true))
    }
}
