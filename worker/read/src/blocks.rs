//! A byte stream is cut into blocks that end where records end.
//!
//! What ends a record is said by a [`Cut`].

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moulin_core::ReadLimits;
use parking_lot::Mutex;

use super::csv::{Charset, Cut};
use super::fetch::ByteStream;
use super::json::Document;
use super::ndjson::items;
use super::pieces::{HEADROOM, PIECE_BYTES, Piece};

mod footer;
mod long;

use footer::Held;
pub(crate) use long::{Long, too_long};

/// Bytes before a block that a parser may load (and ignore): fixed-width loads that end within the first field.
pub(crate) const SLACK: usize = 32;
/// Bytes after a block that a parser may load (and ignore).
pub(crate) const TAIL: usize = 64;

/// White space behind an element of an array that is held beside it.
const BLANKS_AFTER: usize = 64 << 10;

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
    /// What the bytes of the file are; `None`: they stand here as they are.
    pub(crate) charset: Option<Charset>,
    /// Whether a quote byte is in it.
    pub(crate) quotes: bool,
    /// Bytes of the last line end that are not the file's.
    pub(crate) added: usize,
    /// `Some`: one record that is longer than it may be; its first bytes are all there is of it.
    pub(crate) long: Option<Long>,
    pool: Pool,
}

impl Block {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// A block of bytes that stand at `offset`. What ends its last record is up to the caller.
    pub(crate) fn of(bytes: &[u8], offset: u64) -> Self {
        let mut buffer = vec![0; SLACK + bytes.len() + TAIL];
        buffer[SLACK..SLACK + bytes.len()].copy_from_slice(bytes);
        let (start, end) = (SLACK, SLACK + bytes.len());
        Self { buffer, start, end, offset, charset: None, quotes: false, added: 0, long: None, pool: Pool::default() }
    }

    /// Keeps the bytes before `end` and gives those from there on.
    pub(crate) fn split_off(&mut self, end: usize) -> Self {
        let rest = &self.buffer[end..self.end];
        let mut buffer = self.pool.take(SLACK + rest.len() + TAIL);
        buffer[SLACK..SLACK + rest.len()].copy_from_slice(rest);
        let rest = Self {
            buffer,
            start: SLACK,
            end: SLACK + rest.len(),
            offset: self.offset + file_bytes(self.charset, &self.buffer[self.start..end]),
            charset: self.charset,
            quotes: self.quotes,
            added: self.added,
            long: None,
            pool: self.pool.clone(),
        };
        (self.end, self.added) = (end, 0);
        rest
    }

    /// Leaves out bytes at the front.
    pub(crate) fn advance_to(&mut self, start: usize) {
        self.offset += file_bytes(self.charset, &self.buffer[self.start..start]);
        self.start = start;
    }
}

/// How many bytes of the file became this text.
fn file_bytes(charset: Option<Charset>, text: &[u8]) -> u64 {
    charset.map_or(text.len() as u64, |charset| charset.file_bytes(text))
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

    pub(crate) fn take(&self, length: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }

    pub(crate) fn put(&self, buffer: Vec<u8>) {
        if buffer.is_empty() {
            return;
        }
        let mut kept = self.0.lock();
        if kept.len() < Self::KEPT && buffer.len() <= Self::KEPT_BYTES {
            kept.push(buffer);
        }
    }
}

/// What is cut.
pub(crate) trait Supply: Read {
    /// Bytes that can be had without copying them; `None`: there are none, the others are to be read.
    ///
    /// # Errors
    /// As reading.
    fn piece(&mut self) -> io::Result<Option<Piece>> {
        Ok(None)
    }
}

/// Cuts one file.
pub(crate) struct Splitter<R> {
    input: R,
    block_bytes: usize,
    /// A record longer than this is not held.
    record_bytes: usize,
    pool: Pool,
    /// Bytes read and not handed out: `start..filled` of this buffer.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    /// Where in the file stands what became `start`.
    offset: u64,
    at_end: bool,
    /// Whether the file goes on where the input ends.
    goes_on: bool,
    /// What the bytes of the file are that the input is made of; `None`: it is the file.
    charset: Option<Charset>,
    cutting: Duration,
    /// `Some`: what is cut are the elements of an array of this document.
    document: Option<Box<Document>>,
    /// Whether the last of its elements was followed by a comma.
    after_comma: bool,
    held: Held,
}

