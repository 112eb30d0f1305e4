//! A value becomes a cell.

use std::borrow::Cow;
use std::collections::HashMap;

use moulin_core::{DuplicateKeys, PrimitiveType};

use super::cells::{Cells, Structs};
use super::duplicates::key_text;
use super::scan::{Broken, Number, Scan, Str, unescaped};
use super::shape::{Key, Members, Shape, Texts};
use crate::columns::{Column, Data};
use crate::fault::Bad;
use crate::values;

/// Why a record does not fit.
pub(super) enum Unfit {
    /// It is no JSON.
    Broken(Broken),
    /// One of its values is none of the type of its place.
    Value(Box<Misfit>),
    /// Something else.
    Bad(Box<Bad>),
}

/// A value that is none of the type of its place.
pub(super) struct Misfit {
    /// Where in its column: `.name` of a struct, `[0]` of a list. Empty: the column's value itself.
    pub(super) path: String,
    pub(super) start: usize,
    pub(super) end: usize,
    /// `None`: a list, a struct or a map.
    pub(super) ty: Option<PrimitiveType>,
    /// It is a string with half of a surrogate pair.
    pub(super) surrogate: bool,
}

impl From<Broken> for Unfit {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Unfit {
    fn value(start: usize, end: usize, ty: Option<PrimitiveType>, surrogate: bool) -> Self {
        Self::Value(Box::new(Misfit { path: String::new(), start, end, ty, surrogate }))
    }

