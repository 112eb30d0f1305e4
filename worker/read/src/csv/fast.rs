//! One column of a window of regular rows, in one loop.

use memchr::memchr;
use moulin_core::PrimitiveType;

use super::{NullRule, Target};
use crate::columns::{Bytes, Column, Data};
use crate::notation::{Notation, Number};
use crate::values::{self, WideDecimal};

/// Rows whose fields' ends are known.
pub(super) struct Window<'a> {
    pub(super) text: &'a [u8],
    /// As [`super::index::index`] writes them.
    pub(super) ends: &'a [u32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) quote: Option<u8>,
    /// Whether a CR before a line end belongs to it.
    pub(super) trim_cr: bool,
}

impl Window<'_> {
    /// Start and end of each field of one column.
    #[inline(always)]
    fn fields(&self, column: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let trims = self.trim_cr && column + 1 == self.columns;
        self.ends[column..].windows(2).step_by(self.columns).take(self.rows).map(move |pair| {
            let (start, mut end) = (pair[0] as usize + 1, pair[1] as usize);
            if trims && end > start && self.text[end - 1] == b'\r' {
                end -= 1;
            }
            (start, end)
        })
    }

    /// Whether a field of the column is empty.
    pub(super) fn has_empty(&self, column: usize) -> bool {
        self.fields(column).any(|(start, end)| start == end)
    }

    /// Whether all fields of the column are.
    pub(super) fn is_empty(&self, column: usize) -> bool {
        self.fields(column).all(|(start, end)| start == end)
    }
}

/// The number of quotes of the fields read, or `None` when a field needs the slow way.
type Quotes = Option<usize>;

/// Appends one column of the window.
pub(super) fn append(window: &Window<'_>, at: usize, target: &Target, column: &mut Column) -> Quotes {
    let rule = &target.nulls;
    match &target.notation {
        notation if target.is_plain_only() => append_plain(window, at, rule, notation, column),
        Notation::Usual => append_usual(window, at, rule, column),
        Notation::Number(number) => append_number(window, at, rule, *number, column),
        notation => append_noted(window, at, rule, notation, column),
    }
}

/// Goes over a column that the schema does not have; `None` when one of its fields needs the slow way: one that is not
/// absent does, where that `matters`.
pub(super) fn pass_over(window: &Window<'_>, at: usize, absent: &NullRule, matters: bool) -> Quotes {
    let mut quotes = 0;
    for (start, end) in window.fields(at) {
        let field = &window.text[start..end];
        if window.quote.is_some() && field.first().copied() == window.quote {
            if matters {
                return None;
            }
            quotes += quotes_of(field, window.quote?)?;
        } else if matters && !absent.is_null(field) {
            return None;
        }
    }
    Some(quotes)
}

/// The quotes of a quoted field, if they are in pairs.
fn quotes_of(field: &[u8], quote: u8) -> Quotes {
    let mut inner = unquoted(field)?;
    let mut quotes = 2;
    while let Some(at) = memchr(quote, inner) {
        if inner.get(at + 1) != Some(&quote) {
            return None;
        }
        inner = &inner[at + 2..];
        quotes += 2;
    }
    Some(quotes)
}

