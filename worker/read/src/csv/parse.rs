//! A block becomes columns.

use arrow::array::RecordBatch;
use moulin_core::{ContractMode, PrimitiveType, RejectedRow};

use super::dialect::{Dialect, Marks};
use super::fast::{self, Window};
use super::header::place_name;
use super::index::{Found, Stretch, index};
use super::record::{self, Field, Item};
use super::rescue::Rescued;
use super::{Csv, Cut, Target};
use crate::Error;
use crate::blocks::{Block, too_long};
use crate::code::Code;
use crate::columns::Column;
use crate::fault::{Bad, BadRow};
use crate::pipeline::{Ask, Parsed, Sizes, Start, batch_error};

/// Bytes that are indexed at once: text, index and the ends of the columns stay in the second-level cache.
pub(super) const WINDOW_BYTES: usize = 32 << 10;
/// Bytes of a window for each column: a row of many columns is longer than [`WINDOW_BYTES`].
pub(super) const COLUMN_BYTES: usize = 16;
/// Bytes that are indexed at once at the most, where rows are long: the index takes four times as many.
const WINDOW_MOST: usize = 1 << 20;

pub(super) struct Parser<'a> {
    csv: &'a Csv,
    cut: &'a Cut,
    dialect: &'a Dialect,
    targets: &'a [Target],
    /// Place in the schema of each field of a row.
    order: &'a [usize],
    /// The names of fields that have no column: their places are behind those of the columns.
    left_out: &'a [String],
    block: &'a Block,
    /// Slack and block, without what stands behind it.
    text: &'a [u8],
    ask: Ask,
    columns: Vec<Column>,
    rescued: Option<Rescued>,
    rows: usize,
    bad_after: Vec<u32>,
    kept: Vec<BadRow>,
    /// Whether a bad row has been found that fails the job.
    stops: bool,
    offsets: Vec<i64>,
    /// Line ends counted so far, and up to where.
    lines: (u64, usize),
    /// The offset in the file of a place of the block.
    place: (u64, usize),
    ends: Vec<u32>,
    fields: Vec<Field>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(
        csv: &'a Csv,
        start: &'a Start,
        block: &'a Block,
        sizes: &Sizes,
        ask: Ask,
    ) -> Result<Self, Error> {
        let (targets, order) = (csv.targets.as_slice(), start.order.as_slice());
        let dialect =
            start.cut.dialect().ok_or_else(|| Error::Internal("csv is cut without its dialect".to_owned()))?;
        let rows = sizes.rows(block.end - block.start);
        Ok(Self {
            csv,
            cut: &start.cut,
            dialect,
            targets,
            order,
            left_out: &start.left_out,
            block,
            text: &block.buffer[..block.end],
            ask,
            columns: super::new_columns(csv, rows, sizes),
            rescued: csv.rescues.then(|| Rescued::new(rows)),
            rows: 0,
            bad_after: Vec::new(),
            kept: Vec::new(),
            stops: false,
            offsets: Vec::with_capacity(if ask.offsets { rows } else { 0 }),
            lines: (0, block.start),
            place: (block.offset, block.start),
            ends: Vec::new(),
            fields: Vec::with_capacity(order.len()),
        })
    }

    pub(super) fn run(mut self) -> Result<Parsed, Error> {
        // What fits a window is within all limits, or else every record is looked at.
        let limits = &self.csv.limits;
        let most = usize::try_from(limits.field_bytes.min(limits.record_bytes)).unwrap_or(usize::MAX);
        let most = most.min(WINDOW_MOST.max(self.csv.window));
        let mut at = self.block.start;
        let mut window = self.csv.window;
        while at < self.block.end && !self.stopped() {
            let end = (at + window).min(self.block.end);
            let marks = match self.dialect.marks_of(self.text, at, end, self.block.quotes) {
                Some(marks) if window > 0 && end - at <= most => marks,
                _ => {
                    at = self.slow(at, end.max(at + 1))?;
                    window = self.csv.window;
                    continue;
                }
            };
            let found = self.index(marks, at, end);
            if found.rows == 0 && !found.irregular && end < self.block.end {
                window *= 2;
                continue;
            }
            window = self.csv.window;
            if found.rows > 0 {
                let after = self.ends[found.rows * self.stride()] as usize + 1;
                // Where a row ends was a guess as well: the slow way may go on to another place.
                at = if self.fast(marks, at, after, found) { after } else { self.slow(at, after)? };
            }
            if found.irregular || found.rows == 0 {
                at = self.slow(at, (at + 1).min(self.block.end))?;
            }
        }
        self.finish()
    }

    fn stopped(&self) -> bool {
        self.stops || (self.ask.stop_at_first && !self.bad_after.is_empty())
    }

    /// Where in the file a record stands. Asked in the order of the records.
    fn offset(&mut self, at: usize) -> u64 {
        let (offset, from) = self.place;
        let passed = &self.text[from..at];
        let in_file = self.block.charset.map_or(passed.len() as u64, |charset| charset.file_bytes(passed));
        self.place = (offset + in_file, at);
        self.place.0
    }

    /// Delimiters and line ends of a row.
    fn stride(&self) -> usize {
        self.order.len() + usize::from(self.dialect.trailing_delimiter)
    }

    fn index(&mut self, marks: Marks, at: usize, end: usize) -> Found {
        let needed = end - at + 128;
        if self.ends.len() < needed {
            self.ends.resize(needed, 0);
        }
        let (text, columns, quotes) = (self.block.buffer.as_slice(), self.stride(), self.block.quotes);
        index(marks, Stretch { text, start: at, end, columns, quotes }, &mut self.ends)
    }

    /// Appends regular rows column by column; `false` and nothing appended when one of them is unusual.
    fn fast(&mut self, marks: Marks, at: usize, end: usize, found: Found) -> bool {
        if simdutf8::basic::from_utf8(&self.text[at..end]).is_err() {
            return false;
        }
        let Found { rows, quotes, .. } = found;
        let window = Window {
            text: &self.block.buffer,
            ends: &self.ends,
            rows,
            columns: self.stride(),
            quote: marks.quote.filter(|_| self.block.quotes),
            trim_cr: marks.trim_cr,
        };
        // In a file of one column an empty line has the right number of fields, and yet is no record.
        if window.columns == 1 && window.has_empty(0) {
            return false;
        }
        if self.dialect.trailing_delimiter && !window.is_empty(self.order.len()) {
            return false;
        }
        let mut quotes_read = 0;
        let left_out_matters = self.left_out_matters();
        for (at, &place) in self.order.iter().enumerate() {
            let appended = match self.targets.get(place) {
                Some(target) => fast::append(&window, at, target, &mut self.columns[place]),
                None => fast::pass_over(&window, at, &self.csv.absent, left_out_matters),
            };
            match appended {
                Some(quotes) => quotes_read += quotes,
                None => return self.undo(),
            }
        }
        // A quote that no quoted field accounts for: the pairs were guessed wrong.
        if self.block.quotes && quotes_read != quotes {
            return self.undo();
        }
        self.rows += rows;
        self.forget();
        self.rescued.iter_mut().for_each(|rescued| rescued.end_records(rows));
        if self.ask.offsets {
            self.keep_offsets(rows);
        }
        true
    }

    /// Keeps the places of so many rows of the window.
    fn keep_offsets(&mut self, rows: usize) {
        let stride = self.stride().max(1);
        if self.block.charset.is_some() {
            for row in 0..rows {
                let offset = self.offset(self.ends[row * stride] as usize + 1);
                self.offsets.push(offset as i64);
            }
            return;
        }
        let starts = self.ends.iter().step_by(stride).take(rows);
        let base = self.block.offset as i64 - self.block.start as i64 + 1;
        self.offsets.extend(starts.map(|end| base + i64::from(*end)));
    }

    fn undo(&mut self) -> bool {
        let rows = self.rows;
        for (column, kept) in self.columns.iter_mut().zip(&self.csv.kept) {
            column.truncate(if *kept { rows } else { 0 });
        }
        self.rescued.iter_mut().for_each(Rescued::forget_record);
        false
    }

    /// Throws away the values of columns that are only checked.
    fn forget(&mut self) {
        let columns = self.columns.iter_mut().zip(&self.csv.kept).filter(|(_, kept)| !**kept);
        columns.for_each(|(column, _)| column.truncate(0));
    }

    /// Reads record by record until one starts at `until` or later, and goes on over empty lines and comments: for each
    /// of them to look at a window anew takes a thousand times as long.
    fn slow(&mut self, mut at: usize, until: usize) -> Result<usize, Error> {
        let limit = self.order.len().max(self.csv.limits.columns as usize) + 1;
        let mut is_nothing = false;
        while (at < until || (is_nothing && at < self.block.end)) && !self.stopped() {
            let walk = record::read(self.dialect, self.text, at, &mut self.fields, limit);
            is_nothing = walk.item == Item::Nothing;
            let outcome = match walk.item {
                Item::Nothing => Ok(()),
                _ if self.is_too_long(at, walk.next) => Err(self.too_long(at, walk.next)),
                Item::Record => self.append_record(at, walk.count),
                Item::Unclosed { field } => Err(self.unclosed(at, field)),
                Item::AfterQuote { field } => Err(self.after_quote(at, walk.next, field)),
            };
            if let Err(bad) = outcome {
                self.reject(at, walk.next, bad);
            }
            at = walk.next;
        }
        Ok(at)
    }

    fn length(&self, at: usize, next: usize) -> u64 {
        self.dialect.lines.without_end(&self.text[at..next]).len() as u64
    }

    fn is_too_long(&self, at: usize, next: usize) -> bool {
        let limit = self.csv.limits.record_bytes;
        (next - at) as u64 > limit && self.length(at, next) > limit
    }

    fn too_long(&self, at: usize, next: usize) -> Bad {
        let limit = self.csv.limits.record_bytes;
        too_long(self.cut.long_code(), self.length(at, next), limit, self.cut.may_quote())
    }

    fn append_record(&mut self, at: usize, count: usize) -> Result<(), Bad> {
        if count != self.order.len() {
            self.check_count(count)?;
        }
        for number in 0..self.order.len() {
            if let Err(bad) = self.append_field(number) {
                self.undo();
                return Err(bad);
            }
        }
        if let Err(bad) = self.rescue_rest() {
            self.undo();
            return Err(bad);
        }
        self.rescued.iter_mut().for_each(Rescued::end_record);
        self.rows += 1;
        self.forget();
        if self.ask.offsets {
            let offset = self.offset(at);
            self.offsets.push(offset as i64);
        }
        Ok(())
    }

    /// Appends the value of one column of the record; a field that is not there is null.
    fn append_field(&mut self, number: usize) -> Result<(), Bad> {
        let place = self.order[number];
        let Some(target) = self.targets.get(place) else { return self.leave_out(number) };
        let column = &mut self.columns[place];
        let Some(field) = self.fields.get(number) else {
            column.push_null();
            return Ok(());
        };
        let raw = field.raw(self.text);
        if !field.quoted && target.nulls.is_null(raw) {
            column.push_null();
            return Ok(());
        }
        let limit = self.csv.limits.field_bytes;
        if raw.len() as u64 > limit {
            return Err(too_large(&target.name, raw.len(), limit));
        }
        let text = field.text(self.text, self.dialect);
        if target.ty == PrimitiveType::String && std::str::from_utf8(&text).is_err() {
            return Err(Bad::utf8(&target.name, &text));
        }
        if target.push(column, &text) {
            return Ok(());
        }
        let bad = target.bad_value(&text);
        match (self.csv.contract.types, std::str::from_utf8(&text)) {
            (ContractMode::DiscardValue, Ok(text)) => {
                column.push_null();
                self.rescued.iter_mut().for_each(|rescued| rescued.keep(&target.name, text));
                Ok(())
            }
            (types, _) => Err(Bad { stops: types == ContractMode::Freeze, ..bad }),
        }
    }

    /// Whether it matters what stands in fields that have no column.
    fn left_out_matters(&self) -> bool {
        self.rescued.is_some() || self.csv.contract.columns == ContractMode::DiscardRow
    }

    /// What the contract says to a field that has no column.
    fn leave_out(&mut self, number: usize) -> Result<(), Bad> {
        let Some(field) = self.fields.get(number) else { return Ok(()) };
        let (raw, name) = (field.raw(self.text), &self.left_out[self.order[number] - self.targets.len()]);
        if !field.quoted && self.csv.absent.is_null(raw) {
            return Ok(());
        }
        let limit = self.csv.limits.field_bytes;
        if raw.len() as u64 > limit {
            return Err(too_large(name, raw.len(), limit));
        }
        if self.csv.contract.columns == ContractMode::DiscardRow {
            let reason =
                format!("row has a value in `{name}`, which is no column, and contract.columns is discard_row");
            return Err(Bad { column: name.clone(), ..Bad::row(Code::ContractColumn, reason) });
        }
        let Some(rescued) = &mut self.rescued else { return Ok(()) };
        let text = field.text(self.text, self.dialect);
        let text = std::str::from_utf8(&text).map_err(|_| Bad::utf8(name, &text))?;
        rescued.keep(name, text);
        Ok(())
    }

    /// Keeps the fields of the record that there are too many.
    fn rescue_rest(&mut self) -> Result<(), Bad> {
        let Some(rescued) = &mut self.rescued else { return Ok(()) };
        for (number, field) in self.fields.iter().enumerate().skip(self.order.len()) {
            let (name, text) = (place_name(number), field.text(self.text, self.dialect));
            let text = std::str::from_utf8(&text).map_err(|_| Bad::utf8(&name, &text))?;
            rescued.keep(&name, text);
        }
        Ok(())
    }

    /// # Errors
    /// When the format does not allow for so many fields.
    fn check_count(&self, count: usize) -> Result<(), Bad> {
        let (ragged, expected) = (self.csv.format.ragged_rows, self.order.len());
        let limit = self.csv.limits.columns as usize;
        if count > expected.max(limit) {
            return Err(Bad::row(
                Code::CsvColumns,
                format!("row has {count} fields, and limits.columns allows {limit}"),
            ));
        }
        if (count < expected && ragged.pads()) || (count > expected && ragged.truncates()) {
            return Ok(());
        }
        Err(Bad::row(Code::CsvFieldCount, format!("row has {count} fields, expected {expected}")))
    }

    fn unclosed(&self, at: usize, field: usize) -> Bad {
        let lines = self.count_lines(at, self.text.len()) - u64::from(self.block.added > 0);
        let mut bad = Bad::row(
            Code::CsvUnclosedQuote,
            format!(
                "the quote of field {} is not closed before the end of the file; {lines} line ends follow it",
                self.name(field)
            ),
        );
        bad.column = self.name(field);
        bad
    }

    fn after_quote(&self, at: usize, next: usize, field: usize) -> Bad {
        let text = super::super::fault::shown(self.text[at..next].trim_ascii_end());
        let mut bad = Bad::row(
            Code::CsvQuote,
            format!("field {} goes on after its closing quote, in the row `{text}`", self.name(field)),
        );
        bad.column = self.name(field);
        bad
    }

    fn name(&self, field: usize) -> String {
        match self.order.get(field) {
            Some(&place) => match self.targets.get(place) {
                Some(target) => target.name.clone(),
                None => self.left_out[place - self.targets.len()].clone(),
            },
            None => format!("{}", field + 1),
        }
    }

    fn count_lines(&self, from: usize, to: usize) -> u64 {
        self.dialect.lines.count(&self.text[from..to])
    }

    fn reject(&mut self, at: usize, next: usize, bad: Bad) {
        self.stops = bad.stops;
        if self.kept.len() < self.ask.bad_rows_kept || bad.stops {
            let (lines, counted) = self.lines;
            self.lines = (lines + self.count_lines(counted, at), at);
            let records_before = (self.rows + self.bad_after.len()) as u64;
            let offset = self.offset(at);
            let record = self.dialect.lines.without_end(&self.text[at..next]);
            let mut row = BadRow::new(bad, record, records_before, self.lines.0, offset);
            if let Some(charset) = self.block.charset {
                row.length_bytes = charset.file_bytes(record);
                row.raw = charset.encoded(record, RejectedRow::RAW_BYTES);
            }
            self.kept.push(row);
        }
        self.bad_after.push(self.rows as u32);
    }

    fn finish(self) -> Result<Parsed, Error> {
        let (lines, counted) = self.lines;
        let lines = lines + self.count_lines(counted, self.text.len());
        let text_bytes = self.columns.iter().map(Column::text_bytes).collect();
        let columns = self.columns.into_iter().zip(&self.csv.kept).filter(|(_, kept)| **kept);
        let arrays = columns.map(|(column, _)| column.finish()).chain(self.rescued.map(Rescued::finish));
        let arrays = arrays.collect::<Result<Vec<_>, _>>().map_err(batch_error)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        let schema = self.csv.schema.clone();
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options).map_err(batch_error)?;
        Ok(Parsed {
            batch,
            lines,
            bad_after: self.bad_after,
            kept: self.kept,
            offsets: self.offsets,
            bytes: self.block.end - self.block.start,
            text_bytes,
        })
    }
}

fn too_large(column: &str, bytes: usize, limit: u64) -> Bad {
    let reason = format!("field {column} has {bytes} bytes, and limits.field_bytes allows {limit}");
    Bad { column: column.to_owned(), code: Code::CsvFieldBytes, reason, stops: false }
}
