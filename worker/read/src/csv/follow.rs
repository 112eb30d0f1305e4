//! A record is followed to its end without being held: the same as [`super::record::walk`], a stretch of text at a time.

use std::ops::ControlFlow;

use memchr::{memchr, memchr2};

use super::dialect::{Dialect, Lines};
use crate::fault::without_line_end;

/// Follows one record.
#[derive(Debug)]
pub(crate) struct RecordWalk<'a> {
    /// `None`: every line is a record.
    dialect: Option<&'a Dialect>,
    lines: Lines,
    state: State,
    /// What is looked at next, from the start of the text at hand on.
    at: usize,
    /// A CR before this place is no part of a line end.
    from: usize,
    /// Line ends so far, and the byte before those that were not counted yet.
    counted: u64,
    before: Option<u8>,
    /// All bytes so far are white space.
    blank: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Quoted,
    Plain,
    /// To the end of the line, whatever stands in it.
    Line,
    Comment,
}

impl<'a> RecordWalk<'a> {
    pub(super) fn new(dialect: Option<&'a Dialect>, lines: Lines) -> Self {
        let state = if dialect.is_some() { State::RecordStart } else { State::Line };
        Self { dialect, lines, state, at: 0, from: 0, counted: 0, before: None, blank: true }
    }

    /// Goes on in a text that starts where the last one was shifted to. Answers one past the record's line end, once it
    /// is at hand.
    pub(crate) fn go_on(&mut self, text: &[u8], at_end: bool) -> Option<usize> {
        let longest = self.dialect.map_or(0, |dialect| dialect.delimiter.len().max(dialect.comment.len()));
        // What starts in the last bytes may go on behind them.
        let sure = if at_end { text.len() } else { text.len().saturating_sub(longest + 3) };
        loop {
            if self.at >= sure {
                return None;
            }
            if let ControlFlow::Break(end) = self.step(text, sure)? {
                return Some(end);
            }
        }
    }

    /// `None`: more text is needed. `Break`: the end.
    fn step(&mut self, text: &[u8], sure: usize) -> Option<ControlFlow<usize>> {
        match (self.state, self.dialect) {
            (State::RecordStart, Some(dialect)) => {
                let is_comment = dialect.is_comment(&text[self.at..]);
                self.state = if is_comment { State::Comment } else { State::FieldStart };
            }
            (State::FieldStart, Some(dialect)) => {
                if dialect.trim && dialect.is_blank(text[self.at]) {
                    self.at += 1;
                } else if dialect.quote == Some(text[self.at]) {
                    (self.state, self.at) = (State::Quoted, self.at + 1);
                } else {
                    (self.state, self.from) = (State::Plain, self.at);
                }
            }
            (State::Quoted, Some(dialect)) => self.quoted(dialect, text, sure)?,
            (State::Plain, Some(dialect)) => return self.plain(dialect, text, sure),
            _ => return self.line(text, sure),
        }
        Some(ControlFlow::Continue(()))
    }

    /// Goes to `found`, or to the end of what is sure.
    fn jump(&mut self, found: Option<usize>, sure: usize) -> Option<usize> {
        let found = found.map(|found| self.at + found).filter(|found| *found < sure);
        self.at = found.unwrap_or(sure);
        found
    }

    fn quoted(&mut self, dialect: &Dialect, text: &[u8], sure: usize) -> Option<()> {
        let quote = dialect.quote?;
        let rest = &text[self.at..];
        let found = dialect.escape.map_or_else(|| memchr(quote, rest), |escape| memchr2(quote, escape, rest));
        let at = self.jump(found, sure)?;
        if Some(text[at]) == dialect.escape || (dialect.doubled && text.get(at + 1) == Some(&quote)) {
            self.at = (at + 2).min(text.len());
        } else {
            (self.state, self.at, self.from) = (State::Plain, at + 1, at + 1);
        }
        Some(())
    }

    fn plain(&mut self, dialect: &Dialect, text: &[u8], sure: usize) -> Option<ControlFlow<usize>> {
        let found = dialect.next_stop(text, self.at).map(|stop| stop - self.at);
        let stop = self.jump(found, sure)?;
        if Some(text[stop]) == dialect.escape {
            self.at = dialect.after_escaped(text, stop);
            self.from = self.at;
        } else if text[stop..].starts_with(&dialect.delimiter) {
            (self.state, self.at) = (State::FieldStart, stop + dialect.delimiter.len());
        } else if let Some((_, next)) = self.lines.ends(text, self.from, stop) {
            return Some(ControlFlow::Break(next));
        } else {
            self.at = stop + 1;
        }
        Some(ControlFlow::Continue(()))
    }

    fn line(&mut self, text: &[u8], sure: usize) -> Option<ControlFlow<usize>> {
        let rest = &text[self.at..];
        let found = match self.lines {
            Lines::Any => memchr2(b'\r', b'\n', rest),
            Lines::Cr => memchr(b'\r', rest),
            Lines::LfOrCrlf | Lines::Lf | Lines::Crlf => memchr(b'\n', rest),
        };
        let stop = self.jump(found, sure)?;
        let end = self.lines.ends(text, self.from, stop);
        self.at = stop + 1;
        Some(end.map_or(ControlFlow::Continue(()), |(_, next)| ControlFlow::Break(next)))
    }

    /// Bytes of the text that will not be looked at again.
    pub(crate) fn passed(&self) -> usize {
        // The byte before the next one may be a CR.
        self.at.saturating_sub(1)
    }

    /// Says that the text starts behind these bytes of it from here on.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        self.count(bytes);
        (self.at, self.from) = (self.at - bytes.len(), self.from.saturating_sub(bytes.len()));
    }

    /// Takes the last bytes of the record into account. Answers how many of them are its line end.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> usize {
        let record = if self.dialect.is_some() { self.lines.without_end(bytes) } else { without_line_end(bytes) };
        let line_end = bytes.len() - record.len();
        self.count(&bytes[..bytes.len() - line_end]);
        self.count_lines(&bytes[bytes.len() - line_end..]);
        line_end
    }

    /// The same, where the file ends without a line end: the record is the one it would be with it.
    pub(crate) fn end_of_file(&mut self, bytes: &[u8]) -> usize {
        self.end(&[bytes, self.lines.mark()].concat()) - self.lines.mark().len()
    }

    fn count(&mut self, bytes: &[u8]) {
        let is_blank = |byte: u8| match self.dialect {
            Some(dialect) => dialect.is_blank(byte),
            None => matches!(byte, b' ' | b'\t' | b'\r'),
        };
        self.blank = self.blank && bytes.iter().all(|byte| is_blank(*byte));
        self.count_lines(bytes);
    }

    fn count_lines(&mut self, bytes: &[u8]) {
        self.counted += self.lines.count(bytes);
        // A pair that stands at the border.
        let is_pair = self.before == Some(b'\r') && bytes.first() == Some(&b'\n');
        match self.lines {
            Lines::Crlf if is_pair => self.counted += 1,
            Lines::Any if is_pair => self.counted -= 1,
            _ => {}
        }
        self.before = bytes.last().copied().or(self.before);
    }

    /// Line ends so far.
    pub(crate) fn lines(&self) -> u64 {
        self.counted
    }

    /// Whether what was followed is a record: no comment, and no blank line.
    pub(crate) fn is_record(&self) -> bool {
        let blank_is_none = self.dialect.is_none_or(|dialect| dialect.trim);
        self.state != State::Comment && !(self.blank && blank_is_none)
    }
}
