//! A block becomes columns.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use memchr::{memchr, memchr_iter};
use moulin_core::PrimitiveType;

use super::fast::{self, Window};
use super::index::{Found, Stretch, index};
use super::record::{self, Field, Item};
use super::{Dialect, Target};
use crate::Error;
use crate::blocks::Block;
use crate::columns::Column;
use crate::fault::{Bad, BadRow};
use crate::pipeline::{Ask, Parsed, Sizes, batch_error};

/// Bytes that are indexed at once: text, index and the ends of the columns stay in the second-level cache.
pub(super) const WINDOW_BYTES: usize = 32 << 10;

pub(super) struct Parser<'a> {
    dialect: &'a Dialect,
    targets: &'a [Target],
    /// Place in the schema of each field of a row.
    order: &'a [usize],
    block: &'a Block,
    /// Slack and block, without what stands behind it.
    text: &'a [u8],
    window: usize,
    ask: Ask,
    columns: Vec<Column>,
    rows: usize,
    bad_after: Vec<u32>,
    kept: Vec<BadRow>,
    offsets: Vec<i64>,
    /// Line ends counted so far, and up to where.
    lines: (u64, usize),
    ends: Vec<u32>,
    fields: Vec<Field>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(
        dialect: &'a Dialect,
        targets: &'a [Target],
        order: &'a [usize],
        block: &'a Block,
        window: usize,
        sizes: &Sizes,
        ask: Ask,
    ) -> Self {
        let rows = sizes.rows(block.end - block.start);
        Self {
            dialect,
            targets,
            order,
            block,
            text: &block.buffer[..block.end],
            window,
            ask,
            columns: super::new_columns(targets, rows, sizes),
            rows: 0,
            bad_after: Vec::new(),
            kept: Vec::new(),
            offsets: Vec::with_capacity(if ask.offsets { rows } else { 0 }),
            lines: (0, block.start),
            ends: Vec::new(),
            fields: Vec::with_capacity(order.len()),
        }
    }

    pub(super) fn run(mut self, schema: &SchemaRef) -> Result<Parsed, Error> {
        let mut at = self.block.start;
        let mut window = self.window;
        while at < self.block.end && !self.stopped() {
            let end = (at + window).min(self.block.end);
            let comment = self.dialect.comment.is_some_and(|byte| memchr(byte, &self.text[at..end]).is_some());
            if comment || self.window == 0 {
                at = self.slow(at, end.max(at + 1))?;
                continue;
            }
            let found = self.index(at, end);
            if found.rows == 0 && !found.irregular && end < self.block.end {
                window *= 2;
                continue;
            }
            window = self.window;
            if found.rows > 0 {
                let after = self.ends[found.rows * self.order.len()] as usize + 1;
                // Where a row ends was a guess as well: the slow way may go on to another place.
                at = if self.fast(at, after, found.rows, found.quotes) { after } else { self.slow(at, after)? };
            }
            if found.irregular || found.rows == 0 {
                at = self.slow(at, (at + 1).min(self.block.end))?;
            }
        }
        self.finish(schema)
    }

    fn stopped(&self) -> bool {
        self.ask.stop_at_first && !self.bad_after.is_empty()
    }

    fn offset(&self, at: usize) -> u64 {
        self.block.offset + (at - self.block.start) as u64
    }

    fn index(&mut self, at: usize, end: usize) -> Found {
        let needed = end - at + 128;
        if self.ends.len() < needed {
            self.ends.resize(needed, 0);
        }
        let (text, columns, quotes) = (self.block.buffer.as_slice(), self.order.len(), self.block.quotes);
        index(self.dialect, Stretch { text, start: at, end, columns, quotes }, &mut self.ends)
    }

    /// Appends regular rows column by column; `false` and nothing appended when one of them is unusual.
    fn fast(&mut self, at: usize, end: usize, rows: usize, quotes: usize) -> bool {
        if simdutf8::basic::from_utf8(&self.text[at..end]).is_err() {
            return false;
        }
        // In a file of one column an empty line has the right number of fields, and yet is no record.
        if self.order.len() == 1 && self.has_empty_line(rows) {
            return false;
        }
        let window = Window {
            text: &self.block.buffer,
            ends: &self.ends,
            rows,
            columns: self.order.len(),
            quote: self.dialect.quote.filter(|_| self.block.quotes),
            trim_cr: self.dialect.eol == b'\n',
        };
        let mut quotes_read = 0;
        for (at, &place) in self.order.iter().enumerate() {
            match fast::append(&window, at, &self.targets[place], &mut self.columns[place]) {
                Some(quotes) => quotes_read += quotes,
                None => return self.undo(),
            }
        }
        // A quote that no quoted field accounts for: the pairs were guessed wrong.
        if self.block.quotes && quotes_read != quotes {
            return self.undo();
        }
        self.rows += rows;
        if self.ask.offsets {
            let starts = self.ends.iter().step_by(self.order.len().max(1)).take(rows);
            let base = self.block.offset as i64 - self.block.start as i64 + 1;
            self.offsets.extend(starts.map(|end| base + i64::from(*end)));
        }
        true
    }

    fn has_empty_line(&self, rows: usize) -> bool {
        self.ends[..=rows].windows(2).any(|pair| {
            let line = &self.block.buffer[pair[0] as usize + 1..pair[1] as usize];
            line.is_empty() || line == b"\r"
        })
    }

    fn undo(&mut self) -> bool {
        let rows = self.rows;
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        false
    }

    /// Reads record by record until one starts at `until` or later.
    fn slow(&mut self, mut at: usize, until: usize) -> Result<usize, Error> {
        while at < until && !self.stopped() {
            let (item, next) = record::read(self.dialect, self.text, at, &mut self.fields);
            let outcome = match item {
                Item::Nothing => Ok(()),
                Item::Record => self.append_record(at),
                Item::Unclosed { field } => Err(self.unclosed(at, field)),
                Item::AfterQuote { field } => Err(self.after_quote(at, next, field)),
            };
            if let Err(bad) = outcome {
                self.reject(at, next, bad);
            }
            at = next;
        }
        Ok(at)
    }

    fn append_record(&mut self, at: usize) -> Result<(), Bad> {
        if self.fields.len() != self.order.len() {
            let reason = format!("row has {} fields, expected {}", self.fields.len(), self.order.len());
            return Err(Bad::row("csv.field_count", reason));
        }
        for (field, &place) in self.fields.iter().zip(self.order) {
            let (target, column) = (&self.targets[place], &mut self.columns[place]);
            let text = field.text(self.text, self.dialect);
            let bad = if !field.quoted && target.nulls.is_null(&text) {
                column.push_null();
                continue;
            } else if target.ty == PrimitiveType::String && std::str::from_utf8(&text).is_err() {
                Bad::utf8(&target.name, &text)
            } else if column.push_text(&text) {
                continue;
            } else {
                target.bad_value(&text)
            };
            self.undo();
            return Err(bad);
        }
        self.rows += 1;
        if self.ask.offsets {
            self.offsets.push(self.offset(at) as i64);
        }
        Ok(())
    }

    fn unclosed(&self, at: usize, field: usize) -> Bad {
        let lines = self.count_lines(at, self.text.len()) - u64::from(self.block.eol_added);
        let mut bad = Bad::row(
            "csv.unclosed_quote",
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
            "csv.quote",
            format!("field {} goes on after its closing quote, in the row `{text}`", self.name(field)),
        );
        bad.column = self.name(field);
        bad
    }

    fn name(&self, field: usize) -> String {
        match self.order.get(field) {
            Some(&place) => self.targets[place].name.clone(),
            None => format!("{}", field + 1),
        }
    }

    fn count_lines(&self, from: usize, to: usize) -> u64 {
        memchr_iter(self.dialect.eol, &self.text[from..to]).count() as u64
    }

    fn reject(&mut self, at: usize, next: usize, bad: Bad) {
        if self.kept.len() < self.ask.bad_rows_kept {
            let (lines, counted) = self.lines;
            self.lines = (lines + self.count_lines(counted, at), at);
            let records_before = (self.rows + self.bad_after.len()) as u64;
            let row = BadRow::new(bad, &self.text[at..next], records_before, self.lines.0, self.offset(at));
            self.kept.push(row);
        }
        self.bad_after.push(self.rows as u32);
    }

    fn finish(self, schema: &SchemaRef) -> Result<Parsed, Error> {
        let (lines, counted) = self.lines;
        let lines = lines + self.count_lines(counted, self.text.len());
        let text_bytes = self.columns.iter().map(Column::text_bytes).collect();
        let arrays =
            self.columns.into_iter().map(Column::finish).collect::<Result<Vec<_>, _>>().map_err(batch_error)?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(batch_error)?;
        Ok(Parsed { batch, lines, bad_after: self.bad_after, kept: self.kept, offsets: self.offsets, text_bytes })
    }
}
