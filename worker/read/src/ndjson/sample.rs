//! The schema of JSON objects, from the declared columns and a sample of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use moulin_core::{Column, ContractMode, DuplicateKeys, PrimitiveType, Source};

use super::duplicates::key_text;
use super::items::item_end;
use super::scan::{Broken, Layout, Scan, Str, unescaped};
use super::{Cut, Objects, cut_error};
use crate::Error;
use crate::blocks::{Block, Splitter};
use crate::columns::{arrow_type, arrow_type_of};
use crate::fetch::ByteStream;
use crate::infer::{Guess, grouped};
use crate::values;
use crate::{InputSchema, Origin, Sample};

/// Levels of types that are inferred; what is deeper is kept as its JSON text.
const LEVELS: u32 = 32;

/// Columns in the order in which keys appear, then declared ones that the sample lacks; `None` when there is no
/// object in the sample. The splitter stands at the first record.
///
/// A contract that takes no new columns makes the declared ones, if there are any, all there are.
pub(crate) fn schema(
    uri: &str,
    source: &Source,
    layout: Layout,
    splitter: &mut Splitter<ByteStream>,
) -> Result<Option<InputSchema>, Error> {
    let declared = source.columns.as_slice();
    let by_name: HashMap<&str, &Column> = declared.iter().map(|column| (column.name.as_str(), column)).collect();
    let mut sample = Sample::default();
    let mut keys = Keys { limit: source.limits.columns as usize, ..Keys::default() };
    while let Some(block) = splitter.next(&Cut::lines()).map_err(|error| cut_error(uri, error))? {
        if let Some(long) = block.long {
            sample.rows += u64::from(long.is_record);
            sample.rows_bad += u64::from(long.is_record);
            // What comes behind the first record is the sample.
            if sample.rows <= 1 {
                continue;
            }
            break;
        }
        look_at(&block, source, layout, &mut sample, &mut keys);
        // One block is the sample, but for what is left of a file that is no larger: its last line may have no end.
        if !splitter.is_at_end() && sample.rows > 0 {
            break;
        }
    }
    if let Some(count) = keys.too_many() {
        let reason = format!("{uri} has objects with more than {count} keys, which is what limits.columns allows");
        return Err(Error::Schema(reason));
    }
    if keys.kinds.is_empty() && declared.is_empty() {
        return Ok(None);
    }
    let only_declared = !declared.is_empty() && source.contract.columns != ContractMode::Evolve;
    let mut schema: Vec<(Field, Origin)> = Vec::new();
    let objects = sample.rows - sample.rows_bad;
    for (name, kind) in &keys.kinds {
        let found = by_name.get(name.as_str());
        if source.rescued_column.as_ref() == Some(name) || (found.is_none() && only_declared) {
            continue;
        }
        sample.reasons.push(kind.reason(objects));
        schema.push(match found {
            Some(column) => (Field::new(name, arrow_type_of(&column.ty), true), Origin::Declared),
            None => (Field::new(name, kind.data_type(), true), Origin::Inferred),
        });
    }
    for column in declared.iter().filter(|column| !keys.places.contains_key(&column.name)) {
        schema.push((Field::new(&column.name, arrow_type_of(&column.ty), true), Origin::Declared));
        sample.reasons.push("no object of the sample has this key".to_owned());
    }
    let (fields, origins): (Vec<_>, Vec<_>) = schema.into_iter().unzip();
    let schema = InputSchema { arrow: Arc::new(Schema::new(fields)), origins, sample };
    // A notation that does not fit its type is said with the schema, not after the job has begun.
    Objects::new(source, DuplicateKeys::default(), layout, &schema)?;
    Ok(Some(schema))
}

