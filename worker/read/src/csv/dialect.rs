//! What delimits fields and records in one file.

use memchr::{memchr, memchr2, memchr3, memrchr, memrchr2};
use moulin_core::{CsvFormat, LineEnding};

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// LF, and a CR before it belongs to it.
    LfOrCrlf,
    /// LF; a CR before it is text.
    Lf,
    /// CRLF; a LF alone is text.
    Crlf,
    /// CR.
    Cr,
    /// LF, CRLF or CR.
    Any,
}

impl Lines {
    /// What ends the lines of a file whose start is `text`. What was said holds where it is there, or nothing else is:
    /// files change their line ends on their way more often than they are a single line.
    pub(super) fn new(ending: LineEnding, text: &[u8]) -> Self {
        let (lf, cr) = (memchr(b'\n', text).is_some(), memchr(b'\r', text).is_some());
        let is_there = match ending {
            LineEnding::Lf => lf,
            LineEnding::Cr => cr,
            LineEnding::Crlf => memchr::memmem::find(text, b"\r\n").is_some(),
            LineEnding::Auto | LineEnding::Any => true,
        };
        match if is_there || !(lf || cr) { ending } else { LineEnding::Auto } {
            LineEnding::Auto if cr && !lf => Self::Cr,
            LineEnding::Auto => Self::LfOrCrlf,
            LineEnding::Lf => Self::Lf,
            LineEnding::Crlf => Self::Crlf,
            LineEnding::Cr => Self::Cr,
            LineEnding::Any => Self::Any,
        }
    }

    /// A line end, for a file that lacks its last one.
    pub(crate) fn mark(self) -> &'static [u8] {
        match self {
            Self::LfOrCrlf | Self::Lf | Self::Any => b"\n",
            Self::Crlf => b"\r\n",
            Self::Cr => b"\r",
        }
    }

    /// A record without the line end that ends it.
    pub(super) fn without_end(self, record: &[u8]) -> &[u8] {
        let ends: &[&[u8]] = match self {
            Self::LfOrCrlf => &[b"\r\n", b"\n"],
            Self::Lf => &[b"\n"],
            Self::Crlf => &[b"\r\n"],
            Self::Cr => &[b"\r"],
            Self::Any => &[b"\r\n", b"\n", b"\r"],
        };
        ends.iter().find_map(|end| record.strip_suffix(*end)).unwrap_or(record)
    }

    /// The byte by which a line end is found.
    fn byte(self) -> u8 {
        if self == Self::Cr { b'\r' } else { b'\n' }
    }

    /// The end of the line, and the start of the next, when the byte at `at` ends one. A CR before `from` is not
    /// part of it.
    #[inline(always)]
    pub(super) fn ends(self, text: &[u8], from: usize, at: usize) -> Option<(usize, usize)> {
        let byte = text[at];
        let after_cr = at > from && text[at - 1] == b'\r';
        match self {
            Self::LfOrCrlf if byte == b'\n' => Some((at - usize::from(after_cr), at + 1)),
            Self::Lf if byte == b'\n' => Some((at, at + 1)),
            Self::Crlf if byte == b'\n' && after_cr => Some((at - 1, at + 1)),
            Self::Cr if byte == b'\r' => Some((at, at + 1)),
            Self::Any if byte == b'\n' => Some((at, at + 1)),
            Self::Any if byte == b'\r' => Some((at, at + 1 + usize::from(text.get(at + 1) == Some(&b'\n')))),
            _ => None,
        }
    }

    /// Where the line after the one that holds `from` starts.
    pub(super) fn next(self, text: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            at += if self == Self::Any { memchr2(b'\r', b'\n', rest)? } else { memchr(self.byte(), rest)? };
            if let Some((_, next)) = self.ends(text, from, at) {
                return Some(next);
            }
            at += 1;
        }
    }

    /// Whether a line end that ends the text, at `next`, may be half of one.
    pub(super) fn is_half(self, text: &[u8], next: usize) -> bool {
        self == Self::Any && next == text.len() && text.last() == Some(&b'\r')
    }

    /// One past the last line end. A CR that is the last byte may be half of one, unless nothing follows.
    pub(super) fn last(self, text: &[u8], at_end: bool) -> Option<usize> {
        let mut end = text.len();
        loop {
            let rest = &text[..end];
            let at = if self == Self::Any { memrchr2(b'\r', b'\n', rest)? } else { memrchr(self.byte(), rest)? };
            if (at_end || !self.is_half(text, at + 1)) && (self != Self::Crlf || (at > 0 && text[at - 1] == b'\r')) {
                return Some(at + 1);
            }
            end = at;
        }
    }

    /// Number of line ends.
    pub(super) fn count(self, text: &[u8]) -> u64 {
        let count = |byte| memchr::memchr_iter(byte, text).count();
        let pairs = || memchr::memmem::find_iter(text, b"\r\n").count();
        let lines = match self {
            Self::LfOrCrlf | Self::Lf => count(b'\n'),
            Self::Crlf => pairs(),
            Self::Cr => count(b'\r'),
            Self::Any => count(b'\n') + count(b'\r') - pairs(),
        };
        lines as u64
    }
}

/// How one file is cut and read: the format, with the line end that the file has.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(super) delimiter: Vec<u8>,
    pub(super) quote: Option<u8>,
    pub(super) escape: Option<u8>,
    /// Whether a doubled quote in a quoted field is one quote.
    pub(super) doubled: bool,
    /// Lines that start with it are no records. Empty: there are none.
    pub(super) comment: Vec<u8>,
    pub(super) lines: Lines,
    pub(super) trim: bool,
    pub(super) trailing_delimiter: bool,
    /// Records at the end of the file that are none.
    pub(super) footer_rows: u64,
    /// Bytes at which a field outside of quotes may end.
    stops: Stops,
}

