//! The type of a column, guessed from some of its texts, and why it is this one.

use std::collections::BTreeSet;

use moulin_core::PrimitiveType;

use super::fault::shown;
use super::values;

/// What all texts seen so far could be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guess {
    values: u64,
    nulls: u64,
    /// Of those, empty texts.
    empty: u64,
    /// The first texts that meant null, each once.
    null_texts: BTreeSet<Vec<u8>>,
    /// A number with digits has been seen.
    digits: bool,
    boolean: Candidate,
    long: Candidate,
    double: Candidate,
    date: Candidate,
    timestamp: Candidate,
    timestamptz: Candidate,
}

/// A type that all texts may have.
#[derive(Debug, Clone, Default)]
struct Candidate {
    /// The first text that is none of this type, and how many of them came before it.
    against: Option<(Vec<u8>, u64)>,
}

impl Candidate {
    fn holds(&self) -> bool {
        self.against.is_none()
    }

    /// The text that ruled it out, as it is shown.
    fn text(&self) -> String {
        self.against.as_ref().map(|(text, _)| shown(text)).unwrap_or_default()
    }

    fn see(&mut self, text: &[u8], before: u64, fits: impl FnOnce() -> bool) {
        if self.against.is_none() && !fits() {
            self.against = Some((text.to_vec(), before));
        }
    }
}

/// Texts that meant null that a reason names.
const NULL_TEXTS: usize = 3;

impl Guess {
    /// Takes a text that is not null into account.
    pub(crate) fn see(&mut self, text: &[u8]) {
        self.see_as(text, text);
    }

