//! A plain file is read in ranges, several at once.
//!
//! Where a range starts is a guess: the first line end near a place that seems to stand outside of quotes. Whoever reads
//! the range before it guesses the same from the same bytes, and ends there. Each range is cut as if both guesses were
//! right, and the cut says where its last whole record really ends. In the order of the file, a range whose start is where
//! the one before it ended was guessed right, since the first one was not guessed at all; any other is read again from
//! the right place, a block at a time, for one record can be most of a file. So the rows are those of a serial read,
//! whatever the guesses.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use memchr::{memchr, memchr2};
use moulin_core::{Counters, PlannedFile, Room};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::blocks::{Block, Pool, Splitter};
use crate::crew::Doing;
use crate::csv::{Cut, cut_error};
use crate::fetch::{ByteStream, into_error};
use crate::pipeline::{Ask, MOST_CELLS, Parsed, Sizes, Start, Text};
use crate::{Error, Input};

/// Bytes in which the start of a record is looked for: first a few, then more.
pub(crate) const GUESS_BYTES: [u64; 2] = [4 << 10, 64 << 10];

/// Blocks of a range that is read again which wait to be taken.
const BLOCKS_AHEAD: usize = 1;

/// All that it takes to read a part of a file.
pub(crate) struct RangeReader<T> {
    pub(crate) input: Input,
    pub(crate) text: T,
    pub(crate) block_bytes: usize,
    ask: Ask,
    sizes: Sizes,
    pub(crate) pool: Pool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) runtime: Handle,
}

/// The part of a file that is read in ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Number of the file.
    pub(crate) number: usize,
    /// The first record, and one past the last byte, which may be a guess.
    pub(crate) range: Range<u64>,
    /// Of the file.
    pub(crate) size: u64,
}

/// Bytes of a remote file that were fetched before they are read.
pub(crate) struct Ahead {
    pub(crate) at: u64,
    pub(crate) bytes: Bytes,
}

