//! Formats of dates and times in strftime's words, compiled once and read without looking at the format again.

use moulin_core::PrimitiveType;

use crate::values::{civil_days, microseconds, zone_offset};

/// A compiled format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    said: String,
    steps: Vec<Step>,
}

/// One word of a format, or one character of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Literal(u8),
    /// Any white space, none as well.
    Blanks,
    Year,
    YearOfCentury,
    Month,
    MonthName,
    Day,
    DayOfYear,
    Weekday,
    Hour,
    HalfHour,
    Half,
    Minute,
    Second,
    /// Digits after the point, so many or any number; with `point`, the point too, or nothing.
    Fraction {
        point: bool,
        digits: Option<u8>,
    },
    Offset,
    ZoneName,
    Epoch,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const DAY_MICROS: i64 = 86_400_000_000;

/// What a text says.
#[derive(Default)]
struct Said {
    year: u64,
    month: u64,
    day: u64,
    day_of_year: Option<u64>,
    weekday: Option<usize>,
    hour: u64,
    half_hour: Option<u64>,
    afternoon: Option<bool>,
    minute: u64,
    second: u64,
    micros: i64,
    offset: Option<i64>,
    epoch: Option<i64>,
    before_epoch: bool,
}

impl Pattern {
    /// Compiles a format for values of a type.
    ///
    /// # Errors
    /// An unknown word, or what the format lacks or has too much for the type, in words.
    pub(crate) fn new(said: &str, ty: PrimitiveType) -> Result<Self, String> {
        let mut steps = Vec::new();
        compile(said, &mut steps).map_err(|word| {
            format!(
                "format `{said}` has `{word}`, which is none of %Y %y %m %b %B %d %e %j %a %A %H %I %p %M %S %f %.f %3f %6f %9f %z %Z %s \
                 %F %D %T %R %r %n %t %%"
            )
        })?;
        let pattern = Self { said: said.to_owned(), steps };
        pattern.check(ty).map_err(|why| format!("format `{said}` {why}"))?;
        Ok(pattern)
    }

    /// As it was written.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    /// Whether texts name their offset from UTC.
    pub(crate) fn has_offset(&self) -> bool {
        self.has(&[Step::Offset]) || self.has(&[Step::ZoneName])
    }

    fn has(&self, steps: &[Step]) -> bool {
        steps.iter().all(|step| self.steps.contains(step))
    }

    fn has_fraction(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Fraction { .. }))
    }

    fn check(&self, ty: PrimitiveType) -> Result<(), String> {
        let any = |steps: &[Step]| steps.iter().any(|step| self.steps.contains(step));
        let year = any(&[Step::Year, Step::YearOfCentury]);
        let month = any(&[Step::Month, Step::MonthName]);
        let is_date = self.has(&[Step::Epoch]) || year && (any(&[Step::DayOfYear]) || month && any(&[Step::Day]));
        let some_date = year || month || any(&[Step::Day, Step::DayOfYear, Step::Weekday, Step::Epoch]);
        let is_clock = any(&[Step::Hour]) || self.has(&[Step::HalfHour, Step::Half]);
        let some_clock = is_clock
            || self.has_fraction()
            || any(&[Step::HalfHour, Step::Half, Step::Minute, Step::Second, Step::Epoch]);
        let lacks = |what: &str| Err(format!("has no {what}, which a {ty} has"));
        let beyond = |what: &str| Err(format!("has {what}, which a {ty} does not hold"));
        match ty {
            PrimitiveType::Time if some_date => beyond("a date"),
            PrimitiveType::Time if !is_clock => lacks("hour"),
            PrimitiveType::Time if self.has_offset() => beyond("an offset"),
            PrimitiveType::Time => Ok(()),
            _ if !is_date => lacks("year, month and day"),
            PrimitiveType::Date if some_clock => beyond("a time of day"),
            PrimitiveType::Date | PrimitiveType::Timestamp if self.has_offset() => beyond("an offset"),
            _ if some_clock && !is_clock && !any(&[Step::Epoch]) => lacks("hour"),
            _ => Ok(()),
        }
    }

    /// Days since 1970-01-01.
    pub(crate) fn date(&self, text: &[u8]) -> Option<i32> {
        self.read(text)?.days()
    }

    /// Microseconds since midnight for a time, else since 1970-01-01, in UTC when the text says its offset.
    pub(crate) fn micros(&self, text: &[u8], ty: PrimitiveType) -> Option<i64> {
        if ty == PrimitiveType::Time {
            return self.read(text)?.clock();
        }
        self.moment(text).map(|(micros, offset)| micros - offset.unwrap_or(0) * 1_000_000)
    }

    /// Microseconds since 1970-01-01 on the clock, and how far it is from UTC, in seconds, when the text says it.
    pub(crate) fn moment(&self, text: &[u8]) -> Option<(i64, Option<i64>)> {
        let said = self.read(text)?;
        if let Some(seconds) = said.epoch {
            let micros = if said.before_epoch { -said.micros } else { said.micros };
            let micros = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
            return Some((micros, Some(0)));
        }
        Some((i64::from(said.days()?) * DAY_MICROS + said.clock()?, said.offset))
    }

    fn read(&self, text: &[u8]) -> Option<Said> {
        let mut said = Said::default();
        let mut rest = text;
        for step in &self.steps {
            rest = said.take(*step, rest)?;
        }
        rest.is_empty().then_some(said)
    }
}

