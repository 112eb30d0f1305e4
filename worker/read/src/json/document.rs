//! What stands around an array: walked over byte by byte, by the grammar of RFC 8259.

use super::pointer::Pointer;
use crate::fault::shown;
use crate::ndjson::unescaped;

/// Keys that are named when one is missing.
const KEYS_NAMED: usize = 10;
/// Bytes of a key that are kept: a longer one is on no way.
const KEY_BYTES: usize = 64 << 10;
/// Objects and lists in each other around and beside the array.
const MAX_DEPTH: usize = 100_000;

/// A walk through a document.
pub(crate) struct Document {
    pointer: Pointer,
    /// What closes each object and list that is open.
    open: Vec<u8>,
    /// Of them, so many lead to the array.
    on_way: usize,
    /// Whether the next value is on the way.
    is_next: bool,
    /// Keys of the innermost object on the way, or the number of the next element of the innermost list on it.
    keys: Vec<String>,
    index: u64,
    key: Vec<u8>,
    state: State,
    /// Of the next byte.
    offset: u64,
    array: Array,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Array {
    Ahead,
    Here,
    Behind,
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Value,
    /// A value, or the end of the list.
    FirstItem,
    /// A key, or the end of the object.
    FirstKey,
    Key,
    Colon,
    /// A comma, or the end of what is open.
    After,
    /// The inside of a string; what follows `\`; so many hexadecimal digits.
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Hex {
        is_key: bool,
        left: u8,
    },
    Word(&'static [u8]),
    Number(Number),
}

/// The part of a number that has just been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Document {
    /// A document whose first byte stands at `offset`.
    pub(super) fn new(pointer: Pointer, offset: u64) -> Self {
        Self {
            pointer,
            open: Vec::new(),
            on_way: 0,
            is_next: true,
            keys: Vec::new(),
            index: 0,
            key: Vec::new(),
            state: State::Value,
            offset,
            array: Array::Ahead,
        }
    }

    /// Whether the array has begun, and not ended.
    pub(crate) fn is_in_array(&self) -> bool {
        self.array == Array::Here
    }

    /// Says that the array has ended, and where what follows stands.
    pub(crate) fn leave_array(&mut self, offset: u64) {
        self.array = Array::Behind;
        self.offset = offset;
        self.state = State::After;
    }

    /// Why a document that ends here is none.
    pub(crate) fn ended_early(&self) -> String {
        match self.array {
            Array::Ahead if self.open.is_empty() && self.state == State::Value => {
                "it is empty, expected a JSON document".to_owned()
            }
            Array::Here => format!("it ends within the array at {}", self.pointer),
            _ => format!("it ends at byte {}, where {} objects and lists are open", self.offset, self.open.len()),
        }
    }

    /// Whether the document may end here.
    pub(crate) fn is_whole(&self) -> bool {
        self.array == Array::Behind && self.open.is_empty() && self.state == State::After
    }

    /// Goes on to the first element of the array, or to the end of the text; answers how far.
    ///
    /// # Errors
    /// Why the text is no JSON, or has no such array.
    pub(crate) fn walk(&mut self, text: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        while at < text.len() {
            // A number ends at what follows it: that byte is looked at again.
            if self.step(text[at])? {
                at += 1;
                self.offset += 1;
            }
            if self.is_in_array() {
                break;
            }
        }
        Ok(at)
    }

    fn wrong<T>(&self, byte: u8, expected: &str) -> Result<T, String> {
        Err(format!("found `{}` at byte {}, expected {expected}", shown(&[byte]), self.offset))
    }

    /// Takes one byte; `false`: it was not taken yet.
    fn step(&mut self, byte: u8) -> Result<bool, String> {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Text { is_key } => self.text(byte, is_key)?,
            State::Escape { is_key } => {
                self.keep(byte, is_key);
                self.state = match byte {
                    b'u' => State::Hex { is_key, left: 4 },
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text { is_key },
                    _ => return self.wrong(byte, "an escape sequence"),
                };
            }
            State::Hex { is_key, left } => {
                if !byte.is_ascii_hexdigit() {
                    return self.wrong(byte, "a hexadecimal digit");
                }
                self.keep(byte, is_key);
                self.state = if left == 1 { State::Text { is_key } } else { State::Hex { is_key, left: left - 1 } };
            }
            State::Word(rest) => match rest.split_first() {
                Some((first, rest)) if *first == byte => {
                    self.state = if rest.is_empty() { State::After } else { State::Word(rest) };
                }
                _ => return self.wrong(byte, "true, false or null"),
            },
            State::Number(part) => match part.next(byte) {
                Some(part) => self.state = State::Number(part),
                None if part.may_end() => {
                    self.state = State::After;
                    return Ok(false);
                }
                None => return self.wrong(byte, "a digit"),
            },
            _ if is_blank => {}
            State::FirstItem if byte == b']' => self.close(byte)?,
            State::FirstKey if byte == b'}' => self.close(byte)?,
            State::Value | State::FirstItem => self.value(byte)?,
            State::Key | State::FirstKey if byte == b'"' => {
                self.key.clear();
                self.state = State::Text { is_key: true };
            }
            State::Key | State::FirstKey => return self.wrong(byte, "a key"),
            State::Colon if byte == b':' => self.state = State::Value,
            State::Colon => return self.wrong(byte, "`:`"),
            State::After => self.after(byte)?,
        }
        Ok(true)
    }

