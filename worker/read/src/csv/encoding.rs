//! Text of other encodings becomes UTF-8 before it is cut, and every text says which bytes of the file it was.
//!
//! What is no character of its encoding becomes bytes that are no UTF-8, so that the row is refused (`utf8`) and nothing
//! is replaced in silence: a lone surrogate (the three bytes that UTF-8 forbids it), and half a unit at the end of a file
//! ([`HALF`] and a character of its number). The five bytes that Windows code page
//! 1252 leaves open are the control characters of the same number, as in the WHATWG's definition of it.

use std::io::{self, Read};

use moulin_core::Encoding;

use crate::fetch::ByteStream;

/// Bytes that are decoded at once.
const PIECE_BYTES: usize = 64 << 10;

/// Stands before half a unit: no UTF-8 has this byte.
const HALF: u8 = 0xff;

/// What is added to the number of half a unit: the character is never one that ends fields or lines.
const HALF_FROM: u32 = 0x100;

/// An encoding that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf16Le,
    Utf16Be,
    Latin1,
    Windows1252,
}

/// What the bytes 0x80 to 0x9f mean in Windows code page 1252.
const WINDOWS_1252: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}',
    '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}',
    '\u{17e}', '\u{178}',
];

impl Charset {
    /// Bytes of text that one byte of a file becomes at most.
    pub(crate) const MOST_TEXT: usize = 3;

    /// The encoding with this name; `None`: UTF-8.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Utf16Le, Self::Utf16Be, Self::Latin1, Self::Windows1252]
            .into_iter()
            .find(|charset| charset.name() == name)
    }

    /// As the options of a source call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf16Le => "utf16_le",
            Self::Utf16Be => "utf16_be",
            Self::Latin1 => "latin1",
            Self::Windows1252 => "windows_1252",
        }
    }

    /// The encoding of a file that starts with these bytes; `None`: UTF-8.
    pub(crate) fn of(encoding: Encoding, start: &[u8]) -> Option<Self> {
        let marked = match start {
            [0xff, 0xfe, ..] => Some(Self::Utf16Le),
            [0xfe, 0xff, ..] => Some(Self::Utf16Be),
            _ => None,
        };
        match encoding {
            Encoding::Auto => marked,
            Encoding::Utf8 => None,
            Encoding::Utf16 => marked.or(Some(Self::Utf16Le)),
            Encoding::Utf16Le => Some(Self::Utf16Le),
            Encoding::Utf16Be => Some(Self::Utf16Be),
            Encoding::Latin1 => Some(Self::Latin1),
            Encoding::Windows1252 => Some(Self::Windows1252),
        }
    }

    /// The UTF-8 text of a stream of this encoding.
    pub(crate) fn decoded(self, input: ByteStream) -> ByteStream {
        ByteStream::new(Decoded { charset: self, input, waiting: Vec::new(), text: Vec::new(), at: 0, at_end: false })
    }

    /// Bytes of the smallest unit: a line end takes one for each of its characters.
    pub(crate) fn unit_bytes(self) -> u64 {
        match self {
            Self::Utf16Le | Self::Utf16Be => 2,
            Self::Latin1 | Self::Windows1252 => 1,
        }
    }

    /// How many bytes of the file became this text.
    pub(crate) fn file_bytes(self, text: &[u8]) -> u64 {
        let starts = |text: &[u8]| text.iter().filter(|byte| !matches!(byte, 0x80..=0xbf)).count() as u64;
        if self.unit_bytes() == 1 {
            return starts(text);
        }
        let (text, half) = match memchr::memchr(HALF, text) {
            Some(at) => (&text[..at], 1),
            None => (text, 0),
        };
        // A character of four bytes is two units.
        2 * (starts(text) + text.iter().filter(|byte| **byte >= 0xf0).count() as u64) + half
    }

    /// The first bytes of the file, at most so many, that became this text.
    pub(crate) fn encoded(self, text: &[u8], most: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(most.min(2 * text.len()));
        let mut rest = text;
        while bytes.len() < most
            && let Some((found, after)) = Decodable::first(rest)
        {
            match found {
                Decodable::Character(character) => self.encode(character, &mut bytes),
                Decodable::Surrogate(unit) => self.push_unit(unit, &mut bytes),
                Decodable::Half(byte) => bytes.push(byte),
            }
            rest = after;
        }
        bytes.truncate(most);
        bytes
    }

    fn encode(self, character: char, bytes: &mut Vec<u8>) {
        match self {
            Self::Utf16Le | Self::Utf16Be => {
                character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| self.push_unit(*unit, bytes));
            }
            Self::Latin1 => bytes.push(character as u8),
            Self::Windows1252 => {
                let place = (0x80..).zip(WINDOWS_1252).find(|(_, meaning)| *meaning == character);
                bytes.push(place.map_or(character as u8, |(byte, _)| byte));
            }
        }
    }

    fn push_unit(self, unit: u16, bytes: &mut Vec<u8>) {
        bytes.extend(if self == Self::Utf16Be { unit.to_be_bytes() } else { unit.to_le_bytes() });
    }

    /// Appends the text of whole characters; says how many bytes they took. `at_end`: no more will come.
    pub(crate) fn decode(self, bytes: &[u8], at_end: bool, text: &mut Vec<u8>) -> usize {
        match self {
            Self::Latin1 => decode_bytes(bytes, char::from, text),
            Self::Windows1252 => {
                let meaning = |byte: u8| match byte {
                    0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                    byte => char::from(byte),
                };
                decode_bytes(bytes, meaning, text)
            }
            Self::Utf16Le => decode_units(bytes, u16::from_le_bytes, at_end, text),
            Self::Utf16Be => decode_units(bytes, u16::from_be_bytes, at_end, text),
        }
    }
}