/// Takes the records of a block into account.
fn look_at(block: &Block, source: &Source, layout: Layout, sample: &mut Sample, keys: &mut Keys) {
    let text = &block.buffer[..block.end];
    let mut at = block.start;
    while at < text.len() && sample.rows < source.inference.sample_rows {
        let mut scan = Scan { text, at, layout, depth: 0, max_depth: source.limits.depth };
        scan.blanks();
        let start = scan.at;
        let end = match layout {
            Layout::Lines => memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |eol| start + eol),
            Layout::Items => item_end(text, start),
        };
        at = end + 1;
        if start == end {
            continue;
        }
        sample.rows += 1;
        let is_object = scan.peek() == b'{' && scan.value().is_ok() && {
            scan.blanks();
            scan.at_record_end()
        };
        if !is_object || std::str::from_utf8(&text[start..end]).is_err() {
            // A record that is no object is a reject of the job, not of its schema.
            sample.rows_bad += 1;
            continue;
        }
        // It was looked at once: it is not broken.
        let _ = keys.see(&mut Scan { at: start, depth: 0, ..scan }, 0);
    }
}

/// What the values of each key could be, in the order in which keys appear.
#[derive(Default)]
struct Keys {
    kinds: Vec<(String, Kind)>,
    places: HashMap<String, usize>,
    /// So many keys may be.
    limit: usize,
}

impl Keys {
    fn see(&mut self, scan: &mut Scan<'_>, level: u32) -> Result<(), Broken> {
        scan.open()?;
        let mut more = scan.peek() != b'}' || scan.another(b'}')?;
        let mut expected = 0;
        while more {
            let key = scan.key()?;
            match self.place(scan.text, key, expected) {
                Some(place) => {
                    expected = place + 1;
                    self.kinds[place].1.see(scan, level, self.limit)?;
                }
                None => scan.value()?,
            }
            more = scan.another(b'}')?;
        }
        Ok(())
    }

    /// The place of a key; `None` when there are too many.
    fn place(&mut self, text: &[u8], key: Str, expected: usize) -> Option<usize> {
        let name = key_text(text, key);
        let name = std::str::from_utf8(&name).unwrap_or_default();
        if self.kinds.get(expected).is_some_and(|(known, _)| known == name) {
            return Some(expected);
        }
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.kinds.len() > self.limit {
            return None;
        }
        self.places.insert(name.to_owned(), self.kinds.len());
        self.kinds.push((name.to_owned(), Kind::default()));
        Some(self.kinds.len() - 1)
    }

    /// The limit, when there are more keys, here or deeper.
    fn too_many(&self) -> Option<usize> {
        if self.kinds.len() > self.limit {
            return Some(self.limit);
        }
        self.kinds.iter().find_map(|(_, kind)| kind.too_many())
    }
}

/// What all values seen so far could be. The numbers count values.
#[derive(Default)]
struct Kind {
    text: Option<Guess>,
    texts: u64,
    nulls: u64,
    booleans: u64,
    whole: u64,
    /// Of those, the ones that a double would round.
    wide: u64,
    /// Whole numbers beyond a long.
    large: u64,
    /// Whole numbers beyond a decimal, numbers beyond a double.
    huge: u64,
    fractions: u64,
    lists: u64,
    list: Option<Box<Kind>>,
    objects: u64,
    object: Option<Keys>,
    /// Lists and objects below all levels that are looked at.
    deep: u64,
}

impl Kind {
    /// Takes the value that starts here into account.
    fn see(&mut self, scan: &mut Scan<'_>, level: u32, limit: usize) -> Result<(), Broken> {
        match scan.peek() {
            b'"' => {
                let text = scan.string()?;
                let raw = &scan.text[text.start..text.end];
                let plain = if text.escaped { unescaped(raw) } else { None };
                self.texts += 1;
                let guess = self.text.get_or_insert_default();
                // Inside of structs and lists texts stay texts: nothing there says which one broke a guess.
                guess.see(if level == 0 { plain.as_deref().unwrap_or(raw) } else { b"text" });
            }
            b'-' | b'0'..=b'9' => {
                let start = scan.at;
                scan.number()?;
                self.see_number(&scan.text[start..scan.at]);
            }
            b't' | b'f' => {
                self.booleans += 1;
                scan.scalar()?;
            }
            b'n' => {
                self.nulls += 1;
                scan.scalar()?;
            }
            _ if level == LEVELS => {
                self.deep += 1;
                scan.value()?;
            }
            b'[' => {
                self.lists += 1;
                let list = self.list.get_or_insert_default();
                scan.open()?;
                let mut more = scan.peek() != b']' || scan.another(b']')?;
                while more {
                    list.see(scan, level + 1, limit)?;
                    more = scan.another(b']')?;
                }
            }
            _ => {
                self.objects += 1;
                let keys = self.object.get_or_insert_with(|| Keys { limit, ..Keys::default() });
                keys.see(scan, level + 1)?;
            }
        }
        Ok(())
    }