    /// Takes a text into account that means what another one usually means; the empty text: nothing but itself.
    pub(crate) fn see_as(&mut self, written: &[u8], text: &[u8]) {
        let before = self.values;
        self.values += 1;
        self.boolean.see(written, before, || text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false"));
        if self.long.holds() || self.double.holds() {
            let shape = number_shape(text);
            self.long.see(written, before, || shape == Shape::Whole && values::long(text).is_some());
            // A whole number that would lose digits as a double is an identifier, not a measure.
            let exact = shape != Shape::Whole || values::long(text).is_some_and(values::is_double);
            self.double.see(written, before, || shape != Shape::Other && exact && values::double(text).is_some());
            self.digits |= text.iter().any(u8::is_ascii_digit);
        }
        self.date.see(written, before, || values::date(text).is_some());
        self.timestamp.see(written, before, || values::timestamp(text).is_some());
        self.timestamptz.see(written, before, || values::has_zone(text));
    }

    /// Takes a null into account, and how it was written.
    pub(crate) fn see_null(&mut self, text: &[u8]) {
        self.nulls += 1;
        self.empty += u64::from(text.is_empty());
        if self.null_texts.len() < NULL_TEXTS && !self.null_texts.contains(text) {
            self.null_texts.insert(text.to_vec());
        }
    }

    /// The narrowest type that holds all texts seen; string when there were none.
    pub(crate) fn ty(&self) -> PrimitiveType {
        match self {
            Self { values: 0, .. } => PrimitiveType::String,
            guess if guess.boolean.holds() => PrimitiveType::Boolean,
            guess if guess.long.holds() => PrimitiveType::Long,
            guess if guess.double.holds() => PrimitiveType::Double,
            guess if guess.date.holds() => PrimitiveType::Date,
            guess if guess.timestamp.holds() => PrimitiveType::Timestamp,
            guess if guess.timestamptz.holds() => PrimitiveType::Timestamptz,
            _ => PrimitiveType::String,
        }
    }

    /// Why it is this type, in words: what all texts are, or the text that ruled out the last other type.
    pub(crate) fn reason(&self) -> String {
        let mut reason = match self.ty() {
            PrimitiveType::Boolean => self.all(BOOLEAN),
            PrimitiveType::Long => self.all(LONG),
            PrimitiveType::Double if !self.digits => match self.values {
                1 => "the only text is a word for a number, with no digit in it".to_owned(),
                values => format!("all {} texts are words for numbers, with no digit among them", grouped(values)),
            },
            PrimitiveType::Double => format!("{}; `{}` is not whole", self.all(DOUBLE), self.long.text()),
            PrimitiveType::Date => self.all(DATE),
            PrimitiveType::Timestamp => format!("{}; `{}` is no date", self.all(TIMESTAMP), self.date.text()),
            PrimitiveType::Timestamptz => self.all(TIMESTAMPTZ),
            _ if self.values == 0 => "no value in the sample: only a string holds whatever comes".to_owned(),
            _ => self.why_string(),
        };
        // An empty field is no null in a column of strings.
        let empty_is_text = self.ty() == PrimitiveType::String;
        let nulls = if empty_is_text { self.nulls - self.empty } else { self.nulls };
        if nulls > 0 {
            reason.push_str(&self.said_nulls(nulls, empty_is_text));
        }
        reason
    }

    fn all(&self, what: What) -> String {
        match self.values {
            1 => format!("the only text is {}", what.one),
            values => format!("all {} texts are {}", grouped(values), what.many),
        }
    }

    /// The text that ruled out the type that held longest.
    fn why_string(&self) -> String {
        let types = [
            (&self.long, LONG),
            (&self.double, DOUBLE),
            (&self.boolean, BOOLEAN),
            (&self.date, DATE),
            (&self.timestamptz, TIMESTAMPTZ),
            (&self.timestamp, TIMESTAMP),
        ];
        let ruled_out = types.into_iter().filter_map(|(candidate, what)| Some((candidate.against.as_ref()?, what)));
        // Of equals the first: `max_by_key` takes the last.
        let last = ruled_out.rev().max_by_key(|((_, before), _)| *before);
        match last {
            Some(((text, 0), _)) => match odd_number(text) {
                Some(odd) => format!("`{}` is {odd}", shown(text)),
                None => format!("`{}` is no number, date, timestamp, true or false", shown(text)),
            },
            Some(((text, before), what)) => {
                let first = match before {
                    1 => format!("the first text is {}", what.one),
                    before => format!("the first {} texts are {}", grouped(*before), what.many),
                };
                let odd = odd_number(text).map_or_else(|| "is not".to_owned(), |odd| format!("is {odd}"));
                format!("{first}, but `{}` {odd}", shown(text))
            }
            None => String::new(),
        }
    }

    fn said_nulls(&self, nulls: u64, empty_is_text: bool) -> String {
        let texts = self.null_texts.iter().filter(|text| !(empty_is_text && text.is_empty())).map(|text| {
            match text.as_slice() {
                [] => "the empty field".to_owned(),
                text => format!("`{}`", shown(text)),
            }
        });
        let texts: Vec<String> = texts.collect();
        let word = if nulls == 1 { "null" } else { "nulls" };
        format!("; {} {word} ({})", grouped(nulls), texts.join(", "))
    }
}

/// What texts of a type are called.
#[derive(Clone, Copy)]
struct What {
    one: &'static str,
    many: &'static str,
}

const BOOLEAN: What = What { one: "true or false", many: "true or false" };
const LONG: What = What { one: "a whole number", many: "whole numbers" };
const DOUBLE: What = What { one: "a number", many: "numbers" };
const DATE: What = What { one: "a date", many: "dates" };
const TIMESTAMP: What = What { one: "a timestamp without a zone", many: "timestamps without a zone" };
const TIMESTAMPTZ: What = What { one: "a timestamp with a zone", many: "timestamps with a zone" };

/// Why a text that looks like a number is taken for none.
fn odd_number(text: &[u8]) -> Option<&'static str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0', b'0'..=b'9', ..] if digits.iter().all(u8::is_ascii_digit) => {
            Some("a number whose leading zeros would be lost")
        }
        [b'+', b'0'..=b'9', ..] => Some("a number whose sign would be lost"),
        [_, ..] if digits.iter().all(u8::is_ascii_digit) && values::long(text).is_none() => {
            Some("a whole number that no long holds")
        }
        [_, ..] if digits.iter().all(u8::is_ascii_digit) && !values::long(text).is_some_and(values::is_double) => {
            Some("a whole number that no double holds")
        }
        _ => None,
    }
}

