//! How much Iceberg keeps about each column of a data file: the table properties `write.metadata.metrics.*`.

use std::collections::HashMap;

use crate::Error;

const DEFAULT: &str = "write.metadata.metrics.default";
const COLUMN: &str = "write.metadata.metrics.column.";

/// What is kept of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Nothing.
    None,
    /// Sizes, values and nulls.
    Counts,
    /// Bounds of at most so many characters or bytes, too.
    Truncate(usize),
    /// Bounds as long as they are in the file, too: at most 64 bytes of a text.
    Full,
}

/// The modes of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modes {
    default: Mode,
    columns: HashMap<String, Mode>,
}

impl Modes {
    /// # Errors
    /// `InvalidSpec`, naming the property, its value and what it can be.
    pub(super) fn from_properties(properties: &HashMap<String, String>) -> Result<Self, Error> {
        let default = properties.get(DEFAULT).map_or(Ok(Mode::Truncate(16)), |text| mode(DEFAULT, text))?;
        let columns = properties.iter().filter_map(|(name, text)| Some((name.strip_prefix(COLUMN)?, name, text)));
        let columns = columns.map(|(column, name, text)| Ok((column.to_owned(), mode(name, text)?)));
        Ok(Self { default, columns: columns.collect::<Result<_, Error>>()? })
    }

    /// The mode of a column, by its name with dots.
    pub(super) fn of(&self, column: &str) -> Mode {
        self.columns.get(column).copied().unwrap_or(self.default)
    }
}

fn mode(property: &str, text: &str) -> Result<Mode, Error> {
    let word = text.trim().to_ascii_lowercase();
    let length = word.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')'));
    match (word.as_str(), length.map(str::parse::<usize>)) {
        ("none", _) => Ok(Mode::None),
        ("counts", _) => Ok(Mode::Counts),
        ("full", _) => Ok(Mode::Full),
        (_, Some(Ok(length))) if length > 0 => Ok(Mode::Truncate(length)),
        _ => Err(Error::invalid(format!(
            "table property {property} is `{text}`; there are none, counts, truncate(16) and full"
        ))),
    }
}
