//! Where records end: the serial part of reading, so it looks at as few bytes as it can. Without a quote in a block
//! one backward search for a line end is all; with quotes that come in pairs it is one pass over the text, and else it goes
//! from quote to quote.
//! Dialects that do not fit that walk from record to record.

use std::sync::Arc;

use memchr::{memchr, memchr2, memrchr};

use super::dialect::{Dialect, Lines, Marks};
use super::follow::RecordWalk;
use super::outside;
use super::record::{self, Item};
use crate::code::Code;

/// How a text format ends records.
#[derive(Debug, Clone)]
pub(crate) struct Cut(Ends);

#[derive(Debug, Clone)]
enum Ends {
    /// Every line is a record.
    Lines(Lines),
    Csv(Arc<Dialect>),
}

/// A place to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// One past the end of the last whole record; `None`: there is none.
    pub(crate) end: Option<usize>,
    /// Whether there may be quotes before it.
    pub(crate) quotes: bool,
}

impl Cut {
    /// LF ends a record, wherever it stands.
    pub(crate) fn lines() -> Self {
        Self(Ends::Lines(Lines::Lf))
    }

    pub(crate) fn csv(dialect: Arc<Dialect>) -> Self {
        Self(Ends::Csv(dialect))
    }

    pub(crate) fn dialect(&self) -> Option<&Dialect> {
        match &self.0 {
            Ends::Lines(_) => None,
            Ends::Csv(dialect) => Some(dialect),
        }
    }

    /// Follows a record that is too long to be held.
    pub(crate) fn record_walk(&self) -> RecordWalk<'_> {
        match &self.0 {
            Ends::Lines(lines) => RecordWalk::new(None, *lines),
            Ends::Csv(dialect) => RecordWalk::new(Some(dialect), dialect.lines),
        }
    }

    /// The code of a record that is too long.
    pub(crate) fn long_code(&self) -> Code {
        if self.dialect().is_some() { Code::CsvRecordBytes } else { Code::JsonRecordBytes }
    }

    /// A line end, for a file that lacks its last one.
    pub(crate) fn mark(&self) -> &'static [u8] {
        match &self.0 {
            Ends::Lines(lines) => lines.mark(),
            Ends::Csv(dialect) => dialect.lines.mark(),
        }
    }

    /// The byte that may open and close a field.
    pub(crate) fn quote(&self) -> Option<u8> {
        self.dialect().and_then(|dialect| dialect.quote)
    }

    /// The bytes that stand before and after a field, line ends besides.
    pub(crate) fn around_fields(&self) -> (u8, u8) {
        let delimiter = self.dialect().map_or(&b","[..], |dialect| &dialect.delimiter);
        (*delimiter.last().unwrap_or(&b','), *delimiter.first().unwrap_or(&b','))
    }

    /// Whether line ends between quotes end no record.
    pub(crate) fn may_quote(&self) -> bool {
        self.dialect().is_some_and(|dialect| dialect.quote.is_some())
    }

    /// Records at the end of the file that are not handed out.
    pub(crate) fn footer_rows(&self) -> u64 {
        self.dialect().map_or(0, |dialect| dialect.footer_rows)
    }

    /// The last whole record of a text that starts with one. `at_end`: nothing follows the text.
    pub(crate) fn last_record_end(&self, text: &[u8], at_end: bool) -> Found {
        let dialect = match &self.0 {
            Ends::Lines(lines) => return Found { end: lines.last(text, at_end), quotes: false },
            Ends::Csv(dialect) => dialect,
        };
        let first_quote = dialect.quote.and_then(|quote| memchr(quote, text));
        let escapes = dialect.escape.is_some_and(|escape| memchr(escape, text).is_some());
        if first_quote.is_none() && !escapes {
            return Found { end: dialect.lines.last(text, at_end), quotes: false };
        }
        let quotes = first_quote.is_some();
        let (Some(marks), Some(first), Some(quote)) = (dialect.simple_marks(), first_quote, dialect.quote) else {
            return Found { end: walked_end(dialect, text, at_end), quotes };
        };
        if let [comment] = dialect.comment[..]
            && memchr(comment, text).is_some()
        {
            return Found { end: scan_lines(text, marks, quote, comment), quotes };
        }
        let end = outside::last_line_end(text, marks, quote);
        Found { end: end.unwrap_or_else(|outside::Stray| last_line_end_by_gaps(text, first, marks, quote)), quotes }
    }

    /// One past the end of each record of a text of whole ones.
    pub(crate) fn record_ends(&self, text: &[u8]) -> impl Iterator<Item = usize> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let dialect = self.dialect()?;
            while at < text.len() {
                let walk = record::walk(dialect, text, at, |_| ());
                at = walk.next;
                if walk.item != Item::Nothing {
                    return Some(at);
                }
            }
            None
        })
    }
}

/// Whether what was walked over cannot go on behind the text.
fn is_whole(dialect: &Dialect, text: &[u8], walk: record::Walk, at_end: bool) -> bool {
    at_end || (walk.ended && !dialect.lines.is_half(text, walk.next))
}

fn walked_end(dialect: &Dialect, text: &[u8], at_end: bool) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let walk = record::walk(dialect, text, at, |_| ());
        if !walk.ended || !is_whole(dialect, text, walk, at_end) {
            break;
        }
        at = walk.next;
    }
    (at > 0).then_some(at)
}

/// One past the last line end outside of quoted fields, of which the first may start at `first`. A quote opens a field at the start of a record or after a delimiter or
/// line end only; elsewhere it is a character like any other.
pub(super) fn last_line_end_by_gaps(text: &[u8], first: usize, marks: Marks, quote: u8) -> Option<usize> {
    let line_end = |from: usize, to: usize| memrchr(marks.eol, &text[from..to]).map(|at| from + at + 1);
    let (mut last, mut gap_start, mut at) = (None, 0, first);
    loop {
        let opens = at == 0 || text[at - 1] == marks.delimiter || text[at - 1] == marks.eol;
        if opens {
            last = line_end(gap_start, at).or(last);
            let Some(after) = closing_quote(text, at + 1, quote) else { return last };
            gap_start = after;
            at = after;
        } else {
            at += 1;
        }
        match memchr(quote, &text[at..]) {
            Some(next) => at += next,
            None => break,
        }
    }
    line_end(gap_start, text.len()).or(last)
}

/// One past the quote that closes a field whose inside starts at `at`.
fn closing_quote(text: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        at += memchr(quote, &text[at..])? + 1;
        if text.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// The same, line by line, for dialects whose comments may hold quotes.
fn scan_lines(text: &[u8], marks: Marks, quote: u8, comment: u8) -> Option<usize> {
    let mut end = None;
    let mut at = 0;
    while at < text.len() {
        if text[at] == comment {
            let Some(eol) = memchr(marks.eol, &text[at..]) else { return end };
            at += eol + 1;
            end = Some(at);
            continue;
        }
        loop {
            if text.get(at) == Some(&quote) {
                match closing_quote(text, at + 1, quote) {
                    Some(after) => at = after,
                    None => return end,
                }
            }
            let Some(next) = memchr2(marks.delimiter, marks.eol, &text[at..]) else { return end };
            at += next + 1;
            if text[at - 1] == marks.eol {
                end = Some(at);
                break;
            }
        }
    }
    end
}
