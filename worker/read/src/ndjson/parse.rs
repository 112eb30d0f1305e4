//! A block of records becomes columns.

use arrow::array::{RecordBatch, RecordBatchOptions};
use memchr::{memchr, memchr_iter};
use moulin_core::{ContractMode, DuplicateKeys};

use super::cells::Cells;
use super::items::item_end;
use super::rescue::{Name, Rescued};
use super::scan::{Broken, Layout, Scan, Str};
use super::shape::Key;
use super::value::{Misfit, Unfit, Values};
use super::{Objects, duplicates, refuse, usual};
use crate::Error;
use crate::blocks::Block;
use crate::fault::{Bad, BadRow, shown, without_line_end};
use crate::pipeline::{Ask, Parsed, Sizes, batch_error};

pub(super) struct Parser<'a> {
    format: &'a Objects,
    block: &'a Block,
    text: &'a [u8],
    utf8: bool,
    /// A record of more bytes may be too long, or have a field that is.
    long_bytes: usize,
    ask: Ask,
    values: Values,
    cells: Vec<Cells>,
    /// Columns whose values are only checked.
    forgotten: Vec<usize>,
    rescued: Option<Rescued>,
    /// The record in which each column was last seen, counted from 1.
    seen: Vec<u32>,
    /// Records so far.
    records: u32,
    /// Of them, good ones.
    good: usize,
    /// Where each bad record starts, and the good ones before it.
    bad: Vec<(u32, u32, Bad)>,
    /// Where each good record starts in the file, if that was asked for.
    offsets: Vec<i64>,
}

/// What [`Parser::usual_members`] has read.
struct Usual {
    count: usize,
    /// Whether the object ended with the last one.
    is_end: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(format: &'a Objects, block: &'a Block, sizes: &Sizes, ask: Ask) -> Self {
        let rows = sizes.rows(block.end - block.start);
        let members = format.members.list.iter().enumerate();
        Self {
            format,
            block,
            text: &block.buffer[..block.end],
            utf8: simdutf8::basic::from_utf8(block.bytes()).is_ok(),
            long_bytes: format.field_bytes.min(usize::try_from(format.record_bytes).unwrap_or(usize::MAX)),
            ask,
            values: Values { duplicate_keys: format.duplicate_keys, unknown: Vec::new() },
            cells: members
                .map(|(place, member)| match format.kept[place] {
                    true => Cells::new(&member.shape, rows, sizes.text_bytes(place)),
                    false => Cells::new(&member.shape, 0, 0),
                })
                .collect(),
            forgotten: (0..format.kept.len()).filter(|place| !format.kept[*place]).collect(),
            rescued: format.rescued.then(Rescued::default),
            seen: vec![0; format.members.list.len()],
            records: 0,
            good: 0,
            bad: Vec::new(),
            offsets: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Parsed, Error> {
        let mut at = self.block.start;
        while at < self.block.end && !self.is_stopped() {
            let mut scan = self.scan(at);
            scan.blanks();
            match self.format.layout {
                Layout::Lines if scan.peek() == b'\n' => {
                    at = scan.at + 1;
                    continue;
                }
                Layout::Lines => {}
                Layout::Items if scan.at == self.block.end => break,
                Layout::Items => at = scan.at,
            }
            self.records += 1;
            at = match self.record(&mut scan) {
                Ok(()) if scan.at - at <= self.long_bytes => {
                    self.accept(at);
                    scan.at + 1
                }
                Ok(()) => self.long_record(at, scan.at),
                Err(unfit) => self.refuse(at, unfit),
            };
        }
        self.finish()
    }

    fn is_stopped(&self) -> bool {
        self.bad.last().is_some_and(|(_, _, bad)| self.ask.stop_at_first || bad.stops)
    }

    /// Values of good records that a column has.
    fn rows(&self, place: usize) -> usize {
        if self.format.kept[place] { self.good } else { 0 }
    }

    /// Counts the record as a good one.
    #[inline]
    fn accept(&mut self, at: usize) {
        self.good += 1;
        for place in &self.forgotten {
            self.cells[*place].truncate(0);
        }
        if self.ask.offsets {
            self.offsets.push((self.block.offset + (at - self.block.start) as u64) as i64);
        }
    }

    fn scan(&self, at: usize) -> Scan<'a> {
        Scan { text: self.text, at, layout: self.format.layout, depth: 0, max_depth: self.format.max_depth }
    }

    /// Where the record that starts here ends, if it is no JSON.
    fn record_end(&self, at: usize) -> usize {
        match self.format.layout {
            Layout::Lines => memchr(b'\n', &self.text[at..]).map_or(self.text.len(), |eol| at + eol),
            Layout::Items => item_end(self.text, at),
        }
    }

    /// Takes the values of a half-read record away again.
    fn take_back(&mut self) {
        let rows = self.good;
        for (cells, kept) in self.cells.iter_mut().zip(&self.format.kept) {
            cells.truncate(if *kept { rows } else { 0 });
        }
        if let Some(rescued) = &mut self.rescued {
            rescued.forget_record();
        }
        self.values.unknown.clear();
    }

    /// Takes the record's values away again and says where the next one starts.
    fn refuse(&mut self, at: usize, unfit: Unfit) -> usize {
        self.take_back();
        let end = self.record_end(at);
        let bad = match unfit {
            _ if self.is_too_long(at, end) => self.too_long(at, end),
            Unfit::Bad(bad) => *bad,
            Unfit::Broken(broken) => refuse::broken(self.format, self.text, at, end, broken),
            // Values are answered for where their column is known.
            Unfit::Value(misfit) => refuse::misfit(self.format, 0, self.text, &misfit),
        };
        self.bad.push((at as u32, self.good as u32, bad));
        end + 1
    }

    /// A record that fits, and is longer than a field may be.
    fn long_record(&mut self, at: usize, end: usize) -> usize {
        let bad = if self.is_too_long(at, end) {
            Some(self.too_long(at, end))
        } else {
            refuse::long_field(self.scan(at), self.format.field_bytes)
        };
        match bad {
            Some(bad) => {
                self.take_back();
                self.bad.push((at as u32, self.good as u32, bad));
            }
            None => self.accept(at),
        }
        end + 1
    }

    /// Whether a record is longer than it may be.
    fn is_too_long(&self, at: usize, end: usize) -> bool {
        self.bytes(at, end).len() as u64 > self.format.record_bytes
    }

    /// The bytes of the record that stands there, without what ends it.
    fn bytes(&self, at: usize, end: usize) -> &'a [u8] {
        let record = &self.text[at..end];
        match self.format.layout {
            Layout::Lines => without_line_end(record),
            Layout::Items => record.trim_ascii_end(),
        }
    }

