//! Numbers with a decimal separator of their own, and separators between groups of digits.

use memchr::memchr;
use moulin_core::{ColumnText, CsvFormat, PrimitiveType};

use crate::values;

/// How numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    decimal: u8,
    thousands: Option<u8>,
}

/// Texts up to here are rewritten without a buffer from the heap.
const SHORT: usize = 64;

impl Number {
    /// `None`: a point, and no groups.
    ///
    /// # Errors
    /// When both separators are one.
    pub(crate) fn of(column: &ColumnText, format: &CsvFormat) -> Result<Option<Self>, String> {
        let decimal = column.decimal_separator.unwrap_or(format.decimal_separator);
        let thousands = column.thousands_separator.or(format.thousands_separator);
        if thousands == Some(decimal) {
            let both = char::from(decimal);
            return Err(format!("decimal_separator and thousands_separator are both `{both}`"));
        }
        Ok((decimal != b'.' || thousands.is_some()).then_some(Self { decimal, thousands }))
    }

    /// The character between the whole and the fraction.
    pub(crate) fn point(self) -> u8 {
        self.decimal
    }

    pub(crate) fn decimal(self, text: &[u8], ty: PrimitiveType) -> Option<i128> {
        let PrimitiveType::Decimal { precision, scale } = ty else { return None };
        self.read(text, |plain| values::decimal(plain, precision, scale))
    }

    /// Reads the number in its usual form.
    pub(crate) fn read<T>(self, text: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        if text.len() <= SHORT {
            let mut buffer = [0; SHORT];
            let length = self.rewrite(text, &mut buffer)?;
            return read(&buffer[..length]);
        }
        let mut buffer = vec![0; text.len()];
        let length = self.rewrite(text, &mut buffer)?;
        read(&buffer[..length])
    }

    /// Writes the usual form, with a point and no groups; says how long it is.
    fn rewrite(self, text: &[u8], out: &mut [u8]) -> Option<usize> {
        let whole_end = memchr(self.decimal, text).unwrap_or(text.len());
        let (whole, rest) = text.split_at(whole_end);
        let mut length = 0;
        let mut put = |bytes: &[u8]| {
            out[length..length + bytes.len()].copy_from_slice(bytes);
            length += bytes.len();
        };
        match self.thousands.filter(|separator| memchr(*separator, whole).is_some()) {
            Some(separator) => {
                let sign = usize::from(matches!(whole, [b'+' | b'-', ..]));
                put(&whole[..sign]);
                // `1,234,567` and, as in India, `12,34,567`; `1,5` may be anything.
                let mut groups = whole[sign..].split(|byte| *byte == separator).peekable();
                let mut least = 1;
                while let Some(group) = groups.next() {
                    if groups.peek().is_none() {
                        least = 3;
                    }
                    if group.len() < least || group.len() > 3 || !group.iter().all(u8::is_ascii_digit) {
                        return None;
                    }
                    least = 2;
                    put(group);
                }
            }
            // A point that is neither separator is no part of a number.
            None if self.decimal != b'.' && memchr(b'.', whole).is_some() => return None,
            None => put(whole),
        }
        if let Some((_, fraction)) = rest.split_first() {
            if memchr(b'.', fraction).is_some() {
                return None;
            }
            put(b".");
            put(fraction);
        }
        Some(length)
    }

    pub(super) fn expected(self) -> String {
        let mut expected = format!("with `{}` before the fraction", char::from(self.decimal));
        if let Some(separator) = self.thousands {
            expected.push_str(&format!(" and `{}` between thousands", char::from(separator)));
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_where_they_may_be() {
        let german = Number { decimal: b',', thousands: Some(b'.') };
        let english = Number { decimal: b'.', thousands: Some(b',') };
        let comma = Number { decimal: b',', thousands: None };
        let table = [
            (german, "1.234.567,89", Some("1234567.89")),
            (german, "-1.234", Some("-1234")),
            (german, "1,5", Some("1.5")),
            (german, "1.5", None),
            (german, "1.23.456", Some("123456")),
            (german, "1,234.5", None),
            (english, "1,234.50", Some("1234.50")),
            (english, "12,34,567", Some("1234567")),
            (english, "1,5", None),
            (english, "1,2345", None),
            (english, ",123", None),
            (english, "1,,234", None),
            (english, "1234567", Some("1234567")),
            (comma, "0,5", Some("0.5")),
            (comma, "0.5", None),
            (comma, "1,5e3", Some("1.5e3")),
        ];
        for (number, text, expected) in table {
            let plain = number.read(text.as_bytes(), |plain| String::from_utf8(plain.to_vec()).ok());
            assert_eq!(plain.as_deref(), expected, "{text}");
        }
        let long = format!("1{}", ".000".repeat(30));
        assert_eq!(german.read(long.as_bytes(), |plain| Some(plain.len())), Some(91));
    }
}