/// A number as people read it: `9,982`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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
        [] => Shape::Other,
        _ if !values::is_plain(text) => Shape::Other,
        _ if digits.iter().all(u8::is_ascii_digit) => Shape::Whole,
        _ => Shape::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(texts: &[&str]) -> Guess {
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text.as_bytes()));
        guess
    }

    #[test]
    fn the_narrowest_type_that_holds_all_texts_is_taken_and_said_why() {
        let table: [(&[&str], &str, &str); 23] = [
            (&[], "string", "no value in the sample: only a string holds whatever comes"),
            (&["5"], "long", "the only text is a whole number"),
            (&["1", "-20"], "long", "all 2 texts are whole numbers"),
            (&["1", "2.5"], "double", "all 2 texts are numbers; `2.5` is not whole"),
            (&["1e3", "-0.5"], "double", "all 2 texts are numbers; `1e3` is not whole"),
            (&["nan", "1.5"], "double", "all 2 texts are numbers; `nan` is not whole"),
            (&["nan", "inf"], "double", "all 2 texts are words for numbers, with no digit among them"),
            (&["007", "12"], "string", "`007` is a number whose leading zeros would be lost"),
            (&["0", "10"], "long", "all 2 texts are whole numbers"),
            (&["+49", "1"], "string", "`+49` is a number whose sign would be lost"),
            (&["12345678901234567890"], "string", "`12345678901234567890` is a whole number that no long holds"),
            (
                &["1.5", "9007199254740993"],
                "string",
                "the first text is a number, but `9007199254740993` is a whole number that no double holds",
            ),
            (&["1.5", "9007199254740992"], "double", "all 2 texts are numbers; `1.5` is not whole"),
            (&["9007199254740993"], "long", "the only text is a whole number"),
            (&["1", "2", "x"], "string", "the first 2 texts are whole numbers, but `x` is not"),
            (&["a", "1"], "string", "`a` is no number, date, timestamp, true or false"),
            (&["true", "FALSE"], "boolean", "all 2 texts are true or false"),
            (&["true", "1"], "string", "the first text is true or false, but `1` is not"),
            (&["2024-02-29", "2023-01-01"], "date", "all 2 texts are dates"),
            (&["2023-02-29"], "string", "`2023-02-29` is no number, date, timestamp, true or false"),
            (
                &["2024-01-01 10:00:00", "2024-01-01T10:00:00.5"],
                "timestamp",
                "all 2 texts are timestamps without a zone; `2024-01-01 10:00:00` is no date",
            ),
            (
                &["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+02:00"],
                "timestamptz",
                "all 2 texts are timestamps with a zone",
            ),
            (
                &["2024-01-01T10:00:00Z", "2024-01-01T10:00:01Z", "2024-01-01T10:00:00"],
                "string",
                "the first 2 texts are timestamps with a zone, but `2024-01-01T10:00:00` is not",
            ),
        ];
        for (texts, ty, reason) in table {
            assert_eq!(
                (seen(texts).ty().to_string().as_str(), seen(texts).reason().as_str()),
                (ty, reason),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn nulls_are_counted_and_named_as_they_are_written() {
        let mut guess = seen(&["1", "2"]);
        for _ in 0..1200 {
            guess.see_null(b"NA");
        }
        guess.see_null(b"");
        assert_eq!(guess.reason(), "all 2 texts are whole numbers; 1,201 nulls (the empty field, `NA`)");
    }

    #[test]
    fn an_empty_field_is_no_null_among_strings() {
        let mut guess = seen(&["a"]);
        guess.see_null(b"");
        assert_eq!(guess.reason(), "`a` is no number, date, timestamp, true or false");
        guess.see_null(b"NA");
        assert_eq!(guess.reason(), "`a` is no number, date, timestamp, true or false; 1 null (`NA`)");
    }
}
