//! One JSON object a line.
//!
//! # What is read
//! - A missing key and `null` are null; a key that is no column of the schema is passed over.
//! - Numbers go to int, long, float, double and decimal columns from their text, exactly. Strings go to string, date,
//!   time, timestamp, timestamptz, decimal and (as hexadecimal digits) binary columns. `true` and `false` go to boolean
//!   columns. Everything else is a reject.
//! - Objects and lists make struct and list columns when the schema is inferred.
//! - Of a key that comes twice the last value counts. An empty line is no record.
//!
//! # How
//! Lines are read once, from left to right, straight into the columns: no tree is built. Keys are expected in the order
//! of the schema, and as most writers write them, so that finding a column is one comparison. Struct and list columns keep the place of their text and
//! are decoded a block at a time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use moulin_core::PrimitiveType;

use super::blocks::{Block, Splitter};
use super::columns::column_type;
use super::csv::{Cut, cut_error};
use super::pipeline::{Ask, Parsed, Sizes, Start, Text};
use super::{InputSchema, Origin};
use crate::Error;
use crate::fetch::ByteStream;

mod nested;
mod parse;
pub(super) mod sample;
mod scan;

/// How NDJSON is cut: a line end stands in no string.
fn cut() -> Cut {
    Cut::lines()
}

/// A column as it is read.
struct Target {
    field: FieldRef,
    /// The key as most writers write it, with its quotes and the colon.
    key: Vec<u8>,
    /// `None`: a struct or a list.
    ty: Option<PrimitiveType>,
    inferred: bool,
}

/// Reads NDJSON files of one schema.
pub(super) struct Ndjson {
    schema: SchemaRef,
    targets: Vec<Target>,
    places: HashMap<Vec<u8>, usize>,
}

impl Ndjson {
    pub(super) fn new(schema: &InputSchema) -> Self {
        let fields = schema.arrow.fields();
        let targets = fields.iter().zip(&schema.origins).map(|(field, origin)| Target {
            field: Arc::clone(field),
            key: format!("{}:", serde_json::Value::from(field.name().as_str())).into_bytes(),
            ty: column_type(field.data_type()),
            inferred: *origin == Origin::Inferred,
        });
        let places = fields.iter().enumerate().map(|(place, field)| (field.name().clone().into_bytes(), place));
        Self { schema: Arc::clone(&schema.arrow), targets: targets.collect(), places: places.collect() }
    }
}

impl Text for Ndjson {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error> {
        skip_mark(uri, splitter)?;
        Ok(Start { cut: cut(), order: Vec::new(), lines: 0, records: 0, first: None })
    }

    fn parse(&self, _: &Start, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error> {
        parse::Parser::new(self, block, sizes, ask).run()
    }
}

/// Leaves out a UTF-8 byte order mark.
fn skip_mark(uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<(), Error> {
    if splitter.peek().map_err(|error| cut_error(uri, error))?.starts_with(b"\xef\xbb\xbf") {
        splitter.consume(3);
    }
    Ok(())
}
