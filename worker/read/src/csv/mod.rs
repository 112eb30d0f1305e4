//! Delimited text: RFC 4180 and its relatives.
//!
//! # What is read
//! - Text in UTF-8; other encodings become UTF-8 before anything else ([`encoding`]), and offsets are those of the UTF-8
//!   text. A byte order mark at the start of a file is no part of it.
//! - Lines end with LF or CRLF, or as the format says; a file whose first 64 KiB hold a CR and no LF is cut at CR.
//! - A quote opens a field only as its first character (with `trim`, after white space too); inside, a doubled quote is
//!   one quote. Text after the closing quote is a reject (`csv.quote`), not a guess. In a field that does not start
//!   with one, quotes are characters. An escape makes the character after it plain, a line end too.
//! - An empty line is no record. Lines that start with the comment are none either.
//! - An unquoted field that is written like one of the null values is null. So is an empty unquoted field, except in a
//!   string column, where it is the empty string unless `""` is a null value. A quoted field is never null.
//! - Rows of another length are rejects (`csv.field_count`), unless `ragged_rows` takes them; what has no column then
//!   goes into the rescued column, when there is one, and so do values that the contract discards. So do fields of
//!   columns that the schema does not have, unless the contract makes them bad rows; null values and empty fields of them
//!   are nothing.
//! - The first file says the schema; a column without a name is called by its place, a name that was there before gets a
//!   number. With `dialect: auto` it says the dialect of all files too ([`sniff`]).
//! - A record longer than `limits.record_bytes` is a reject, and reading goes on behind it; only when its end is out of
//!   reach, because a quote is not closed, the file is damaged. A field longer than `limits.field_bytes` is a reject.
//!
//! # How
//! A window of some tens of KiB is indexed first: one pass finds every delimiter and line end and proves that each
//! row has as many fields as it must ([`index`]). Then each column of the window is parsed in a loop of its own
//! ([`fast`]). Whatever is unusual in a window undoes it, and its records are read one by one ([`record`]), which is
//! the definition of the dialect. Both must agree; the tests compare them. Delimiters of several characters and `trim`
//! always take the second way; escapes, comments and mixed line ends only where they stand ([`dialect`]).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, SchemaRef};
use moulin_core::{
    ColumnText, Contract, ContractMode, CsvFormat, Encoding, LineEnding, PrimitiveType, ReadLimits, Source,
};

use super::blocks::{Block, Splitter, too_long};
use super::columns::{Column, column_type, kept};
use super::fault::Bad;
use super::notation::Notation;
use super::pipeline::{Ask, Parsed, Sizes, Start, Text};
use super::{InputSchema, Origin};
use crate::Error;
use crate::code::Code;
use crate::fetch::{ByteStream, into_error};
use crate::values;

mod cut;
mod dialect;
mod encoding;
mod fast;
mod follow;
mod header;
mod index;
mod look;
mod outside;
mod parse;
mod record;
mod rescue;
pub(super) mod sample;
mod sniff;

pub(crate) use cut::Cut;
use dialect::{Dialect, Lines};
pub(crate) use encoding::Charset;
use header::{Head, More};
pub(crate) use rescue::Rescued;

/// Which unquoted texts are null in a column.
#[derive(Debug, Clone)]
pub(super) struct NullRule {
    values: Vec<Vec<u8>>,
    /// Whether the empty text is null.
    empty: bool,
    /// Whether a null value would also be a value of the type, and so has to be looked for first.
    first: bool,
}

impl NullRule {
    pub(super) fn new(ty: PrimitiveType, notation: &Notation, null_values: &[String]) -> Self {
        let is_text = matches!(ty, PrimitiveType::String | PrimitiveType::Binary);
        let values: Vec<Vec<u8>> = null_values.iter().map(|value| value.clone().into_bytes()).collect();
        Self {
            empty: !is_text || values.iter().any(Vec::is_empty),
            first: values.iter().any(|value| notation.is_value(ty, value)),
            values: values.into_iter().filter(|value| !value.is_empty()).collect(),
        }
    }

    /// What is null in a column that is no string.
    fn of_no_string(format: &CsvFormat) -> Self {
        Self::new(PrimitiveType::Long, &Notation::Usual, &format.null_values)
    }

    #[inline]
    fn is_null(&self, text: &[u8]) -> bool {
        if text.is_empty() { self.empty } else { self.values.iter().any(|value| value == text) }
    }
}

