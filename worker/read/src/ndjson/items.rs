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

/// One past the comma behind so many elements; `None`: there are no more.
pub(crate) fn end_of(text: &[u8], elements: usize) -> Option<usize> {
    let mut left = elements;
    let comma = walk(text, 0, |_| {
        left -= 1;
        left > 0
    });
    comma.filter(|at| text[*at] == b',').map(|at| at + 1)
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

/// Follows one element to its end without holding it: the same as [`item_end`], a stretch of text at a time.
#[derive(Debug, Default)]
pub(crate) struct ItemWalk {
    depth: usize,
    inside: Inside,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    String,
    /// The byte behind a `\`.
    Escape,
}

impl ItemWalk {
    /// Goes on in the text behind the last one. Answers where in it the comma or the bracket stands that ends the element.
    pub(crate) fn go_on(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            match (self.inside, byte) {
                (Inside::Escape, _) => self.inside = Inside::String,
                (Inside::String, b'\\') => self.inside = Inside::Escape,
                (Inside::String, b'"') => self.inside = Inside::Nothing,
                (Inside::String, _) => at += memchr2(b'"', b'\\', &text[at..]).unwrap_or(text.len() - at) - 1,
                (Inside::Nothing, b'"') => self.inside = Inside::String,
                (Inside::Nothing, b'[' | b'{') => self.depth += 1,
                (Inside::Nothing, b']' | b'}' | b',') if self.depth == 0 => return Some(at),
                (Inside::Nothing, b']' | b'}') => self.depth -= 1,
                (Inside::Nothing, _) => {}
            }
            at += 1;
        }
        None
    }
}
