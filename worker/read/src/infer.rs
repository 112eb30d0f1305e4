//! The type of a column, guessed from some of its texts.

use moulin_core::PrimitiveType;

use super::values;

/// Rows of a sample at the most.
pub(crate) const SAMPLE_ROWS: usize = 10_000;
/// Bytes of a sample, roughly.
pub(crate) const SAMPLE_BYTES: usize = 1 << 20;

/// What all texts seen so far could be.
#[derive(Debug, Clone)]
pub(crate) struct Guess {
    seen: bool,
    boolean: bool,
    long: bool,
    double: bool,
    /// A number with digits has been seen: `nan` alone makes no column of numbers.
    digits: bool,
    date: bool,
    timestamp: bool,
    timestamptz: bool,
}

impl Default for Guess {
    fn default() -> Self {
        Self {
            seen: false,
            boolean: true,
            long: true,
            double: true,
            digits: false,
            date: true,
            timestamp: true,
            timestamptz: true,
        }
    }
}

impl Guess {
    /// Takes a text that is not null into account.
    pub(crate) fn see(&mut self, text: &[u8]) {
        self.seen = true;
        self.boolean = self.boolean && (text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false"));
        if self.long || self.double {
            let shape = number_shape(text);
            self.long = self.long && shape == Shape::Whole && values::long(text).is_some();
            // A whole number too large for a long would lose digits as a double: it is an identifier, not a measure.
            let exact = shape != Shape::Whole || values::long(text).is_some();
            self.double = self.double && shape != Shape::Other && exact && values::double(text).is_some();
            self.digits |= text.iter().any(u8::is_ascii_digit);
        }
        self.date = self.date && values::date(text).is_some();
        self.timestamp = self.timestamp && values::timestamp(text).is_some();
        self.timestamptz = self.timestamptz && values::has_zone(text);
    }

    /// The narrowest type that holds all texts seen; string when there were none.
    pub(crate) fn ty(&self) -> PrimitiveType {
        match self {
            Self { seen: false, .. } => PrimitiveType::String,
            Self { boolean: true, .. } => PrimitiveType::Boolean,
            Self { long: true, .. } => PrimitiveType::Long,
            Self { double: true, digits: true, .. } => PrimitiveType::Double,
            Self { date: true, .. } => PrimitiveType::Date,
            Self { timestamp: true, .. } => PrimitiveType::Timestamp,
            Self { timestamptz: true, .. } => PrimitiveType::Timestamptz,
            _ => PrimitiveType::String,
        }
    }
}

#[derive(PartialEq, Eq)]
enum Shape {
    /// A sign and digits.
    Whole,
    /// Something else that may be a number.
    Broken,
    /// No number, or one like `007` that means its zeros.
    Other,
}

fn number_shape(text: &[u8]) -> Shape {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [] | [b'+', ..] | [b'0', b'0'..=b'9', ..] => Shape::Other,
        _ if digits.iter().all(u8::is_ascii_digit) => Shape::Whole,
        _ => Shape::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(texts: &[&str]) -> String {
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text.as_bytes()));
        guess.ty().to_string()
    }

    #[test]
    fn the_narrowest_type_that_holds_all_texts_is_taken() {
        let table: [(&[&str], &str); 17] = [
            (&[], "string"),
            (&["1", "-20"], "long"),
            (&["1", "2.5"], "double"),
            (&["1e3", "-0.5"], "double"),
            (&["nan", "1.5"], "double"),
            (&["nan", "inf"], "string"),
            (&["007", "12"], "string"),
            (&["0", "10"], "long"),
            (&["+49", "1"], "string"),
            (&["12345678901234567890"], "string"),
            (&["true", "FALSE"], "boolean"),
            (&["true", "1"], "string"),
            (&["2024-02-29", "2023-01-01"], "date"),
            (&["2023-02-29"], "string"),
            (&["2024-01-01 10:00:00", "2024-01-01T10:00:00.5"], "timestamp"),
            (&["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+02:00"], "timestamptz"),
            (&["2024-01-01T10:00:00Z", "2024-01-01T10:00:00"], "string"),
        ];
        for (texts, expected) in table {
            assert_eq!(guess(texts), expected, "{texts:?}");
        }
    }
}
