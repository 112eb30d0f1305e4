//! One record at a time: the definition of the dialect.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::Dialect;
use crate::blocks::closing_quote;

/// A field of a record; its text is `text[start..end]`, the quotes left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) quoted: bool,
    /// Whether there are doubled quotes inside.
    pub(crate) doubled: bool,
}

impl Field {
    /// The text that the field means.
    pub(crate) fn text<'a>(&self, text: &'a [u8], dialect: &Dialect) -> Cow<'a, [u8]> {
        let text = &text[self.start..self.end];
        let Some(quote) = dialect.quote.filter(|_| self.doubled) else { return Cow::Borrowed(text) };
        let mut single = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr(quote, rest) {
            single.extend_from_slice(&rest[..=at]);
            rest = rest.get(at + 2..).unwrap_or_default();
        }
        single.extend_from_slice(rest);
        Cow::Owned(single)
    }
}

/// What starts at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// A record; its fields have been written.
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

/// Reads what starts at `at`, and says where the next thing starts. `text` ends with a line end.
pub(crate) fn read(dialect: &Dialect, text: &[u8], at: usize, fields: &mut Vec<Field>) -> (Item, usize) {
    fields.clear();
    let line_end = |at: usize| memchr(dialect.eol, &text[at..]).map_or(text.len(), |eol| at + eol + 1);
    if text.get(at) == Some(&dialect.eol) {
        return (Item::Nothing, at + 1);
    }
    if dialect.eol == b'\n' && text[at..].starts_with(b"\r\n") {
        return (Item::Nothing, at + 2);
    }
    if dialect.comment.is_some() && text.get(at).copied() == dialect.comment {
        return (Item::Nothing, line_end(at));
    }
    let mut item = Item::Record;
    let mut at = at;
    loop {
        let number = fields.len();
        let mut field = Field { start: at, end: at, quoted: false, doubled: false };
        if let Some(quote) = dialect.quote.filter(|quote| text.get(at) == Some(quote)) {
            let Some(after) = closing_quote(text, at + 1, quote) else {
                return (Item::Unclosed { field: number }, text.len());
            };
            field = Field { start: at + 1, end: after - 1, quoted: true, doubled: false };
            field.doubled = memchr(quote, &text[field.start..field.end]).is_some();
            at = after;
        }
        let end = memchr2(dialect.delimiter, dialect.eol, &text[at..]).map_or(text.len(), |next| at + next);
        let is_last = text.get(end) != Some(&dialect.delimiter);
        let mut text_end = end;
        if is_last && dialect.eol == b'\n' && end > at && text[end - 1] == b'\r' {
            text_end -= 1;
        }
        if !field.quoted {
            field.end = text_end;
        } else if text_end > at && item == Item::Record {
            item = Item::AfterQuote { field: number };
        }
        fields.push(field);
        at = (end + 1).min(text.len());
        if is_last {
            return (item, at);
        }
    }
}
