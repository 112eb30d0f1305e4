//! One thread goes through the files and hands out parts of them, in order, to be parsed by others.
//!
//! A stream is cut here, block by block. A plain file of this machine or of an object store is not even read here: ranges
//! of it are read, cut and parsed by the others (`ranges`). Ranges of a remote file are fetched before a thread may parse
//! them, as many as there is room for.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use moulin_core::{Compression, Counters, PlannedFile, Room, Source};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::crew::{Crew, Doing};
use crate::csv::cut_error;
use crate::fetch::{ByteStream, PIECE_BYTES};
use crate::inflate::{Inflaters, inflated};
use crate::pipeline::{Parsed, Start, Text};
use crate::ranges::{Ahead, GUESS_BYTES, RangeRead, RangeReader, Stretch};
use crate::shards::{ShardStart, Slice};

/// Files of fewer blocks are read as a stream.
const RANGES_FROM_BLOCKS: u64 = 4;

/// What the cutting thread hands on, in the order of the files.
pub(crate) enum Step {
    File {
        number: usize,
        start: Arc<Start>,
        /// What the ranges that follow are parts of; `None`: blocks follow.
        stretch: Option<Stretch>,
        /// What stands before the first record that follows.
        before: ShardStart,
    },
    Block {
        parsed: Doing<Parsed>,
    },
    /// A range whose start is a guess.
    Range {
        read: Doing<RangeRead>,
    },
    FileEnd,
}

pub(crate) type Steps = mpsc::Sender<Result<Step, Error>>;

/// All that the cutting thread needs.
pub(crate) struct Cutter<T> {
    reader: Arc<RangeReader<T>>,
    /// Files opened before their turn.
    ahead: usize,
    threads: usize,
    crew: Crew,
    runtime: Handle,
    stop: CancellationToken,
    /// Of the one file there is; `None`: all of all files.
    slice: Option<Slice>,
}

/// A plain file of which ranges can be read.
#[derive(Clone, Copy)]
struct Ranged {
    size: u64,
    is_remote: bool,
}