    /// The same, seen from around the value.
    fn inside(mut self, part: impl FnOnce() -> String) -> Self {
        if let Self::Value(misfit) = &mut self {
            misfit.path.insert_str(0, &part());
        }
        self
    }
}

/// Reads values of any shape. Its recursion is as deep as the type, not as the text.
pub(super) struct Values {
    pub(super) duplicate_keys: DuplicateKeys,
    /// Keys that the structs of the column do not have, since it was emptied.
    pub(super) unknown: Vec<Inner>,
}

/// A value inside of a column that has no place there.
pub(super) struct Inner {
    /// Where in its column: `.name`, `[0].name`.
    pub(super) path: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Values {
    /// Reads the value that starts here into its cells. After an error they may hold a part of it.
    #[inline]
    pub(super) fn read(&mut self, scan: &mut Scan<'_>, shape: &Shape, cells: &mut Cells) -> Result<(), Unfit> {
        if scan.peek() == b'n' {
            scan.word("null")?;
            cells.push_null();
            return Ok(());
        }
        match (shape, cells) {
            (Shape::Plain { ty, any, texts: None }, Cells::Plain(column)) => plain(scan, *ty, *any, column),
            (Shape::Plain { ty, any, texts: Some(texts) }, Cells::Plain(column)) => {
                noted(scan, *ty, *any, texts, column)
            }
            (shape, cells) => self.nested(scan, shape, cells),
        }
    }

    fn nested(&mut self, scan: &mut Scan<'_>, shape: &Shape, cells: &mut Cells) -> Result<(), Unfit> {
        match (shape, cells, scan.peek()) {
            (Shape::List { item, .. }, Cells::List { spans, items }, b'[') => {
                self.list(scan, item, items)?;
                spans.push(items.len());
            }
            (Shape::Struct { members, .. }, Cells::Struct(structs), b'{') => self.object(scan, members, structs)?,
            (Shape::Map { value, .. }, Cells::Map { spans, keys, values }, b'{') => {
                self.map(scan, value, keys, values)?;
                spans.push(keys.len());
            }
            _ => {
                let start = scan.at;
                scan.value()?;
                return Err(Unfit::value(start, scan.at, None, false));
            }
        }
        Ok(())
    }

    fn list(&mut self, scan: &mut Scan<'_>, shape: &Shape, items: &mut Cells) -> Result<(), Unfit> {
        scan.open()?;
        let first = items.len();
        let mut more = scan.peek() != b']' || scan.another(b']')?;
        while more {
            let unknown = self.unknown.len();
            self.read(scan, shape, items)
                .map_err(|unfit| unfit.inside(|| format!("[{}]", items.len().saturating_sub(first))))?;
            self.place_unknown(unknown, || format!("[{}]", items.len().saturating_sub(first + 1)));
            more = scan.another(b']')?;
        }
        Ok(())
    }

    fn object(&mut self, scan: &mut Scan<'_>, members: &Members, structs: &mut Structs) -> Result<(), Unfit> {
        scan.open()?;
        structs.objects += 1;
        let known_before = self.unknown.len();
        let (mut found, mut expected) = (0, 0);
        let mut more = scan.peek() != b'}' || scan.another(b'}')?;
        while more {
            match members.key(scan, expected)? {
                Key::Unknown(key) => {
                    let start = scan.at;
                    scan.value()?;
                    let path = format!(".{}", String::from_utf8_lossy(&key_text(scan.text, key)));
                    self.unknown.push(Inner { path, start, end: scan.at });
                }
                Key::Known(place) => {
                    expected = place + 1;
                    let again = structs.seen[place] == structs.objects;
                    structs.seen[place] = structs.objects;
                    found += usize::from(!again);
                    if again && self.duplicate_keys == DuplicateKeys::First {
                        scan.value()?;
                    } else {
                        let member = &members.list[place];
                        if again {
                            structs.members[place].truncate(structs.rows);
                            self.forget_unknown(known_before, &member.name);
                        }
                        let unknown = self.unknown.len();
                        self.read(scan, &member.shape, &mut structs.members[place])
                            .map_err(|unfit| unfit.inside(|| format!(".{}", member.name)))?;
                        self.place_unknown(unknown, || format!(".{}", member.name));
                    }
                }
            }
            more = scan.another(b'}')?;
        }
        structs.rows += 1;
        if found < members.list.len() {
            let missing = structs.members.iter_mut().zip(&structs.seen).filter(|(_, seen)| **seen != structs.objects);
            missing.for_each(|(cells, _)| cells.push_null());
        }
        Ok(())
    }

    /// Says of all but the first unknown keys where the value that holds them stands.
    #[inline]
    fn place_unknown(&mut self, first: usize, part: impl Fn() -> String) {
        if self.unknown.len() > first {
            let part = part();
            self.unknown[first..].iter_mut().for_each(|inner| inner.path.insert_str(0, &part));
        }
    }

    /// Forgets those of a member whose value does not count.
    #[cold]
    fn forget_unknown(&mut self, first: usize, member: &str) {
        let mut at = 0;
        self.unknown.retain(|inner| {
            at += 1;
            let rest = inner.path.strip_prefix('.').and_then(|path| path.strip_prefix(member));
            at <= first || !rest.is_some_and(|rest| rest.starts_with(['.', '[']))
        });
    }

    /// Reads an object twice: which of its values count is known at its end.
    fn map(&mut self, scan: &mut Scan<'_>, shape: &Shape, keys: &mut Column, values: &mut Cells) -> Result<(), Unfit> {
        scan.open()?;
        let text = scan.text;
        let mut entries: Vec<(Str, usize)> = Vec::new();
        let mut places = HashMap::new();
        let mut more = scan.peek() != b'}' || scan.another(b'}')?;
        while more {
            let key = scan.key()?;
            match places.entry(key_text(text, key)) {
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(entries.len());
                    entries.push((key, scan.at));
                }
                std::collections::hash_map::Entry::Occupied(taken) if self.duplicate_keys != DuplicateKeys::First => {
                    entries[*taken.get()].1 = scan.at;
                }
                std::collections::hash_map::Entry::Occupied(_) => {}
            }
            scan.value()?;
            more = scan.another(b'}')?;
        }
        let (end, depth) = (scan.at, scan.depth);
        for (key, at) in entries {
            let raw = &text[key.start..key.end];
            match key.escaped.then(|| unescaped(raw)) {
                None => keys.push_text(raw),
                Some(Some(plain)) => keys.push_text(&plain),
                Some(None) => {
                    return Err(Unfit::value(key.start - 1, key.end + 1, Some(PrimitiveType::String), true));
                }
            };
            (scan.at, scan.depth) = (at, depth + 1);
            let unknown = self.unknown.len();
            let path = || format!(".{}", String::from_utf8_lossy(raw));
            self.read(scan, shape, values).map_err(|unfit| unfit.inside(path))?;
            self.place_unknown(unknown, path);
        }
        (scan.at, scan.depth) = (end, depth);
        Ok(())
    }
}

/// The same as [`plain`], of a column whose texts have a meaning of their own.
#[cold]
fn noted(scan: &mut Scan<'_>, ty: PrimitiveType, any: bool, texts: &Texts, column: &mut Column) -> Result<(), Unfit> {
    if scan.peek() != b'"' {
        return plain(scan, ty, any, column);
    }
    let start = scan.at;
    let place = scan.string()?;
    let Some(value) = text_of(scan.text, place) else {
        return Err(Unfit::value(start, scan.at, Some(ty), true));
    };
    if texts.is_null(&value) {
        column.push_null();
        return Ok(());
    }
    let fits = match texts.push(column, &value) {
        Some(fits) => fits,
        None => string(scan.text, place, ty, column).unwrap_or(false),
    };
    if fits { Ok(()) } else { Err(Unfit::value(start, scan.at, Some(ty), false)) }
}

/// The text of a string; `None` when half of a surrogate pair is in it.
fn text_of(text: &[u8], place: Str) -> Option<Cow<'_, [u8]>> {
    let raw = &text[place.start..place.end];
    if place.escaped { unescaped(raw).map(Cow::Owned) } else { Some(Cow::Borrowed(raw)) }
}

