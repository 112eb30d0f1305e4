//! One JSON object a line.
//!
//! # What is read
//! - What RFC 8259 calls JSON, and nothing else: no `NaN`, no comments, no trailing commas. A byte order mark at the
//!   start of a file is left out.
//! - A missing key and `null` are null. What becomes of a key that is no column says `contract.columns`.
//! - Numbers go to int, long, float, double and decimal columns from their text, exactly; one out of a double's range is
//!   a reject, not infinite. Strings go to string, date, time, timestamp, timestamptz, decimal and (as hexadecimal
//!   digits) binary columns. `true` and `false` go to boolean columns. Everything else is a reject.
//! - Objects go to struct and map columns, lists to list columns, by the same rules for the values inside. In a string
//!   column both are kept as their JSON text; so are numbers and truth values where no one declared the column.
//! - What is said of a column (`format`, `null_values`, ...) is said of its texts: `{"price": "1.234,50"}`. A number that
//!   is written as one is read as always.
//! - Of a key that comes twice the last value counts, unless `duplicate_keys` says otherwise. An empty line is no record.
//! - Half of a surrogate pair (`"\ud800"`) is JSON and no character: a reject where it would become a value.
//!
//! # How
//! Records are read once, from left to right, straight into the columns: no tree is built. Keys are expected in the
//! order of the schema, and as most writers write them, so that finding a column is one comparison; values that are written
//! so as well are read in the same loop ([`usual`]), all others by the general way ([`value`]). Recursion is as deep
//! as the column's type; what is passed over is passed over without. The scanner is the reader's own because the tape of
//! `simd-json` alone took as much CPU on lineitem (1.8 s for 2.2 GB) as this reader on its way to typed columns (1.7 to
//! 2.2 s on a busy machine), and a tape holds decimals as doubles.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use moulin_core::{ColumnText, Contract, DuplicateKeys, Source};

use super::blocks::{Block, Splitter, too_long};
use super::columns::kept;
use super::csv::{Cut, cut_error};
use super::pipeline::{Ask, Parsed, Sizes, Start, Text};
use super::{InputSchema, Origin};
use crate::code::Code;
use crate::fault::Bad;
use crate::fetch::ByteStream;
use crate::{Error, iceberg_type_name};

mod cells;
mod duplicates;
pub(super) mod items;
mod parse;
mod refuse;
mod rescue;
pub(super) mod sample;
mod scan;
mod shape;
mod usual;
mod value;

pub(super) use scan::{Layout, unescaped};
use shape::{Member, Members};

/// Reads records that are JSON objects as columns of one schema.
pub(super) struct Objects {
    schema: SchemaRef,
    layout: Layout,
    members: Members,
    /// Of each column, whether it is handed out. All are checked.
    kept: Vec<bool>,
    /// Whether no one declared the column.
    inferred: Vec<bool>,
    /// Whether the last column of the schema takes what has none of its own.
    rescued: bool,
    duplicate_keys: DuplicateKeys,
    contract: Contract,
    max_depth: u32,
    field_bytes: usize,
    record_bytes: u64,
}

impl Objects {
    /// # Errors
    /// `Schema` when a column has a type that no JSON value is read as.
    pub(super) fn new(
        source: &Source,
        duplicate_keys: DuplicateKeys,
        layout: Layout,
        schema: &InputSchema,
    ) -> Result<Self, Error> {
        let fields = schema.arrow.fields();
        let rescued = source.rescued_column.is_some()
            && fields.last().map(|field| field.name().as_str()) == source.rescued_column.as_deref();
        let columns = fields.iter().zip(&schema.origins).take(fields.len() - usize::from(rescued));
        let inferred: Vec<bool> = columns.clone().map(|(_, origin)| *origin == Origin::Inferred).collect();
        let texts: HashMap<&str, &ColumnText> =
            source.columns.iter().map(|column| (column.name.as_str(), &column.text)).collect();
        let member = |(field, origin): (&FieldRef, &Origin)| {
            let (name, ty) = (field.name(), field.data_type());
            let member = Member::new(field, *origin == Origin::Inferred)
                .ok_or_else(|| Error::Schema(format!("column `{name}` is {ty}, which no JSON value is read as")))?;
            match texts.get(name.as_str()) {
                Some(text) => member
                    .with_texts(text)
                    .map_err(|why| Error::Schema(format!("column {name} of type {}: {why}", iceberg_type_name(ty)))),
                None => Ok(member),
            }
        };
        let limits = source.limits;
        Ok(Self {
            schema: Arc::clone(&schema.arrow),
            kept: vec![true; inferred.len()],
            layout,
            members: Members::from(columns.map(member).collect::<Result<Vec<_>, _>>()?),
            inferred,
            rescued,
            duplicate_keys,
            contract: source.contract,
            max_depth: limits.depth,
            field_bytes: usize::try_from(limits.field_bytes).unwrap_or(usize::MAX),
            record_bytes: limits.record_bytes,
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn too_long(&self, length_bytes: u64) -> Bad {
        too_long(Code::JsonRecordBytes, length_bytes, self.record_bytes, false)
    }

    /// Columns that are checked.
    pub(super) fn columns(&self) -> usize {
        self.members.list.len() + usize::from(self.rescued)
    }

    /// Hands out only these columns, and those that the reader makes.
    pub(super) fn keeping(mut self, names: Option<&[String]>) -> Self {
        (self.kept, self.schema) = kept(&self.schema, self.members.list.len(), names);
        self
    }

    pub(super) fn parse(&self, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error> {
        if let Some(long) = block.long {
            return Ok(long.parsed(&self.schema, block, self.too_long(long.length_bytes)));
        }
        parse::Parser::new(self, block, sizes, ask).run()
    }
}

/// Reads NDJSON files of one schema.
pub(super) struct Ndjson(Objects);

impl Ndjson {
    /// # Errors
    /// As [`Objects::new`].
    pub(super) fn new(source: &Source, duplicate_keys: DuplicateKeys, schema: &InputSchema) -> Result<Self, Error> {
        Objects::new(source, duplicate_keys, Layout::Lines, schema).map(Self)
    }

    /// As [`Objects::keeping`].
    pub(super) fn keeping(self, names: Option<&[String]>) -> Self {
        Self(self.0.keeping(names))
    }
}

impl Text for Ndjson {
    fn schema(&self) -> &SchemaRef {
        self.0.schema()
    }

    fn columns(&self) -> usize {
        self.0.columns()
    }

    fn splits(&self) -> bool {
        true
    }

    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error> {
        skip_mark(uri, splitter)?;
        Ok(Start {
            cut: Cut::lines(),
            order: Vec::new(),
            left_out: Vec::new(),
            lines: 0,
            records: 0,
            charset: None,
            first: None,
        })
    }

    fn end_of(&self, _: &Start, text: &[u8], rows: usize) -> Option<usize> {
        memchr::memchr_iter(b'\n', text).nth(rows - 1).map(|at| at + 1)
    }

    fn has_absent_cells(&self, _: &Start) -> bool {
        true
    }

    fn parse(&self, _: &Start, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error> {
        self.0.parse(block, sizes, ask)
    }
}

/// Leaves out a UTF-8 byte order mark.
pub(super) fn skip_mark(uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<(), Error> {
    if splitter.peek_up_to(3).map_err(|error| cut_error(uri, error))? == b"\xef\xbb\xbf" {
        splitter.consume(3);
    }
    Ok(())
}