fn append_usual(window: &Window<'_>, at: usize, rule: &NullRule, column: &mut Column) -> Quotes {
    let nulls = &mut column.nulls;
    match (&mut column.data, column.ty) {
        (Data::I32(out), PrimitiveType::Date) => {
            let wide = |text: &[u8], start, end| if end - start == 10 { values::wide_date(text, start) } else { None };
            each(window, at, rule, out, nulls, wide, values::date)
        }
        (Data::I32(out), _) => each(window, at, rule, out, nulls, wide_int, values::int),
        (Data::I64(out), PrimitiveType::Time) => each(window, at, rule, out, nulls, narrow, values::time),
        (Data::I64(out), PrimitiveType::Timestamp) => {
            let wide = |text: &[u8], start, end| values::wide_moment(text, start, end, false);
            each(window, at, rule, out, nulls, wide, values::timestamp)
        }
        (Data::I64(out), PrimitiveType::Timestamptz) => {
            let wide = |text: &[u8], start, end| values::wide_moment(text, start, end, true);
            each(window, at, rule, out, nulls, wide, values::timestamptz)
        }
        (Data::I64(out), _) => each(window, at, rule, out, nulls, wide_long, values::long),
        (Data::I128(out), PrimitiveType::Decimal { precision, scale }) => {
            let wide = wide_decimal(precision, scale, b'.');
            each(window, at, rule, out, nulls, wide, |text| values::decimal(text, precision, scale))
        }
        (Data::I128(_), _) => None,
        (Data::F64(out), _) => {
            each(window, at, rule, out, nulls, |text, start, end| values::double(&text[start..end]), values::double)
        }
        (Data::F32(out), _) => {
            each(window, at, rule, out, nulls, |text, start, end| values::float(&text[start..end]), values::float)
        }
        (Data::Bool(out), _) => {
            each(window, at, rule, out, nulls, |text, start, end| values::boolean(&text[start..end]), values::boolean)
        }
        (Data::Bytes(out), _) => texts(window, at, rule, out, nulls),
    }
}

/// Numbers with separators of their own. What is only digits, or has its point where the scale has it, is read as usual.
fn append_number(window: &Window<'_>, at: usize, rule: &NullRule, number: Number, column: &mut Column) -> Quotes {
    let nulls = &mut column.nulls;
    match (&mut column.data, column.ty) {
        (Data::I32(out), _) => each(window, at, rule, out, nulls, wide_int, |text| number.read(text, values::int)),
        (Data::I64(out), _) => each(window, at, rule, out, nulls, wide_long, |text| number.read(text, values::long)),
        (Data::I128(out), ty @ PrimitiveType::Decimal { precision, scale }) => {
            let wide = wide_decimal(precision, scale, number.point());
            each(window, at, rule, out, nulls, wide, |text| number.decimal(text, ty))
        }
        (Data::F64(out), _) => each(window, at, rule, out, nulls, narrow, |text| number.read(text, values::double)),
        (Data::F32(out), _) => each(window, at, rule, out, nulls, narrow, |text| number.read(text, values::float)),
        _ => None,
    }
}

/// Numbers of a type that was inferred: nothing of their texts may be lost.
fn append_plain(window: &Window<'_>, at: usize, rule: &NullRule, notation: &Notation, column: &mut Column) -> Quotes {
    let nulls = &mut column.nulls;
    match (notation, &mut column.data) {
        (Notation::Number(number), Data::I64(out)) => {
            each(window, at, rule, out, nulls, plain_long, |text| number.read(text, values::plain_long))
        }
        (Notation::Number(number), Data::F64(out)) => {
            each(window, at, rule, out, nulls, narrow, |text| number.read(text, values::plain_double))
        }
        (Notation::Usual, Data::I64(out)) => each(window, at, rule, out, nulls, plain_long, values::plain_long),
        (Notation::Usual, Data::F64(out)) => each(window, at, rule, out, nulls, narrow, values::plain_double),
        _ => None,
    }
}

/// Words of truth, and dates and times of a format or a zone.
fn append_noted(window: &Window<'_>, at: usize, rule: &NullRule, notation: &Notation, column: &mut Column) -> Quotes {
    let (nulls, ty) = (&mut column.nulls, column.ty);
    match (notation, &mut column.data) {
        (Notation::Words(words), Data::Bool(out)) => {
            each(window, at, rule, out, nulls, narrow, |text| words.value(text))
        }
        (Notation::Moment(pattern), Data::I32(out)) => {
            each(window, at, rule, out, nulls, narrow, |text| pattern.date(text))
        }
        (Notation::Moment(pattern), Data::I64(out)) => {
            each(window, at, rule, out, nulls, narrow, |text| pattern.micros(text, ty))
        }
        (Notation::Zoned(pattern, zone), Data::I64(out)) => {
            each(window, at, rule, out, nulls, narrow, |text| zone.moment(pattern.as_ref(), text))
        }
        _ => None,
    }
}

