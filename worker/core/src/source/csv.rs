//! How delimited text is written.

use serde::{Deserialize, Serialize};

use super::bytes::{one_byte, optional_byte, quote};
use crate::{Fault, FaultKind};

/// RFC 4180 and its relatives. `proto/moulin/v1/source.proto` says what each option does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvFormat {
    /// One or more characters between fields. Empty: nothing was said, see [`CsvFormat::delimiter_or_default`].
    pub delimiter: String,
    /// The byte around fields that hold delimiters, quotes or line ends. `None`: nothing was said, see
    /// [`CsvFormat::quote_byte`].
    #[serde(with = "quote")]
    pub quote: Option<u8>,
    /// Whether a quote means anything.
    pub quoting: bool,
    /// The byte that makes the one after it plain.
    #[serde(with = "optional_byte")]
    pub escape: Option<u8>,
    /// Whether a doubled quote in a quoted field is one quote.
    pub doubled_quotes: bool,
    /// Whether the first row holds names.
    pub header: bool,
    /// Lines that the header takes, at least 1.
    pub header_lines: u32,
    /// Names of all columns, in place of those of the header. Empty: the header's.
    pub column_names: Vec<String>,
    /// Unquoted fields that mean null. The empty field means null too, except in a string column, where it
    /// is the empty string unless it is listed here.
    pub null_values: Vec<String>,
    /// Texts that mean true; empty: the usual ones.
    pub true_values: Vec<String>,
    /// Texts that mean false; empty: the usual ones.
    pub false_values: Vec<String>,
    /// Lines to leave out before the header.
    pub skip_lines: u64,
    /// Records to leave out after the header.
    pub skip_rows: u64,
    /// Records to leave out at the end of each file.
    pub skip_footer_rows: u64,
    /// Lines that start with this text are no rows.
    pub comment: Option<String>,
    /// Byte between the whole and the fraction of a number.
    #[serde(with = "one_byte")]
    pub decimal_separator: u8,
    /// Byte between groups of digits of a number.
    #[serde(with = "optional_byte")]
    pub thousands_separator: Option<u8>,
    /// How dates are written, in strftime's words; `None`: `%Y-%m-%d`.
    pub date_format: Option<String>,
    /// How times are written; `None`: `%H:%M[:%S[.%f]]`.
    pub time_format: Option<String>,
    /// How timestamps are written; `None`: ISO 8601.
    pub timestamp_format: Option<String>,
    /// IANA zone of timestamps that name none; `None`: UTC.
    pub timezone: Option<String>,
    /// How characters are written as bytes.
    pub encoding: Encoding,
    /// What ends a line.
    pub line_ending: LineEnding,
    /// A delimiter at the end of a line opens no field.
    pub trailing_delimiter: bool,
    /// What to do with rows of another number of fields.
    pub ragged_rows: RaggedRows,
    /// Spaces and tabs around fields are no part of them.
    pub trim: bool,
    /// Where delimiter, quote, escape, header, encoding and line end come from when they are not set.
    pub dialect: Dialect,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self {
            delimiter: String::new(),
            quote: None,
            quoting: true,
            escape: None,
            doubled_quotes: true,
            header: true,
            header_lines: 1,
            column_names: Vec::new(),
            null_values: Vec::new(),
            true_values: Vec::new(),
            false_values: Vec::new(),
            skip_lines: 0,
            skip_rows: 0,
            skip_footer_rows: 0,
            comment: None,
            decimal_separator: b'.',
            thousands_separator: None,
            date_format: None,
            time_format: None,
            timestamp_format: None,
            timezone: None,
            encoding: Encoding::default(),
            line_ending: LineEnding::default(),
            trailing_delimiter: false,
            ragged_rows: RaggedRows::default(),
            trim: false,
            dialect: Dialect::default(),
        }
    }
}

/// Where options of a dialect come from that are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The defaults.
    #[default]
    Given,
    /// What a sample shows.
    Auto,
}

/// How characters are written as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// UTF-8, unless a byte order mark says UTF-16.
    #[default]
    Auto,
    /// UTF-8, with or without a byte order mark.
    Utf8,
    /// UTF-16 by its byte order mark; little endian without one.
    Utf16,
    /// UTF-16, little endian.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
    /// ISO 8859-1.
    Latin1,
    /// Windows code page 1252.
    #[serde(rename = "windows_1252")]
    Windows1252,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEnding {
    /// LF or CRLF; CR when the first 64 KiB of a file hold a CR and no LF.
    #[default]
    Auto,
    /// LF alone.
    Lf,
    /// CRLF alone.
    Crlf,
    /// CR alone.
    Cr,
    /// Any of them, mixed.
    Any,
}

