//! How JSON is written.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind};

/// One JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NdjsonFormat {
    /// What to do with a key that an object holds twice.
    pub duplicate_keys: DuplicateKeys,
}

/// One JSON document that holds an array of objects.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonFormat {
    /// Where the array stands, as a JSON pointer (RFC 6901); empty: the document is the array.
    pub pointer: String,
    /// What to do with a key that an object holds twice.
    pub duplicate_keys: DuplicateKeys,
}

/// What to do with a key that a JSON object holds twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateKeys {
    /// The last value counts.
    #[default]
    Last,
    /// The first value counts.
    First,
    /// The row is a bad row.
    Reject,
}

impl JsonFormat {
    pub(super) fn validate(&self) -> Result<(), Fault> {
        if self.pointer.is_empty() || self.pointer.starts_with('/') {
            return Ok(());
        }
        let message = format!(
            "json pointer `{}` does not start with `/`; the items of {{\"data\": {{\"items\": [..]}}}} stand at /data/items",
            self.pointer
        );
        Err(Fault::new(FaultKind::InvalidSpec, message))
    }
}
