//! Why a row does not fit, in words.

use std::sync::Arc;

use moulin_core::{Place, PrimitiveType, Reject, RejectedRow, RowShape};

use crate::code::Code;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Empty: the row as a whole.
    pub(crate) column: String,
    pub(crate) code: Code,
    pub(crate) reason: String,
    /// Whether it fails the job, whatever is done with bad rows: a contract says so, or a limit.
    pub(crate) stops: bool,
}

/// A bad row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) bad: Bad,
    /// Records of the block before it.
    pub(crate) records_before: u64,
    /// Line ends of the block before it; `None`: the format has no lines.
    pub(crate) lines_before: Option<u64>,
    /// Offset in the decompressed file.
    pub(crate) byte_offset: u64,
    /// Of the record, its line end left out.
    pub(crate) length_bytes: u64,
    /// The first of those bytes, at most [`RejectedRow::RAW_BYTES`].
    pub(crate) raw: Vec<u8>,
}

impl BadRow {
    /// A bad row with the bytes of its record, which have no line end.
    pub(crate) fn new(bad: Bad, record: &[u8], records_before: u64, lines_before: u64, byte_offset: u64) -> Self {
        let raw = record[..record.len().min(RejectedRow::RAW_BYTES)].to_vec();
        let lines_before = Some(lines_before);
        Self { bad, records_before, lines_before, byte_offset, length_bytes: record.len() as u64, raw }
    }

    /// The rejected row, when so many records and lines of the file stand before the block.
    pub(crate) fn into_rejected(self, uri: &str, records: u64, lines: u64, shape: &Arc<RowShape>) -> RejectedRow {
        let reject = Reject {
            place: Place {
                uri: uri.to_owned(),
                record: records + self.records_before + 1,
                line: self.lines_before.map_or(0, |before| lines + before + 1),
                byte_offset: self.byte_offset,
                column: self.bad.column,
            },
            code: self.bad.code.as_str().to_owned(),
            reason: self.bad.reason,
        };
        RejectedRow { reject, length_bytes: self.length_bytes, raw: self.raw, shape: Arc::clone(shape) }
    }
}

/// A line of JSON without what ends it: LF, and a CR before it, which is white space.
pub(crate) fn without_line_end(record: &[u8]) -> &[u8] {
    match record {
        [rest @ .., b'\r', b'\n'] | [rest @ .., b'\n' | b'\r'] => rest,
        all => all,
    }
}

impl Bad {
    /// About the row as a whole.
    pub(crate) fn row(code: Code, reason: String) -> Self {
        Self { column: String::new(), code, reason, stops: false }
    }

    /// A text that is no value of the column's type.
    pub(crate) fn value(column: &str, ty: PrimitiveType, text: &[u8], inferred: bool) -> Self {
        if std::str::from_utf8(text).is_err() {
            return Self::utf8(column, text);
        }
        let mut reason = format!("field {column} has value `{}`, expected {ty}", shown(text));
        if inferred {
            reason.push_str("; the type was inferred from a sample of the first file: declare the column's type");
        }
        Self { column: column.to_owned(), code: Code::of_type(ty), reason, stops: false }
    }

    /// A number that would lose a part of its text. In the sample it would have made the column one of strings.
    pub(crate) fn lossy(column: &str, ty: PrimitiveType, text: &[u8]) -> Self {
        let reason = format!(
            "field {column} has value `{}`, of which a {ty} would lose zeros, a sign or digits; the type was inferred from a \
             sample of the first file: declare the column as string or {ty}",
            shown(text)
        );
        Self { column: column.to_owned(), code: Code::of_type(ty), reason, stops: false }
    }

    /// A text that is not UTF-8.
    pub(crate) fn utf8(column: &str, text: &[u8]) -> Self {
        Self {
            column: column.to_owned(),
            code: Code::Utf8,
            reason: format!("field {column} has value `{}`, which is not UTF-8", shown(text)),
            stops: false,
        }
    }
}

/// A text as it is shown: at most 100 characters, bytes that are no text as replacement characters.
pub(crate) fn shown(text: &[u8]) -> String {
    const SHOWN: usize = 100;
    // No more than four bytes make a character.
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN + 4)]);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
