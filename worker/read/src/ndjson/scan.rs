//! The words of JSON (RFC 8259), found in place.

use crate::code::Code;
use crate::values;

/// What is expected where objects and lists stand in each other too deeply.
const TOO_DEEP: &str = "no deeper nesting";

/// A text that is not JSON: where, and what was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

impl Broken {
    /// The code of a record that is broken so.
    pub(super) fn code(self) -> Code {
        if self.expected == TOO_DEEP { Code::JsonDepth } else { Code::JsonSyntax }
    }
}

/// How records stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One a line: nothing goes past a line end.
    Lines,
    /// Elements of an array, with commas between them: a line end is white space.
    Items,
}

/// A place in a text. One of lines ends with a line end.
pub(super) struct Scan<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    pub(super) layout: Layout,
    /// Objects and lists that are open here.
    pub(super) depth: u32,
    /// So many may be.
    pub(super) max_depth: u32,
}

/// A number as it is written: `digits / 10^fraction`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number {
    pub(super) negative: bool,
    pub(super) digits: u64,
    pub(super) fraction: usize,
    /// Whether that is all: no exponent, and no more digits than [`Number::MAX_DIGITS`].
    pub(super) exact: bool,
}

impl Number {
    /// So many digits never overflow.
    const MAX_DIGITS: usize = 18;
}

/// The inside of a string.
#[derive(Debug, Clone, Copy)]
pub(super) struct Str {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) escaped: bool,
}