/// What to do with rows that have more or fewer fields than there are columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RaggedRows {
    /// They are bad rows.
    #[default]
    Reject,
    /// Missing fields are null.
    Pad,
    /// Fields too many are left out.
    Truncate,
    /// Both.
    Fit,
}

impl RaggedRows {
    /// Whether missing fields are null.
    #[must_use]
    pub fn pads(self) -> bool {
        matches!(self, Self::Pad | Self::Fit)
    }

    /// Whether fields too many are left out.
    #[must_use]
    pub fn truncates(self) -> bool {
        matches!(self, Self::Truncate | Self::Fit)
    }
}

impl CsvFormat {
    /// What stands between fields; a comma when nothing was said.
    #[must_use]
    pub fn delimiter_or_default(&self) -> &str {
        if self.delimiter.is_empty() { "," } else { &self.delimiter }
    }

    /// The byte around fields; `"` when nothing was said, `None` without quoting.
    #[must_use]
    pub fn quote_byte(&self) -> Option<u8> {
        self.quoting.then_some(self.quote.unwrap_or(b'"'))
    }

    /// The byte that makes the one after it plain. An escape that is the quote is none: it says that quotes are doubled.
    #[must_use]
    pub fn escape_byte(&self) -> Option<u8> {
        self.escape.filter(|escape| Some(*escape) != self.quote_byte())
    }

    /// Whether a doubled quote in a quoted field is one quote.
    #[must_use]
    pub fn doubles_quotes(&self) -> bool {
        self.doubled_quotes || (self.escape.is_some() && self.escape_byte().is_none())
    }

    pub(super) fn validate(&self) -> Result<(), Fault> {
        let wrong = |message: String| Err(Fault::new(FaultKind::InvalidSpec, message));
        if self.delimiter.contains(['\n', '\r', '\0']) {
            return wrong("csv delimiter must be one or more characters, and hold no line end".to_owned());
        }
        let mut bytes = Vec::new();
        // What was not said may be found in a sample, and then it is not the default.
        let said = |said: bool| said || self.dialect == Dialect::Given;
        let delimiter = if said(!self.delimiter.is_empty()) { self.delimiter_or_default() } else { "" };
        let quote = self.quote_byte().filter(|_| said(self.quote.is_some()));
        bytes.extend(quote.map(|byte| ("quote", byte)));
        bytes.extend(self.escape_byte().map(|byte| ("escape", byte)));
        for (name, byte) in &bytes {
            if matches!(byte, b'\n' | b'\r' | 0) || !byte.is_ascii() {
                return wrong(format!("csv {name} must be one ASCII character, not a line end"));
            }
            if delimiter.as_bytes().contains(byte) {
                return wrong(format!("csv {name} and delimiter are both `{}`", char::from(*byte)));
            }
        }
        if let Some(comment) = &self.comment {
            if comment.is_empty() || comment.contains(['\n', '\r']) {
                return wrong("csv comment must be one or more characters, and hold no line end".to_owned());
            }
            if delimiter.starts_with(comment.as_str()) || quote == Some(comment.as_bytes()[0]) {
                return wrong(format!("csv comment `{comment}` is the delimiter or starts with the quote"));
            }
        }
        if self.thousands_separator == Some(self.decimal_separator) {
            let byte = char::from(self.decimal_separator);
            return wrong(format!("csv thousands_separator and decimal_separator are both `{byte}`"));
        }
        if !self.doubles_quotes() && self.escape.is_none() && self.quoting && self.dialect == Dialect::Given {
            return wrong(
                "csv doubled_quotes is false, so a quote in a field needs an escape: set csv escape".to_owned(),
            );
        }
        if self.header_lines == 0 {
            return wrong("csv header_lines is 0; set header to false for a file without one".to_owned());
        }
        if let Some(name) = first_repeated(&self.column_names) {
            return wrong(format!("csv column_names holds `{name}` twice"));
        }
        Ok(())
    }
}

fn first_repeated(names: &[String]) -> Option<&String> {
    let mut seen = std::collections::HashSet::new();
    names.iter().find(|name| !seen.insert(name.as_str()))
}
