//! Records that are longer than they may be: passed over in bounded memory, and one bad row each.

use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use moulin_core::RejectedRow;

use super::{Block, SLACK, Splitter, Supply, TAIL};
use crate::code::Code;
use crate::csv::{Charset, Cut};
use crate::fault::{Bad, BadRow};
use crate::json::Document;
use crate::ndjson::items::{self, ItemWalk};
use crate::pipeline::Parsed;

/// A record is followed for so many times the bytes that it may have, and at least so many bytes: then its end is not
/// looked for any more.
const FOLLOWED: (u64, u64) = (16, 64 << 20);

/// What is known of a record that is too long to be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Long {
    /// Of its text, its line end left out.
    pub(crate) length_bytes: u64,
    /// The same of the bytes in the file.
    pub(crate) file_bytes: u64,
    /// Line ends in it and at its end.
    pub(crate) lines: u64,
    /// Else it is a comment or a blank line.
    pub(crate) is_record: bool,
}

impl Long {
    /// What comes of a block that is such a record.
    pub(crate) fn parsed(self, schema: &SchemaRef, block: &Block, bad: Bad) -> Parsed {
        let row = BadRow {
            bad,
            records_before: 0,
            lines_before: Some(0),
            byte_offset: block.offset,
            length_bytes: self.file_bytes,
            raw: match block.charset {
                Some(charset) => charset.encoded(block.bytes(), RejectedRow::RAW_BYTES),
                None => block.bytes().to_vec(),
            },
        };
        Parsed {
            batch: RecordBatch::new_empty(schema.clone()),
            lines: self.lines,
            bad_after: if self.is_record { vec![0] } else { Vec::new() },
            kept: if self.is_record { vec![row] } else { Vec::new() },
            offsets: Vec::new(),
            bytes: usize::try_from(self.length_bytes).unwrap_or(usize::MAX),
            text_bytes: Vec::new(),
        }
    }
}

/// Why a record is too long. `code` says in which format.
pub(crate) fn too_long(code: Code, length_bytes: u64, limit: u64, may_quote: bool) -> Bad {
    let question = if may_quote { "; is a quote in it not closed?" } else { "" };
    Bad::row(code, format!("row has {length_bytes} bytes, and limits.record_bytes allows {limit}{question}"))
}

impl<R: Supply> Splitter<R> {
    /// Goes on behind the record at hand, which is longer than it may be. `None`: the input ends in it, and the file
    /// goes on; then nothing has happened.
    ///
    /// # Errors
    /// When its end is not in reach.
    pub(super) fn pass_over(&mut self, cut: &Cut) -> io::Result<Option<Block>> {
        let (from, mut length) = (self.offset, 0);
        let most = self.followed_most();
        let kept = RejectedRow::RAW_BYTES * self.charset.map_or(1, |_| Charset::MOST_TEXT);
        let mut raw = Vec::new();
        let mut walk = cut.record_walk();
        let line_end = loop {
            let text = &self.buffer[self.start..self.filled];
            let end = walk.go_on(text, self.at_end);
            let passed = &text[..end.unwrap_or_else(|| walk.passed())];
            let count = passed.len();
            raw.extend_from_slice(&passed[..count.min(kept - raw.len())]);
            length += count as u64;
            if end.is_some() {
                let line_end = walk.end(passed);
                self.consume(count);
                break line_end;
            }
            walk.pass(passed);
            self.consume(count);
            if self.at_end {
                if self.goes_on {
                    (self.offset, self.start) = (from, self.filled);
                    return Ok(None);
                }
                let rest = &self.buffer[self.start..self.filled];
                raw.extend_from_slice(&rest[..rest.len().min(kept - raw.len())]);
                let line_end = walk.end_of_file(rest);
                length += rest.len() as u64;
                self.consume(self.filled - self.start);
                break line_end;
            }
            if length > most {
                return Err(endless(cut, from, most));
            }
            self.fill(self.block_bytes.max(self.filled - self.start + SLACK))?;
        };
        let length_bytes = length - line_end as u64;
        let file_bytes = self.offset - from - self.charset.map_or(1, Charset::unit_bytes) * line_end as u64;
        // Wherever the stretches end that it is followed in.
        if length_bytes > most {
            return Err(endless(cut, from, most));
        }
        raw.truncate(usize::try_from(length_bytes).unwrap_or(usize::MAX));
        self.shrink();
        let long = Long { length_bytes, file_bytes, lines: walk.lines(), is_record: walk.is_record() };
        Ok(Some(self.long_block(raw, from, long)))
    }

