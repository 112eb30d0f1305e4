//! What the text of a field looks like, whatever its column.

use crate::values;

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Empty,
    /// A number, a date, a time or a truth.
    Value,
    /// Words.
    Words,
    /// Something that is cut wrongly: it holds what delimits fields in other dialects.
    Odd,
}

pub(super) fn look_of(text: &[u8], quoted: bool, delimiter: &[u8]) -> Look {
    if text.is_empty() {
        return Look::Empty;
    }
    let trimmed = text.trim_ascii();
    if is_value(trimmed) {
        return Look::Value;
    }
    let is_odd =
        |byte: u8| matches!(byte, b',' | b';' | b'|' | b'\t' | b'"' | b'~' | b'^' | 1) && !delimiter.contains(&byte);
    let is_odd = !quoted && (text.iter().any(|byte| is_odd(*byte)) || text.starts_with(b"'") || text.ends_with(b"'"));
    if is_odd { Look::Odd } else { Look::Words }
}

fn is_value(text: &[u8]) -> bool {
    let is_word = text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false");
    is_word || is_number(text) || is_moment(text)
}

/// Digits with separators of any country, a sign, a percent sign, an exponent.
fn is_number(text: &[u8]) -> bool {
    if !text.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let text = text.strip_suffix(b"%").unwrap_or(text);
    values::double(text).is_some() || {
        let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
        let separators = digits.iter().filter(|byte| matches!(byte, b',' | b'.' | b'\'')).count();
        let is_plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b',' | b'.' | b'\'');
        digits.iter().all(is_plain) && digits[0].is_ascii_digit() && separators * 2 < digits.len()
    }
}

/// Digits with what stands in dates and times between them.
fn is_moment(text: &[u8]) -> bool {
    if values::date(text).is_some() || values::timestamptz(text).is_some() || values::time(text).is_some() {
        return true;
    }
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let marks = text.iter().filter(|byte| matches!(byte, b'/' | b'-' | b'.' | b':')).count();
    let others = text.iter().filter(|byte| matches!(byte, b' ' | b'T' | b'Z' | b'+' | b'A' | b'P' | b'M')).count();
    digits >= 3 && marks >= 2 && text[0].is_ascii_digit() && digits + marks + others == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_like_what_they_are() {
        let table = [
            ("", Look::Empty),
            ("-1.5e3", Look::Value),
            ("1.234,56", Look::Value),
            ("12%", Look::Value),
            ("TRUE", Look::Value),
            ("29.02.2024", Look::Value),
            ("2024-02-29T10:00:00Z", Look::Value),
            ("2/29/24 10:00 PM", Look::Value),
            ("Fifth Avenue 5", Look::Words),
            ("x-1", Look::Words),
            ("a,b", Look::Odd),
            ("say \"hi\"", Look::Odd),
        ];
        for (text, look) in table {
            assert_eq!(look_of(text.as_bytes(), false, b";"), look, "{text}");
        }
        assert_eq!(look_of(b"a,b", true, b";"), Look::Words);
        assert_eq!(look_of(b"a,b", false, b","), Look::Words);
    }
}
