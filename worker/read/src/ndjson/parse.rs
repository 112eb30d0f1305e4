//! A block of lines becomes columns.

use arrow::array::RecordBatch;
use memchr::{memchr, memchr_iter};
use moulin_core::PrimitiveType;

use super::nested::Nested;
use super::scan::{Broken, Number, Scan, Str, unescaped};
use super::{Ndjson, Target};
use crate::Error;
use crate::blocks::Block;
use crate::columns::{Column, Data};
use crate::fault::{Bad, BadRow, shown};
use crate::pipeline::{Ask, Parsed, Sizes, batch_error};
use crate::values;

/// The values of one column of a block.
enum Cells {
    Plain(Column),
    Nested(Nested),
}

impl Cells {
    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Plain(column) => column.truncate(rows),
            Self::Nested(nested) => nested.truncate(rows),
        }
    }

    fn push_null(&mut self) {
        match self {
            Self::Plain(column) => column.push_null(),
            Self::Nested(nested) => nested.push_null(),
        }
    }
}

pub(super) struct Parser<'a> {
    format: &'a Ndjson,
    block: &'a Block,
    text: &'a [u8],
    utf8: bool,
    ask: Ask,
    cells: Vec<Cells>,
    /// The record in which each column was last seen, counted from 1.
    seen: Vec<u32>,
    /// Where each record starts, good or bad.
    starts: Vec<u32>,
    /// Of them, the good ones.
    good: Vec<u32>,
    bad: Vec<(u32, Bad)>,
}

/// Why a record does not fit.
enum Unfit {
    Broken(Broken),
    Value(Bad),
}