    /// Goes on behind the element of an array that starts at hand, which is longer than a record may be.
    ///
    /// # Errors
    /// When its end is not in reach, or is none of the array.
    pub(super) fn pass_over_element(&mut self, document: &mut Document) -> io::Result<Block> {
        let damaged = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let from = self.offset;
        let most = self.followed_most();
        let (mut raw, mut lines, mut blanks) = (Vec::new(), 0, 0);
        let mut walk = ItemWalk::default();
        loop {
            let text = &self.buffer[self.start..self.filled];
            let end = walk.go_on(text);
            let passed = &text[..end.unwrap_or(text.len())];
            let (count, solid) = (passed.len(), passed.trim_ascii_end().len());
            raw.extend_from_slice(&passed[..count.min(RejectedRow::RAW_BYTES - raw.len())]);
            lines += memchr::memchr_iter(b'\n', passed).count() as u64;
            blanks = if solid == 0 { blanks + count } else { count - solid };
            self.consume(count);
            if end.is_some() {
                break;
            }
            if self.offset - from > most {
                return Err(endless(&Cut::lines(), from, most));
            }
            self.fill(self.block_bytes)?;
            if self.start == self.filled {
                return Err(damaged(document.ended_early()));
            }
        }
        let length_bytes = self.offset - from - blanks as u64;
        raw.truncate(usize::try_from(length_bytes).unwrap_or(usize::MAX));
        self.after_comma = self.buffer[self.start] == b',';
        if self.after_comma {
            self.consume(1);
        } else {
            items::check_close(&self.buffer[self.start..self.filled], 0, self.offset, false).map_err(damaged)?;
            self.consume(1);
            document.leave_array(self.offset);
            self.walk_to_end(document)?;
        }
        self.shrink();
        Ok(self.long_block(raw, from, Long { length_bytes, file_bytes: length_bytes, lines, is_record: true }))
    }

    /// A block that is one record of which only the first bytes are held.
    fn long_block(&self, raw: Vec<u8>, offset: u64, long: Long) -> Block {
        Block {
            start: 0,
            end: raw.len(),
            buffer: raw,
            offset,
            charset: self.charset,
            quotes: false,
            added: 0,
            long: Some(long),
            pool: self.pool.clone(),
        }
    }

    fn followed_most(&self) -> u64 {
        FOLLOWED.0.saturating_mul(self.record_bytes as u64).max(FOLLOWED.1)
    }

    /// Gives back what a long record took.
    fn shrink(&mut self) {
        let rest = self.filled - self.start;
        let mut buffer = self.pool.take(SLACK + self.block_bytes.max(rest) + TAIL);
        buffer[SLACK..SLACK + rest].copy_from_slice(&self.buffer[self.start..self.filled]);
        self.pool.put(std::mem::replace(&mut self.buffer, buffer));
        (self.start, self.filled) = (SLACK, SLACK + rest);
    }
}

/// The error of a record that has no end within `most` bytes.
fn endless(cut: &Cut, offset: u64, most: u64) -> io::Error {
    let question = if cut.may_quote() { "; is a quote there not closed?" } else { "" };
    let code = cut.long_code();
    let reason = format!("the record at byte {offset} has not ended after {most} bytes{question} ({code})");
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