    fn see_number(&mut self, text: &[u8]) {
        let whole = !text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        match () {
            () if whole && let Some(value) = values::long(text) => {
                self.whole += 1;
                self.wide += u64::from(!values::is_double(value));
            }
            () if whole && values::decimal(text, 38, 0).is_some() => self.large += 1,
            () if !whole && values::double(text).is_some_and(f64::is_finite) => self.fractions += 1,
            () => self.huge += 1,
        }
    }

    fn too_many(&self) -> Option<usize> {
        let listed = self.list.as_ref().and_then(|kind| kind.too_many());
        listed.or_else(|| self.object.as_ref().and_then(Keys::too_many))
    }

    /// Whether fractions need a double, which does not hold all of the whole numbers beside them.
    fn would_round(&self) -> bool {
        self.fractions > 0 && self.large + self.wide > 0
    }

    fn data_type(&self) -> DataType {
        if self.huge + self.deep > 0 || self.would_round() {
            return DataType::Utf8;
        }
        let is_boolean = self.booleans > 0;
        let is_number = self.whole + self.large + self.fractions > 0;
        match (&self.text, is_boolean, is_number, &self.list, &self.object) {
            (None, true, false, None, None) => DataType::Boolean,
            (None, false, true, None, None) if self.fractions > 0 => DataType::Float64,
            (None, false, true, None, None) if self.large > 0 => DataType::Decimal128(38, 0),
            (None, false, true, None, None) => DataType::Int64,
            (None, false, false, Some(items), None) => {
                DataType::List(Arc::new(Field::new_list_field(items.data_type(), true)))
            }
            (None, false, false, None, Some(keys)) if !keys.kinds.is_empty() => {
                let fields = keys.kinds.iter().map(|(name, kind)| Field::new(name, kind.data_type(), true));
                DataType::Struct(Fields::from_iter(fields))
            }
            (Some(text), false, false, None, None) => match text.ty() {
                // A number or a truth value that is written as a string is meant as one.
                ty @ (PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => arrow_type(ty),
                _ => DataType::Utf8,
            },
            _ => DataType::Utf8,
        }
    }

    /// Why it is this type, in words, when so many objects were looked at.
    fn reason(&self, objects: u64) -> String {
        let wide = if self.would_round() { self.wide } else { 0 };
        let kinds = [
            (self.texts, "text"),
            (self.booleans, "true or false"),
            (self.whole - wide, "whole number"),
            (wide, "whole number that no double holds"),
            (self.large, "whole number beyond a long"),
            (self.huge, "number beyond a decimal or a double"),
            (self.fractions, "number with a fraction or an exponent"),
            (self.lists, "list"),
            (self.objects, "object"),
            (self.deep, "list or object too deep for a type"),
        ];
        let seen: Vec<(u64, &str)> = kinds.into_iter().filter(|(count, _)| *count > 0).collect();
        let values: u64 = seen.iter().map(|(count, _)| count).sum();
        let mut reason = match (seen.as_slice(), &self.text) {
            ([], _) => "no value in the sample: only a string holds whatever comes".to_owned(),
            ([_], Some(text))
                if matches!(text.ty(), PrimitiveType::Date | PrimitiveType::Timestamp | PrimitiveType::Timestamptz) =>
            {
                text.reason()
            }
            ([(count, what)], _) => format!("values: {} x {what}", grouped(*count)),
            (several, _) => {
                let several: Vec<String> =
                    several.iter().map(|(count, what)| format!("{} x {what}", grouped(*count))).collect();
                let kept = if self.data_type() == DataType::Utf8 { ": kept as their JSON text" } else { "" };
                format!("values: {}{kept}", several.join(", "))
            }
        };
        let missing = objects.saturating_sub(values + self.nulls);
        for (count, what) in [(self.nulls, "null"), (missing, "missing")] {
            if count > 0 {
                reason.push_str(&format!("; {} {what}", grouped(count)));
            }
        }
        reason
    }
}
