//! A field of a table's sort order, as a job file writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One field of a sort order: `time_hour`, `dep_delay desc`, `carrier asc nulls last`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SortField {
    /// The column.
    pub column: String,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values.
    pub nulls_first: bool,
}

impl fmt::Display for SortField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.column)?;
        if self.descending {
            f.write_str(" desc")?;
        }
        match (self.descending, self.nulls_first) {
            (false, false) => f.write_str(" nulls last"),
            (true, true) => f.write_str(" nulls first"),
            // Iceberg's own: nulls are smaller than values.
            _ => Ok(()),
        }
    }
}

impl FromStr for SortField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!("`{text}` is not a sort field; write a column, then asc or desc, then nulls first or nulls last")
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
        let nulls_first = match words.as_slice() {
            [.., nulls, last] if is(nulls, "nulls") && (is(last, "first") || is(last, "last")) => {
                let first = is(last, "first");
                words.truncate(words.len() - 2);
                Some(first)
            }
            _ => None,
        };
        let descending = match words.as_slice() {
            [_, .., last] if is(last, "asc") || is(last, "desc") => {
                let descending = is(last, "desc");
                words.pop();
                descending
            }
            _ => false,
        };
        let [column] = words.as_slice() else { return Err(refused()) };
        if column.contains(['(', ')', ',']) {
            return Err(refused());
        }
        Ok(Self { column: (*column).to_owned(), descending, nulls_first: nulls_first.unwrap_or(!descending) })
    }
}

impl Serialize for SortField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SortField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sort_fields_come_back_from_their_text() {
        for text in ["a", "a desc", "a nulls last", "a desc nulls first"] {
            assert_eq!(text.parse::<SortField>().unwrap().to_string(), text);
        }
        assert_eq!("a ASC NULLS FIRST".parse::<SortField>().unwrap().to_string(), "a");
        assert_eq!("desc".parse::<SortField>().unwrap().column, "desc");
    }

    #[test]
    fn what_is_no_sort_field_is_refused() {
        for text in ["", "a b", "bucket(4, a)", "a nulls", "asc desc nulls"] {
            assert!(text.parse::<SortField>().is_err(), "{text}");
        }
    }
}