/// A column as it is read.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) ty: PrimitiveType,
    pub(super) inferred: bool,
    pub(super) notation: Notation,
    nulls: NullRule,
}

impl Target {
    fn new(column: &ColumnText, field: &Field, format: &CsvFormat, inferred: bool) -> Result<Self, Error> {
        let name = field.name().clone();
        let ty = column_type(field.data_type())
            .ok_or_else(|| Error::Internal(format!("csv cannot hold column {name} of {}", field.data_type())))?;
        let notation = Notation::new(ty, column, format)
            .map_err(|why| Error::Schema(format!("column {name} of type {ty}: {why}")))?;
        let nulls = if column.null_values.is_empty() { &format.null_values } else { &column.null_values };
        let nulls = NullRule::new(ty, &notation, nulls);
        Ok(Self { name, ty, inferred, notation, nulls })
    }

    /// Whether its values are numbers of a type that was inferred. Behind the sample they must be what they were in it:
    /// texts of which nothing is lost.
    fn is_plain_only(&self) -> bool {
        self.inferred && matches!(self.ty, PrimitiveType::Long | PrimitiveType::Double)
    }

    /// Appends the value that a text means; `false` when it means none of the column.
    fn push(&self, column: &mut Column, text: &[u8]) -> bool {
        (!self.is_plain_only() || self.is_plain(text)) && self.notation.push(column, text)
    }

    fn is_plain(&self, text: &[u8]) -> bool {
        let is_plain = |text: &[u8]| match self.ty {
            PrimitiveType::Long => values::plain_long(text).is_some(),
            _ => values::plain_double(text).is_some(),
        };
        match &self.notation {
            Notation::Number(number) => number.read(text, |text| is_plain(text).then_some(())).is_some(),
            _ => is_plain(text),
        }
    }

    fn bad_value(&self, text: &[u8]) -> Bad {
        let is_lossy = self.is_plain_only() && self.notation.is_value(self.ty, text);
        let mut bad = match is_lossy {
            true => Bad::lossy(&self.name, self.ty, text),
            false => Bad::value(&self.name, self.ty, text, self.inferred),
        };
        if let Some(expected) = self.notation.expected()
            && bad.code != Code::Utf8
        {
            bad.reason.push_str(&format!(", {expected}"));
        }
        bad
    }
}

/// Reads CSV files of one schema.
pub(super) struct Csv {
    format: CsvFormat,
    limits: ReadLimits,
    contract: Contract,
    /// Whether the last column of the schema takes what has none of its own.
    rescues: bool,
    schema: SchemaRef,
    targets: Vec<Target>,
    /// Of each column, whether it is handed out. All are checked.
    kept: Vec<bool>,
    /// Which texts are no value of a field that has no column.
    absent: NullRule,
    /// Bytes that are indexed at once, roughly; 0: records are read one by one.
    window: usize,
}

impl Csv {
    pub(super) fn new(source: &Source, format: &CsvFormat, schema: &InputSchema) -> Result<Self, Error> {
        let declared: HashMap<&str, &ColumnText> =
            source.columns.iter().map(|column| (column.name.as_str(), &column.text)).collect();
        let usual = ColumnText::default();
        let rescues = schema.origins.last() == Some(&Origin::Rescued);
        let own = schema.origins.len() - usize::from(rescues);
        let targets = schema.arrow.fields().iter().zip(&schema.origins).take(own).map(|(field, origin)| {
            let text = declared.get(field.name().as_str()).copied().unwrap_or(&usual);
            Target::new(text, field, format, *origin == Origin::Inferred)
        });
        let targets = targets.collect::<Result<Vec<_>, Error>>()?;
        let window = parse::WINDOW_BYTES.max(parse::COLUMN_BYTES * targets.len());
        Ok(Self {
            format: format.clone(),
            limits: source.limits,
            contract: source.contract,
            absent: NullRule::of_no_string(format),
            rescues,
            schema: Arc::clone(&schema.arrow),
            kept: vec![true; targets.len()],
            targets,
            window,
        })
    }

    /// Hands out only these columns, and those that the reader makes.
    pub(super) fn keeping(mut self, names: Option<&[String]>) -> Self {
        (self.kept, self.schema) = kept(&self.schema, self.targets.len(), names);
        self
    }