impl<R: Supply> Splitter<R> {
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
            goes_on: false,
            charset: None,
            cutting: Duration::ZERO,
            document: None,
            after_comma: false,
            held: Held::default(),
        }
    }

    /// Sets the bytes that a record may have. A block holds no more, so that no record can be longer and pass.
    pub(crate) fn with_limits(mut self, limits: &ReadLimits) -> Self {
        self.record_bytes = usize::try_from(limits.record_bytes).unwrap_or(usize::MAX).max(1);
        self.block_bytes = self.block_bytes.min(self.record_bytes);
        self
    }

    /// Says that the input is a range of a file, and whether the file ends with it. Only whole records are handed out
    /// of one that goes on.
    pub(crate) fn of_range(mut self, offset: u64, goes_on: bool) -> Self {
        (self.offset, self.goes_on) = (offset, goes_on);
        self
    }

    /// Where in the file stands what comes next; `None`: it cannot be read from there, for it is in another encoding.
    pub(crate) fn position(&self) -> Option<u64> {
        self.charset.is_none().then_some(self.offset)
    }

    /// The bytes at hand, after reading until a block is full or the file has ended.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        self.fill(self.block_bytes)?;
        Ok(&self.buffer[self.start..self.filled])
    }

    /// The bytes at hand, after reading until there are so many or the file has ended; no more than that.
    pub(crate) fn peek_up_to(&mut self, bytes: usize) -> io::Result<&[u8]> {
        self.fill(bytes)?;
        Ok(&self.buffer[self.start..self.filled.min(self.start + bytes)])
    }

    /// Leaves out bytes at hand.
    pub(crate) fn consume(&mut self, count: usize) {
        self.offset += file_bytes(self.charset, &self.buffer[self.start..self.start + count]);
        self.start += count;
    }

    /// Leaves out whole lines; says how many there were. `next` says where the line after the first of a text starts.
    pub(crate) fn skip_lines(&mut self, count: u64, next: impl Fn(&[u8], bool) -> Option<usize>) -> io::Result<u64> {
        let mut skipped = 0;
        let mut want = self.block_bytes;
        while skipped < count {
            self.fill(want)?;
            let at_hand = &self.buffer[self.start..self.filled];
            if at_hand.is_empty() {
                break;
            }
            match next(at_hand, self.at_end) {
                Some(at) => {
                    skipped += 1;
                    self.consume(at);
                    want = self.block_bytes;
                }
                None if self.at_end => self.consume(self.filled - self.start),
                // One byte stays: it may be half of a line end.
                None => {
                    self.consume(self.filled - self.start - 1);
                    want = self.block_bytes.max(2);
                }
            }
        }
        Ok(skipped)
    }

    /// Where the bytes at hand stand in the file.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// From here on the elements of an array are cut, whatever ends lines.
    pub(crate) fn cut_items(&mut self, document: Document) {
        self.document = Some(Box::new(document));
    }

    /// The next whole elements; `None` behind the array. The last are handed out when what follows them has been read.
    fn next_items(&mut self, document: &mut Document) -> io::Result<Option<Block>> {
        let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let mut want = self.block_bytes;
        while document.is_in_array() {
            self.fill(want)?;
            let started = Instant::now();
            let text = &self.buffer[self.start..self.filled];
            let ends = items::ends(text);
            self.cutting += started.elapsed();
            if let Some(close) = ends.close {
                let place = self.offset + close as u64;
                items::check_close(text, close, place, self.after_comma).map_err(damaged)?;
                let is_blank = text[..close].trim_ascii().is_empty();
                let last = if is_blank { None } else { Some(self.hand_out(self.start + close, true, 0)) };
                self.consume(if is_blank { close + 1 } else { 1 });
                document.leave_array(place + 1);
                self.walk_to_end(document)?;
                return Ok(last);
            }
            if let Some(comma) = ends.comma {
                self.after_comma = true;
                return Ok(Some(self.hand_out(self.start + comma + 1, true, 0)));
            }
            let length = self.filled - self.start;
            if self.at_end {
                return Err(damaged(document.ended_early()));
            }
            if length > self.record_bytes {
                let text = &self.buffer[self.start..self.filled];
                let blanks = length - text.trim_ascii_start().len();
                if blanks > 0 {
                    return Ok(Some(self.hand_out(self.start + blanks, true, 0)));
                }
                if text.trim_ascii_end().len() > self.record_bytes {
                    return self.pass_over_element(document).map(Some);
                }
                if length > self.record_bytes.saturating_add(BLANKS_AFTER) {
                    let offset = self.offset;
                    return Err(damaged(format!("white space without end follows the element at byte {offset}")));
                }
            }
            want = (length * 2).min(self.record_bytes.saturating_add(BLANKS_AFTER).saturating_add(1));
        }
        Ok(None)
    }

    /// Reads what stands behind the array.
    fn walk_to_end(&mut self, document: &mut Document) -> io::Result<()> {
        let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        loop {
            let rest = self.peek()?;
            if rest.is_empty() {
                return if document.is_whole() { Ok(()) } else { Err(damaged(document.ended_early())) };
            }
            let walked = document.walk(rest).map_err(damaged)?;
            self.consume(walked);
        }
    }

    /// The next whole records; `None` at the end of the file.
    pub(crate) fn next(&mut self, cut: &Cut) -> io::Result<Option<Block>> {
        if let Some(mut document) = self.document.take() {
            let block = self.next_items(&mut document);
            self.document = Some(document);
            return block;
        }
        if cut.footer_rows() > 0 { self.next_before_footer(cut) } else { self.next_records(cut) }
    }

    fn next_records(&mut self, cut: &Cut) -> io::Result<Option<Block>> {
        let mut want = self.block_bytes;
        loop {
            self.fill(want)?;
            if self.start == self.filled {
                return Ok(None);
            }
            let started = Instant::now();
            let text = &self.buffer[self.start..self.filled];
            let found = cut.last_record_end(text, self.at_end && !self.goes_on);
            self.cutting += started.elapsed();
            if let Some(end) = found.end {
                return Ok(Some(self.hand_out(self.start + end, found.quotes, 0)));
            }
            if self.at_end && self.goes_on {
                return Ok(None);
            }
            if self.at_end && !self.goes_on {
                let added = self.add_line_end(cut);
                return Ok(Some(self.hand_out(self.filled + added, found.quotes, added)));
            }
            let length = self.filled - self.start;
            // A CR at the end may be half of a line end.
            if length > self.record_bytes.saturating_add(1) {
                return self.pass_over(cut);
            }
            want = (length * 2).min(self.record_bytes.saturating_add(2));
        }
    }

    /// Whether all that is left of the file is at hand.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Puts a line end behind the bytes at hand, in the tail, when they lack one; says how long it is.
    fn add_line_end(&mut self, cut: &Cut) -> usize {
        let mark = cut.mark();
        self.buffer[self.filled..self.filled + mark.len()].copy_from_slice(mark);
        mark.len()
    }

    /// Time spent looking for the ends of records since the last call.
    pub(crate) fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.cutting)
    }

    fn hand_out(&mut self, end: usize, quotes: bool, added: usize) -> Block {
        let rest = if added > 0 { 0 } else { self.filled - end };
        let in_file = file_bytes(self.charset, &self.buffer[self.start..end - added]);
        let mut next = self.pool.take(SLACK + self.block_bytes.max(rest) + TAIL);
        next[SLACK..SLACK + rest].copy_from_slice(&self.buffer[self.filled - rest..self.filled]);
        let buffer = std::mem::replace(&mut self.buffer, next);
        let block = Block {
            buffer,
            start: self.start,
            end,
            offset: self.offset,
            charset: self.charset,
            quotes,
            added,
            long: None,
            pool: self.pool.clone(),
        };
        self.offset += in_file;
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
        while !self.at_end && self.filled < self.start + want && self.take_piece()? {}
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
}