impl Scan<'_> {
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(b'\n')
    }

    #[inline]
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek() {
                // Most writers write none.
                b'!'..=u8::MAX => return,
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if self.layout == Layout::Items && self.at < self.text.len() => self.at += 1,
                _ => return,
            }
        }
    }

    /// Whether a record can end here.
    #[inline]
    pub(super) fn at_record_end(&self) -> bool {
        match self.layout {
            Layout::Lines => self.peek() == b'\n',
            Layout::Items => self.at >= self.text.len() || self.peek() == b',',
        }
    }

    pub(super) fn broken<T>(&self, expected: &'static str) -> Result<T, Broken> {
        Err(Broken { at: self.at, expected })
    }

    /// Goes past one byte, with blanks before it.
    #[inline]
    pub(super) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Broken> {
        self.blanks();
        if self.peek() != byte {
            return self.broken(expected);
        }
        self.at += 1;
        Ok(())
    }

    /// Goes past a string that starts here.
    // Inlined, because its answer is three words that would otherwise go through memory.
    #[inline(always)]
    pub(super) fn string(&mut self) -> Result<Str, Broken> {
        if self.peek() != b'"' {
            return self.broken("a string");
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = special(self.text, self.at);
            match self.peek() {
                b'"' => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Str { start, end, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.broken("the end of the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Broken> {
        let hex = |at: usize| self.text.get(at..at + 4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        self.at += match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if hex(self.at + 2) => 6,
            _ => return self.broken("an escape sequence"),
        };
        Ok(())
    }

    /// Goes past a number that starts here.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number, Broken> {
        let mut number = Number { negative: self.peek() == b'-', digits: 0, fraction: 0, exact: true };
        self.at += usize::from(number.negative);
        let first = self.at;
        let mut count = self.digits(&mut number.digits)?;
        if count > 1 && self.text[first] == b'0' {
            // Nothing may follow a zero: what stands there is found by whoever looks for the number's end.
            (self.at, number.digits, count) = (first + 1, 0, 1);
        }
        if self.peek() == b'.' {
            self.at += 1;
            number.fraction = self.digits(&mut number.digits)?;
            count += number.fraction;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits(&mut 0)?;
            number.exact = false;
        }
        number.exact &= count <= Number::MAX_DIGITS;
        Ok(number)
    }

    /// Goes past one digit or more, which are put behind the value; says how many there were.
    #[inline(always)]
    fn digits(&mut self, value: &mut u64) -> Result<usize, Broken> {
        let first = self.at;
        while let Some((digits, count)) = values::leading_digits(self.text, self.at) {
            *value = value.wrapping_mul(values::UNITS[count]).wrapping_add(digits);
            self.at += count;
            if count < 8 {
                return if self.at == first { self.broken("a digit") } else { Ok(self.at - first) };
            }
        }
        // The last bytes of the text.
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        if self.at == first { self.broken("a digit") } else { Ok(self.at - first) }
    }

    /// Goes past `true`, `false` or `null`.
    #[inline]
    pub(super) fn word(&mut self, word: &'static str) -> Result<(), Broken> {
        if !self.text[self.at..].starts_with(word.as_bytes()) {
            return self.broken("a value");
        }
        self.at += word.len();
        Ok(())
    }

    /// Goes past the opening bracket of an object or a list.
    #[inline]
    pub(super) fn open(&mut self) -> Result<(), Broken> {
        if self.depth >= self.max_depth {
            return self.broken(TOO_DEEP);
        }
        self.depth += 1;
        self.at += 1;
        self.blanks();
        Ok(())
    }

    /// Goes past a key and its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Str, Broken> {
        let key = self.string()?;
        self.expect(b':', "`:`")?;
        self.blanks();
        Ok(key)
    }

    /// Goes past what stands between the values of an object or list; answers whether another one follows.
    #[inline]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Broken> {
        self.blanks();
        match self.peek() {
            b',' => {
                self.at += 1;
                self.blanks();
                Ok(true)
            }
            byte if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ => self.broken(if close == b']' { "`,` or `]`" } else { "`,` or `}`" }),
        }
    }

    /// Goes past a value of any kind that starts here. Not by recursion: how deep it may go is the user's choice.
    pub(super) fn value(&mut self) -> Result<(), Broken> {
        if !matches!(self.peek(), b'[' | b'{') {
            return self.scalar();
        }
        let mut closes: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                bracket @ (b'[' | b'{') => {
                    let close = bracket + 2;
                    self.open()?;
                    closes.push(close);
                    if self.peek() != close {
                        if close == b'}' {
                            self.key()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // A value has ended, or an object or list without one: so may those around it.
            loop {
                let Some(close) = closes.last().copied() else { return Ok(()) };
                if !self.another(close)? {
                    closes.pop();
                } else if close == b'}' {
                    self.key()?;
                    break;
                } else {
                    break;
                }
            }
        }
    }

    /// Goes past a string, a number, `true`, `false` or `null`.
    pub(super) fn scalar(&mut self) -> Result<(), Broken> {
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.broken("a value"),
        }
    }
}

/// Whether two texts of one length are the same. Keys are short: the ways for the usual lengths call nothing.
#[inline(always)]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        8..=16 => {
            one.first_chunk::<8>() == other.first_chunk::<8>() && one.last_chunk::<8>() == other.last_chunk::<8>()
        }
        17..=32 => {
            one.first_chunk::<16>() == other.first_chunk::<16>() && one.last_chunk::<16>() == other.last_chunk::<16>()
        }
        _ => one == other,
    }
}

/// The next quote, backslash or control character.
#[inline(always)]
pub(super) fn special(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let found = specials(chunk);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at
}

/// A bit for each byte that is a quote, a backslash or a control character, the first byte's the lowest.
#[inline(always)]
fn specials(chunk: &[u8; 16]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code, reason = "the function is safe but for the instructions that it is compiled to")]
    // SAFETY: every x86-64 processor has SSE2.
    return unsafe { specials_sse2(chunk) };
    #[cfg(not(target_arch = "x86_64"))]
    return specials_portable(chunk);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn specials_portable(chunk: &[u8; 16]) -> u32 {
    let bit = |(place, byte): (usize, &u8)| u32::from(matches!(byte, b'"' | b'\\' | 0..=0x1f)) << place;
    chunk.iter().enumerate().map(bit).sum()
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn specials_sse2(chunk: &[u8; 16]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let whole = u128::from_le_bytes(*chunk);
    let bytes = _mm_set_epi64x((whole >> 64) as i64, whole as i64);
    let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
    let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
    let controls = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
}

/// The text that a string with escapes means; `None` when it holds half of a surrogate pair.
pub(crate) fn unescaped(raw: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            text.push(raw[at]);
            at += 1;
            continue;
        }
        let plain = match raw.get(at + 1)? {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, length) = unicode(&raw[at..])?;
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += length;
                continue;
            }
            other => *other,
        };
        text.push(plain);
        at += 2;
    }
    Some(text)
}

