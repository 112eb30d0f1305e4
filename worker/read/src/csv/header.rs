//! The start of a file: byte order mark, lines to skip, header.

use moulin_core::CsvFormat;

use super::record::{self, Item};
use super::{Dialect, Target, cut_error};
use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::fetch::ByteStream;

/// What stands before the first record.
pub(super) struct Head {
    pub(super) dialect: Dialect,
    /// `None`: the format has no header, or the file ends before one.
    pub(super) names: Option<Vec<String>>,
    /// Lines before the first record.
    pub(super) lines: u64,
    /// Records of the block that held the header.
    pub(super) rest: Option<Block>,
}

pub(super) fn read(uri: &str, format: &CsvFormat, splitter: &mut Splitter<ByteStream>) -> Result<Head, Error> {
    let failed = |error| cut_error(uri, error);
    if splitter.peek().map_err(failed)?.starts_with(b"\xef\xbb\xbf") {
        splitter.consume(3);
    }
    let at_hand = splitter.peek().map_err(failed)?;
    let is_cr = memchr::memchr(b'\n', at_hand).is_none() && memchr::memchr(b'\r', at_hand).is_some();
    let dialect = Dialect::new(format, if is_cr { b'\r' } else { b'\n' });
    let lines = splitter.skip_lines(format.skip_lines, dialect.eol).map_err(failed)?;
    let mut head = Head { dialect, names: None, lines, rest: None };
    if format.header {
        read_names(uri, &mut head, splitter)?;
    }
    Ok(head)
}

fn read_names(uri: &str, head: &mut Head, splitter: &mut Splitter<ByteStream>) -> Result<(), Error> {
    let damaged = |what: &str| Error::BadFile { uri: uri.to_owned(), reason: format!("its header {what}") };
    let mut fields = Vec::new();
    while let Some(mut block) = splitter.next(head.dialect.cut()).map_err(|error| cut_error(uri, error))? {
        while block.start < block.end {
            let text = &block.buffer[..block.end];
            let (item, next) = record::read(&head.dialect, text, block.start, &mut fields);
            head.lines += memchr::memchr_iter(head.dialect.eol, &text[block.start..next]).count() as u64;
            match item {
                Item::Nothing => block.advance_to(next),
                Item::Record => {
                    let names =
                        fields.iter().map(|field| String::from_utf8(field.text(text, &head.dialect).into_owned()));
                    let names = names.collect::<Result<Vec<_>, _>>().map_err(|_| damaged("is not UTF-8"))?;
                    head.names = Some(named(names));
                    block.advance_to(next);
                    head.rest = (block.start < block.end).then_some(block);
                    return Ok(());
                }
                Item::Unclosed { .. } => return Err(damaged("has a quote that is not closed")),
                Item::AfterQuote { .. } => return Err(damaged("has a field that goes on after its closing quote")),
            }
        }
    }
    Ok(())
}

/// A column without a name is called by its place.
fn named(names: Vec<String>) -> Vec<String> {
    let name = |(at, name): (usize, String)| if name.is_empty() { place_name(at) } else { name };
    names.into_iter().enumerate().map(name).collect()
}

/// The name of a column that has none.
pub(super) fn place_name(at: usize) -> String {
    format!("column_{}", at + 1)
}

/// Refuses a header that names a column twice.
pub(super) fn check_names(uri: &str, names: &[String]) -> Result<(), Error> {
    let twice = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(Error::Schema(format!("the header of {uri} names column `{name}` twice"))))
}

/// The place in the schema of each column of a file.
pub(super) fn order(uri: &str, names: &[String], targets: &[Target]) -> Result<Vec<usize>, Error> {
    check_names(uri, names)?;
    if let Some(missing) = targets.iter().find(|target| !names.contains(&target.name)) {
        return Err(missing_column(uri, &missing.name, names));
    }
    let place = |name: &String| {
        targets.iter().position(|target| target.name == *name).ok_or_else(|| {
            Error::Schema(format!("{uri} has a column `{name}` that the first file does not have; all files of a job have the same columns"))
        })
    };
    names.iter().map(place).collect()
}

/// The error of a column that a header lacks.
pub(super) fn missing_column(uri: &str, column: &str, names: &[String]) -> Error {
    Error::Schema(format!("{uri} has no column `{column}`; its header is: {}", names.join(", ")))
}