impl<R: Supply> Splitter<R> {
    /// Takes over the buffer of a piece, with what is at hand before it; `false`: there is none to be taken.
    fn take_piece(&mut self) -> io::Result<bool> {
        let rest = self.filled - self.start;
        // A block of more bytes than a record may have could hold one that is too long.
        if rest > HEADROOM - SLACK || rest + PIECE_BYTES > self.record_bytes {
            return Ok(false);
        }
        let Some(mut piece) = self.input.piece()? else { return Ok(false) };
        let start = HEADROOM - rest;
        piece.buffer[start..HEADROOM].copy_from_slice(&self.buffer[self.start..self.filled]);
        self.pool.put(std::mem::replace(&mut self.buffer, piece.buffer));
        (self.start, self.filled) = (start, piece.end);
        Ok(true)
    }
}

impl Splitter<ByteStream> {
    /// Whether another thread makes what is cut.
    pub(crate) fn is_fed(&self) -> bool {
        matches!(self.input, ByteStream::Pieces(_))
    }

    /// Says what encoding the file has: its text in UTF-8 is what is cut. Offsets are those of the file.
    pub(crate) fn recode(&mut self, charset: Charset) {
        self.charset = Some(charset);
        let at_hand = self.buffer[self.start..self.filled].to_vec();
        let input = std::mem::replace(&mut self.input, ByteStream::new(io::empty()));
        self.input = charset.decoded(ByteStream::new(io::Cursor::new(at_hand).chain(input)));
        (self.start, self.filled, self.at_end) = (SLACK, SLACK, false);
    }
}
