//! Text becomes values: integers, decimals, dates, times, timestamps, booleans, floats.
//!
//! Every parser takes the whole text of a value and answers `None` when it is not exactly one: nothing is rounded,
//! trimmed or guessed. The `wide_*` ones are for the text of a block (see [`super::blocks::SLACK`]): they load whole
//! words around a field, are right for the usual shapes of a value and answer `None` for all others, which the
//! plain ones then decide.

const ZEROS: u64 = 0x3030_3030_3030_3030;
const POWERS: [i128; 39] = powers();

const fn powers() -> [i128; 39] {
    let mut powers = [1_i128; 39];
    let mut at = 1;
    while at < 39 {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
}

/// Whether a text is no number whose zeros or sign would be lost: neither `007` nor `+49`.
#[inline(always)]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    !matches!(text.strip_prefix(b"-").unwrap_or(text), [b'+', ..] | [b'0', b'0'..=b'9', ..])
}

/// A long of which nothing of the text is lost.
pub(crate) fn plain_long(text: &[u8]) -> Option<i64> {
    if is_plain(text) { long(text) } else { None }
}

/// A double of which nothing of the text is lost but digits of a fraction.
pub(crate) fn plain_double(text: &[u8]) -> Option<f64> {
    // So many digits a double holds.
    const HELD: usize = 15;
    let is_whole = || text.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
    if !is_plain(text) || text.len() > HELD && is_whole() && !long(text).is_some_and(is_double) {
        return None;
    }
    double(text)
}

/// Whether a double holds a whole number as it is.
pub(crate) fn is_double(value: i64) -> bool {
    i128::from(value) == value as f64 as i128
}

/// `10^exponent`, exponents up to 38.
pub(crate) fn power_of_ten(exponent: u8) -> i128 {
    POWERS[usize::from(exponent.min(38))]
}

#[inline(always)]
fn load8(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |word| u64::from_le_bytes(*word))
}

/// The powers of ten that eight digits can have before them.
pub(crate) const UNITS: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// The digits that start at a place, at the most eight: their value, and how many there are. `None` where fewer than
/// eight bytes are left.
#[inline(always)]
pub(crate) fn leading_digits(text: &[u8], at: usize) -> Option<(u64, usize)> {
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*text.get(at..)?.first_chunk::<8>()?);
    let low = word ^ ZEROS;
    // A byte above 9 is marked; a carry can mark falsely only those behind one that is marked rightly.
    let others = (low.wrapping_add(0x7676_7676_7676_7676) | low) & HIGHS;
    if others == 0 {
        return Some((joined(low), 8));
    }
    let count = others.trailing_zeros() / 8;
    // Moved to the end, with zeros before them. In two steps, because there may be none.
    Some((joined((low << 8) << (56 - 8 * count)), count as usize))
}

/// The value of eight digits, each in a byte, the first in the lowest.
#[inline(always)]
fn joined(digits: u64) -> u64 {
    let pairs = (digits.wrapping_mul(10)).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100)).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000)).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// The value of eight ASCII digits, the first in the lowest byte.
#[inline(always)]
fn digits8(word: u64) -> Option<u64> {
    let low = word.wrapping_sub(ZEROS);
    // A byte that is no digit shows in its own high nibble, be it below `0` or above `9`.
    if ((word & 0xf0f0_f0f0_f0f0_f0f0) ^ ZEROS) | (low.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0) != 0
    {
        return None;
    }
    Some(joined(low))
}

/// Keeps the last `count` (1 to 8) characters and puts zeros before them.
#[inline(always)]
fn last_digits(word: u64, count: usize) -> u64 {
    let mask = u64::MAX << (64 - 8 * count);
    (word & mask) | (ZEROS & !mask)
}

/// One to eight digits that end at `end`.
#[inline(always)]
pub(crate) fn wide_uint(text: &[u8], start: usize, end: usize) -> Option<u64> {
    let count = end - start;
    if count.wrapping_sub(1) >= 8 {
        return None;
    }
    digits8(last_digits(load8(text, end - 8), count))
}

/// What [`WideDecimal::parse`] needs of a scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WideDecimal {
    scale: usize,
    point: u64,
    fraction: u64,
    point_shift: u32,
    unit: u64,
}

impl WideDecimal {
    /// `point` stands between the whole and the fraction.
    pub(crate) fn new(scale: u8, point: u8) -> Self {
        let usable = scale.clamp(1, 6);
        Self {
            scale: usize::from(scale),
            point: u64::from(point),
            fraction: u64::MAX << (64 - 8 * u32::from(usable)),
            point_shift: 56 - 8 * u32::from(usable),
            unit: 10_u64.pow(u32::from(usable)),
        }
    }