fn unicode(raw: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = raw.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(0)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    let second = unit(6).filter(|unit| (0xdc00..0xe000).contains(unit))?;
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole_of(text: &str) -> Scan<'_> {
        Scan { text: text.as_bytes(), at: 0, layout: Layout::Lines, depth: 0, max_depth: 128 }
    }

    #[test]
    fn depth_has_a_limit_and_costs_no_stack() {
        let deep = |levels: usize| format!("{}{}\n", "[".repeat(levels), "]".repeat(levels));
        assert!(whole_of(&deep(128)).value().is_ok());
        let broken = whole_of(&deep(129)).value().unwrap_err();
        assert_eq!((broken.at, broken.code()), (128, Code::JsonDepth));
        let million = deep(1_000_000);
        assert!(Scan { max_depth: u32::MAX, ..whole_of(&million) }.value().is_ok());
        assert_eq!(whole_of(&"[{\"a\":".repeat(500_000)).value().unwrap_err().code(), Code::JsonDepth);
    }

    proptest! {
        #[test]
        fn specials_are_found_as_they_are_defined(chunk in proptest::array::uniform16(prop_oneof![Just(b'"'), Just(b'\\'), 0..=0x21_u8, any::<u8>()])) {
            prop_assert_eq!(specials(&chunk), specials_portable(&chunk));
        }

        #[test]
        fn keys_are_the_same_when_all_bytes_are(one in "[ab]{0,40}", at in 0..40_usize) {
            prop_assert!(is_same(one.as_bytes(), one.as_bytes()));
            let mut other = one.clone().into_bytes();
            if let Some(byte) = other.get_mut(at) {
                *byte = b'c';
                prop_assert!(!is_same(one.as_bytes(), &other));
            }
        }

        #[test]
        fn numbers_are_what_their_digits_say(whole in "0|[1-9][0-9]{0,8}", fraction in "(\\.[0-9]{1,9})?", behind in "[,} ]{1,9}") {
            let text = format!("{whole}{fraction}{behind}\n");
            let mut scan = whole_of(&text);
            let number = scan.number().unwrap();
            let digits = fraction.trim_start_matches('.');
            prop_assert_eq!(number.digits, format!("{whole}{digits}").parse::<u64>().unwrap());
            prop_assert_eq!((number.fraction, scan.at, number.exact), (digits.len(), whole.len() + fraction.len(), true));
        }

        #[test]
        fn a_line_is_a_value_exactly_when_serde_says_so(line in "[\\[\\]{}:,\"\\\\a0-9eE+.\\- ntu]{0,12}|\\PC{0,8}|\"[\\PC\\\\u0-9a-f]{0,12}\"") {
            prop_assume!(!line.contains('\n') && line.trim() == line);
            let text = format!("{line}\n");
            let mut scan = whole_of(&text);
            let ours = scan.value().is_ok() && scan.at == line.len();
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&line);
            // serde_json also refuses what is JSON: lone surrogates, and numbers out of a double's range.
            if theirs.is_ok() || !ours {
                prop_assert_eq!(ours, theirs.is_ok(), "{}", line);
            }
        }
    }

    #[test]
    fn no_control_character_stands_in_a_string() {
        for (byte, before) in (0..0x20_u8).flat_map(|byte| (0..20).map(move |before| (byte, before))) {
            let text = format!("\"{}{}\"\n", "a".repeat(before), char::from(byte));
            assert_eq!(whole_of(&text).value().unwrap_err().at, 1 + before, "{byte}");
        }
    }

    #[test]
    fn escapes_are_what_serde_says() {
        for raw in [r#"a\n\t\"\\\/\b\f\r"#, r"\u00e9\ud83d\ude00x"] {
            let expected: String = serde_json::from_str(&format!("\"{raw}\"")).unwrap();
            assert_eq!(unescaped(raw.as_bytes()).unwrap(), expected.into_bytes());
        }
        assert_eq!(unescaped(br"\ud83d"), None);
        assert_eq!(unescaped(br"\ude00"), None);
    }
}
