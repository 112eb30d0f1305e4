//! The dialect of a file, found in its first bytes.
//!
//! The same bytes give the same answer, whatever blocks the file is cut in. Every dialect that is possible reads the
//! sample; the one that finds rows of one length whose fields look like values wins, the more usual one among equals.

use std::collections::{BTreeMap, HashSet};

use memchr::{memchr, memchr_iter, memmem};
use moulin_core::{CsvFormat, Encoding, LineEnding, PlannedOption};

use super::dialect::{Dialect, Lines};
use super::encoding::Charset;
use super::record::{self, Field, Item};
use super::{cut_error, look};
use crate::Error;
use crate::blocks::Splitter;
use crate::fetch::ByteStream;
use look::{Look, look_of};

/// Bytes of the file that are looked at.
const SNIFFED_BYTES: usize = 64 << 10;
/// Records of them at the most.
const RECORDS: usize = 500;

/// What may stand between fields, the more usual ones first.
const DELIMITERS: [&str; 11] = [",", ";", "\t", "|", "||", "::", ", ", "~", "^", "\u{1}", ":"];

/// A dialect that was found: the format with all that was not said filled in, and why.
pub(super) struct Sniffed {
    pub(super) format: CsvFormat,
    pub(super) options: Vec<PlannedOption>,
}

/// Finds what the format does not say. The splitter stays where it is.
pub(super) fn sniff(uri: &str, format: &CsvFormat, splitter: &mut Splitter<ByteStream>) -> Result<Sniffed, Error> {
    let bytes = splitter.peek_up_to(SNIFFED_BYTES).map_err(|error| cut_error(uri, error))?;
    let is_whole = bytes.len() < SNIFFED_BYTES;
    let mut sniffed =
        Sniffed { format: CsvFormat { dialect: moulin_core::Dialect::Given, ..format.clone() }, options: Vec::new() };
    let text = sniffed.encoding(bytes, is_whole);
    sniffed.line_ending(&text);
    let lines = Lines::new(sniffed.format.line_ending, &text);
    let mut start = 0;
    for _ in 0..format.skip_lines {
        start = lines.next(&text, start).unwrap_or(text.len());
    }
    let mut text = text[start..].to_vec();
    if is_whole && !text.ends_with(lines.mark()) {
        text.extend_from_slice(lines.mark());
    } else if !is_whole {
        text.truncate(lines.last(&text, false).unwrap_or(text.len()));
    }
    let sample = Sample { text: &text, lines, is_whole };
    sniffed.marks(&sample);
    sniffed.header(&sample.read(&sniffed.format));
    Ok(sniffed)
}

impl Sniffed {
    fn say(&mut self, option: &str, value: &str, reason: String) {
        self.options.push(PlannedOption {
            name: format!("csv.{option}"),
            value: value.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\"),
            origin: "sniffed".to_owned(),
            reason,
        });
    }

    /// The text of the sample, without a byte order mark.
    fn encoding(&mut self, bytes: &[u8], is_whole: bool) -> Vec<u8> {
        if self.format.encoding == Encoding::Auto {
            let (encoding, name, reason) = encoding_of(bytes, is_whole);
            self.format.encoding = encoding;
            self.say("encoding", name, reason.to_owned());
        }
        let mut text = Vec::with_capacity(bytes.len());
        match Charset::of(self.format.encoding, bytes) {
            Some(charset) => {
                charset.decode(bytes, is_whole, &mut text);
            }
            None => text.extend_from_slice(bytes),
        }
        if text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        text
    }

    fn line_ending(&mut self, text: &[u8]) {
        if self.format.line_ending != LineEnding::Auto {
            return;
        }
        let pairs = memmem::find_iter(text, b"\r\n").count();
        let (lf, cr) = (memchr_iter(b'\n', text).count() - pairs, memchr_iter(b'\r', text).count() - pairs);
        let seen = format!("{lf} LF, {pairs} CRLF and {cr} CR are in the sample");
        let (ending, name) = match () {
            () if cr > 0 && lf + pairs == 0 => (LineEnding::Cr, "cr"),
            // A few are text.
            () if cr * 4 >= lf + pairs && cr > 0 => (LineEnding::Any, "any"),
            () => (LineEnding::Auto, "auto"),
        };
        self.format.line_ending = ending;
        self.say("line_ending", name, seen);
    }