impl Ahead {
    fn part(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.at)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.at)?).ok()?;
        (start <= end && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

/// What a range holds.
pub(crate) struct RangeRead {
    /// Where it starts and ends, both guessed.
    pub(crate) range: Range<u64>,
    /// An error of a wrong guess means nothing.
    pub(crate) records: Result<Records, Error>,
}

/// The whole records of a range.
pub(crate) struct Records {
    parsed: Vec<Parsed>,
    /// One past the last of them, or the start of the range when there is none.
    ended: u64,
    /// Whether there are more, which would have been too many cells to hold at once.
    are_more: bool,
}

impl<T: Text> RangeReader<T> {
    /// Call within a runtime.
    pub(crate) fn new(input: &Input, text: T, block_bytes: usize, ask: Ask, counters: &Arc<Counters>) -> Self {
        let sizes = Sizes::new(text.columns());
        let (input, counters, runtime) = (input.clone(), Arc::clone(counters), Handle::current());
        Self { input, text, block_bytes, ask, sizes, pool: Pool::default(), counters, runtime }
    }

    /// Takes from a block the records that would make it too many cells.
    pub(crate) fn split_off(&self, start: &Start, block: &mut Block) -> Option<Block> {
        if block.long.is_some() || !self.text.has_absent_cells(start) {
            return None;
        }
        let rows = (MOST_CELLS / self.text.columns().max(1)).max(1);
        let end = block.start + self.text.end_of(start, block.bytes(), rows)?;
        (end < block.end).then(|| block.split_off(end))
    }

    pub(crate) fn parse(&self, start: &Start, block: &Block) -> Result<Parsed, Error> {
        let parsed = self.counters.timed(Room::Read, || self.text.parse(start, block, &self.sizes, self.ask))?;
        self.sizes.learn(&parsed);
        Ok(parsed)
    }

    /// A place near `near`, or behind it, that seems to be the start of a record; or the end of the file. It is the same
    /// for everybody who asks.
    pub(crate) fn guess(
        &self,
        file: &PlannedFile,
        start: &Start,
        near: u64,
        size: u64,
        ahead: Option<&Ahead>,
    ) -> Result<u64, Error> {
        // No record may be that long: reading the range says so.
        let until = size.min(near.saturating_add(self.input.source.limits.record_bytes).saturating_add(2));
        let mut near = near;
        while near < until {
            for bytes in GUESS_BYTES {
                let mut text = Vec::new();
                let mut stream = self.open(file, near..(near + bytes).min(size), ahead)?;
                stream.read_to_end(&mut text).map_err(|error| into_error(&file.uri, error))?;
                if let Some(at) = guessed_start(&start.cut, &text) {
                    return Ok(near + at as u64);
                }
            }
            near += self.block_bytes as u64;
        }
        Ok(near.min(size))
    }

    fn open(&self, file: &PlannedFile, range: Range<u64>, ahead: Option<&Ahead>) -> Result<ByteStream, Error> {
        match ahead.and_then(|ahead| ahead.part(&range)) {
            Some(bytes) => Ok(ByteStream::new(bytes.reader())),
            None => self.input.fetcher.open_range(file, range, &self.runtime),
        }
    }

    /// Reads what stands between the records near two places of a stretch.
    ///
    /// # Errors
    /// When the bytes to guess from cannot be read.
    pub(crate) fn read_near(
        &self,
        start: &Start,
        stretch: &Stretch,
        near: Range<u64>,
        ahead: Option<&Ahead>,
    ) -> Result<RangeRead, Error> {
        let file = &self.input.files[stretch.number];
        let all = &stretch.range;
        let guess = |near| self.guess(file, start, near, stretch.size, ahead).map(|guess| guess.min(all.end));
        let from = if near.start <= all.start { all.start } else { guess(near.start)? };
        let to = if near.end >= all.end { all.end } else { guess(near.end)?.max(from) };
        Ok(self.read(start, stretch, from..to, ahead))
    }

    /// Cuts and parses the whole records of a range.
    pub(crate) fn read(&self, start: &Start, stretch: &Stretch, range: Range<u64>, ahead: Option<&Ahead>) -> RangeRead {
        let (mut parsed, mut cells, mut are_more) = (Vec::new(), 0, false);
        let has_absent_cells = self.text.has_absent_cells(start);
        let ended = self.records(start, stretch, range.clone(), ahead, |block| {
            cells += block.batch.num_rows() * self.text.columns();
            are_more = has_absent_cells && cells >= MOST_CELLS;
            parsed.push(block);
            !are_more
        });
        RangeRead { range, records: ended.map(|ended| Records { parsed, ended, are_more }) }
    }

    /// Hands on the blocks of whole records of a range until nobody takes them; answers where the last record ended, or
    /// the start of the range when there is none.
    fn records(
        &self,
        start: &Start,
        stretch: &Stretch,
        range: Range<u64>,
        ahead: Option<&Ahead>,
        mut emit: impl FnMut(Parsed) -> bool,
    ) -> Result<u64, Error> {
        let file = &self.input.files[stretch.number];
        let failed = |error| cut_error(&file.uri, error);
        if range.is_empty() {
            return Ok(range.start);
        }
        let stream = self.open(file, range.clone(), ahead)?;
        let block_bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(4 * self.block_bytes);
        let splitter = Splitter::new(stream, block_bytes, self.pool.clone());
        let mut splitter =
            splitter.with_limits(&self.input.source.limits).of_range(range.start, range.end < stretch.size);
        let mut next = splitter.next(&start.cut).map_err(failed)?;
        while let Some(mut block) = next {
            let rest = self.split_off(start, &mut block);
            let rest_at = rest.as_ref().map(|rest| rest.offset);
            let parsed = self.parse(start, &block)?;
            let is_last = self.ask.stop_at_first && !parsed.bad_after.is_empty();
            if !emit(parsed) || is_last {
                self.counters.busy(Room::Read, splitter.take_time());
                return Ok(rest_at.or(splitter.position()).unwrap_or(range.start));
            }
            next = match rest {
                Some(rest) => Some(rest),
                None => splitter.next(&start.cut).map_err(failed)?,
            };
        }
        self.counters.busy(Room::Read, splitter.take_time());
        Ok(splitter.position().unwrap_or(range.start))
    }
}

/// The ranges of one stretch, verified one after the other.
pub(crate) struct Chain<T> {
    reader: Arc<RangeReader<T>>,
    start: Arc<Start>,
    stretch: Stretch,
    /// Where the next record stands: no guess.
    at: u64,
    /// A record that has not ended by here is looked at again only when twice as much is at hand.
    next_try: u64,
    again: Option<Again>,
}

/// A range that is read again, from the right place.
struct Again {
    blocks: mpsc::Receiver<Parsed>,
    /// Where the last whole record ended.
    ended: JoinHandle<Result<u64, Error>>,
    /// Where the range ends.
    until: u64,
}

impl<T: Text> Chain<T> {
    pub(crate) fn new(reader: Arc<RangeReader<T>>, start: Arc<Start>, stretch: Stretch) -> Self {
        Self { reader, start, at: stretch.range.start, stretch, next_try: 0, again: None }
    }

    /// Where the next record stands; behind the last range, where the next stretch has its first.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// What the records are that the next range brings to an end: before the range after it, take all that
    /// [`Chain::again`] has.
    ///
    /// # Errors
    /// Those of reading it, if it was guessed right.
    pub(crate) async fn next(&mut self, read: Doing<RangeRead>) -> Result<Vec<Parsed>, Error> {
        let RangeRead { range, records } = read.done().await?;
        Counters::add(&self.reader.counters.bytes_done, range.end - range.start);
        let is_last = range.end == self.stretch.range.end;
        let records = if range.start == self.at {
            records?
        } else if range.end <= self.at || (range.end < self.next_try && !is_last) {
            return Ok(Vec::new());
        } else {
            tracing::debug!(at = self.at, guessed = range.start, "a range is read again");
            self.read_to(range.end);
            return Ok(Vec::new());
        };
        self.go_to(records.ended, range.end);
        if records.are_more {
            self.read_to(range.end);
        }
        Ok(records.parsed)
    }

    /// Reads on from where the next record stands, block after block as they are taken.
    fn read_to(&mut self, until: u64) {
        let (reader, start, stretch) = (Arc::clone(&self.reader), Arc::clone(&self.start), self.stretch.clone());
        let range = self.at..until;
        let (sender, blocks) = mpsc::channel(BLOCKS_AHEAD);
        let ended = tokio::task::spawn_blocking(move || {
            reader.records(&start, &stretch, range, None, |parsed| sender.blocking_send(parsed).is_ok())
        });
        self.again = Some(Again { blocks, ended, until });
    }

    /// The next block of a range that is read again; `None`: there is none, or no more of it.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) async fn again(&mut self) -> Result<Option<Parsed>, Error> {
        let Some(again) = &mut self.again else { return Ok(None) };
        if let Some(parsed) = again.blocks.recv().await {
            return Ok(Some(parsed));
        }
        let until = again.until;
        let ended = (&mut again.ended).await;
        self.again = None;
        let ended = ended.map_err(|error| Error::Internal(format!("a thread that parses ended: {error}")))??;
        self.go_to(ended, until);
        Ok(None)
    }

    /// Goes on where the last record of a range ended, which may be where it began.
    fn go_to(&mut self, ended: u64, range_end: u64) {
        if ended == self.at {
            self.next_try = range_end + (range_end - self.at);
        }
        self.at = ended;
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
