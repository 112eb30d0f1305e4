//! What has no column of its own, as a JSON object of texts.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use moulin_core::{DuplicateKeys, PrimitiveType};

use super::Objects;
use super::duplicates::key_text;
use super::scan::Str;
use crate::columns::Column;

/// The column of them.
pub(super) struct Rescued {
    column: Column,
    /// Of the record that is being read: names, and where their values stand.
    record: Vec<(Name, usize, usize)>,
    object: Vec<u8>,
}

/// The name of a value that is kept.
#[derive(Debug, Clone)]
pub(super) enum Name {
    /// A key as it is written.
    Key(Str),
    /// The name of a column.
    Column(usize),
    /// A key inside of a column: `column.key`.
    Inside { column: usize, path: String },
}

impl Default for Rescued {
    fn default() -> Self {
        Self { column: Column::new(PrimitiveType::String, 0, 0), record: Vec::new(), object: Vec::new() }
    }
}

impl Rescued {
    pub(super) fn keep(&mut self, name: Name, start: usize, end: usize) {
        self.record.push((name, start, end));
    }

    /// A later value of the column counts.
    pub(super) fn forget(&mut self, place: usize) {
        let is_of =
            |name: &Name| matches!(name, Name::Column(column) | Name::Inside { column, .. } if *column == place);
        self.record.retain(|(name, ..)| !is_of(name));
    }

    /// Takes away what was kept of a record that is no row.
    pub(super) fn forget_record(&mut self) {
        self.record.clear();
    }

    /// Makes the row of the record that was read: null, when nothing of it was kept.
    pub(super) fn end_record(&mut self, text: &[u8], format: &Objects) {
        if self.record.is_empty() {
            self.column.push_null();
            return;
        }
        let mut places: HashMap<(bool, Cow<'_, [u8]>), usize> = HashMap::new();
        let mut kept: Vec<(Name, usize, usize)> = Vec::with_capacity(self.record.len());
        for value in self.record.drain(..) {
            // A key that looks like the path of another one is still another one.
            let key = match &value.0 {
                Name::Key(key) => (false, key_text(text, *key)),
                Name::Column(place) => (false, Cow::Borrowed(format.members.list[*place].name.as_bytes())),
                Name::Inside { path, .. } => (true, Cow::Owned(path.clone().into_bytes())),
            };
            match places.get(&key) {
                None => {
                    places.insert(key, kept.len());
                    kept.push(value);
                }
                Some(place) if format.duplicate_keys != DuplicateKeys::First => kept[*place] = value,
                Some(_) => {}
            }
        }
        self.object.clear();
        for (name, start, end) in kept {
            self.object.push(if self.object.is_empty() { b'{' } else { b',' });
            match name {
                Name::Key(key) => self.object.extend_from_slice(&text[key.start - 1..=key.end]),
                Name::Column(place) => {
                    let name = serde_json::Value::from(format.members.list[place].name.as_str()).to_string();
                    self.object.extend_from_slice(name.as_bytes());
                }
                Name::Inside { path, .. } => {
                    self.object.extend_from_slice(serde_json::Value::from(path).to_string().as_bytes());
                }
            }
            self.object.extend_from_slice(b":\"");
            push_escaped(&text[start..end], &mut self.object);
            self.object.push(b'"');
        }
        self.object.push(b'}');
        self.column.push_text(&self.object);
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        self.column.finish()
    }
}

/// The inside of a JSON string that means a JSON text.
fn push_escaped(text: &[u8], into: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b'"' | b'\\' => into.extend_from_slice(&[b'\\', *byte]),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            // There are no other control characters in a JSON text.
            _ => into.push(*byte),
        }
    }
}
