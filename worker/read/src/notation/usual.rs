//! What a text of a notation looks like in the usual one, so that its type can be guessed from it.

use chrono::DateTime;
use moulin_core::{ColumnText, CsvFormat, PrimitiveType};

use super::{Number, Pattern, Words};
use crate::infer::Guess;
use crate::values;

/// The notations of a format, for columns whose type is not known.
pub(crate) struct UsualText {
    words: Option<Words>,
    number: Option<Number>,
    date: Option<Pattern>,
    moment: Option<Pattern>,
}

impl UsualText {
    /// # Errors
    /// What is wrong with a format, in words.
    pub(crate) fn new(format: &CsvFormat) -> Result<Self, String> {
        let column = ColumnText::default();
        let pattern = |said: &Option<String>, ty| said.as_ref().map(|said| Pattern::new(said, ty)).transpose();
        Ok(Self {
            words: Words::of(&column, format),
            number: Number::of(&column, format)?,
            date: pattern(&format.date_format, PrimitiveType::Date)?,
            moment: pattern(&format.timestamp_format, PrimitiveType::Timestamptz)?,
        })
    }

    /// Takes a text into account as what it means in these notations.
    pub(crate) fn show(&self, guess: &mut Guess, text: &[u8]) {
        if self.words.is_none() && self.number.is_none() && self.date.is_none() && self.moment.is_none() {
            return guess.see(text);
        }
        guess.see_as(text, &self.usual(text));
    }

    /// Empty: the text is nothing but a text.
    fn usual(&self, text: &[u8]) -> Vec<u8> {
        if let Some(value) = self.words.as_ref().and_then(|words| words.value(text)) {
            return value.to_string().into_bytes();
        }
        if let Some(days) = self.date.as_ref().and_then(|pattern| pattern.date(text)) {
            let day = DateTime::from_timestamp(i64::from(days) * 86_400, 0);
            return day.map(|day| day.format("%Y-%m-%d").to_string().into_bytes()).unwrap_or_default();
        }
        if let Some((pattern, (micros, offset))) =
            self.moment.as_ref().and_then(|pattern| Some((pattern, pattern.moment(text)?)))
        {
            let zone = if pattern.has_offset() || offset.is_some() { "Z" } else { "" };
            let moment = DateTime::from_timestamp_micros(micros);
            return moment
                .map(|at| format!("{}{zone}", at.format("%Y-%m-%dT%H:%M:%S%.6f")).into_bytes())
                .unwrap_or_default();
        }
        let plain = self.number.and_then(|number| number.read(text, |plain| Some(plain.to_vec())));
        if let Some(plain) = plain.filter(|plain| values::double(plain).is_some()) {
            return plain;
        }
        // A usual value of a type that is written otherwise here would not be read as one.
        let is_word = self.words.is_some() && values::boolean(text).is_some();
        let is_number = self.number.is_some() && values::double(text).is_some();
        let is_date = self.date.is_some() && values::date(text).is_some();
        let is_moment = self.moment.is_some()
            && values::timestamptz(text).is_some()
            && !(self.date.is_none() && values::date(text).is_some());
        if is_word || is_number || is_date || is_moment { Vec::new() } else { text.to_vec() }
    }
}