/// Answers with the word that is none.
fn compile(said: &str, steps: &mut Vec<Step>) -> Result<(), String> {
    let mut rest = said.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if byte.is_ascii_whitespace() {
            steps.push(Step::Blanks);
            continue;
        }
        if *byte != b'%' {
            steps.push(Step::Literal(*byte));
            continue;
        }
        let (word, after) = word(rest);
        rest = after;
        let short = match word {
            b"Y" => Step::Year,
            b"y" => Step::YearOfCentury,
            b"m" => Step::Month,
            b"b" | b"B" | b"h" => Step::MonthName,
            b"d" | b"e" => Step::Day,
            b"j" => Step::DayOfYear,
            b"a" | b"A" => Step::Weekday,
            b"H" | b"k" => Step::Hour,
            b"I" | b"l" => Step::HalfHour,
            b"p" | b"P" => Step::Half,
            b"M" => Step::Minute,
            b"S" => Step::Second,
            b"f" => Step::Fraction { point: false, digits: None },
            b".f" => Step::Fraction { point: true, digits: None },
            [digits @ (b'3' | b'6' | b'9'), b'f'] => Step::Fraction { point: false, digits: Some(digits - b'0') },
            b"z" | b":z" => Step::Offset,
            b"Z" => Step::ZoneName,
            b"s" => Step::Epoch,
            b"n" | b"t" => Step::Blanks,
            b"%" => Step::Literal(b'%'),
            b"F" => {
                compile("%Y-%m-%d", steps)?;
                continue;
            }
            b"D" => {
                compile("%m/%d/%y", steps)?;
                continue;
            }
            b"T" => {
                compile("%H:%M:%S", steps)?;
                continue;
            }
            b"R" => {
                compile("%H:%M", steps)?;
                continue;
            }
            b"r" => {
                compile("%I:%M:%S %p", steps)?;
                continue;
            }
            other => return Err(format!("%{}", String::from_utf8_lossy(other))),
        };
        steps.push(short);
    }
    Ok(())
}

/// The letters after a percent sign that make a word, and what follows them.
fn word(rest: &[u8]) -> (&[u8], &[u8]) {
    let length = match rest {
        [b'.' | b':' | b'3' | b'6' | b'9', _, ..] => 2,
        _ => 1,
    };
    rest.split_at(length.min(rest.len()))
}

