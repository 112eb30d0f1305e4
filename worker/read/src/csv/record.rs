//! One record at a time: the definition of the dialect.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::dialect::Dialect;

/// A field of a record; its text is `text[start..end]`, the quotes left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
    /// Whether there are doubled quotes or escapes inside.
    pub(crate) special: bool,
}

impl Field {
    /// The bytes as they are written, the quotes left out.
    pub(crate) fn raw<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start..self.end]
    }

    /// The text that the field means.
    pub(crate) fn text<'a>(&self, text: &'a [u8], dialect: &Dialect) -> Cow<'a, [u8]> {
        let mut rest = self.raw(text);
        if !self.special {
            return Cow::Borrowed(rest);
        }
        let quote = dialect.quote.filter(|_| self.quoted && dialect.doubled);
        let mut plain = Vec::with_capacity(rest.len());
        let next = |rest: &[u8]| match (quote, dialect.escape) {
            (Some(quote), Some(escape)) => memchr2(quote, escape, rest),
            (Some(byte), None) | (None, Some(byte)) => memchr(byte, rest),
            (None, None) => None,
        };
        // Both a doubled quote and an escape are one byte before the one that is meant. A last one is itself.
        while let Some(at) = next(rest).filter(|at| at + 1 < rest.len()) {
            plain.extend_from_slice(&rest[..at]);
            plain.push(rest[at + 1]);
            rest = &rest[at + 2..];
        }
        plain.extend_from_slice(rest);
        Cow::Owned(plain)
    }
}

/// What starts at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A record.
    Record,
    /// An empty line or a comment.
    Nothing,
    /// A record with a quote that is not closed; it takes all the rest.
    Unclosed {
        /// Number of the field, from 0.
        field: usize,
    },
    /// A record with text after a closing quote.
    AfterQuote {
        /// Number of the field, from 0.
        field: usize,
    },
}

/// What was found at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    pub(crate) item: Item,
    /// Where the next thing starts.
    pub(crate) next: usize,
    /// Number of fields.
    pub(crate) count: usize,
    /// Whether a line end was there.
    pub(crate) ended: bool,
}

/// Reads what starts at `at` and writes its first fields, at most `limit` of them. `text` ends with a line end.
pub(crate) fn read(dialect: &Dialect, text: &[u8], at: usize, fields: &mut Vec<Field>, limit: usize) -> Walk {
    fields.clear();
    let mut walk = walk(dialect, text, at, |field| {
        if fields.len() < limit {
            fields.push(field);
        }
    });
    // The delimiter at the end of the line has opened this field.
    if dialect.trailing_delimiter
        && walk.count > 1
        && walk.count == fields.len()
        && fields.last().is_some_and(|field| !field.quoted && field.start == field.end)
    {
        fields.pop();
        walk.count -= 1;
    }
    walk
}

/// Goes over what starts at `at` and hands out its fields.
#[inline]
pub(crate) fn walk(dialect: &Dialect, text: &[u8], start: usize, mut take: impl FnMut(Field)) -> Walk {
    if dialect.is_comment(&text[start..]) {
        let next = dialect.lines.next(text, start);
        return Walk { item: Item::Nothing, next: next.unwrap_or(text.len()), count: 0, ended: next.is_some() };
    }
    let mut walk = Walk { item: Item::Record, next: start, count: 0, ended: true };
    loop {
        let Some((field, is_last)) = walk_field(dialect, text, &mut walk) else { return walk };
        if is_last && walk.count == 0 && !field.quoted && field.start == field.end {
            walk.item = Item::Nothing;
            return walk;
        }
        take(field);
        walk.count += 1;
        if is_last {
            return walk;
        }
    }
}

/// The field that starts at `walk.next`, and whether it is the last of its record; `None` when its quote is not closed.
#[inline(always)]
fn walk_field(dialect: &Dialect, text: &[u8], walk: &mut Walk) -> Option<(Field, bool)> {
    let mut at = walk.next;
    if dialect.trim {
        at += text[at..].iter().take_while(|byte| dialect.is_blank(**byte)).count();
    }
    let mut field = Field { start: at, end: at, quoted: false, special: false };
    if let Some(quote) = dialect.quote.filter(|quote| text.get(at) == Some(quote)) {
        let Some((after, special)) = dialect.closing_quote(text, at + 1, quote) else {
            *walk = Walk { item: Item::Unclosed { field: walk.count }, next: text.len(), ended: false, ..*walk };
            return None;
        };
        field = Field { start: at + 1, end: after - 1, quoted: true, special };
        at = after;
    }
    // A CR or white space before this place is text, for it is quoted or escaped.
    let mut from = at;
    let (mut end, is_last) = loop {
        let Some(stop) = dialect.next_stop(text, at) else {
            // The line end that was added to the file's last line stands behind an escape: it is none of the field.
            let end = text.len() - if text.ends_with(dialect.lines.mark()) { dialect.lines.mark().len() } else { 0 };
            (walk.next, walk.ended) = (text.len(), false);
            break (end.max(field.start), true);
        };
        if Some(text[stop]) == dialect.escape {
            field.special |= !field.quoted;
            at = dialect.after_escaped(text, stop);
            from = at;
        } else if text[stop..].starts_with(&dialect.delimiter) {
            walk.next = stop + dialect.delimiter.len();
            break (stop, false);
        } else if let Some((end, next)) = dialect.lines.ends(text, from, stop) {
            walk.next = next;
            break (end, true);
        } else {
            at = stop + 1;
        }
    };
    if dialect.trim {
        while end > from && dialect.is_blank(text[end - 1]) {
            end -= 1;
        }
    }
    if !field.quoted {
        field.end = end;
    } else if end > field.end + 1 && walk.item == Item::Record {
        walk.item = Item::AfterQuote { field: walk.count };
    }
    Some((field, is_last))
}
