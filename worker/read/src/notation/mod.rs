//! How the values of a column are written, where it is not the usual way: words of truth, separators of numbers,
//! formats of dates and times, zones.

use chrono::{DateTime, MappedLocalTime, TimeZone};
use chrono_tz::Tz;
use moulin_core::{ColumnText, CsvFormat, PrimitiveType};

use crate::columns::{Column, Data};
use crate::values;

mod number;
mod pattern;
mod usual;

pub(crate) use number::Number;
pub(crate) use pattern::Pattern;
pub(crate) use usual::UsualText;

/// How the values of one column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notation {
    /// As [`values`] reads them.
    Usual,
    Words(Words),
    Number(Number),
    Moment(Pattern),
    /// Moments that may name no zone. `None`: ISO 8601.
    Zoned(Option<Pattern>, Zone),
}

/// Words of truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words {
    yes: Vec<Vec<u8>>,
    no: Vec<Vec<u8>>,
}

/// The zone of moments that name none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone(Tz);

impl Notation {
    /// How values of a type are written, by what is said of the column, or else of the format.
    ///
    /// # Errors
    /// What is wrong with a format or a zone, in words.
    pub(crate) fn new(ty: PrimitiveType, column: &ColumnText, format: &CsvFormat) -> Result<Self, String> {
        let pattern = |of_format: &Option<String>| -> Result<Option<Pattern>, String> {
            let said = column.format.as_ref().or(of_format.as_ref());
            said.map(|said| Pattern::new(said, ty)).transpose()
        };
        let moment = |found: Option<Pattern>| found.map_or(Self::Usual, Self::Moment);
        Ok(match ty {
            PrimitiveType::Boolean => Words::of(column, format).map_or(Self::Usual, Self::Words),
            PrimitiveType::Int
            | PrimitiveType::Long
            | PrimitiveType::Float
            | PrimitiveType::Double
            | PrimitiveType::Decimal { .. } => Number::of(column, format)?.map_or(Self::Usual, Self::Number),
            PrimitiveType::Date => moment(pattern(&format.date_format)?),
            PrimitiveType::Time => moment(pattern(&format.time_format)?),
            PrimitiveType::Timestamp => moment(pattern(&format.timestamp_format)?),
            PrimitiveType::Timestamptz => {
                let pattern = pattern(&format.timestamp_format)?;
                match column.timezone.as_ref().or(format.timezone.as_ref()) {
                    Some(name) => Self::Zoned(pattern, Zone::named(name)?),
                    None => moment(pattern),
                }
            }
            PrimitiveType::String | PrimitiveType::Binary => Self::Usual,
        })
    }

    /// Appends the value that a text means; `false` when it means none of the column's type.
    pub(crate) fn push(&self, column: &mut Column, text: &[u8]) -> bool {
        fn take<T>(out: &mut Vec<T>, value: Option<T>) -> bool {
            value.map(|value| out.push(value)).is_some()
        }
        let ty = column.ty;
        match (self, &mut column.data) {
            (Self::Words(words), Data::Bool(out)) => take(out, words.value(text)),
            (Self::Number(number), Data::I32(out)) => take(out, number.read(text, values::int)),
            (Self::Number(number), Data::I64(out)) => take(out, number.read(text, values::long)),
            (Self::Number(number), Data::F32(out)) => take(out, number.read(text, values::float)),
            (Self::Number(number), Data::F64(out)) => take(out, number.read(text, values::double)),
            (Self::Number(number), Data::I128(out)) => take(out, number.decimal(text, ty)),
            (Self::Moment(pattern), Data::I32(out)) => take(out, pattern.date(text)),
            (Self::Moment(pattern), Data::I64(out)) => take(out, pattern.micros(text, ty)),
            (Self::Zoned(pattern, zone), Data::I64(out)) => take(out, zone.moment(pattern.as_ref(), text)),
            _ => column.push_text(text),
        }
    }

    /// Whether a text is a value of the type.
    pub(crate) fn is_value(&self, ty: PrimitiveType, text: &[u8]) -> bool {
        self.push(&mut Column::new(ty, 1, 0), text)
    }

    /// How a value must be written, when that is not the usual way.
    pub(crate) fn expected(&self) -> Option<String> {
        match self {
            Self::Moment(pattern) | Self::Zoned(Some(pattern), _) => Some(format!("written as `{}`", pattern.said())),
            Self::Zoned(None, Zone(zone)) => Some(format!("a moment that there was in {zone}")),
            Self::Words(words) => Some(words.expected()),
            Self::Number(number) => Some(number.expected()),
            Self::Usual => None,
        }
    }
}

impl Words {
    /// `None`: the usual ones.
    pub(crate) fn of(column: &ColumnText, format: &CsvFormat) -> Option<Self> {
        let said = |column: &[String], format: &[String]| -> Vec<Vec<u8>> {
            let words = if column.is_empty() { format } else { column };
            words.iter().map(|word| word.clone().into_bytes()).collect()
        };
        let yes = said(&column.true_values, &format.true_values);
        let no = said(&column.false_values, &format.false_values);
        (!yes.is_empty() || !no.is_empty()).then_some(Self { yes, no })
    }

    /// Words that are said come first; the usual ones mean what nobody has said a word for.
    pub(crate) fn value(&self, text: &[u8]) -> Option<bool> {
        let is = |words: &[Vec<u8>]| words.iter().any(|word| word == text);
        if is(&self.yes) {
            return Some(true);
        }
        if is(&self.no) {
            return Some(false);
        }
        values::boolean(text).filter(|value| if *value { self.yes.is_empty() } else { self.no.is_empty() })
    }

    fn expected(&self) -> String {
        let shown = |words: &[Vec<u8>], usual: &str| {
            let words: Vec<_> = words.iter().map(|word| format!("`{}`", String::from_utf8_lossy(word))).collect();
            if words.is_empty() { usual.to_owned() } else { words.join(" ") }
        };
        format!("{} for true and {} for false", shown(&self.yes, "a usual word"), shown(&self.no, "a usual word"))
    }
}

impl Zone {
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        name.parse().map(Self).map_err(|_| format!("timezone `{name}` is not in the IANA database: `Europe/Berlin`"))
    }

    /// Microseconds since 1970-01-01 UTC.
    pub(crate) fn moment(self, pattern: Option<&Pattern>, text: &[u8]) -> Option<i64> {
        let (micros, offset) = match pattern {
            Some(pattern) => pattern.moment(text)?,
            None => values::moment(text)?,
        };
        match offset {
            Some(seconds) => Some(micros - seconds * 1_000_000),
            None => self.utc(micros),
        }
    }

    /// A clock that shows an hour twice, at the end of summer time, means the first one; an hour that it skips is no
    /// moment.
    fn utc(self, local_micros: i64) -> Option<i64> {
        let local = DateTime::from_timestamp_micros(local_micros)?.naive_utc();
        match self.0.from_local_datetime(&local) {
            MappedLocalTime::Single(moment) | MappedLocalTime::Ambiguous(moment, _) => Some(moment.timestamp_micros()),
            MappedLocalTime::None => None,
        }
    }
}