/// What a stretch of decoded text was in its file.
enum Decodable {
    Character(char),
    /// One without its other half.
    Surrogate(u16),
    /// The byte that an odd number of bytes ends with.
    Half(u8),
}

impl Decodable {
    /// The first of some text, and the text after it; `None`: nothing whole is left.
    fn first(text: &[u8]) -> Option<(Self, &[u8])> {
        match *text {
            [byte, ref rest @ ..] if byte.is_ascii() => Some((Self::Character(char::from(byte)), rest)),
            [HALF, ref rest @ ..] => {
                let (character, rest) = character(rest)?;
                Some((Self::Half(u32::from(character).wrapping_sub(HALF_FROM) as u8), rest))
            }
            [0xed, second @ 0xa0..=0xbf, third, ref rest @ ..] => {
                let unit = 0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f);
                Some((Self::Surrogate(unit), rest))
            }
            _ => character(text).map(|(character, rest)| (Self::Character(character), rest)),
        }
    }
}

/// The first character of some text, and the text after it.
fn character(text: &[u8]) -> Option<(char, &[u8])> {
    let length = match text.first()? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    let (one, rest) = text.split_at_checked(length)?;
    Some((str::from_utf8(one).ok()?.chars().next()?, rest))
}

fn decode_bytes(bytes: &[u8], meaning: impl Fn(u8) -> char, text: &mut Vec<u8>) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| !byte.is_ascii()).unwrap_or(rest.len());
        text.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        while let Some((byte, after)) = rest.split_first().filter(|(byte, _)| !byte.is_ascii()) {
            text.extend_from_slice(meaning(*byte).encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        }
    }
    bytes.len()
}