impl Said {
    /// Takes what one word of the format means from the front of a text.
    fn take<'a>(&mut self, step: Step, text: &'a [u8]) -> Option<&'a [u8]> {
        let rest;
        match step {
            Step::Literal(byte) => rest = text.strip_prefix(&[byte])?,
            Step::Blanks => rest = text.trim_ascii_start(),
            Step::Year => (self.year, rest) = number(text, 4, 4)?,
            Step::YearOfCentury => {
                (self.year, rest) = number(text, 2, 2)?;
                self.year += if self.year < 69 { 2000 } else { 1900 };
            }
            Step::Month => (self.month, rest) = number(text, 1, 2)?,
            Step::MonthName => {
                let (month, after) = name(text, &MONTHS)?;
                (self.month, rest) = (month as u64 + 1, after);
            }
            Step::Day => (self.day, rest) = number(text.strip_prefix(b" ").unwrap_or(text), 1, 2)?,
            Step::DayOfYear => {
                let (day, after) = number(text, 1, 3)?;
                (self.day_of_year, rest) = (Some(day), after);
            }
            Step::Weekday => {
                let (day, after) = name(text, &WEEKDAYS)?;
                (self.weekday, rest) = (Some(day), after);
            }
            Step::Hour => (self.hour, rest) = number(text.strip_prefix(b" ").unwrap_or(text), 1, 2)?,
            Step::HalfHour => {
                let (hour, after) = number(text.strip_prefix(b" ").unwrap_or(text), 1, 2)?;
                (self.half_hour, rest) = (Some(hour), after);
            }
            Step::Half => {
                self.afternoon = Some(match text.get(..2)?.to_ascii_lowercase().as_slice() {
                    b"am" => false,
                    b"pm" => true,
                    _ => return None,
                });
                rest = &text[2..];
            }
            Step::Minute => (self.minute, rest) = number(text, 1, 2)?,
            Step::Second => (self.second, rest) = number(text, 1, 2)?,
            Step::Fraction { point, digits } => rest = self.take_fraction(text, point, digits)?,
            Step::Offset => {
                let (offset, after) = offset(text)?;
                (self.offset, rest) = (Some(offset), after);
            }
            Step::ZoneName => {
                let length = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                if !matches!(&text[..length], b"UTC" | b"GMT" | b"Z") {
                    return None;
                }
                (self.offset, rest) = (Some(0), &text[length..]);
            }
            Step::Epoch => {
                let digits = text.strip_prefix(b"-").unwrap_or(text);
                let (seconds, after) = number(digits, 1, 18)?;
                let seconds = i64::try_from(seconds).ok()?;
                self.before_epoch = digits.len() < text.len();
                self.epoch = Some(if self.before_epoch { -seconds } else { seconds });
                rest = after;
            }
        }
        Some(rest)
    }

    fn take_fraction<'a>(&mut self, text: &'a [u8], point: bool, digits: Option<u8>) -> Option<&'a [u8]> {
        let text = match (point, text) {
            (true, [b'.', rest @ ..]) => rest,
            (true, _) => return Some(text),
            (false, _) => text,
        };
        let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits.is_some_and(|digits| length != usize::from(digits)) || length > 9 {
            return None;
        }
        self.micros = microseconds(&text[..length])?;
        Some(&text[length..])
    }

    fn days(&self) -> Option<i32> {
        let days = match self.day_of_year {
            Some(day) => {
                let first = civil_days(self.year, 1, 1)?;
                let days = i32::try_from(day).ok()?.checked_sub(1)?;
                let last = civil_days(self.year, 12, 31)?;
                (days >= 0 && first + days <= last).then_some(first + days)?
            }
            None => civil_days(self.year, self.month, self.day)?,
        };
        // 1970-01-01 was a Thursday.
        let fits = self.weekday.is_none_or(|weekday| (days + 3).rem_euclid(7) as usize == weekday);
        fits.then_some(days)
    }

    fn clock(&self) -> Option<i64> {
        if self.half_hour.is_some_and(|hour| !(1..=12).contains(&hour)) {
            return None;
        }
        let hour = match (self.half_hour, self.afternoon) {
            (Some(hour), Some(afternoon)) => hour % 12 + if afternoon { 12 } else { 0 },
            _ => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        Some((hour * 3600 + self.minute * 60 + self.second) as i64 * 1_000_000 + self.micros)
    }
}

/// A number of so many digits, as many as there are.
fn number(text: &[u8], least: usize, most: usize) -> Option<(u64, &[u8])> {
    let digits = text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    if digits < least {
        return None;
    }
    let value = text[..digits].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some((value, &text[digits..]))
}

/// A name or its first three letters, in any case.
fn name<'a>(text: &'a [u8], names: &[&str]) -> Option<(usize, &'a [u8])> {
    let starts = |name: &[u8]| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let at = names.iter().position(|name| starts(&name.as_bytes()[..3]))?;
    let length = if starts(names[at].as_bytes()) { names[at].len() } else { 3 };
    Some((at, &text[length..]))
}

