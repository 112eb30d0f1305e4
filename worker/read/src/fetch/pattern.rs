//! Patterns of paths: `*`, `?` and `[..]` within a name, `**` over folders.

use globset::{GlobBuilder, GlobMatcher};

use crate::Error;

/// One part of a pattern between slashes.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// `**`: any number of folders, also none.
    AnyFolders,
    /// A name as it is.
    Name(String),
    /// A name with wildcards.
    Glob {
        matcher: GlobMatcher,
        /// Whether the pattern itself starts with a dot, and so means hidden names too.
        hidden: bool,
    },
}

impl Segment {
    /// Whether one name matches.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::AnyFolders => !name.starts_with('.'),
            Self::Name(expected) => expected == name,
            Self::Glob { matcher, hidden } => (*hidden || !name.starts_with('.')) && matcher.is_match(name),
        }
    }
}

/// Whether a text holds a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Cuts a pattern at its slashes.
pub(super) fn parse(uri: &str, pattern: &str) -> Result<Vec<Segment>, Error> {
    pattern.split('/').filter(|part| !part.is_empty()).map(|part| segment(uri, part)).collect()
}

fn segment(uri: &str, part: &str) -> Result<Segment, Error> {
    if part == "**" {
        return Ok(Segment::AnyFolders);
    }
    if !is_pattern(part) {
        return Ok(Segment::Name(part.to_owned()));
    }
    // Braces and backslashes are ordinary characters of names here, not alternatives and escapes.
    let glob = part.replace('\\', r"\\").replace('{', r"\{").replace('}', r"\}");
    let glob = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
    let glob = glob.map_err(|error| Error::Uri { uri: uri.to_owned(), reason: error.to_string() })?;
    Ok(Segment::Glob { matcher: glob.compile_matcher(), hidden: part.starts_with('.') })
}

/// Whether a whole path, cut at its slashes, matches.
pub(super) fn matches(pattern: &[Segment], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        // A `**` at the end stands for the files below, at any depth.
        Some((Segment::AnyFolders, [])) => {
            !path.is_empty() && path.iter().all(|name| Segment::AnyFolders.matches(name))
        }
        Some((Segment::AnyFolders, rest)) => {
            matches(rest, path)
                || path
                    .split_first()
                    .is_some_and(|(name, below)| Segment::AnyFolders.matches(name) && matches(pattern, below))
        }
        Some((segment, rest)) => {
            path.split_first().is_some_and(|(name, below)| segment.matches(name) && matches(rest, below))
        }
    }
}