fn decode_units(bytes: &[u8], unit_of: impl Fn([u8; 2]) -> u16, at_end: bool, text: &mut Vec<u8>) -> usize {
    let (units, half) = bytes.as_chunks::<2>();
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        let unit = unit_of(*unit);
        if let Ok(byte) = u8::try_from(unit)
            && byte.is_ascii()
        {
            text.push(byte);
            at += 1;
            continue;
        }
        let second = units.get(at + 1).map(|unit| unit_of(*unit));
        if (0xd800..0xdc00).contains(&unit) && second.is_none() && !at_end {
            return at * 2;
        }
        let pair = [unit, second.unwrap_or(0)];
        match char::decode_utf16(pair).next() {
            Some(Ok(character)) => {
                text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                at += character.len_utf16();
            }
            // The three bytes a surrogate would have, which UTF-8 forbids.
            _ => {
                text.extend_from_slice(&[0xed, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
                at += 1;
            }
        }
    }
    if at_end && let [half] = half {
        text.push(HALF);
        let number = char::from_u32(HALF_FROM + u32::from(*half)).unwrap_or_default();
        text.extend_from_slice(number.encode_utf8(&mut [0; 4]).as_bytes());
        return bytes.len();
    }
    at * 2
}

struct Decoded {
    charset: Charset,
    input: ByteStream,
    /// Bytes that are no whole character yet.
    waiting: Vec<u8>,
    text: Vec<u8>,
    at: usize,
    at_end: bool,
}

impl Decoded {
    fn next_piece(&mut self) -> io::Result<()> {
        let held = self.waiting.len();
        self.waiting.resize(held + PIECE_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.waiting[held..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.waiting.truncate(held + read.as_ref().map_or(0, |count| *count));
        self.at_end = read? == 0;
        (self.at, self.text) = (0, std::mem::take(&mut self.text));
        self.text.clear();
        let used = self.charset.decode(&self.waiting, self.at_end, &mut self.text);
        self.waiting.drain(..used);
        Ok(())
    }
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.text.len() {
            if self.at_end {
                return Ok(0);
            }
            self.next_piece()?;
        }
        let count = buffer.len().min(self.text.len() - self.at);
        buffer[..count].copy_from_slice(&self.text[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out one byte at a time: the hardest way to come.
    struct Drops(Vec<u8>, usize);

    impl Read for Drops {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(byte) = self.0.get(self.1) else { return Ok(0) };
            buffer[0] = *byte;
            self.1 += 1;
            Ok(1)
        }
    }

    /// The text of some bytes, which says which bytes it was, wherever it is cut.
    fn decoded(charset: Charset, bytes: &[u8]) -> Vec<u8> {
        let (mut text, mut drops) = (Vec::new(), Vec::new());
        charset.decoded(ByteStream::new(io::Cursor::new(bytes.to_vec()))).read_to_end(&mut text).unwrap();
        charset.decoded(ByteStream::new(Drops(bytes.to_vec(), 0))).read_to_end(&mut drops).unwrap();
        assert_eq!(text, drops);
        assert_eq!(charset.file_bytes(&text), bytes.len() as u64, "{charset:?}");
        for most in 0..=bytes.len() + 1 {
            assert_eq!(charset.encoded(&text, most), bytes[..most.min(bytes.len())], "{charset:?}");
        }
        let is_start = |at: usize| text.get(at).is_none_or(|byte| !matches!(byte, 0x80..=0xbf));
        for at in (0..=text.len()).filter(|at| is_start(*at) && text[..*at].last() != Some(&HALF)) {
            let parts = charset.file_bytes(&text[..at]) + charset.file_bytes(&text[at..]);
            assert_eq!(parts, bytes.len() as u64, "{charset:?} at {at}");
        }
        text
    }

    #[test]
    fn characters_of_every_encoding_become_utf8() {
        let text = "a,é\u{20ac}\u{1f40e}\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!(decoded(Charset::Utf16Le, &little), text.as_bytes());
        assert_eq!(decoded(Charset::Utf16Be, &big), text.as_bytes());
        assert_eq!(decoded(Charset::Latin1, b"caf\xe9 \x80"), "café \u{80}".as_bytes());
        assert_eq!(decoded(Charset::Windows1252, b"caf\xe9 \x80\x81\xff"), "café €\u{81}ÿ".as_bytes());
    }

    #[test]
    fn what_is_no_character_is_no_utf8_either() {
        assert_eq!(decoded(Charset::Utf16Le, b"a\0\x00\xd8b\0"), b"a\xed\xa0\x80b");
        assert_eq!(decoded(Charset::Utf16Le, b"a\0\x00\xdc\x00"), b"a\xed\xb0\x80\xff\xc4\x80");
        assert_eq!(decoded(Charset::Utf16Be, b"\0a\xd8\x3d"), b"a\xed\xa0\xbd");
    }
}