/// `Z`, `+02`, `+0200` or `+02:00`, in seconds.
fn offset(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b':').count();
    let length = match text {
        [b'Z' | b'z', ..] => 1,
        [b'+' | b'-', rest @ ..] => 1 + digits(rest),
        _ => return None,
    };
    Some((zone_offset(&text[..length])?, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(format: &str, text: &str) -> Option<String> {
        let pattern = Pattern::new(format, PrimitiveType::Timestamptz).unwrap();
        let micros = pattern.micros(text.as_bytes(), PrimitiveType::Timestamptz)?;
        Some(chrono::DateTime::from_timestamp_micros(micros)?.format("%Y-%m-%dT%H:%M:%S%.f").to_string())
    }

    #[test]
    fn words_mean_what_strftime_says() {
        let table = [
            ("%d.%m.%Y", "29.02.2024", Some("2024-02-29T00:00:00")),
            ("%d.%m.%Y", "9.2.2024", Some("2024-02-09T00:00:00")),
            ("%d.%m.%Y", "30.02.2024", None),
            ("%d.%m.%Y", "29.02.24", None),
            ("%d.%m.%Y", "29.02.2024 ", None),
            ("%Y%m%d", "20240229", Some("2024-02-29T00:00:00")),
            ("%m/%d/%y", "2/9/68", Some("2068-02-09T00:00:00")),
            ("%D", "02/09/69", Some("1969-02-09T00:00:00")),
            ("%d %b %Y", "1 jan 2024", Some("2024-01-01T00:00:00")),
            ("%d %B %Y", "1 September 2024", Some("2024-09-01T00:00:00")),
            ("%a, %d %b %Y %T %z", "Thu, 29 Feb 2024 10:00:00 +0200", Some("2024-02-29T08:00:00")),
            ("%a, %d %b %Y", "Fri, 29 Feb 2024", None),
            ("%Y-%j", "2024-060", Some("2024-02-29T00:00:00")),
            ("%Y-%j", "2023-366", None),
            ("%Y-%j", "2023-0", None),
            ("%F %I:%M %p", "2024-01-01 12:05 AM", Some("2024-01-01T00:05:00")),
            ("%F %I:%M %p", "2024-01-01 1:05 pm", Some("2024-01-01T13:05:00")),
            ("%F %I:%M %p", "2024-01-01 13:05 PM", None),
            // A clock of twelve hours has no hour 0.
            ("%F %I:%M %p", "2024-01-01 00:30 PM", None),
            ("%F %I:%M %p", "2024-01-01 0:30 AM", None),
            ("%F %H (%I):%M", "2024-01-01 13 (01):05", Some("2024-01-01T13:05:00")),
            ("%F %H (%I):%M", "2024-01-01 13 (00):05", None),
            ("%F %H:%M:%S.%f", "2024-01-01 10:00:00.25", Some("2024-01-01T10:00:00.250")),
            ("%F %H:%M:%S%.f", "2024-01-01 10:00:00", Some("2024-01-01T10:00:00")),
            ("%F %H:%M:%S%.f", "2024-01-01 10:00:00.1234567", None),
            ("%F %T.%3f", "2024-01-01 10:00:00.123", Some("2024-01-01T10:00:00.123")),
            ("%F %T.%3f", "2024-01-01 10:00:00.12", None),
            ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", Some("2000-10-10T20:55:36")),
            ("%F %T %Z", "2024-01-01 10:00:00 UTC", Some("2024-01-01T10:00:00")),
            ("%F %T %Z", "2024-01-01 10:00:00 CET", None),
            ("%s", "1700000000", Some("2023-11-14T22:13:20")),
            ("%s.%f", "-1.5", Some("1969-12-31T23:59:58.500")),
            ("%F %H:%M", "2024-01-01 24:00", None),
            ("%F", "0000-01-01", None),
            ("100%% %F", "100% 2024-01-01", Some("2024-01-01T00:00:00")),
        ];
        for (format, text, expected) in table {
            assert_eq!(moment(format, text).as_deref(), expected, "{format} {text}");
        }
    }

    #[test]
    fn a_format_that_does_not_fit_its_type_is_refused_when_it_is_compiled() {
        let refused = |format: &str, ty| Pattern::new(format, ty).unwrap_err();
        assert!(refused("%Y-%q", PrimitiveType::Date).starts_with("format `%Y-%q` has `%q`, which is none of %Y"));
        assert_eq!(
            refused("%Y-%m", PrimitiveType::Date),
            "format `%Y-%m` has no year, month and day, which a date has"
        );
        assert_eq!(
            refused("%F %H", PrimitiveType::Date),
            "format `%F %H` has a time of day, which a date does not hold"
        );
        assert_eq!(refused("%F %M", PrimitiveType::Timestamp), "format `%F %M` has no hour, which a timestamp has");
        assert_eq!(
            refused("%F %T%z", PrimitiveType::Timestamp),
            "format `%F %T%z` has an offset, which a timestamp does not hold"
        );
        assert_eq!(refused("%I:%M", PrimitiveType::Time), "format `%I:%M` has no hour, which a time has");
        assert!(Pattern::new("%H:%M", PrimitiveType::Time).is_ok());
        assert!(refused("%", PrimitiveType::Time).contains("has `%`"));
    }
}