    fn too_long(&self, at: usize, end: usize) -> Bad {
        self.format.too_long(self.bytes(at, end).len() as u64)
    }

    /// Reads the value of a column.
    #[inline]
    fn value(&mut self, scan: &mut Scan<'a>, place: usize) -> Result<(), Unfit> {
        let start = scan.at;
        let shape = &self.format.members.list[place].shape;
        match self.values.read(scan, shape, &mut self.cells[place]) {
            Err(Unfit::Value(misfit)) => self.misfit(scan, place, start, &misfit),
            Ok(()) if !self.values.unknown.is_empty() => self.unknown_inside(place),
            read => read,
        }
    }

    /// What the contract says to keys that the structs of a column do not have.
    #[cold]
    fn unknown_inside(&mut self, place: usize) -> Result<(), Unfit> {
        let columns = self.format.contract.columns;
        let name = &self.format.members.list[place].name;
        if matches!(columns, ContractMode::Freeze | ContractMode::DiscardRow)
            && let Some(inner) = self.values.unknown.first()
        {
            let bad = refuse::contract_column(&format!("{name}{}", inner.path), columns);
            return Err(Unfit::Bad(Box::new(bad)));
        }
        for inner in self.values.unknown.drain(..) {
            if let Some(rescued) = &mut self.rescued {
                let path = format!("{name}{}", inner.path);
                rescued.keep(Name::Inside { column: place, path }, inner.start, inner.end);
            }
        }
        Ok(())
    }

    /// What the contract says to a value that is none of its column's type.
    #[cold]
    fn misfit(&mut self, scan: &mut Scan<'a>, place: usize, start: usize, misfit: &Misfit) -> Result<(), Unfit> {
        self.values.unknown.clear();
        let types = self.format.contract.types;
        if types != ContractMode::DiscardValue {
            let bad = refuse::misfit(self.format, place, self.text, misfit);
            return Err(Unfit::Bad(Box::new(Bad { stops: types == ContractMode::Freeze, ..bad })));
        }
        let rows = self.rows(place);
        self.cells[place].truncate(rows);
        self.cells[place].push_null();
        (scan.at, scan.depth) = (start, 1);
        scan.value()?;
        if let Some(rescued) = &mut self.rescued {
            rescued.keep(Name::Column(place), start, scan.at);
        }
        Ok(())
    }

    /// Reads a key again that the record had before.
    #[cold]
    fn again(&mut self, scan: &mut Scan<'a>, place: usize) -> Result<(), Unfit> {
        if self.format.duplicate_keys == DuplicateKeys::First {
            return Ok(scan.value()?);
        }
        let rows = self.rows(place);
        self.cells[place].truncate(rows);
        if let Some(rescued) = &mut self.rescued {
            rescued.forget(place);
        }
        self.value(scan, place)
    }

    /// What the contract says to a key that is no column.
    fn unknown(&mut self, scan: &mut Scan<'a>, key: Str) -> Result<(), Unfit> {
        let start = scan.at;
        scan.value()?;
        match (self.format.contract.columns, &mut self.rescued) {
            (ContractMode::Freeze | ContractMode::DiscardRow, _) => {
                let bad = refuse::contract_column(&shown(&self.text[key.start..key.end]), self.format.contract.columns);
                return Err(Unfit::Bad(Box::new(bad)));
            }
            (_, Some(rescued)) => rescued.keep(Name::Key(key), start, scan.at),
            (_, None) => {}
        }
        Ok(())
    }