#[derive(Debug, Clone, Copy)]
enum Stops {
    Two(u8, u8),
    Three(u8, u8, u8),
    Four(u8, u8, u8, u8),
}

/// The bytes of a dialect that ends fields and lines with one byte each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    pub(super) delimiter: u8,
    pub(super) eol: u8,
    pub(super) quote: Option<u8>,
    /// Whether a CR before a line end belongs to it.
    pub(super) trim_cr: bool,
}

impl Dialect {
    pub(super) fn new(format: &CsvFormat, lines: Lines) -> Self {
        let delimiter = format.delimiter_or_default().as_bytes().to_vec();
        let (first, escape) = (delimiter[0], format.escape_byte());
        let stops = match (lines, escape) {
            (Lines::Any, None) => Stops::Three(first, b'\n', b'\r'),
            (Lines::Any, Some(escape)) => Stops::Four(first, b'\n', b'\r', escape),
            (_, None) => Stops::Two(first, lines.byte()),
            (_, Some(escape)) => Stops::Three(first, lines.byte(), escape),
        };
        Self {
            delimiter,
            quote: format.quote_byte(),
            escape,
            doubled: format.doubles_quotes(),
            comment: format.comment.clone().unwrap_or_default().into_bytes(),
            lines,
            trim: format.trim,
            trailing_delimiter: format.trailing_delimiter,
            footer_rows: format.skip_footer_rows,
            stops,
        }
    }

    /// The next byte at which a field outside of quotes may end, or its next escape.
    #[inline(always)]
    pub(super) fn next_stop(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        let found = match self.stops {
            Stops::Two(a, b) => memchr2(a, b, rest),
            Stops::Three(a, b, c) => memchr3(a, b, c, rest),
            Stops::Four(a, b, c, d) => {
                let three = memchr3(a, b, c, rest);
                memchr(d, &rest[..three.unwrap_or(rest.len())]).or(three)
            }
        };
        found.map(|found| at + found)
    }

    pub(super) fn is_comment(&self, line: &[u8]) -> bool {
        !self.comment.is_empty() && line.starts_with(&self.comment)
    }

    /// White space that `trim` takes away.
    pub(super) fn is_blank(&self, byte: u8) -> bool {
        matches!(byte, b' ' | b'\t') && !self.delimiter.contains(&byte)
    }

    /// One past the quote that closes a field whose inside starts at `at`, and whether the inside is not its own text.
    pub(super) fn closing_quote(&self, text: &[u8], at: usize, quote: u8) -> Option<(usize, bool)> {
        let mut special = false;
        let mut next = at;
        loop {
            let rest = text.get(next..)?;
            next += self.escape.map_or_else(|| memchr(quote, rest), |escape| memchr2(quote, escape, rest))?;
            let escaped = Some(text[next]) == self.escape;
            let doubled = self.doubled && text.get(next + 1) == Some(&quote);
            if !escaped && !doubled {
                return Some((next + 1, special));
            }
            special = true;
            next += 2;
        }
    }

    /// One past what an escape at `at` makes plain.
    pub(super) fn after_escaped(&self, text: &[u8], at: usize) -> usize {
        let is_pair = self.lines != Lines::Cr && self.lines != Lines::Lf && text[at + 1..].starts_with(b"\r\n");
        (at + if is_pair { 3 } else { 2 }).min(text.len())
    }

    /// Where an escape may stand, and a comment of several characters, records are found one by one.
    pub(super) fn simple_marks(&self) -> Option<Marks> {
        let single = self.delimiter.len() == 1 && self.comment.len() <= 1;
        let lines = matches!(self.lines, Lines::LfOrCrlf | Lines::Lf | Lines::Cr);
        (single && lines && self.escape.is_none() && self.doubled && !self.trim).then(|| self.marks())
    }

    fn marks(&self) -> Marks {
        let trim_cr = matches!(self.lines, Lines::LfOrCrlf | Lines::Crlf | Lines::Any);
        Marks { delimiter: self.delimiter[0], eol: self.lines.byte(), quote: self.quote, trim_cr }
    }

    /// The bytes by which a window of the text can be indexed; `None` when something in it needs the slow way.
    /// `quotes` says whether there may be quotes. The byte after the window is looked at.
    pub(super) fn marks_of(&self, text: &[u8], start: usize, end: usize, quotes: bool) -> Option<Marks> {
        if self.delimiter.len() != 1 || self.trim || (quotes && !self.doubled) {
            return None;
        }
        let window = &text[start..end];
        if self.escape.is_some_and(|escape| memchr(escape, window).is_some()) {
            return None;
        }
        let comment = match self.comment.as_slice() {
            [] => false,
            [byte] => memchr(*byte, window).is_some(),
            several => memchr::memmem::find(window, several).is_some(),
        };
        let before_lf = |at: usize| text.get(start + at + 1) == Some(&b'\n');
        let after_cr = |at: usize| at > 0 && window[at - 1] == b'\r';
        let lines = match self.lines {
            Lines::LfOrCrlf | Lines::Lf | Lines::Cr => true,
            Lines::Any => memchr::memchr_iter(b'\r', window).all(before_lf),
            Lines::Crlf => memchr::memchr_iter(b'\n', window).all(after_cr),
        };
        (lines && !comment).then(|| self.marks())
    }
}
