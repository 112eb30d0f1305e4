//! JSON pointers (RFC 6901).

use std::fmt;

use crate::Error;

/// The way to a value: keys of objects and places in arrays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer {
    text: String,
    parts: Vec<String>,
}

impl Pointer {
    /// # Errors
    /// `Schema` when it is none: it does not start with `/`, or a `~` is neither `~0` nor `~1`.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        let refused = || {
            let reason = "a JSON pointer is empty or starts with `/`, and writes `~` as ~0 and `/` in a key as ~1";
            Error::Schema(format!("json pointer `{text}`: {reason}"))
        };
        let mut parts = Vec::new();
        if !text.is_empty() {
            for part in text.strip_prefix('/').ok_or_else(refused)?.split('/') {
                if part.replace("~0", "").replace("~1", "").contains('~') {
                    return Err(refused());
                }
                parts.push(part.replace("~1", "/").replace("~0", "~"));
            }
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The part that leads on from so many others.
    pub(super) fn part(&self, at: usize) -> Option<&str> {
        self.parts.get(at).map(String::as_str)
    }

    /// The first parts, as they are written.
    pub(super) fn prefix(&self, parts: usize) -> String {
        if parts == 0 {
            return "the top".to_owned();
        }
        let text: Vec<&str> = self.text.split('/').take(parts + 1).collect();
        text.join("/")
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix(self.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_has_parts() {
        for (text, parts) in [
            ("", &[][..]),
            ("/", &[""]),
            ("/data/items", &["data", "items"]),
            ("/a~1b/m~0n/~01/0", &["a/b", "m~n", "~1", "0"]),
        ] {
            assert_eq!(Pointer::new(text).unwrap().parts, parts, "{text}");
        }
        for text in ["a", "/~", "/~2"] {
            assert!(Pointer::new(text).is_err(), "{text}");
        }
    }
}
