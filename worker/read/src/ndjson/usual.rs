//! Values that are written as most writers write them: no white space, no escapes, no exponents, few digits.
//!
//! Each function looks at a place and either gives what stands there and where it ends, or nothing: then the general way
//! ([`super::value`]) reads the same bytes and knows better, or what is wrong with them. Places are taken and given as
//! numbers and not kept in a [`super::scan::Scan`], so that they stay in registers.

use moulin_core::PrimitiveType;

use super::cells::Cells;
use super::scan::special;
use super::shape::{Member, Shape};
use crate::columns::{Column, Data};
use crate::values;

/// A double holds all whole numbers up to here, so that one division by a power of ten rounds once.
const EXACT: u64 = 1 << 53;

/// Reads a key that is expected and its value into its cells; gives where the value ends. Behind it stands `,` or `}`.
#[inline(always)]
pub(super) fn member(text: &[u8], at: usize, member: &Member, cells: &mut Cells) -> Option<usize> {
    let at = member.key_end(text, at)?;
    let (Shape::Plain { ty, texts: None, .. }, Cells::Plain(column)) = (&member.shape, cells) else { return None };
    value(text, at, *ty, column).or_else(|| null(text, at, column))
}

#[inline(always)]
fn value(text: &[u8], at: usize, ty: PrimitiveType, column: &mut Column) -> Option<usize> {
    match (&mut column.data, ty) {
        (Data::Bytes(bytes), PrimitiveType::String) => {
            let (start, end) = string(text, at)?;
            let after = ended(text, end + 1)?;
            bytes.copy(text, start, end);
            bytes.offsets.push(bytes.used as i32);
            Some(after)
        }
        (Data::I64(values), PrimitiveType::Long) => {
            let (number, end) = whole(text, at)?;
            values.push(number.signed());
            Some(end)
        }
        (Data::I32(values), PrimitiveType::Int) => {
            let (number, end) = whole(text, at)?;
            values.push(i32::try_from(number.signed()).ok()?);
            Some(end)
        }
        (Data::I32(days), PrimitiveType::Date) => {
            if text.get(at) != Some(&b'"') || text.get(at + 11) != Some(&b'"') {
                return None;
            }
            let day = values::wide_date(text, at + 1)?;
            let after = ended(text, at + 12)?;
            days.push(day);
            Some(after)
        }
        (Data::I128(values), PrimitiveType::Decimal { precision, scale }) => {
            let (number, end) = number(text, at)?;
            let shift = usize::from(scale).checked_sub(number.fraction)?;
            // Less than 2^64 each: no overflow to look for.
            let value = i128::from(number.digits) * i128::from(*values::UNITS.get(shift)?);
            if value >= values::power_of_ten(precision) {
                return None;
            }
            values.push(if number.negative { -value } else { value });
            Some(end)
        }
        (Data::F64(values), PrimitiveType::Double) => {
            let (number, end) = number(text, at)?;
            if number.digits > EXACT {
                return None;
            }
            let value = number.digits as f64 / *values::UNITS.get(number.fraction)? as f64;
            values.push(if number.negative { -value } else { value });
            Some(end)
        }
        (Data::Bool(values), PrimitiveType::Boolean) => {
            let (truth, end) = if word(text, at, b"true") { (true, at + 4) } else { (false, at + 5) };
            if !truth && !word(text, at, b"false") {
                return None;
            }
            let after = ended(text, end)?;
            values.push(truth);
            Some(after)
        }
        _ => None,
    }
}

#[inline(always)]
fn null(text: &[u8], at: usize, column: &mut Column) -> Option<usize> {
    let after = if word(text, at, b"null") { ended(text, at + 4)? } else { return None };
    column.push_null();
    Some(after)
}

#[inline(always)]
fn word(text: &[u8], at: usize, word: &[u8]) -> bool {
    text.get(at..at + word.len()) == Some(word)
}

/// The place itself, if a value that is no list's can end there.
#[inline(always)]
fn ended(text: &[u8], at: usize) -> Option<usize> {
    matches!(text.get(at), Some(b',' | b'}')).then_some(at)
}

/// The inside of a string without escapes.
#[inline(always)]
fn string(text: &[u8], at: usize) -> Option<(usize, usize)> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let end = special(text, at + 1);
    (text.get(end) == Some(&b'"')).then_some((at + 1, end))
}

/// `digits / 10^fraction`; at the most 15 digits before the point, 7 behind it.
struct Number {
    negative: bool,
    digits: u64,
    fraction: usize,
}

impl Number {
    #[inline(always)]
    fn signed(&self) -> i64 {
        if self.negative { -(self.digits as i64) } else { self.digits as i64 }
    }
}

/// A number without a fraction, and its end.
#[inline(always)]
fn whole(text: &[u8], at: usize) -> Option<(Number, usize)> {
    let (number, end) = integer(text, at)?;
    Some((number, ended(text, end)?))
}

/// A number, and its end.
#[inline(always)]
fn number(text: &[u8], at: usize) -> Option<(Number, usize)> {
    let (number, end) = integer(text, at)?;
    if text.get(end) != Some(&b'.') {
        return Some((number, ended(text, end)?));
    }
    let (digits, fraction) = values::leading_digits(text, end + 1)?;
    if fraction == 0 || fraction == 8 {
        return None;
    }
    let digits = number.digits.checked_mul(values::UNITS[fraction])?.checked_add(digits)?;
    Some((Number { digits, fraction, ..number }, ended(text, end + 1 + fraction)?))
}

