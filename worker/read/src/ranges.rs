//! A plain file is read in ranges, several at once.
//!
//! Where a range starts is a guess: the first line end near a place that seems to stand outside of quotes. Each range is
//! then cut as if the guess were right, and the cut says where its last whole record really ends. In the order of the
//! file, a range whose start is where the one before it ended was guessed right, since the first one was not guessed at
//! all; any other is read again from the right place. So the rows are those of a serial read, whatever the guesses.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr2};
use moulin_core::{Counters, PlannedFile, Room};
use tokio::task::JoinHandle;

use crate::blocks::{Block, Pool, Splitter};
use crate::csv::{Cut, cut_error};
use crate::fetch::into_error;
use crate::pipeline::{Ask, Parsed, Sizes, Start, Text, joined};
use crate::{Error, Input};

/// Bytes in which the start of a record is looked for: first a few, then more.
const GUESS_BYTES: [u64; 2] = [4 << 10, 64 << 10];

/// All that it takes to read a part of a file.
pub(crate) struct RangeReader<T> {
    pub(crate) input: Input,
    pub(crate) text: T,
    pub(crate) block_bytes: usize,
    ask: Ask,
    sizes: Sizes,
    pub(crate) pool: Pool,
    pub(crate) counters: Arc<Counters>,
}

/// What a range holds.
pub(crate) struct RangeRead {
    parsed: Vec<Parsed>,
    /// One past its last whole record, or its start when there is none.
    ended: u64,
}

impl<T: Text> RangeReader<T> {
    pub(crate) fn new(input: &Input, text: T, block_bytes: usize, ask: Ask, counters: &Arc<Counters>) -> Self {
        let sizes = Sizes::new(text.schema().fields().len());
        let (input, counters) = (input.clone(), Arc::clone(counters));
        Self { input, text, block_bytes, ask, sizes, pool: Pool::default(), counters }
    }

    pub(crate) fn parse(&self, start: &Start, block: &Block) -> Result<Parsed, Error> {
        let parsed = self.counters.timed(Room::Read, || self.text.parse(start, block, &self.sizes, self.ask))?;
        self.sizes.learn(&parsed);
        Ok(parsed)
    }

    /// Where a range that starts at `from` may end: at a place that seems to be the start of a record, a block away or
    /// more; or the end of the file.
    pub(crate) fn guess_end(&self, file: &PlannedFile, start: &Start, from: u64, size: u64) -> Result<u64, Error> {
        let mut near = from + self.block_bytes as u64;
        // No record may be that long: reading the range says so.
        let until = size.min(from.saturating_add(self.input.source.limits.record_bytes).saturating_add(2));
        while near < until {
            for bytes in GUESS_BYTES {
                let text = self.bytes(file, near..(near + bytes).min(size))?;
                if let Some(at) = guessed_start(&start.cut, &text) {
                    return Ok(near + at as u64);
                }
            }
            near += self.block_bytes as u64;
        }
        Ok(near.min(size))
    }

    fn bytes(&self, file: &PlannedFile, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        let mut stream = self.input.fetcher.open_range(file, range, &Arc::default())?;
        stream.read_to_end(&mut text).map_err(|error| into_error(&file.uri, error))?;
        Ok(text)
    }

    /// Cuts and parses the whole records of a range that starts with one.
    pub(crate) fn read(&self, number: usize, start: &Start, range: Range<u64>, size: u64) -> Result<RangeRead, Error> {
        let file = &self.input.files[number];
        let failed = |error| cut_error(&file.uri, error);
        let stream = self.input.fetcher.open_range(file, range.clone(), &Arc::default())?;
        let block_bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(4 * self.block_bytes);
        let splitter = Splitter::new(stream, block_bytes, self.pool.clone());
        let mut splitter = splitter.with_limits(&self.input.source.limits).of_range(range.start, range.end < size);
        let mut parsed = Vec::new();
        while let Some(block) = splitter.next(&start.cut).map_err(failed)? {
            parsed.push(self.parse(start, &block)?);
            if self.ask.stop_at_first && parsed.last().is_some_and(|parsed| !parsed.bad_after.is_empty()) {
                break;
            }
        }
        self.counters.busy(Room::Read, splitter.take_time());
        let ended = splitter.position().unwrap_or(range.start);
        Ok(RangeRead { parsed, ended })
    }
}

/// The ranges of one file, verified one after the other.
pub(crate) struct Chain<T> {
    reader: Arc<RangeReader<T>>,
    number: usize,
    start: Arc<Start>,
    size: u64,
    /// Where the next record stands: no guess.
    at: u64,
    /// A record that has not ended by here is looked at again only when twice as much is at hand.
    next_try: u64,
}

impl<T: Text> Chain<T> {
    pub(crate) fn new(reader: Arc<RangeReader<T>>, number: usize, start: Arc<Start>, all: Range<u64>) -> Self {
        Self { reader, number, start, size: all.end, at: all.start, next_try: 0 }
    }

    /// What the records are that the next range brings to an end.
    ///
    /// # Errors
    /// Those of reading it, if it was guessed right; an error of a wrong guess means nothing.
    pub(crate) async fn next(
        &mut self,
        range: Range<u64>,
        read: JoinHandle<Result<RangeRead, Error>>,
    ) -> Result<Vec<Parsed>, Error> {
        Counters::add(&self.reader.counters.bytes_done, range.end - range.start);
        let read = joined(read).await;
        let read = if range.start == self.at {
            read?
        } else if range.end <= self.at || (range.end < self.next_try && range.end < self.size) {
            return Ok(Vec::new());
        } else {
            tracing::debug!(at = self.at, guessed = range.start, "a range is read again");
            let (reader, start, number, size) =
                (Arc::clone(&self.reader), Arc::clone(&self.start), self.number, self.size);
            let again = self.at..range.end;
            joined(tokio::task::spawn_blocking(move || reader.read(number, &start, again, size))).await?
        };
        if read.ended == self.at {
            self.next_try = range.end + (range.end - self.at);
        }
        self.at = read.ended;
        Ok(read.parsed)
    }
}

/// Where the first record of a text starts, which may itself start anywhere: a guess.
fn guessed_start(cut: &Cut, text: &[u8]) -> Option<usize> {
    let eol = *cut.mark().last()?;
    let Some(quote) = cut.quote().filter(|quote| memchr(*quote, text).is_some()) else {
        return memchr(eol, text).map(|at| at + 1);
    };
    let mut inside = starts_inside(cut, text, quote, eol);
    let mut at = 0;
    loop {
        at += memchr2(quote, eol, &text[at..])? + 1;
        if text[at - 1] == quote {
            inside = !inside;
        } else if !inside {
            return Some(at);
        }
    }
}

/// Whether a text seems to start between quotes: by its first quote that can only open a field, or only close one.
fn starts_inside(cut: &Cut, text: &[u8], quote: u8, eol: u8) -> bool {
    let (before, after) = cut.around_fields();
    let mut inside = false;
    let mut at = 0;
    while let Some(next) = memchr(quote, &text[at..]) {
        at += next;
        let opens = at > 0 && (text[at - 1] == before || text[at - 1] == eol);
        let next = text.get(at + 1).copied();
        let closes = next.is_some_and(|next| next == after || next == eol || next == b'\r');
        match (opens, closes) {
            (true, false) => return inside,
            (false, true) => return !inside,
            // Two in a row are a quote that is meant.
            _ if next == Some(quote) => at += 2,
            _ => {
                inside = !inside;
                at += 1;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests;