    /// Up to eight digits with the point where the scale has it, or a whole number of up to eight digits.
    #[inline(always)]
    pub(crate) fn parse(self, text: &[u8], start: usize, end: usize) -> Option<u64> {
        let count = end - start;
        if self.scale == 0 {
            return wide_uint(text, start, end);
        }
        if self.scale > 6 {
            return None;
        }
        let word = load8(text, end - 8);
        if (word >> self.point_shift) & 0xff == self.point && count > self.scale + 1 && count <= 9 {
            // The digits before the point move up by one character, onto the point.
            let joined = (word & self.fraction) | ((word << 8) & !self.fraction) | u64::from(text[end - 9]);
            return digits8(last_digits(joined, count - 1));
        }
        if count.wrapping_sub(1) >= 8 {
            return None;
        }
        digits8(last_digits(word, count)).map(|whole| whole * self.unit)
    }
}

/// `YYYY-MM-DD` at `start`.
#[inline(always)]
pub(crate) fn wide_date(text: &[u8], start: usize) -> Option<i32> {
    let word = load8(text, start);
    let days = load8(text, start + 8) & 0xffff;
    if word & 0xff00_00ff_0000_0000 != 0x2d00_002d_0000_0000 {
        return None;
    }
    let digits = (word & 0xffff_ffff) | ((word >> 40) & 0xffff) << 32 | days << 48;
    let number = digits8(digits)?;
    civil_days(number / 10_000, number / 100 % 100, number % 100)
}

/// `HH:MM:SS` at `start`, in seconds.
#[inline(always)]
pub(crate) fn wide_seconds(text: &[u8], start: usize) -> Option<i64> {
    let word = load8(text, start);
    if word & 0x0000_ff00_00ff_0000 != 0x0000_3a00_003a_0000 {
        return None;
    }
    let digits = 0x3030 | (word & 0xffff) << 16 | ((word >> 24) & 0xffff) << 32 | (word >> 48) << 48;
    let number = digits8(digits)?;
    let (hour, minute, second) = (number / 10_000, number / 100 % 100, number % 100);
    (hour < 24 && minute < 60 && second < 60).then_some((hour * 3600 + minute * 60 + second) as i64)
}

/// Days before each month, in years without and with a leap day.
const DAYS_BEFORE: [[u16; 13]; 2] = [
    [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365],
    [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366],
];

/// Days since 1970-01-01 of a date of the years 1 to 9999.
#[inline(always)]
pub(crate) fn civil_days(year: u64, month: u64, day: u64) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = &DAYS_BEFORE[usize::from(leap)];
    let month = month as usize;
    if month.wrapping_sub(1) >= 12 || year == 0 {
        return None;
    }
    let (first, next) = (u64::from(before[month - 1]), u64::from(before[month]));
    if day == 0 || day > next - first {
        return None;
    }
    let past = year - 1;
    let days = past * 365 + past / 4 - past / 100 + past / 400 + first + day - 1;
    Some(days as i32 - 719_162)
}

/// Digits with an optional sign.
pub(crate) fn long(text: &[u8]) -> Option<i64> {
    let (negative, digits) = signed(text);
    if digits.is_empty() {
        return None;
    }
    let mut value: i64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // Counted downwards, so that the smallest value is one too.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

fn signed(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

/// Like [`long`], in 32 bits.
pub(crate) fn int(text: &[u8]) -> Option<i32> {
    long(text).and_then(|value| i32::try_from(value).ok())
}

/// A decimal number, also with an exponent, that is exact at the scale and has no more digits than the precision.
pub(crate) fn decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, rest) = signed(text);
    let (mantissa, exponent) = match memchr::memchr2(b'e', b'E', rest) {
        Some(at) => (&rest[..at], long(&rest[at + 1..])?),
        None => (rest, 0),
    };
    let (whole, fraction) = match memchr::memchr(b'.', mantissa) {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let kept = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    let mut value: i128 = 0;
    for byte in whole.iter().chain(&fraction[..kept]) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let mut shift = i64::from(scale).checked_add(exponent)?.checked_sub(kept as i64)?;
    if value == 0 {
        shift = 0;
    }
    while shift < 0 {
        if value % 10 != 0 {
            return None;
        }
        value /= 10;
        shift += 1;
    }
    let factor = *POWERS.get(usize::try_from(shift).ok()?)?;
    let value = value.checked_mul(factor)?;
    if value >= power_of_ten(precision) {
        return None;
    }
    Some(if negative { -value } else { value })
}

/// A decimal or scientific number, `inf`, `infinity` or `nan`.
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    fast_float2::parse(text).ok().filter(|value: &f64| !value.is_infinite() || is_word(text))
}

/// Like [`double`], in 32 bits.
pub(crate) fn float(text: &[u8]) -> Option<f32> {
    fast_float2::parse(text).ok().filter(|value: &f32| !value.is_infinite() || is_word(text))
}

