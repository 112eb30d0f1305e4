//! A byte stream is cut into blocks that end where records end.
//!
//! This is the serial part of reading text, so it looks at as few bytes as it can: without a quote in a block one
//! backward search for a line end is all; with quotes it goes from quote to quote and never looks between them.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::{memchr, memchr2, memrchr};
use moulin_core::ReadLimits;
use parking_lot::Mutex;

/// Bytes before a block that a parser may load (and ignore): fixed-width loads that end within the first field.
pub(crate) const SLACK: usize = 32;
/// Bytes after a block that a parser may load (and ignore).
pub(crate) const TAIL: usize = 64;

/// How a dialect ends records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The byte that ends a line.
    pub(crate) eol: u8,
    /// `Some`: line ends between quotes end no record.
    pub(crate) quote: Option<u8>,
    /// The byte after which a quote opens a field.
    pub(crate) delimiter: u8,
    /// Lines that start with it are no records, and quotes in them mean nothing.
    pub(crate) comment: Option<u8>,
}

/// Whole records.
#[derive(Debug)]
pub(crate) struct Block {
    /// The bytes stand at `start..end`; `SLACK` before and `TAIL` after may be loaded.
    pub(crate) buffer: Vec<u8>,
    pub(crate) start: usize,
    /// One past the last byte. The byte before is a line end, be it one that the file's end lacked.
    pub(crate) end: usize,
    /// Offset of the first byte in the decompressed file.
    pub(crate) offset: u64,
    /// Whether a quote byte is in it.
    pub(crate) quotes: bool,
    /// Whether the last line end is not the file's.
    pub(crate) eol_added: bool,
    pool: Pool,
}

impl Block {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Leaves out bytes at the front.
    pub(crate) fn advance_to(&mut self, start: usize) {
        self.offset += (start - self.start) as u64;
        self.start = start;
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.put(std::mem::take(&mut self.buffer));
    }
}

/// Buffers that have been used and will be again: the pages stay mapped and warm.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    const KEPT: usize = 8;
    const KEPT_BYTES: usize = 8 << 20;

    fn take(&self, length: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock();
        if kept.len() < Self::KEPT && buffer.len() <= Self::KEPT_BYTES {
            kept.push(buffer);
        }
    }
}

/// Cuts one file.
pub(crate) struct Splitter<R> {
    input: R,
    block_bytes: usize,
    /// A record longer than this is not cut any more: the file is not what it was said to be.
    record_bytes: usize,
    pool: Pool,
    /// Bytes read and not handed out: `start..filled` of this buffer.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    /// Offset of `start` in the file.
    offset: u64,
    at_end: bool,
    gaps: Vec<(usize, usize)>,
    cutting: Duration,
}

impl<R: Read> Splitter<R> {
    pub(crate) fn new(input: R, block_bytes: usize, pool: Pool) -> Self {
        let block_bytes = block_bytes.max(1);
        let buffer = pool.take(SLACK + block_bytes + TAIL);
        Self {
            input,
            block_bytes,
            record_bytes: ReadLimits::default().record_bytes as usize,
            pool,
            buffer,
            start: SLACK,
            filled: SLACK,
            offset: 0,
            at_end: false,
            gaps: Vec::new(),
            cutting: Duration::ZERO,
        }
    }

    /// Sets the bytes that a record may have. A block holds no more, so that no record can be longer and pass.
    pub(crate) fn with_limits(mut self, limits: &ReadLimits) -> Self {
        self.record_bytes = usize::try_from(limits.record_bytes).unwrap_or(usize::MAX).max(1);
        self.block_bytes = self.block_bytes.min(self.record_bytes);
        self
    }

