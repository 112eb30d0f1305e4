//! Where the elements of a JSON array end: brackets and strings are all that is looked at.

use memchr::memchr2;

/// What a scan of elements found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The last comma between elements.
    pub(crate) comma: Option<usize>,
    /// The bracket that closes the array.
    pub(crate) close: Option<usize>,
}

/// Looks at elements from the start of one on.
pub(crate) fn ends(text: &[u8]) -> Ends {
    let mut comma = None;
    let close = walk(text, 0, |at| {
        comma = Some(at);
        true
    });
    Ends { comma, close: close.filter(|at| matches!(text.get(*at), Some(b']' | b'}'))) }
}

/// Checks the bracket that closes the array.
///
/// # Errors
/// Why it does not: it is another one, or a comma stands before it.
pub(crate) fn check_close(text: &[u8], close: usize, offset: u64, after_comma: bool) -> Result<(), String> {
    let before = text[..close].trim_ascii();
    if text[close] != b']' {
        return Err(format!("found `}}` at byte {offset}, expected `]` at the end of the array"));
    }
    if before.ends_with(b",") || (after_comma && before.is_empty()) {
        return Err(format!("found `]` at byte {offset}, expected an element behind the comma"));
    }
    Ok(())
}

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