    /// Delimiter, quote and escape.
    fn marks(&mut self, sample: &Sample<'_>) {
        let asked = self.format.clone();
        let mut best: Option<(Score, CsvFormat)> = None;
        let mut next: Option<(Score, String)> = None;
        for candidate in candidates(&asked, sample.text) {
            let score = score(&sample.read(&candidate));
            if best.as_ref().is_none_or(|(known, _)| score.beats(known)) {
                let before = best.replace((score, candidate));
                next = before.map(|(score, format)| (score, format.delimiter)).or(next);
            } else if best.as_ref().is_some_and(|(_, known)| known.delimiter != candidate.delimiter)
                && next.as_ref().is_none_or(|(known, _)| score.beats(known))
            {
                next = Some((score, candidate.delimiter));
            }
        }
        let Some((score, found)) = best else { return };
        let runner = next.filter(|(_, delimiter)| *delimiter != found.delimiter);
        self.format = found;
        if asked.delimiter.is_empty() {
            let delimiter = self.format.delimiter.clone();
            self.say("delimiter", &delimiter, score.reason(&delimiter, runner));
        }
        let quotes = |byte: u8| memchr_iter(byte, sample.text).count();
        if asked.quoting && asked.quote.is_none() {
            match self.format.quote_byte() {
                Some(quote) if quotes(quote) == 0 => {
                    self.say("quote", "\"", "there is no quote in the sample".to_owned());
                }
                Some(quote) => {
                    let character = char::from(quote);
                    self.say(
                        "quote",
                        &character.to_string(),
                        format!("{} of them, around whole fields", quotes(quote)),
                    );
                }
                None => {
                    self.say("quoting", "false", "the quotes in the sample stand around no whole fields".to_owned());
                }
            }
        }
        if asked.escape.is_none()
            && let Some(escape) = self.format.escape
        {
            let reason = "it stands before quotes inside of fields".to_owned();
            self.say("escape", &char::from(escape).to_string(), reason);
        }
    }

    fn header(&mut self, rows: &Rows) {
        if !self.format.header || self.format.header_lines > 1 || !self.format.column_names.is_empty() {
            return;
        }
        let (header, reason) = header_of(&rows.cells);
        self.format.header = header;
        self.say("header", if header { "true" } else { "false" }, reason);
    }
}

fn encoding_of(bytes: &[u8], is_whole: bool) -> (Encoding, &'static str, &'static str) {
    if matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) {
        return (Encoding::Utf16, "utf16", "the file starts with a byte order mark of UTF-16");
    }
    let zeros = |from: usize| bytes.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if (even + odd) * 4 > bytes.len() && even.abs_diff(odd) * 2 > even + odd {
        return if odd > even {
            (Encoding::Utf16Le, "utf16_le", "every other byte is zero, the second of each pair")
        } else {
            (Encoding::Utf16Be, "utf16_be", "every other byte is zero, the first of each pair")
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(_) => (Encoding::Utf8, "utf8", "the sample is UTF-8"),
        Err(error) if error.error_len().is_none() && !is_whole => (Encoding::Utf8, "utf8", "the sample is UTF-8"),
        Err(_) if bytes.iter().any(|byte| matches!(byte, 0x80..=0x9f)) => {
            (Encoding::Windows1252, "windows_1252", "the sample is not UTF-8, and has bytes from 0x80 to 0x9f")
        }
        Err(_) => (Encoding::Latin1, "latin1", "the sample is not UTF-8, and has no byte from 0x80 to 0x9f"),
    }
}

/// Every dialect that the format allows for and the text has a reason for, the more usual ones first.
fn candidates(format: &CsvFormat, text: &[u8]) -> Vec<CsvFormat> {
    let said = [format.delimiter.as_str()];
    let delimiters = if format.delimiter.is_empty() { &DELIMITERS[..] } else { &said[..] };
    let mut delimiters: Vec<&str> =
        delimiters.iter().copied().filter(|delimiter| memmem::find(text, delimiter.as_bytes()).is_some()).collect();
    // A delimiter of one character that only comes twice in a row is one of two.
    let count = |delimiter: &str| memmem::find_iter(text, delimiter.as_bytes()).count();
    let doubled = |one: &str| one.len() == 1 && count(one) == 2 * count(&one.repeat(2));
    delimiters.retain(|delimiter| !format.delimiter.is_empty() || !doubled(delimiter));
    if delimiters.is_empty() {
        delimiters.push(format.delimiter_or_default());
    }
    let has = |byte: u8| memchr(byte, text).is_some();
    let mut quotes = vec![format.quote_byte()];
    if format.quoting && format.quote.is_none() {
        quotes.extend(has(b'\'').then_some(Some(b'\'')));
        quotes.extend((has(b'"') || has(b'\'')).then_some(None));
    }
    let mut candidates = Vec::new();
    for delimiter in delimiters {
        for quote in &quotes {
            let mut escapes = vec![format.escape];
            if let Some(quote) = quote.filter(|quote| format.escape.is_none() && *quote != b'\\')
                && memmem::find(text, &[b'\\', quote]).is_some()
            {
                escapes.push(Some(b'\\'));
            }
            candidates.extend(escapes.into_iter().map(|escape| CsvFormat {
                delimiter: delimiter.to_owned(),
                quote: *quote,
                quoting: quote.is_some(),
                escape,
                skip_lines: 0,
                skip_footer_rows: 0,
                ..format.clone()
            }));
        }
    }
    // A delimiter that holds the quote is none.
    candidates.retain(|candidate| candidate.quote.is_none_or(|quote| !candidate.delimiter.as_bytes().contains(&quote)));
    candidates.iter_mut().for_each(|candidate| {
        (candidate.skip_lines, candidate.skip_footer_rows) = (format.skip_lines, format.skip_footer_rows);
    });
    candidates
}