    /// The bytes at hand, after reading until a block is full or the file has ended.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        self.fill(self.block_bytes)?;
        Ok(&self.buffer[self.start..self.filled])
    }

    /// Leaves out bytes at hand.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Leaves out whole lines; says how many there were.
    pub(crate) fn skip_lines(&mut self, count: u64, eol: u8) -> io::Result<u64> {
        let mut skipped = 0;
        while skipped < count {
            let at_hand = self.peek()?;
            if at_hand.is_empty() {
                break;
            }
            match memchr(eol, at_hand) {
                Some(at) => {
                    skipped += 1;
                    self.consume(at + 1);
                }
                None => {
                    let all = at_hand.len();
                    self.consume(all);
                }
            }
        }
        Ok(skipped)
    }

    /// The next whole records; `None` at the end of the file.
    pub(crate) fn next(&mut self, cut: Cut) -> io::Result<Option<Block>> {
        let mut want = self.block_bytes;
        loop {
            self.fill(want)?;
            if self.start == self.filled {
                return Ok(None);
            }
            let started = Instant::now();
            let (end, quotes) = self.last_record_end(cut);
            self.cutting += started.elapsed();
            if let Some(end) = end {
                return Ok(Some(self.hand_out(end, quotes, false)));
            }
            let length = self.filled - self.start;
            if self.at_end {
                // The tail has room for the line end that the file lacks.
                self.buffer[self.filled] = cut.eol;
                let end = self.filled + 1;
                return Ok(Some(self.hand_out(end, quotes, true)));
            }
            if length >= self.record_bytes {
                let (offset, limit) = (self.offset, self.record_bytes);
                let question = if cut.quote.is_some() { "; is a quote there not closed?" } else { "" };
                let reason =
                    format!("the record at byte {offset} is longer than limits.record_bytes = {limit}{question}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            want = (length * 2).min(self.record_bytes);
        }
    }

    /// Whether all that is left of the file is at hand.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Time spent looking for the ends of records since the last call.
    pub(crate) fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.cutting)
    }

    fn hand_out(&mut self, end: usize, quotes: bool, eol_added: bool) -> Block {
        let rest = if eol_added { 0 } else { self.filled - end };
        let mut next = self.pool.take(SLACK + self.block_bytes.max(rest) + TAIL);
        next[SLACK..SLACK + rest].copy_from_slice(&self.buffer[self.filled - rest..self.filled]);
        let buffer = std::mem::replace(&mut self.buffer, next);
        let block =
            Block { buffer, start: self.start, end, offset: self.offset, quotes, eol_added, pool: self.pool.clone() };
        self.offset += (end - self.start) as u64 - u64::from(eol_added);
        self.start = SLACK;
        self.filled = SLACK + rest;
        block
    }

    /// Reads until `want` bytes are at hand, or the file has ended.
    fn fill(&mut self, want: usize) -> io::Result<()> {
        if self.start > SLACK && self.buffer.len() < self.start + want + TAIL {
            self.buffer.copy_within(self.start..self.filled, SLACK);
            self.filled -= self.start - SLACK;
            self.start = SLACK;
        }
        let until = self.start + want;
        if self.buffer.len() < until + TAIL {
            self.buffer.resize(until + TAIL, 0);
        }
        while !self.at_end && self.filled < until {
            match self.input.read(&mut self.buffer[self.filled..until]) {
                Ok(0) => self.at_end = true,
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One past the end of the last whole record at hand, and whether there are quotes before it (or at all).
    fn last_record_end(&mut self, cut: Cut) -> (Option<usize>, bool) {
        let (start, filled) = (self.start, self.filled);
        let backward = |from: usize, to: usize| memrchr(cut.eol, &self.buffer[from..to]).map(|at| from + at + 1);
        let Some(quote) = cut.quote else { return (backward(start, filled), false) };
        let Some(first) = memchr(quote, &self.buffer[start..filled]) else { return (backward(start, filled), false) };
        if let Some(comment) = cut.comment
            && memchr(comment, &self.buffer[start..filled]).is_some()
        {
            return (scan_lines(&self.buffer[start..filled], cut, quote, comment).map(|end| start + end), true);
        }
        self.gaps.clear();
        quote_gaps(&self.buffer[..filled], start, start + first, quote, cut, &mut self.gaps);
        let end = self.gaps.iter().rev().find_map(|&(from, to)| backward(from, to));
        (end, true)
    }
}

/// The stretches outside of quoted fields. A quote opens a field at the start of a record or after a delimiter or
/// line end only; elsewhere it is a character like any other.
fn quote_gaps(bytes: &[u8], start: usize, first: usize, quote: u8, cut: Cut, gaps: &mut Vec<(usize, usize)>) {
    let mut gap_start = start;
    let mut at = first;
    loop {
        let opens = at == start || bytes[at - 1] == cut.delimiter || bytes[at - 1] == cut.eol;
        if opens {
            gaps.push((gap_start, at));
            let Some(after) = closing_quote(bytes, at + 1, quote) else { return };
            gap_start = after;
            at = after;
        } else {
            at += 1;
        }
        match memchr(quote, &bytes[at..]) {
            Some(next) => at += next,
            None => break,
        }
    }
    gaps.push((gap_start, bytes.len()));
}

/// One past the quote that closes a field whose inside starts at `at`.
pub(crate) fn closing_quote(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        at += memchr(quote, &bytes[at..])? + 1;
        if bytes.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// The same, line by line, for dialects whose comments may hold quotes.
fn scan_lines(bytes: &[u8], cut: Cut, quote: u8, comment: u8) -> Option<usize> {
    let mut end = None;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == comment {
            at += memchr(cut.eol, &bytes[at..])? + 1;
            end = Some(at);
            continue;
        }
        let mut field_start = true;
        loop {
            if field_start && bytes.get(at) == Some(&quote) {
                match closing_quote(bytes, at + 1, quote) {
                    Some(after) => at = after,
                    None => return end,
                }
            }
            let Some(next) = memchr2(cut.delimiter, cut.eol, &bytes[at..]) else { return end };
            at += next + 1;
            field_start = true;
            if bytes[at - 1] == cut.eol {
                end = Some(at);
                break;
            }
        }
    }
    end
}
