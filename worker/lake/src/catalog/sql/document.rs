//! A table's metadata as the text of its file, made of the text before it.
//!
//! Every commit writes the whole file, and most of it is what the commit before wrote: the snapshots that nothing names any
//! more but history. Their text is kept and copied; what is made anew is the rest, whose size does not grow with the
//! number of commits. (What the file's size itself costs is the format's.)

use std::collections::HashSet;
use std::fmt::Write as _;

use iceberg::spec::{FormatVersion, TableMetadata};
use serde_json::{Map, Value};

use super::Swap;

/// The text of the file behind a table's metadata, in the parts that the next one is made of.
#[derive(Debug, Clone)]
pub(super) struct Document {
    /// The table with those snapshots only that a branch or tag names, and the last line of its history.
    head: TableMetadata,
    /// The others.
    snapshots: Items,
    /// The lines of its history before.
    history: Items,
}

/// Elements of a JSON array, oldest first, each with a comma behind it.
#[derive(Debug, Clone, Default)]
struct Items {
    text: String,
    count: usize,
}

impl Items {
    fn push(&mut self, value: &Value) {
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value},");
        self.count += 1;
    }

    /// The array of these and some more.
    fn with(&self, more: &[Value], name: &str, out: &mut String) {
        let _ = write!(out, ",\"{name}\":[{}", self.text);
        for value in more {
            let _ = write!(out, "{value},");
        }
        if out.ends_with(',') {
            out.pop();
        }
        out.push(']');
    }
}

impl Document {
    /// The text of metadata of which nothing is known; with a document unless its format version is another than 2.
    ///
    /// # Errors
    /// `serde_json`'s, never met: what the crate holds it can write.
    pub(super) fn of(metadata: &TableMetadata) -> serde_json::Result<(String, Option<Self>)> {
        if metadata.format_version() != FormatVersion::V2 {
            return Ok((serde_json::to_string(metadata)?, None));
        }
        let Value::Object(mut whole) = serde_json::to_value(metadata)? else {
            return Ok((serde_json::to_string(metadata)?, None));
        };
        // The crate has no order for them.
        if let Some(Value::Array(snapshots)) = whole.get_mut("snapshots") {
            snapshots.sort_by_key(|snapshot| snapshot["sequence-number"].as_i64());
        }
        Self::split(whole, Items::default(), Items::default()).map(|(text, document)| (text, Some(document)))
    }

    /// The text of the metadata that a swap makes of this one. `None`: it cannot be made so, and is made as a whole.
    pub(super) fn next(self, location: &str, swap: &Swap) -> Option<(String, Self)> {
        let mut builder = self.head.into_builder(Some(location.to_owned()));
        for update in &swap.updates {
            builder = update.clone().apply(builder).ok()?;
        }
        let head = builder.build().ok()?.metadata;
        let Ok(Value::Object(head)) = serde_json::to_value(&head) else { return None };
        let (text, next) = Self::split(head, self.snapshots, self.history).ok()?;
        next.is_of(&swap.metadata).then_some((text, next))
    }

    /// Writes down `head` with the snapshots and the history that it does not have, and moves what is old in it to those.
    fn split(
        mut head: Map<String, Value>,
        mut old: Items,
        mut old_history: Items,
    ) -> serde_json::Result<(String, Self)> {
        let array = |head: &mut Map<String, Value>, name: &str| match head.shift_remove(name) {
            Some(Value::Array(values)) => values,
            _ => Vec::new(),
        };
        let (snapshots, history) = (array(&mut head, "snapshots"), array(&mut head, "snapshot-log"));
        let mut text = Value::Object(head.clone()).to_string();
        text.reserve(old.text.len() + old_history.text.len() + 4096);
        text.pop();
        old.with(&snapshots, "snapshots", &mut text);
        old_history.with(&history, "snapshot-log", &mut text);
        text.push('}');

        let named: HashSet<i64> = match head.get("refs") {
            Some(Value::Object(refs)) => refs.values().filter_map(|one| one["snapshot-id"].as_i64()).collect(),
            _ => HashSet::new(),
        };
        let is_named = |one: &Value| one["snapshot-id"].as_i64().is_some_and(|id| named.contains(&id));
        let (kept, gone): (Vec<Value>, Vec<Value>) = snapshots.into_iter().partition(is_named);
        gone.iter().for_each(|one| old.push(one));
        let last = history.len().saturating_sub(1);
        history[..last].iter().for_each(|one| old_history.push(one));
        head.insert("snapshots".to_owned(), Value::Array(kept));
        head.insert("snapshot-log".to_owned(), Value::Array(history[last..].to_vec()));
        let head = serde_json::from_value(Value::Object(head))?;
        Ok((text, Self { head, snapshots: old, history: old_history }))
    }

    // Nothing is written that is not the table: what can differ when an update was applied to a part of it.
    fn is_of(&self, metadata: &TableMetadata) -> bool {
        let head = &self.head;
        head.snapshots().len() + self.snapshots.count == metadata.snapshots().len()
            && head.history().len() + self.history.count == metadata.history().len()
            && head.current_snapshot() == metadata.current_snapshot()
            && head.last_updated_ms() == metadata.last_updated_ms()
            && head.last_sequence_number() == metadata.last_sequence_number()
            && head.metadata_log() == metadata.metadata_log()
            && head.properties() == metadata.properties()
            && head.current_schema() == metadata.current_schema()
            && head.uuid() == metadata.uuid()
    }
}
