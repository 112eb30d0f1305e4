//! The start of a file: byte order mark, encoding, lines to skip, header, records to skip.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use moulin_core::{CsvFormat, ReadLimits};

use super::dialect::{Dialect, Lines};
use super::encoding::Charset;
use super::record::{self, Field, Item};
use super::{Cut, Target, cut_error};
use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::fetch::ByteStream;

/// Bytes of the file that say what ends its lines.
const LINES_SEEN: usize = 64 << 10;

/// What to do about a header that cannot be read.
const LEAVE_OUT: &str = "leave it out with csv.skip_lines, set csv.header to false, and name the columns in \
                         csv.column_names";

/// What stands before the first record.
pub(super) struct Head {
    pub(super) dialect: Arc<Dialect>,
    pub(super) cut: Cut,
    /// `None`: nothing names the columns, or the file ends before its header.
    pub(super) names: Option<Vec<String>>,
    /// Lines before the first record.
    pub(super) lines: u64,
    /// Records that were left out.
    pub(super) records: u64,
    /// Records of the block that held the last of them.
    pub(super) rest: Option<Block>,
    /// The encoding of the file; `None`: UTF-8.
    pub(super) charset: Option<Charset>,
}

pub(super) fn read(
    uri: &str,
    format: &CsvFormat,
    limits: &ReadLimits,
    splitter: &mut Splitter<ByteStream>,
) -> Result<Head, Error> {
    let failed = |error| cut_error(uri, error);
    let charset = Charset::of(format.encoding, splitter.peek_up_to(3).map_err(failed)?);
    if let Some(charset) = charset {
        splitter.recode(charset);
    }
    if splitter.peek_up_to(3).map_err(failed)? == b"\xef\xbb\xbf" {
        splitter.consume(3);
    }
    let lines = Lines::new(format.line_ending, splitter.peek_up_to(LINES_SEEN).map_err(failed)?);
    let dialect = Arc::new(Dialect::new(format, lines));
    let next_line = |text: &[u8], at_end| lines.next(text, 0).filter(|next| at_end || !lines.is_half(text, *next));
    let skipped = splitter.skip_lines(format.skip_lines, next_line).map_err(failed)?;
    let cut = Cut::csv(Arc::clone(&dialect));
    let head = Head { dialect, cut, names: None, lines: skipped, records: 0, rest: None, charset };
    let header_left = if format.header { format.header_lines } else { 0 };
    let is_replaced = !format.column_names.is_empty();
    let skip_left = format.skip_rows;
    let mut opening = Opening { uri, head, limits, is_replaced, header_left, skip_left, header: Vec::new() };
    opening.read(splitter)?;
    opening.finish(format)
}

/// A header being read, and the records to skip after it.
struct Opening<'a> {
    uri: &'a str,
    head: Head,
    limits: &'a ReadLimits,
    /// Whether other names stand in place of those of the header: then it may be no good one.
    is_replaced: bool,
    header_left: u32,
    skip_left: u64,
    /// The lines of the header.
    header: Vec<Vec<String>>,
}

impl Opening<'_> {
    fn read(&mut self, splitter: &mut Splitter<ByteStream>) -> Result<(), Error> {
        let mut fields = Vec::new();
        while self.header_left > 0 || self.skip_left > 0 {
            let next = splitter.next(&self.head.cut).map_err(|error| cut_error(self.uri, error))?;
            let Some(mut block) = next else { return Ok(()) };
            while block.start < block.end && (self.header_left > 0 || self.skip_left > 0) {
                let next = self.take(&block, &mut fields)?;
                block.advance_to(next);
            }
            self.head.rest = (block.start < block.end).then_some(block);
        }
        Ok(())
    }

    /// Takes the first item of a block; says where the next one starts.
    fn take(&mut self, block: &Block, fields: &mut Vec<Field>) -> Result<usize, Error> {
        if let Some(long) = block.long {
            self.head.lines += long.lines;
            if long.is_record {
                self.not_a_header(long.length_bytes)?;
                self.skip_left -= 1;
                self.head.records += 1;
            }
            return Ok(block.end);
        }
        let (text, limit) = (&block.buffer[..block.end], self.limits.columns as usize);
        let walk = record::read(&self.head.dialect, text, block.start, fields, limit);
        let lines = self.head.dialect.lines.count(&text[block.start..walk.next]);
        self.head.lines += lines;
        match walk.item {
            Item::Nothing => {}
            _ if self.header_left > 0 => {
                self.not_a_header(self.head.dialect.lines.without_end(&text[block.start..walk.next]).len() as u64)?;
            }
            _ => {}
        }
        match walk.item {
            Item::Nothing => {}
            _ if self.header_left == 0 => {
                self.skip_left -= 1;
                self.head.records += 1;
            }
            Item::Record if walk.count > limit => {
                return Err(self
                    .damaged(&format!("has {} columns, and limits.columns allows {limit} (csv.columns)", walk.count)));
            }
            Item::Record => {
                let names = fields.iter().map(|field| String::from_utf8(field.text(text, &self.head.dialect).into()));
                let names = names.collect::<Result<_, _>>().map_err(|_| self.damaged("is not UTF-8"))?;
                self.header.push(names);
                self.header_left -= 1;
            }
            // A row could be in the field of a header of several lines.
            Item::AfterQuote { .. } if self.is_replaced && lines == 1 => {
                self.header.push(Vec::new());
                self.header_left -= 1;
            }
            Item::Unclosed { .. } => return Err(self.damaged(&format!("has a quote that is not closed; {LEAVE_OUT}"))),
            Item::AfterQuote { .. } => {
                return Err(self.damaged(&format!("has a field that goes on after its closing quote; {LEAVE_OUT}")));
            }
        }
        Ok(walk.next)
    }

    /// # Errors
    /// When a header is read, and it has more bytes than a record may have.
    fn not_a_header(&self, length_bytes: u64) -> Result<(), Error> {
        let limit = self.limits.record_bytes;
        if self.header_left == 0 || length_bytes <= limit {
            return Ok(());
        }
        Err(self
            .damaged(&format!("has {length_bytes} bytes, and limits.record_bytes allows {limit} (csv.record_bytes)")))
    }

    fn damaged(&self, what: &str) -> Error {
        Error::BadFile { uri: self.uri.to_owned(), reason: format!("its header {what}") }
    }

    fn finish(self, format: &CsvFormat) -> Result<Head, Error> {
        let mut head = self.head;
        let found = (!self.header.is_empty()).then(|| distinct(joined(&self.header)));
        if format.column_names.is_empty() || (format.header && found.is_none()) {
            head.names = found;
            return Ok(head);
        }
        head.names = Some(format.column_names.clone());
        Ok(head)
    }
}

