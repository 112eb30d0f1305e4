//! One JSON document that holds an array of objects.
//!
//! The array is the document itself, or stands at a JSON pointer (RFC 6901). What stands before and behind it is walked
//! over byte by byte and held nowhere; its elements are cut into blocks where they end, and read like the lines of
//! NDJSON, by the same rules. A document that is broken outside of its elements, or in whose array brackets do not fit,
//! is a damaged file; an element that is broken or does not fit is a bad row.
//!
//! Of a key on the way to the array that comes twice, the first value counts.

use arrow::datatypes::SchemaRef;
use moulin_core::{JsonFormat, Source};

use super::InputSchema;
use super::blocks::{Block, Splitter};
use super::csv::{Cut, cut_error};
use super::ndjson::{Layout, Objects, items, skip_mark};
use super::pipeline::{Ask, Parsed, Sizes, Start, Text};
use crate::Error;
use crate::fetch::ByteStream;

mod document;
mod pointer;

pub(crate) use document::Document;
use pointer::Pointer;

/// Reads JSON documents of one schema.
pub(super) struct Json {
    objects: Objects,
    pointer: Pointer,
}

impl Json {
    /// # Errors
    /// `Schema` when the pointer is none, or a column has a type that no JSON value is read as.
    pub(super) fn new(source: &Source, format: &JsonFormat, schema: &InputSchema) -> Result<Self, Error> {
        let objects = Objects::new(source, format.duplicate_keys, Layout::Items, schema)?;
        Ok(Self { objects, pointer: Pointer::new(&format.pointer)? })
    }

    /// As [`Objects::keeping`].
    pub(super) fn keeping(self, names: Option<&[String]>) -> Self {
        Self { objects: self.objects.keeping(names), ..self }
    }
}

impl Text for Json {
    fn schema(&self) -> &SchemaRef {
        self.objects.schema()
    }

    fn columns(&self) -> usize {
        self.objects.columns()
    }

    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error> {
        let lines = enter(uri, &self.pointer, splitter)?;
        Ok(Start {
            cut: Cut::lines(),
            order: Vec::new(),
            left_out: Vec::new(),
            lines,
            records: 0,
            charset: None,
            first: None,
        })
    }

    fn end_of(&self, _: &Start, text: &[u8], rows: usize) -> Option<usize> {
        items::end_of(text, rows)
    }

    fn has_absent_cells(&self, _: &Start) -> bool {
        true
    }

    fn parse(&self, _: &Start, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error> {
        self.objects.parse(block, sizes, ask)
    }
}

/// Goes to the first element of the array that the format names.
pub(super) fn begin(uri: &str, format: &JsonFormat, splitter: &mut Splitter<ByteStream>) -> Result<(), Error> {
    enter(uri, &Pointer::new(&format.pointer)?, splitter).map(|_| ())
}

/// Goes to the first element of the array; answers the line ends before it.
fn enter(uri: &str, pointer: &Pointer, splitter: &mut Splitter<ByteStream>) -> Result<u64, Error> {
    skip_mark(uri, splitter)?;
    let bad_file = |reason: String| Error::BadFile { uri: uri.to_owned(), reason };
    let mut document = Document::new(pointer.clone(), splitter.offset());
    let mut lines = 0;
    loop {
        let chunk = splitter.peek().map_err(|error| cut_error(uri, error))?;
        if chunk.is_empty() {
            return Err(bad_file(document.ended_early()));
        }
        let walked = document.walk(chunk).map_err(bad_file)?;
        lines += memchr::memchr_iter(b'\n', &chunk[..walked]).count() as u64;
        splitter.consume(walked);
        if document.is_in_array() {
            splitter.cut_items(document);
            return Ok(lines);
        }
    }
}