impl<T: Text> Cutter<T> {
    pub(crate) fn new(
        reader: Arc<RangeReader<T>>,
        threads: usize,
        slice: Option<Slice>,
        stop: CancellationToken,
    ) -> Self {
        let runtime = reader.runtime.clone();
        Self { ahead: threads.min(2), threads, crew: Crew::new(threads, &runtime), runtime, stop, slice, reader }
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
            let Some((file, opened)) = opened.pop_front() else { break };
            let Some(opened) = opened? else { continue };
            let goes_on = match opened {
                Opened::Ranged(ranged) => self.cut_ranged(number, file, ranged, steps)?,
                Opened::Stream(stream) => self.cut_stream(number, &file.uri, self.splitter(stream), steps)?,
            };
            if !goes_on || steps.blocking_send(Ok(Step::FileEnd)).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// `None`: the file is damaged and left out.
    fn open(&self, file: &PlannedFile) -> Result<Option<Opened>, Error> {
        if !self.reader.input.admits(file, &self.reader.counters, || self.verify(file))? {
            return Ok(None);
        }
        if let Some(ranged) = self.ranged(file) {
            return Ok(Some(Opened::Ranged(ranged)));
        }
        self.stream(file, &self.reader.counters).map(|stream| Some(Opened::Stream(stream)))
    }

    /// Whether ranges of a file are read, and not the file as a stream.
    fn ranged(&self, file: &PlannedFile) -> Option<Ranged> {
        let RangeReader { input, text, block_bytes, .. } = self.reader.as_ref();
        let is_plain = matches!(input.source.compression.of(&file.uri), Compression::None | Compression::Auto);
        if !is_plain || !text.splits() {
            return None;
        }
        let local = input.fetcher.local_size(file).map(|size| Ranged { size, is_remote: false });
        let remote = || input.fetcher.ranged_size(file).map(|size| Ranged { size, is_remote: true });
        let ranged = local.or_else(remote)?;
        let from = RANGES_FROM_BLOCKS * if ranged.is_remote { PIECE_BYTES } else { *block_bytes as u64 };
        (self.slice.is_some() || ranged.size >= from).then_some(ranged)
    }

    fn stream(&self, file: &PlannedFile, counters: &Arc<Counters>) -> Result<ByteStream, Error> {
        let Source { compression, limits, .. } = &self.reader.input.source;
        let stream = self.reader.input.fetcher.open(file, counters, &self.runtime, &self.stop)?;
        let helper = (self.threads > 1).then(|| self.crew.helper());
        let on = Inflaters { runtime: &self.runtime, threads: self.threads, helper };
        Ok(inflated(&file.uri, *compression, limits, stream, counters, &self.reader.pool, on))
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
        let before = ShardStart { offset: 0, records: start.records, lines: start.lines };
        let step = Step::File { number, start: Arc::clone(&start), stretch: None, before };
        if steps.blocking_send(Ok(step)).is_err() {
            return Ok(false);
        }
        // Who inflates is one of the threads, and parses when the others cannot keep up.
        let _inflating = (splitter.is_fed() && self.threads > 1).then(|| self.crew.take_one());
        loop {
            let mut block = match next.take() {
                Some(block) => block,
                None => match splitter.next(&start.cut).map_err(|error| cut_error(uri, error))? {
                    Some(block) => block,
                    None => return Ok(true),
                },
            };
            self.reader.counters.busy(Room::Read, splitter.take_time());
            next = self.reader.split_off(&start, &mut block);
            let parsed = self.parse(&start, block);
            if steps.blocking_send(Ok(Step::Block { parsed })).is_err() {
                return Ok(false);
            }
        }
    }

    fn parse(&self, start: &Arc<Start>, block: Block) -> Doing<Parsed> {
        let (reader, start) = (Arc::clone(&self.reader), Arc::clone(start));
        self.crew.blocking_ask(move || reader.parse(&start, &block))
    }

    /// Hands out ranges; `false`: nobody receives any more.
    fn cut_ranged(&self, number: usize, file: &PlannedFile, ranged: Ranged, steps: &Steps) -> Result<bool, Error> {
        let reader = &self.reader;
        let mut splitter = self.splitter(reader.input.fetcher.open_range(file, 0..ranged.size, &self.runtime)?);
        let mut start = reader.text.begin(&file.uri, &mut splitter)?;
        let first = start.first.take().map(|block| block.offset);
        let places = splitter.position().filter(|_| start.cut.footer_rows() == 0);
        let Some(from) = places.map(|next| first.unwrap_or(next)) else {
            return self.cut_whole(number, file, steps);
        };
        drop(splitter);
        let whole = Stretch { number, range: from..ranged.size, size: ranged.size };
        let header = ShardStart { offset: from, records: start.records, lines: start.lines };
        let (range, before) = match &self.slice {
            None => (whole.range, header),
            Some(slice) => slice.bounds(header, ranged.size, |near| {
                Ok(reader.guess(file, &start, near, ranged.size, None)?.max(from))
            })?,
        };
        if range.start == from {
            Counters::add(&reader.counters.bytes_done, from);
        }
        let (start, stretch) = (Arc::new(start), Stretch { range, ..whole });
        let step = Step::File { number, start: Arc::clone(&start), stretch: Some(stretch.clone()), before };
        if steps.blocking_send(Ok(step)).is_err() {
            return Ok(false);
        }
        let bytes = if ranged.is_remote { PIECE_BYTES } else { reader.block_bytes as u64 };
        let mut at = stretch.range.start;
        while at < stretch.range.end {
            let near = at..(at + bytes).min(stretch.range.end);
            at = near.end;
            let read = if ranged.is_remote {
                self.read_remote(file, &start, &stretch, near)
            } else {
                self.read_local(&start, &stretch, near)
            };
            if steps.blocking_send(Ok(Step::Range { read })).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A file that turned out to be understood from its start only. Of its slices the first holds all of it.
    fn cut_whole(&self, number: usize, file: &PlannedFile, steps: &Steps) -> Result<bool, Error> {
        if self.slice.as_ref().is_some_and(|slice| slice.range.start > 0) {
            return Ok(true);
        }
        let stream = self.stream(file, &self.reader.counters)?;
        self.cut_stream(number, &file.uri, self.splitter(stream), steps)
    }

    fn read_local(&self, start: &Arc<Start>, stretch: &Stretch, near: Range<u64>) -> Doing<RangeRead> {
        let (reader, start, stretch) = (Arc::clone(&self.reader), Arc::clone(start), stretch.clone());
        self.crew.blocking_ask(move || reader.read_near(&start, &stretch, near, None))
    }

    /// Fetches a range at once, and has it parsed when a thread may.
    fn read_remote(
        &self,
        file: &PlannedFile,
        start: &Arc<Start>,
        stretch: &Stretch,
        near: Range<u64>,
    ) -> Doing<RangeRead> {
        let (reader, start, stretch) = (Arc::clone(&self.reader), Arc::clone(start), stretch.clone());
        let (file, crew, stop) = (file.clone(), self.crew.clone(), self.stop.clone());
        let read = async move {
            // With what it takes to guess the end.
            let range = near.start..(near.end + GUESS_BYTES[1]).min(stretch.size);
            let started = Instant::now();
            let bytes = reader.input.fetcher.fetch_range(file, range).await?;
            reader.counters.busy(Room::Fetch, started.elapsed());
            let ahead = Ahead { at: near.start, bytes };
            crew.ask(move || reader.read_near(&start, &stretch, near, Some(&ahead))).await.done().await
        };
        Doing::of(&self.runtime, async move {
            tokio::select! {
                read = read => read,
                () = stop.cancelled() => Err(Error::Internal("nobody reads the file any more".to_owned())),
            }
        })
    }
}

/// A file whose turn comes soon.
enum Opened {
    Stream(ByteStream),
    Ranged(Ranged),
}