#[inline(always)]
fn wide_int(text: &[u8], start: usize, end: usize) -> Option<i32> {
    values::wide_uint(text, start, end).map(|value| value as i32)
}

#[inline(always)]
fn wide_long(text: &[u8], start: usize, end: usize) -> Option<i64> {
    values::wide_uint(text, start, end).map(|value| value as i64)
}

/// Digits without a zero before them.
#[inline(always)]
fn plain_long(text: &[u8], start: usize, end: usize) -> Option<i64> {
    if text[start] == b'0' && end - start > 1 { None } else { wide_long(text, start, end) }
}

fn wide_decimal(precision: u8, scale: u8, point: u8) -> impl Fn(&[u8], usize, usize) -> Option<i128> {
    let parser = WideDecimal::new(scale, point);
    // What the fast way takes has up to 8 digits before the shift to the scale, which a small precision may not hold.
    let limit = u64::try_from(values::power_of_ten(precision)).unwrap_or(u64::MAX);
    move |text, start, end| parser.parse(text, start, end).filter(|value| *value < limit).map(i128::from)
}

/// No way but the plain one.
fn narrow<T>(_: &[u8], _: usize, _: usize) -> Option<T> {
    None
}

fn each<T: Copy + Default>(
    window: &Window<'_>,
    at: usize,
    rule: &NullRule,
    out: &mut Vec<T>,
    nulls: &mut Vec<u32>,
    wide: impl Fn(&[u8], usize, usize) -> Option<T>,
    plain: impl Fn(&[u8]) -> Option<T>,
) -> Quotes {
    let base = out.len();
    out.resize(base + window.rows, T::default());
    let mut quotes = 0;
    for (row, (slot, (start, end))) in out[base..].iter_mut().zip(window.fields(at)).enumerate() {
        if !rule.first
            && let Some(value) = wide(window.text, start, end)
        {
            *slot = value;
            continue;
        }
        let field = &window.text[start..end];
        if field.first().is_some_and(|byte| Some(*byte) == window.quote) {
            let inner = unquoted(field)?;
            quotes += 2;
            *slot = plain(inner)?;
        } else if rule.is_null(field) {
            nulls.push((base + row) as u32);
        } else {
            *slot = plain(field)?;
        }
    }
    Some(quotes)
}

/// The inside of a quoted field. What is in there is checked by whoever reads it: no value but a text holds a quote.
fn unquoted(field: &[u8]) -> Option<&[u8]> {
    match field {
        [first, inner @ .., last] if first == last => Some(inner),
        _ => None,
    }
}

fn texts(window: &Window<'_>, at: usize, rule: &NullRule, out: &mut Bytes, nulls: &mut Vec<u32>) -> Quotes {
    let base = out.offsets.len() - 1;
    out.offsets.reserve(window.rows);
    let checks_nulls = rule.empty || !rule.values.is_empty();
    let mut quotes = 0;
    for (row, (start, end)) in window.fields(at).enumerate() {
        let field = &window.text[start..end];
        if window.quote.is_some() && field.first().copied() == window.quote {
            quotes += quoted_text(window.text, start, end, window.quote?, out)?;
        } else if checks_nulls && rule.is_null(field) {
            nulls.push((base + row) as u32);
        } else {
            out.copy(window.text, start, end);
        }
        out.offsets.push(out.used as i32);
    }
    Some(quotes)
}

fn quoted_text(text: &[u8], start: usize, end: usize, quote: u8, out: &mut Bytes) -> Quotes {
    unquoted(&text[start..end])?;
    let (mut start, end) = (start + 1, end - 1);
    let mut quotes = 2;
    while let Some(at) = memchr(quote, &text[start..end]) {
        let doubled = start + at + 1;
        if doubled == end || text[doubled] != quote {
            return None;
        }
        out.copy(text, start, doubled);
        start = doubled + 1;
        quotes += 2;
    }
    out.copy(text, start, end);
    Some(quotes)
}
