//! The words of JSON (RFC 8259), found in place.

/// Depth of objects and lists at the most.
const MAX_DEPTH: usize = 128;

/// A text that is not JSON: where, and what was expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) expected: &'static str,
}

/// A place in a text that ends with a line end. Nothing here goes past one.
pub(super) struct Scan<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
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
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Goes past a text, if it stands here.
    #[inline]
    pub(super) fn skip(&mut self, text: &[u8]) -> bool {
        let is_here = self.text.get(self.at..self.at + text.len()) == Some(text);
        self.at += if is_here { text.len() } else { 0 };
        is_here
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
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(&mut number.digits)?,
            _ => return self.broken("a digit"),
        }
        let mut count = self.at - first;
        if self.peek() == b'.' {
            self.at += 1;
            let first = self.at;
            self.digits(&mut number.digits)?;
            number.fraction = self.at - first;
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

    #[inline(always)]
    fn digits(&mut self, value: &mut u64) -> Result<(), Broken> {
        let first = self.at;
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        if self.at == first { self.broken("a digit") } else { Ok(()) }
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

    /// Goes past a value of any kind that starts here.
    pub(super) fn value(&mut self) -> Result<(), Broken> {
        self.value_at(0)
    }

    fn value_at(&mut self, depth: usize) -> Result<(), Broken> {
        if depth > MAX_DEPTH {
            return self.broken("no deeper nesting");
        }
        match self.peek() {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'[' => self.items(b']', "`,` or `]`", |scan| scan.value_at(depth + 1)),
            b'{' => self.items(b'}', "`,` or `}`", |scan| {
                scan.string()?;
                scan.expect(b':', "`:`")?;
                scan.blanks();
                scan.value_at(depth + 1)
            }),
            _ => self.broken("a value"),
        }
    }

    fn items(
        &mut self,
        close: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        self.at += 1;
        self.blanks();
        if self.peek() == close {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            item(self)?;
            self.blanks();
            match self.peek() {
                b',' => self.at += 1,
                byte if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.broken(expected),
            }
        }
    }
}

/// The next quote, backslash or control character. Eight bytes at a time.
#[inline(always)]
fn special(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    while let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let found = zero_byte(word ^ (ONES * u64::from(b'"'))) | zero_byte(word ^ (ONES * u64::from(b'\\'))) | control;
        if found != 0 {
            // A borrow can mark a byte falsely only above one that is marked rightly: the lowest mark is right.
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while text.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at
}

/// The text that a string with escapes means; `None` when it holds half of a surrogate pair.
pub(super) fn unescaped(raw: &[u8]) -> Option<Vec<u8>> {
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

    proptest! {
        #[test]
        fn a_line_is_a_value_exactly_when_serde_says_so(line in "[\\[\\]{}:,\"\\\\a0-9eE+.\\- ntu]{0,12}|\\PC{0,8}|\"[\\PC\\\\u0-9a-f]{0,12}\"") {
            prop_assume!(!line.contains('\n') && line.trim() == line);
            let text = format!("{line}\n");
            let mut scan = Scan { text: text.as_bytes(), at: 0 };
            let ours = scan.value().is_ok() && scan.at == line.len();
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&line);
            // serde_json also refuses what is JSON: lone surrogates, and numbers out of a double's range.
            if theirs.is_ok() || !ours {
                prop_assert_eq!(ours, theirs.is_ok(), "{}", line);
            }
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
