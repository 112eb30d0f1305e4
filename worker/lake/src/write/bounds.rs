//! Lower and upper bounds of a column, from Parquet statistics to Iceberg's single values.

use iceberg::spec::{Datum, PrimitiveType};
use parquet::file::statistics::Statistics;

/// A value that no value of the column is below; of a text or bytes at most `length` characters or bytes.
pub(super) fn lower_bound(ty: &PrimitiveType, statistics: &Statistics, length: usize) -> Option<Datum> {
    let bytes = statistics.min_bytes_opt()?;
    match ty {
        PrimitiveType::String => Some(Datum::string(first_chars(std::str::from_utf8(bytes).ok()?, length))),
        PrimitiveType::Binary => Some(Datum::binary(cut_bytes(bytes, length))),
        _ => fixed_width(ty, statistics, bytes),
    }
}

/// A value that no value of the column is above; `None` also when there is none that is short enough.
pub(super) fn upper_bound(ty: &PrimitiveType, statistics: &Statistics, length: usize) -> Option<Datum> {
    let bytes = statistics.max_bytes_opt()?;
    match ty {
        PrimitiveType::String => upper_text(std::str::from_utf8(bytes).ok()?, length).map(Datum::string),
        PrimitiveType::Binary => raised_bytes(bytes, length).map(Datum::binary),
        _ => fixed_width(ty, statistics, bytes),
    }
}

// Parquet holds little-endian numbers and big-endian decimals, Iceberg's single values are the same, except for
// decimals that Parquet holds as numbers.
fn fixed_width(ty: &PrimitiveType, statistics: &Statistics, bytes: &[u8]) -> Option<Datum> {
    let swapped: Vec<u8>;
    let bytes = match (ty, statistics) {
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_) | Statistics::Int64(_)) => {
            swapped = bytes.iter().rev().copied().collect();
            &swapped
        }
        _ => bytes,
    };
    Datum::try_from_bytes(bytes, ty.clone()).ok()
}

/// The first characters of a text: a lower bound. `None`: not a text.
pub(super) fn cut_text(text: &[u8], length: usize) -> Option<Vec<u8>> {
    Some(first_chars(std::str::from_utf8(text).ok()?, length).as_bytes().to_vec())
}

/// The shortest upper bound of a text with at most so many characters.
pub(super) fn raised_text(text: &[u8], length: usize) -> Option<Vec<u8>> {
    upper_text(std::str::from_utf8(text).ok()?, length).map(String::into_bytes)
}

/// The first bytes: a lower bound.
pub(super) fn cut_bytes(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes[..bytes.len().min(length)].to_vec()
}

/// The shortest upper bound with at most so many bytes.
pub(super) fn raised_bytes(bytes: &[u8], length: usize) -> Option<Vec<u8>> {
    if bytes.len() <= length {
        return Some(bytes.to_vec());
    }
    let mut short = bytes[..length].to_vec();
    while let Some(last) = short.pop() {
        if let Some(next) = last.checked_add(1) {
            short.push(next);
            return Some(short);
        }
    }
    None
}

fn first_chars(text: &str, length: usize) -> &str {
    text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end])
}

// The shortened text with its last character raised by one; a character that is the last of all gives way to
// the one before it.
fn upper_text(text: &str, length: usize) -> Option<String> {
    let short = first_chars(text, length);
    if short.len() == text.len() {
        return Some(text.to_owned());
    }
    let mut chars: Vec<char> = short.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = next_char(last) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

fn next_char(c: char) -> Option<char> {
    match c {
        '\u{D7FF}' => Some('\u{E000}'),
        c => char::from_u32(u32::from(c) + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_bounded_by_sixteen_characters() {
        assert_eq!(upper_text("short", 16).unwrap(), "short");
        assert_eq!(upper_text("0123456789abcdefg", 16).unwrap(), "0123456789abcdeg");
        assert_eq!(first_chars("äöüäöüäöüäöüäöüäöü", 16), "äöüäöüäöüäöüäöüä");
        assert_eq!(upper_text(&"\u{10FFFF}".repeat(17), 16), None);
        assert_eq!(upper_text(&format!("a{}", "\u{10FFFF}".repeat(17)), 16).unwrap(), "b");
        assert_eq!(raised_bytes(&[0xff; 17], 16), None);
        assert_eq!(raised_bytes(&[1; 17], 16).unwrap()[15], 2);
    }

    #[test]
    fn a_decimal_held_as_a_number_keeps_its_value_and_sign() {
        let ty = PrimitiveType::Decimal { precision: 12, scale: 2 };
        let statistics = Statistics::int64(Some(-12345), Some(250), None, Some(0), false);
        assert_eq!(lower_bound(&ty, &statistics, 16).unwrap().to_string(), "-123.45");
        assert_eq!(upper_bound(&ty, &statistics, 16).unwrap().to_string(), "2.50");
    }
}