    fn keep(&mut self, byte: u8, is_key: bool) {
        if is_key && self.is_on_way() && self.key.len() < KEY_BYTES {
            self.key.push(byte);
        }
    }

    /// Whether the innermost object or list leads to the array.
    fn is_on_way(&self) -> bool {
        self.array == Array::Ahead && self.on_way == self.open.len()
    }

    fn text(&mut self, byte: u8, is_key: bool) -> Result<(), String> {
        match byte {
            b'"' if is_key => {
                self.end_key();
                self.state = State::Colon;
            }
            b'"' => self.state = State::After,
            b'\\' => {
                self.keep(byte, is_key);
                self.state = State::Escape { is_key };
            }
            0..=0x1f => return self.wrong(byte, "the end of the string"),
            _ => self.keep(byte, is_key),
        }
        Ok(())
    }

    fn end_key(&mut self) {
        if !self.is_on_way() {
            return;
        }
        let key = unescaped(&self.key).unwrap_or_default();
        self.is_next = self.pointer.part(self.on_way - 1).is_some_and(|part| part.as_bytes() == key);
        if self.keys.len() < KEYS_NAMED {
            self.keys.push(shown(&key));
        }
    }

    fn value(&mut self, byte: u8) -> Result<(), String> {
        if self.is_on_way() && self.open.last() == Some(&b']') {
            self.is_next = self.pointer.part(self.on_way - 1) == Some(self.index.to_string().as_str());
            self.index += 1;
        }
        let is_next = std::mem::take(&mut self.is_next) && self.array == Array::Ahead;
        if is_next && self.on_way == self.pointer.len() {
            if byte != b'[' {
                return self.wrong(byte, &format!("an array at {}", self.pointer));
            }
            self.array = Array::Here;
            return Ok(());
        }
        match byte {
            b'{' | b'[' => {
                if self.open.len() >= MAX_DEPTH {
                    return self.wrong(byte, "no deeper nesting");
                }
                self.open.push(byte + 2);
                if is_next {
                    self.on_way += 1;
                    self.keys.clear();
                    self.index = 0;
                }
                self.state = if byte == b'{' { State::FirstKey } else { State::FirstItem };
            }
            _ if is_next => {
                let place = self.pointer.prefix(self.on_way);
                return self.wrong(byte, &format!("an object or list at {place}, on the way to {}", self.pointer));
            }
            b'"' => self.state = State::Text { is_key: false },
            b't' => self.state = State::Word(b"rue"),
            b'f' => self.state = State::Word(b"alse"),
            b'n' => self.state = State::Word(b"ull"),
            b'-' => self.state = State::Number(Number::Minus),
            b'0' => self.state = State::Number(Number::Zero),
            b'1'..=b'9' => self.state = State::Number(Number::Whole),
            _ => return self.wrong(byte, "a value"),
        }
        Ok(())
    }

    fn after(&mut self, byte: u8) -> Result<(), String> {
        match (byte, self.open.last()) {
            (_, None) => self.wrong(byte, "nothing behind the document"),
            (b',', Some(b'}')) => {
                self.state = State::Key;
                Ok(())
            }
            (b',', Some(_)) => {
                self.state = State::Value;
                Ok(())
            }
            (_, Some(close)) if byte == *close => self.close(byte),
            (_, Some(close)) => self.wrong(byte, &format!("`,` or `{}`", char::from(*close))),
        }
    }

    fn close(&mut self, byte: u8) -> Result<(), String> {
        if self.is_on_way() {
            let place = self.pointer.prefix(self.on_way - 1);
            let part = self.pointer.part(self.on_way - 1).unwrap_or_default();
            return Err(match byte {
                b'}' if self.keys.is_empty() => format!("the object at {place} has no key `{part}`: it is empty"),
                b'}' => format!("the object at {place} has no key `{part}`; it has {}", self.keys.join(", ")),
                _ => format!("the list at {place} has {} elements, and no `{part}`", self.index),
            });
        }
        self.open.pop();
        self.state = State::After;
        Ok(())
    }
}

impl Number {
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus | Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }
}