    /// How records are read that come without the file they stood in, whose columns were `names`; `None`: they are those of
    /// the schema.
    ///
    /// # Errors
    /// As of a file with such a header.
    pub(super) fn start_of_records(&self, uri: &str, names: Option<&[String]>) -> Result<Start, Error> {
        // Without the rest of its file a CR in a record says nothing about what ends lines.
        let lines = match self.format.line_ending {
            LineEnding::Auto => Lines::LfOrCrlf,
            said => Lines::new(said, &[]),
        };
        let format = CsvFormat { skip_footer_rows: 0, ..self.format.clone() };
        let cut = Cut::csv(Arc::new(Dialect::new(&format, lines)));
        let (order, left_out) = match names {
            Some(names) => header::order(uri, names, &self.targets, self.takes_more())?,
            None => ((0..self.targets.len()).collect(), Vec::new()),
        };
        Ok(Start { cut, order, left_out, lines: 0, records: 0, charset: None, first: None })
    }

    /// The encoding to read records in whose file was read as one of `kept`; `None`: UTF-8.
    ///
    /// What the format says corrects what the file was read as. But a file of UTF-16 names itself by its byte order mark,
    /// which its records do not have: among files of other encodings it stays what it was.
    pub(super) fn charset_of_records(&self, kept: Option<Charset>) -> Option<Charset> {
        match self.format.encoding {
            Encoding::Auto => kept,
            said @ (Encoding::Utf16Le | Encoding::Utf16Be) => Charset::of(said, &[]),
            said => kept.filter(|kept| kept.unit_bytes() > 1).or_else(|| Charset::of(said, &[])),
        }
    }

    /// Whether files may have columns that the schema does not have.
    fn takes_more(&self) -> More {
        match self.contract.columns {
            ContractMode::Freeze => More::Frozen,
            ContractMode::Evolve if !self.rescues => More::None,
            ContractMode::Evolve | ContractMode::DiscardRow | ContractMode::DiscardValue => More::Any,
        }
    }

    /// Indexes so few bytes at once. For tests of what happens at the borders of windows.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn with_window(mut self, window: usize) -> Self {
        self.window = window;
        self
    }
}

impl Text for Csv {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn columns(&self) -> usize {
        self.targets.len() + usize::from(self.rescues)
    }

    fn splits(&self) -> bool {
        true
    }

    fn begin(&self, uri: &str, splitter: &mut Splitter<ByteStream>) -> Result<Start, Error> {
        let head = header::read(uri, &self.format, &self.limits, splitter)?;
        let (order, left_out) = match &head.names {
            Some(names) => header::order(uri, names, &self.targets, self.takes_more())?,
            None => ((0..self.targets.len()).collect(), Vec::new()),
        };
        let Head { cut, lines, records, charset, rest: first, .. } = head;
        Ok(Start { cut, order, left_out, lines, records, charset, first })
    }

    fn end_of(&self, start: &Start, text: &[u8], rows: usize) -> Option<usize> {
        // Lines are counted faster than records are walked, and there are no fewer of them.
        let mark = *start.cut.mark().last()?;
        memchr::memchr2_iter(mark, b'\r', text).nth(rows - 1)?;
        start.cut.record_ends(text).nth(rows - 1)
    }

    fn has_absent_cells(&self, start: &Start) -> bool {
        self.format.ragged_rows.pads() || start.order.len() < self.targets.len()
    }

    fn parse(&self, start: &Start, block: &Block, sizes: &Sizes, ask: Ask) -> Result<Parsed, Error> {
        if let Some(long) = block.long {
            let bad =
                too_long(start.cut.long_code(), long.length_bytes, self.limits.record_bytes, start.cut.may_quote());
            return Ok(long.parsed(&self.schema, block, bad));
        }
        parse::Parser::new(self, start, block, sizes, ask)?.run()
    }
}

/// The error of a splitter, with the name of its file.
pub(super) fn cut_error(uri: &str, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::InvalidData && error.get_ref().is_some_and(|inner| !inner.is::<Error>()) {
        return Error::BadFile { uri: uri.to_owned(), reason: error.to_string() };
    }
    into_error(uri, error)
}

fn new_columns(csv: &Csv, rows: usize, sizes: &Sizes) -> Vec<Column> {
    let targets = csv.targets.iter().zip(&csv.kept).enumerate();
    let column = |(at, (target, kept)): (usize, (&Target, &bool))| match kept {
        true => Column::new(target.ty, rows, sizes.text_bytes(at)),
        false => Column::new(target.ty, 0, 0),
    };
    targets.map(column).collect()
}