    /// Reads one object up to its end.
    fn record(&mut self, scan: &mut Scan<'a>) -> Result<(), Unfit> {
        if !self.utf8 && std::str::from_utf8(&self.text[scan.at..self.record_end(scan.at)]).is_err() {
            return Err(Unfit::Broken(Broken { at: scan.at, expected: "UTF-8" }));
        }
        if scan.peek() != b'{' {
            return Err(refuse::not_an_object(scan));
        }
        if self.format.duplicate_keys == DuplicateKeys::Reject
            && let Some(twice) = duplicates::find(self.scan(scan.at))?
        {
            return Err(Unfit::Bad(Box::new(refuse::duplicate_key(self.text, twice))));
        }
        scan.open()?;
        let record = self.records;
        let (mut found, mut expected) = (0, 0);
        let mut more = scan.peek() != b'}' || scan.another(b'}')?;
        while more {
            let usual = self.usual_members(scan, &mut expected);
            found += usual.count;
            if usual.is_end {
                break;
            }
            match self.format.members.key(scan, expected)? {
                Key::Unknown(key) => self.unknown(scan, key)?,
                Key::Known(place) => {
                    expected = place + 1;
                    if self.seen[place] == record {
                        self.again(scan, place)?;
                    } else {
                        self.seen[place] = record;
                        found += 1;
                        self.value(scan, place)?;
                    }
                }
            }
            more = scan.another(b'}')?;
        }
        scan.blanks();
        if !scan.at_record_end() {
            scan.broken(if scan.layout == Layout::Lines {
                "the end of the line"
            } else {
                "`,` or the end of the array"
            })?;
        }
        if found < self.cells.len() {
            let missing = self.cells.iter_mut().zip(&self.seen).filter(|(_, seen)| **seen != record);
            missing.for_each(|(cells, _)| cells.push_null());
        }
        if let Some(rescued) = &mut self.rescued {
            rescued.end_record(self.text, self.format);
        }
        Ok(())
    }

    /// Reads members as long as they come in the expected order and as most writers write them. At the end of the object,
    /// or at the key of the first one that does not.
    #[inline(always)]
    fn usual_members(&mut self, scan: &mut Scan<'a>, expected: &mut usize) -> Usual {
        let (text, record, mut at, first) = (scan.text, self.records, scan.at, *expected);
        let mut is_end = false;
        let members = self.format.members.list.iter().zip(&mut self.cells).zip(&mut self.seen).skip(first);
        for ((member, cells), seen) in members {
            if *seen == record {
                break;
            }
            let Some(end) = usual::member(text, at, member, cells) else { break };
            *seen = record;
            *expected += 1;
            at = end + 1;
            if text[end] == b'}' {
                is_end = true;
                break;
            }
        }
        scan.at = at;
        if is_end {
            scan.depth -= 1;
        } else {
            scan.blanks();
        }
        Usual { count: *expected - first, is_end }
    }

    fn finish(mut self) -> Result<Parsed, Error> {
        let mut text_bytes: Vec<usize> = self.cells.iter().map(Cells::text_bytes).collect();
        let mut arrays = Vec::with_capacity(self.cells.len() + 1);
        let members = self.format.members.list.iter().zip(&self.format.kept);
        for (cells, (member, kept)) in std::mem::take(&mut self.cells).into_iter().zip(members) {
            if *kept {
                arrays.push(cells.finish(&member.shape).map_err(batch_error)?);
            }
        }
        if let Some(rescued) = self.rescued.take() {
            text_bytes.push(0);
            arrays.push(rescued.finish().map_err(batch_error)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.good));
        let schema = self.format.schema.clone();
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options).map_err(batch_error)?;
        let bad_after = self.bad.iter().map(|(_, good, _)| *good).collect();
        let offsets = std::mem::take(&mut self.offsets);
        let bad = std::mem::take(&mut self.bad);
        let (kept, lines) = self.places(bad);
        Ok(Parsed { batch, lines, bad_after, kept, offsets, bytes: self.block.end - self.block.start, text_bytes })
    }

    /// The bad rows asked for with their places, and the line ends of the block.
    fn places(&self, bad: Vec<(u32, u32, Bad)>) -> (Vec<BadRow>, u64) {
        let (mut lines, mut counted) = (0, self.block.start);
        let mut lines_to = |at: usize| {
            lines += memchr_iter(b'\n', &self.text[counted..at]).count() as u64;
            counted = at;
            lines
        };
        let place = |(number, (at, good, bad)): (usize, (u32, u32, Bad))| {
            let at = at as usize;
            let offset = self.block.offset + (at - self.block.start) as u64;
            let record = self.bytes(at, self.record_end(at));
            BadRow::new(bad, record, u64::from(good) + number as u64, lines_to(at), offset)
        };
        let kept = bad.into_iter().enumerate();
        let kept = kept.filter(|(number, (_, _, bad))| *number < self.ask.bad_rows_kept || bad.stops);
        let kept = kept.map(place).collect();
        (kept, lines_to(self.block.end))
    }
}
