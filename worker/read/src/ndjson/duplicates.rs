//! Keys that come twice in an object, at any depth.

use std::borrow::Cow;
use std::collections::HashSet;

use super::scan::{Broken, Scan, Str, unescaped};

/// The text of a key, as two keys are the same.
pub(super) fn key_text(text: &[u8], key: Str) -> Cow<'_, [u8]> {
    let raw = &text[key.start..key.end];
    // One with half of a surrogate pair has no text: as written it is a key like any other.
    match key.escaped.then(|| unescaped(raw)).flatten() {
        Some(plain) => Cow::Owned(plain),
        None => Cow::Borrowed(raw),
    }
}

/// The first key of the value that starts here which its object holds twice.
pub(super) fn find(mut scan: Scan<'_>) -> Result<Option<Str>, Broken> {
    let text = scan.text;
    let mut open: Vec<(u8, HashSet<Cow<'_, [u8]>>)> = Vec::new();
    loop {
        match scan.peek() {
            bracket @ (b'[' | b'{') => {
                let close = bracket + 2;
                scan.open()?;
                open.push((close, HashSet::new()));
                if scan.peek() != close {
                    if let Some(twice) = key(&mut scan, text, &mut open)? {
                        return Ok(Some(twice));
                    }
                    continue;
                }
            }
            _ => scan.scalar()?,
        }
        loop {
            let Some((close, _)) = open.last() else { return Ok(None) };
            if scan.another(*close)? {
                break;
            }
            open.pop();
        }
        if let Some(twice) = key(&mut scan, text, &mut open)? {
            return Ok(Some(twice));
        }
    }
}

/// Goes past a key, when an object is open; answers one that was there before.
fn key<'t>(
    scan: &mut Scan<'_>,
    text: &'t [u8],
    open: &mut [(u8, HashSet<Cow<'t, [u8]>>)],
) -> Result<Option<Str>, Broken> {
    let Some((b'}', keys)) = open.last_mut() else { return Ok(None) };
    let key = scan.key()?;
    Ok((!keys.insert(key_text(text, key))).then_some(key))
}