/// Reads a value of one of the primitive types.
#[inline]
fn plain(scan: &mut Scan<'_>, ty: PrimitiveType, any: bool, column: &mut Column) -> Result<(), Unfit> {
    let start = scan.at;
    let fits = match scan.peek() {
        b'"' => {
            if let (Data::I32(days), PrimitiveType::Date) = (&mut column.data, ty)
                && let Some(day) = date(scan)
            {
                days.push(day);
                return Ok(());
            }
            let place = scan.string()?;
            match string(scan.text, place, ty, column) {
                Some(fits) => fits,
                None => return Err(Unfit::value(start, scan.at, Some(ty), true)),
            }
        }
        b'-' | b'0'..=b'9' => {
            let written = scan.number()?;
            let text = &scan.text[start..scan.at];
            if any { column.push_text(text) } else { number(written, text, ty, column) }
        }
        b't' | b'f' => {
            scan.value()?;
            (any || ty == PrimitiveType::Boolean) && column.push_text(&scan.text[start..scan.at])
        }
        bracket => {
            scan.value()?;
            // What is nested is kept as its JSON text where a string is wanted.
            matches!(bracket, b'[' | b'{')
                && ty == PrimitiveType::String
                && column.push_text(&scan.text[start..scan.at])
        }
    };
    if fits { Ok(()) } else { Err(Unfit::value(start, scan.at, Some(ty), false)) }
}

/// Goes past a string that is a date as most writers write it.
#[inline]
fn date(scan: &mut Scan<'_>) -> Option<i32> {
    // Whoever has ten such characters and a quote behind them need not look for the string's end.
    if scan.text.get(scan.at + 11) != Some(&b'"') {
        return None;
    }
    let day = values::wide_date(scan.text, scan.at + 1)?;
    scan.at += 12;
    Some(day)
}

#[inline]
fn number(number: Number, text: &[u8], ty: PrimitiveType, column: &mut Column) -> bool {
    let sign = if number.negative { -1 } else { 1 };
    match (&mut column.data, ty) {
        (Data::I64(values), PrimitiveType::Long) if number.exact && number.fraction == 0 => {
            values.push(sign * number.digits as i64);
        }
        (Data::I32(values), PrimitiveType::Int) if number.exact && number.fraction == 0 => {
            match i32::try_from(sign * number.digits as i64) {
                Ok(value) => values.push(value),
                Err(_) => return false,
            }
        }
        (Data::I128(values), PrimitiveType::Decimal { precision, scale })
            if number.exact && number.fraction <= usize::from(scale) =>
        {
            let shift = usize::from(scale) - number.fraction;
            let value = match values::UNITS.get(shift) {
                // Less than 2^64 each: no overflow to look for.
                Some(unit) => Some(i128::from(number.digits) * i128::from(*unit)),
                None => i128::from(number.digits).checked_mul(values::power_of_ten(shift as u8)),
            };
            match value.filter(|value| *value < values::power_of_ten(precision)) {
                Some(value) => values.push(i128::from(sign) * value),
                None => return false,
            }
        }
        // A number out of the range of a double is not infinite.
        (Data::F64(values), _) => match values::double(text).filter(|value| value.is_finite()) {
            Some(value) => values.push(value),
            None => return false,
        },
        (Data::F32(values), _) => match values::float(text).filter(|value| value.is_finite()) {
            Some(value) => values.push(value),
            None => return false,
        },
        (_, PrimitiveType::Int | PrimitiveType::Long | PrimitiveType::Decimal { .. }) => {
            return column.push_text(text);
        }
        _ => return false,
    }
    true
}

/// Whether a string is a value of a type; `None` when it has no text, because half of a surrogate pair is in it.
#[inline]
fn string(text: &[u8], place: Str, ty: PrimitiveType, column: &mut Column) -> Option<bool> {
    if let (Data::Bytes(bytes), PrimitiveType::String, false) = (&mut column.data, ty, place.escaped) {
        bytes.copy(text, place.start, place.end);
        bytes.offsets.push(bytes.used as i32);
        return Some(true);
    }
    let raw = &text[place.start..place.end];
    let plain;
    let value = if place.escaped {
        plain = unescaped(raw)?;
        plain.as_slice()
    } else {
        raw
    };
    Some(match ty {
        PrimitiveType::Boolean
        | PrimitiveType::Int
        | PrimitiveType::Long
        | PrimitiveType::Float
        | PrimitiveType::Double => false,
        PrimitiveType::Binary => values::hex(value).is_some_and(|bytes| column.push_text(&bytes)),
        _ => column.push_text(value),
    })
}