/// Whether a number is written as a word: digits beyond the type's range mean no infinity.
fn is_word(text: &[u8]) -> bool {
    !text.iter().any(u8::is_ascii_digit)
}

/// `true`, `t`, `yes`, `y`, `1` and their opposites, in any case.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    match text.len() {
        1 => match text[0] {
            b'1' | b't' | b'T' | b'y' | b'Y' => Some(true),
            b'0' | b'f' | b'F' | b'n' | b'N' => Some(false),
            _ => None,
        },
        2 if text.eq_ignore_ascii_case(b"no") => Some(false),
        3 if text.eq_ignore_ascii_case(b"yes") => Some(true),
        4 if text.eq_ignore_ascii_case(b"true") => Some(true),
        5 if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// `YYYY-MM-DD`, in days since 1970-01-01.
pub(crate) fn date(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = two(*y1, *y2)? * 100 + two(*y3, *y4)?;
    civil_days(year, two(*m1, *m2)?, two(*d1, *d2)?)
}

fn two(tens: u8, ones: u8) -> Option<u64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u64::from(tens) * 10 + u64::from(ones))
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`, in microseconds since midnight. Digits beyond the sixth must be zeros.
pub(crate) fn time(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = match memchr::memchr(b'.', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (hour, minute, second) = match clock {
        [h1, h2, b':', m1, m2, b':', s1, s2] => (two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?),
        [h1, h2, b':', m1, m2] if fraction.is_none() => (two(*h1, *h2)?, two(*m1, *m2)?, 0),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = fraction.map_or(Some(0), microseconds)?;
    Some((hour * 3600 + minute * 60 + second) as i64 * 1_000_000 + micros)
}

pub(crate) fn microseconds(fraction: &[u8]) -> Option<i64> {
    if fraction.is_empty() || fraction.len() > 18 {
        return None;
    }
    let mut micros = 0;
    for at in 0..fraction.len().max(6) {
        let digit = fraction.get(at).copied().unwrap_or(b'0').wrapping_sub(b'0');
        if digit > 9 || (at >= 6 && digit != 0) {
            return None;
        }
        if at < 6 {
            micros = micros * 10 + i64::from(digit);
        }
    }
    Some(micros)
}

/// `YYYY-MM-DD[T ]HH:MM[:SS[.ffffff]]`, in microseconds, and the offset from UTC in seconds when one is written.
pub(crate) fn moment(text: &[u8]) -> Option<(i64, Option<i64>)> {
    let day = i64::from(date(text.get(..10)?)?) * 86_400_000_000;
    let [b'T' | b't' | b' ', rest @ ..] = &text[10..] else { return text[10..].is_empty().then_some((day, None)) };
    let (clock, offset) = match rest.iter().position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-' | b' ')) {
        None => (rest, None),
        Some(at) => {
            let zone = if rest[at] == b' ' { &rest[at + 1..] } else { &rest[at..] };
            (&rest[..at], Some(zone_offset(zone)?))
        }
    };
    Some((day + time(clock)?, offset))
}

pub(crate) fn zone_offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" | b"z" | b"UTC" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (two(*h1, *h2)?, two(*m1, *m2)?),
        [h1, h2] => (two(*h1, *h2)?, 0),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60) as i64)
}

/// A moment without a zone, in microseconds. A zone would be lost, so it is not allowed.
pub(crate) fn timestamp(text: &[u8]) -> Option<i64> {
    moment(text).and_then(|(micros, offset)| offset.is_none().then_some(micros))
}

/// A moment in microseconds since 1970-01-01 UTC. One without a zone is UTC.
pub(crate) fn timestamptz(text: &[u8]) -> Option<i64> {
    moment(text).map(|(micros, offset)| micros - offset.unwrap_or(0) * 1_000_000)
}

/// Whether a moment names its zone.
pub(crate) fn has_zone(text: &[u8]) -> bool {
    moment(text).is_some_and(|(_, offset)| offset.is_some())
}

/// `YYYY-MM-DD[T ]HH:MM:SS[Z]` at `start`, in microseconds; the length says whether there is a `Z`.
#[inline(always)]
pub(crate) fn wide_moment(text: &[u8], start: usize, end: usize, zoned: bool) -> Option<i64> {
    let length = end - start;
    let is_plain = length == 19 || (length == 20 && zoned && text[end - 1] == b'Z');
    if !is_plain || !matches!(text[start + 10], b'T' | b' ') {
        return None;
    }
    let days = i64::from(wide_date(text, start)?);
    Some((days * 86_400 + wide_seconds(text, start + 11)?) * 1_000_000)
}

/// Pairs of hexadecimal digits.
pub(crate) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    pairs.iter().map(|[high, low]| Some((nibble(*high)? << 4 | nibble(*low)?) as u8)).collect()
}