struct Sample<'a> {
    text: &'a [u8],
    lines: Lines,
    /// Whether it is the whole file.
    is_whole: bool,
}

/// What a dialect finds in the sample.
#[derive(Default)]
struct Rows {
    cells: Vec<Vec<(Vec<u8>, Look)>>,
    /// Records with text after a quote, or a quote that is not closed.
    broken: usize,
}

impl Sample<'_> {
    fn read(&self, format: &CsvFormat) -> Rows {
        let dialect = Dialect::new(format, self.lines);
        let (mut rows, mut fields, mut at) = (Rows::default(), Vec::new(), 0);
        while at < self.text.len() && rows.cells.len() + rows.broken < RECORDS {
            let walk = record::read(&dialect, self.text, at, &mut fields, RECORDS);
            at = walk.next;
            match walk.item {
                Item::Nothing => {}
                Item::Record => {
                    let cell = |field: &Field| {
                        let text = field.text(self.text, &dialect).into_owned();
                        let look = look_of(&text, field.quoted, &dialect.delimiter);
                        (text, look)
                    };
                    rows.cells.push(fields.iter().map(cell).collect());
                }
                // The sample ends in its middle.
                Item::Unclosed { .. } if !self.is_whole && !rows.cells.is_empty() => {}
                Item::Unclosed { .. } | Item::AfterQuote { .. } => rows.broken += 1,
            }
        }
        rows
    }
}

/// How well a dialect fits.
#[derive(Debug, Clone, Copy)]
struct Score {
    /// From 0 to 1.
    value: f64,
    /// The most frequent number of fields, and how many records have it, of how many.
    fields: usize,
    records: usize,
    of: usize,
}

impl Score {
    /// By more than rounding.
    fn beats(self, other: &Self) -> bool {
        self.value > other.value + 1e-9
    }

    fn reason(self, delimiter: &str, runner: Option<(Self, String)>) -> String {
        let shown = delimiter.escape_debug();
        if self.fields == 1 {
            return format!("no delimiter splits the records of the sample alike; `{shown}` is the usual one");
        }
        let mut reason =
            format!("`{shown}` splits {} of {} records into {} fields", self.records, self.of, self.fields);
        if let Some((score, delimiter)) = runner {
            let (records, fields) = (score.records, score.fields);
            reason.push_str(&format!("; next best: `{}`, {records} into {fields}", delimiter.escape_debug()));
        }
        reason
    }
}

/// Records of one length, of more than one field, whose fields look like values: each of the three counts.
fn score(rows: &Rows) -> Score {
    let of = rows.cells.len() + rows.broken;
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    rows.cells.iter().for_each(|row| *lengths.entry(row.len()).or_default() += 1);
    let (fields, records) = lengths
        .iter()
        .max_by_key(|(fields, count)| (**count, **fields))
        .map_or((1, 0), |(fields, count)| (*fields, *count));
    let weight = |fields: usize| if fields == 1 { 1e-3 } else { (fields - 1) as f64 / fields as f64 };
    let pattern: f64 = lengths.iter().map(|(fields, count)| *count as f64 * weight(*fields)).sum();
    let pattern = pattern / of.max(1) as f64 / lengths.len().max(1) as f64;
    let cells = rows.cells.iter().map(Vec::len).sum::<usize>();
    let valid = rows.cells.iter().flatten().filter(|(_, look)| *look != Look::Odd).count();
    let value = pattern * valid as f64 / cells.max(1) as f64;
    Score { value, fields, records, of }
}

/// Whether the first row holds names, and why.
fn header_of(rows: &[Vec<(Vec<u8>, Look)>]) -> (bool, String) {
    let [first, rest @ ..] = rows else { return (true, "the sample has no row".to_owned()) };
    let shown = |text: &[u8]| crate::fault::shown(text);
    if rest.is_empty() {
        return (true, "the sample has one row only".to_owned());
    }
    if let Some((text, _)) = first.iter().find(|(_, look)| *look == Look::Value) {
        return (false, format!("the first row has the value `{}`", shown(text)));
    }
    for (at, (text, _)) in first.iter().enumerate() {
        let mut looks =
            rest.iter().filter_map(|row| row.get(at)).map(|(_, look)| *look).filter(|look| *look != Look::Empty);
        if let Some(true) = looks.next().map(|look| look == Look::Value && looks.all(|look| look == Look::Value)) {
            return (
                true,
                format!("all rows but the first have a number, a date or a truth in column `{}`", shown(text)),
            );
        }
    }
    for (at, (text, look)) in first.iter().enumerate() {
        if *look != Look::Empty && rest.iter().filter_map(|row| row.get(at)).any(|(other, _)| other == text) {
            return (false, format!("`{}` of the first row comes again in its column", shown(text)));
        }
    }
    let mut names = HashSet::new();
    if first.iter().all(|(text, _)| names.insert(text)) {
        return (true, "the texts of the first row are distinct, and come in no other".to_owned());
    }
    (false, "the first row holds a text twice".to_owned())
}