/// The names of the columns of a header of several lines.
fn joined(lines: &[Vec<String>]) -> Vec<String> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let parts = |at: usize| lines.iter().filter_map(move |line| line.get(at).filter(|part| !part.is_empty()));
    (0..columns).map(|at| parts(at).map(String::as_str).collect::<Vec<_>>().join("_")).collect()
}

/// A column without a name is called by its place; one whose name was there before gets the first number that makes it
/// a name of its own: `a`, `a_1`, `a_2`.
fn distinct(names: Vec<String>) -> Vec<String> {
    let names = names.into_iter().enumerate();
    let names: Vec<String> = names.map(|(at, name)| if name.is_empty() { place_name(at) } else { name }).collect();
    let given: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let mut made = HashSet::new();
    let mut distinct = Vec::with_capacity(names.len());
    for name in &names {
        let Some(number) = taken.get_mut(name.as_str()) else {
            taken.insert(name, 0);
            distinct.push(name.clone());
            continue;
        };
        let own = loop {
            *number += 1;
            let own = format!("{name}_{number}");
            if !given.contains(own.as_str()) && made.insert(own.clone()) {
                break own;
            }
        };
        distinct.push(own);
    }
    distinct
}

/// The name of a column that has none.
pub(super) fn place_name(at: usize) -> String {
    format!("column_{}", at + 1)
}

/// Whether a file may have columns that the schema does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// It is another file then.
    None,
    /// The contract forbids it.
    Frozen,
    Any,
}

/// The place in the schema of each column of a file, and the names of those that have none: their places come after all
/// others.
///
/// # Errors
/// `Schema` for a column that is missing, or one too many; `Frozen` when the contract forbids that one.
pub(super) fn order(
    uri: &str,
    names: &[String],
    targets: &[Target],
    more: More,
) -> Result<(Vec<usize>, Vec<String>), Error> {
    let places: HashMap<&str, usize> =
        targets.iter().enumerate().map(|(place, target)| (target.name.as_str(), place)).collect();
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    if let Some(missing) = targets.iter().find(|target| !known.contains(target.name.as_str())) {
        return Err(missing_column(uri, &missing.name, names));
    }
    let mut left_out = Vec::new();
    let mut place = |name: &String| match (places.get(name.as_str()), more) {
        (Some(place), _) => Ok(*place),
        (None, More::Any) => {
            left_out.push(name.clone());
            Ok(targets.len() + left_out.len() - 1)
        }
        (None, More::Frozen) => Err(Error::Frozen { uri: uri.to_owned(), column: name.clone() }),
        (None, More::None) => Err(Error::Schema(format!(
            "{uri} has a column `{name}` that the first file does not have; all files of a job have the same columns, \
             unless source.contract.columns or source.rescued_column says what becomes of it"
        ))),
    };
    let order = names.iter().map(&mut place).collect::<Result<_, _>>()?;
    Ok((order, left_out))
}

/// The error of a column that a header lacks.
pub(super) fn missing_column(uri: &str, column: &str, names: &[String]) -> Error {
    const SHOWN: usize = 100;
    let more = if names.len() > SHOWN { format!(", and {} more", names.len() - SHOWN) } else { String::new() };
    let names = names[..names.len().min(SHOWN)].join(", ");
    Error::Schema(format!("{uri} has no column `{column}`; its header is: {names}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let named = |names: &[&str]| distinct(names.iter().map(|name| (*name).to_owned()).collect()).join(" ");
        assert_eq!(named(&["a", "b"]), "a b");
        assert_eq!(named(&["a", "a", "a"]), "a a_1 a_2");
        assert_eq!(named(&["a", "a", "a_1", "a_1"]), "a a_2 a_1 a_1_1");
        assert_eq!(named(&["a_1", "a", "a", "a"]), "a_1 a a_2 a_3");
        assert_eq!(named(&["", "x", ""]), "column_1 x column_3");
        assert_eq!(named(&["column_2", ""]), "column_2 column_2_1");
    }

    #[test]
    fn lines_of_a_header_are_joined() {
        let line = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let lines = [line(&["price", "price", "", "x"]), line(&["net", "", "day"])];
        assert_eq!(joined(&lines), ["price_net", "price", "day", "x"]);
    }
}