impl From<Broken> for Unfit {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl<'a> Parser<'a> {
    pub(super) fn new(format: &'a Ndjson, block: &'a Block, sizes: &Sizes, ask: Ask) -> Self {
        let rows = sizes.rows(block.end - block.start);
        let cells = format.targets.iter().enumerate().map(|(place, target)| match target.ty {
            Some(ty) => Cells::Plain(Column::new(ty, rows, sizes.text_bytes(place))),
            None => Cells::Nested(Nested::new(&target.field)),
        });
        Self {
            format,
            block,
            text: &block.buffer[..block.end],
            utf8: simdutf8::basic::from_utf8(block.bytes()).is_ok(),
            ask,
            cells: cells.collect(),
            seen: vec![0; format.targets.len()],
            starts: Vec::with_capacity(rows),
            good: Vec::with_capacity(rows),
            bad: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Parsed, Error> {
        let mut at = self.block.start;
        while at < self.block.end && !(self.ask.stop_at_first && !self.bad.is_empty()) {
            let mut scan = Scan { text: self.text, at };
            scan.blanks();
            if scan.peek() == b'\n' {
                at = scan.at + 1;
                continue;
            }
            self.starts.push(at as u32);
            match self.record(&mut scan) {
                Ok(()) => {
                    self.good.push(at as u32);
                    at = scan.at + 1;
                }
                Err(unfit) => at = self.refuse(at, unfit),
            }
        }
        self.finish()
    }

    fn line_end(&self, at: usize) -> usize {
        memchr(b'\n', &self.text[at..]).map_or(self.text.len(), |eol| at + eol)
    }

    /// Takes the record's values away again and says where the next line starts.
    fn refuse(&mut self, at: usize, unfit: Unfit) -> usize {
        let rows = self.good.len();
        self.cells.iter_mut().for_each(|cells| cells.truncate(rows));
        let end = self.line_end(at);
        let line = self.text[at..end].trim_ascii_end();
        let bad = match unfit {
            Unfit::Value(bad) => bad,
            Unfit::Broken(_) if std::str::from_utf8(line).is_err() => {
                Bad::row("utf8", format!("row `{}` is not UTF-8", shown(line)))
            }
            Unfit::Broken(Broken { at: place, expected }) => {
                let found = shown(&self.text[place.min(end)..end]);
                let found =
                    if found.trim().is_empty() { "the end of the line".to_owned() } else { format!("`{found}`") };
                Bad::row(
                    "json.syntax",
                    format!(
                        "row is not valid JSON: found {found} at character {} of the line, expected {expected}",
                        place - at + 1
                    ),
                )
            }
        };
        self.bad.push((at as u32, bad));
        end + 1
    }

    /// Reads one object up to its line end.
    fn record(&mut self, scan: &mut Scan<'a>) -> Result<(), Unfit> {
        if !self.utf8 && std::str::from_utf8(&self.text[scan.at..self.line_end(scan.at)]).is_err() {
            return Err(Unfit::Broken(Broken { at: scan.at, expected: "UTF-8" }));
        }
        let record = self.starts.len() as u32;
        let (mut found, mut expected) = (0, 0);
        scan.expect(b'{', "an object")?;
        scan.blanks();
        if scan.peek() == b'}' {
            scan.at += 1;
        } else {
            loop {
                scan.blanks();
                match self.key(scan, expected)? {
                    None => scan.value()?,
                    Some(place) => {
                        expected = place + 1;
                        if self.seen[place] == record {
                            self.cells[place].truncate(self.good.len());
                        } else {
                            self.seen[place] = record;
                            found += 1;
                        }
                        value(scan, &self.format.targets[place], &mut self.cells[place])?;
                    }
                }
                scan.blanks();
                match scan.peek() {
                    b',' => scan.at += 1,
                    b'}' => break scan.at += 1,
                    _ => scan.broken("`,` or `}`")?,
                }
            }
        }
        scan.blanks();
        if scan.peek() != b'\n' {
            scan.broken("the end of the line")?;
        }
        if found < self.cells.len() {
            let missing = self.cells.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen != record);
            missing.for_each(|(cells, _)| cells.push_null());
        }
        Ok(())
    }

    /// Goes past a key and its colon; answers the column's place, if it is one.
    #[inline]
    fn key(&self, scan: &mut Scan<'a>, expected: usize) -> Result<Option<usize>, Broken> {
        let is_expected = self.format.targets.get(expected).is_some_and(|target| scan.skip(&target.key));
        if is_expected {
            scan.blanks();
            return Ok(Some(expected));
        }
        let key = scan.string()?;
        scan.expect(b':', "`:`")?;
        scan.blanks();
        let name = &self.text[key.start..key.end];
        if key.escaped {
            return Ok(unescaped(name).and_then(|name| self.format.places.get(&name).copied()));
        }
        Ok(self.format.places.get(name).copied())
    }

    fn finish(mut self) -> Result<Parsed, Error> {
        let text_bytes =
            self.cells.iter().map(|cells| if let Cells::Plain(column) = cells { column.text_bytes() } else { 0 });
        let text_bytes = text_bytes.collect();
        let mut arrays = Vec::with_capacity(self.cells.len());
        let mut keep = vec![true; self.good.len()];
        for cells in std::mem::take(&mut self.cells) {
            arrays.push(match cells {
                Cells::Plain(column) => column.finish().map_err(batch_error)?,
                Cells::Nested(nested) => {
                    let (array, unfit) = nested.finish(self.text)?;
                    for (row, bad) in unfit {
                        // A row is refused once, for its first bad column.
                        if std::mem::replace(&mut keep[row], false) {
                            self.bad.push((self.good[row], bad));
                        }
                    }
                    array
                }
            });
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(keep.len()));
        let mut batch =
            RecordBatch::try_new_with_options(self.format.schema.clone(), arrays, &options).map_err(batch_error)?;
        if keep.contains(&false) {
            batch = arrow::compute::filter_record_batch(&batch, &keep.clone().into()).map_err(batch_error)?;
        }
        self.bad.sort_by_key(|(at, _)| *at);
        let starts = self.good.iter().zip(&keep).filter(|(_, keep)| **keep && self.ask.offsets);
        let base = self.block.offset as i64 - self.block.start as i64;
        let offsets = starts.map(|(at, _)| base + i64::from(*at)).collect();
        let before = |at: u32| self.starts.partition_point(|start| *start < at);
        let bad_after = self.bad.iter().enumerate().map(|(bad, (at, _))| (before(*at) - bad) as u32).collect();
        let bad = std::mem::take(&mut self.bad);
        let (kept, lines) = self.places(bad);
        Ok(Parsed { batch, lines, bad_after, kept, offsets, text_bytes })
    }

    /// The bad rows asked for with their places, and the line ends of the block.
    fn places(&self, bad: Vec<(u32, Bad)>) -> (Vec<BadRow>, u64) {
        let (mut lines, mut counted) = (0, self.block.start);
        let mut lines_to = |at: usize| {
            lines += memchr_iter(b'\n', &self.text[counted..at]).count() as u64;
            counted = at;
            lines
        };
        let place = |(at, bad): (u32, Bad)| {
            let records = self.starts.partition_point(|start| *start < at) as u64;
            let at = at as usize;
            let offset = self.block.offset + (at - self.block.start) as u64;
            BadRow::new(bad, &self.text[at..self.line_end(at)], records, lines_to(at), offset)
        };
        let kept = bad.into_iter().take(self.ask.bad_rows_kept).map(place).collect();
        (kept, lines_to(self.block.end))
    }
}

/// Reads the value that starts here into its column.
#[inline]
fn value(scan: &mut Scan<'_>, target: &Target, cells: &mut Cells) -> Result<(), Unfit> {
    if scan.peek() == b'n' {
        scan.word("null")?;
        cells.push_null();
        return Ok(());
    }
    let (column, ty) = match (cells, target.ty) {
        (Cells::Plain(column), Some(ty)) => (column, ty),
        (Cells::Plain(_), None) => return Ok(()),
        (Cells::Nested(nested), _) => {
            let start = scan.at;
            scan.value()?;
            nested.push(start, scan.at);
            return Ok(());
        }
    };
    let start = scan.at;
    let fits = match scan.peek() {
        b'"' => {
            let text = scan.string()?;
            string(scan.text, text, ty, column)
        }
        b'-' | b'0'..=b'9' => {
            let written = scan.number()?;
            number(written, &scan.text[start..scan.at], ty, column)
        }
        b't' | b'f' => {
            scan.value()?;
            ty == PrimitiveType::Boolean && column.push_text(&scan.text[start..scan.at])
        }
        _ => {
            scan.value()?;
            false
        }
    };
    if fits {
        return Ok(());
    }
    Err(Unfit::Value(Bad::value(target.field.name(), ty, &scan.text[start..scan.at], target.inferred)))
}

#[inline]
fn number(number: Number, text: &[u8], ty: PrimitiveType, column: &mut Column) -> bool {
    let sign = if number.negative { -1 } else { 1 };
    match (&mut column.data, ty) {
        (Data::I64(values), PrimitiveType::Long) if number.exact && number.fraction == 0 => {
            values.push(sign * number.digits as i64);
        }
        (Data::I128(values), PrimitiveType::Decimal { precision, scale })
            if number.exact && number.fraction <= usize::from(scale) =>
        {
            let value = i128::from(number.digits).checked_mul(values::power_of_ten(scale - number.fraction as u8));
            match value.filter(|value| *value < values::power_of_ten(precision)) {
                Some(value) => values.push(i128::from(sign) * value),
                None => return false,
            }
        }
        (
            _,
            PrimitiveType::Int
            | PrimitiveType::Long
            | PrimitiveType::Float
            | PrimitiveType::Double
            | PrimitiveType::Decimal { .. },
        ) => {
            return column.push_text(text);
        }
        _ => return false,
    }
    true
}

#[inline]
fn string(text: &[u8], place: Str, ty: PrimitiveType, column: &mut Column) -> bool {
    let raw = &text[place.start..place.end];
    let plain;
    let value = if place.escaped {
        match unescaped(raw) {
            Some(value) => plain = value,
            None => return false,
        }
        plain.as_slice()
    } else {
        raw
    };
    if let (Data::I32(days), PrimitiveType::Date, 10) = (&mut column.data, ty, raw.len())
        && let Some(day) = values::wide_date(text, place.start)
    {
        days.push(day);
        return true;
    }
    match ty {
        PrimitiveType::Boolean
        | PrimitiveType::Int
        | PrimitiveType::Long
        | PrimitiveType::Float
        | PrimitiveType::Double => false,
        PrimitiveType::Binary => values::hex(value).is_some_and(|bytes| column.push_text(&bytes)),
        _ => column.push_text(value),
    }
}
