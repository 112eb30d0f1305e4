//! Where the elements of a JSON array end: brackets and strings are all that is looked at.

use memchr::memchr2;

/// The end of the element that starts at `at`: its comma, or the end of the text.
pub(super) fn item_end(text: &[u8], at: usize) -> usize {
    walk(text, at, |_| false).unwrap_or(text.len())
}

/// Goes on to the first bracket that closes more than was opened, or to the first comma that `goes_on` stops at.
fn walk(text: &[u8], mut at: usize, mut goes_on: impl FnMut(usize) -> bool) -> Option<usize> {
    let mut depth = 0_usize;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1)?,
            b'[' | b'{' => depth += 1,
            b']' | b'}' if depth == 0 => return Some(at),
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 && !goes_on(at) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The quote that ends a string whose inside starts at `at`.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}