#[inline(always)]
fn integer(text: &[u8], at: usize) -> Option<(Number, usize)> {
    let negative = text.get(at) == Some(&b'-');
    let first = at + usize::from(negative);
    let (mut digits, mut count) = values::leading_digits(text, first)?;
    if count == 8 {
        let (more, length) = values::leading_digits(text, first + 8)?;
        if length == 8 {
            return None;
        }
        (digits, count) = (digits * values::UNITS[length] + more, 8 + length);
    }
    // Nothing may follow a zero.
    if count == 0 || (count > 1 && text.get(first) == Some(&b'0')) {
        return None;
    }
    Some((Number { negative, digits, fraction: 0 }, first + count))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, ArrayRef};
    use arrow::datatypes::{DataType, Field};
    use moulin_core::DuplicateKeys;
    use proptest::prelude::*;

    use super::super::scan::{Layout, Scan};
    use super::super::value::Values;
    use super::*;

    fn types() -> [DataType; 8] {
        [
            DataType::Utf8,
            DataType::Int64,
            DataType::Int32,
            DataType::Date32,
            DataType::Decimal128(15, 2),
            DataType::Decimal128(38, 9),
            DataType::Float64,
            DataType::Boolean,
        ]
    }

    /// What the usual way makes of a value of a member `k`, and where it ends.
    fn usually(line: &str, ty: &DataType) -> Option<(usize, ArrayRef)> {
        let one = Member::new(&Field::new("k", ty.clone(), true).into(), false).unwrap();
        let mut cells = Cells::new(&one.shape, 1, 0);
        let end = member(line.as_bytes(), 1, &one, &mut cells)?;
        Some((end, cells.finish(&one.shape).unwrap()))
    }

    /// The same of the general way; `None` where that finds fault with it.
    fn generally(line: &str, ty: &DataType) -> Option<(usize, ArrayRef)> {
        let shape = Shape::of(ty, false).unwrap();
        let mut cells = Cells::new(&shape, 1, 0);
        let mut values = Values { duplicate_keys: DuplicateKeys::Last, unknown: Vec::new() };
        let mut scan =
            Scan { text: line.as_bytes(), at: "{\"k\":".len(), layout: Layout::Lines, depth: 1, max_depth: 128 };
        values.read(&mut scan, &shape, &mut cells).ok()?;
        Some((scan.at, cells.finish(&shape).unwrap()))
    }

    /// The usual way may leave a value alone; what it takes, the general way takes in the same way.
    fn expect_agreement(value: &str) -> Result<(), TestCaseError> {
        for (behind, ty) in
            [",\"next\":1}\n", "}\n", " }\n", "\n"].iter().flat_map(|behind| types().map(|ty| (behind, ty)))
        {
            let line = format!("{{\"k\":{value}{behind}");
            if let Some((end, array)) = usually(&line, &ty) {
                let other = generally(&line, &ty);
                prop_assert!(other.is_some(), "only the usual way takes {line} as {ty}: {array:?}");
                let (other_end, other_array) = other.unwrap();
                prop_assert_eq!((end, &array), (other_end, &other_array), "{} as {}", line, ty);
                prop_assert_eq!(bits(&array), bits(&other_array), "{} as {}", line, ty);
            }
        }
        Ok(())
    }

    /// Arrow says that both zeros are one.
    fn bits(array: &ArrayRef) -> Vec<u8> {
        array.to_data().buffers().iter().flat_map(|buffer| buffer.as_slice().to_vec()).collect()
    }

    #[test]
    fn it_takes_what_most_writers_write() {
        let taken = [
            (DataType::Utf8, "\"some text, and } and more of it\""),
            (DataType::Int64, "-123456789012345"),
            (DataType::Int32, "0"),
            (DataType::Date32, "\"2024-02-29\""),
            (DataType::Decimal128(15, 2), "1234567.5"),
            (DataType::Float64, "-0.0"),
            (DataType::Boolean, "false"),
            (DataType::Boolean, "null"),
        ];
        for (ty, value) in taken {
            assert!(usually(&format!("{{\"k\":{value},\"next\":1234567}}\n"), &ty).is_some(), "{value} as {ty}");
        }
    }

    #[test]
    fn what_is_written_in_another_way_or_wrongly_is_left_to_the_general_way() {
        let left = [
            (DataType::Utf8, "\"a\\n\""),
            (DataType::Utf8, "12"),
            (DataType::Int64, "012"),
            (DataType::Int64, "1e3"),
            (DataType::Int64, "1.0"),
            (DataType::Int64, "1234567890123456"),
            (DataType::Int32, "2147483648"),
            (DataType::Date32, "\"2023-02-29\""),
            (DataType::Decimal128(3, 2), "12.34"),
            (DataType::Decimal128(15, 2), "1.234"),
            (DataType::Float64, "123456789012.3456789"),
            (DataType::Float64, "1."),
            (DataType::Boolean, "true "),
            (DataType::Boolean, "nulls"),
        ];
        for (ty, value) in left {
            assert_eq!(usually(&format!("{{\"k\":{value},\"next\":1234567}}\n"), &ty), None, "{value} as {ty}");
        }
    }

    proptest! {
        #[test]
        fn numbers_agree(value in "-?(0|[0-9]{1,18})(\\.[0-9]{0,10})?([eE][+-]?[0-9]{1,2})?") {
            expect_agreement(&value)?;
        }

        #[test]
        fn dates_and_texts_agree(value in "\"([0-9]{4}-[01][0-9]-[0-3][0-9]|[a-z,}{\\\\\"]{0,30}|[0-9.]{1,12})\"") {
            expect_agreement(&value)?;
        }

        #[test]
        fn words_and_scraps_agree(value in "null|true|false|[a-z\"0-9\\[{}\\]-]{0,6}") {
            expect_agreement(&value)?;
        }
    }
}
