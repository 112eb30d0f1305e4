//! Which snapshot an input means.

use std::time::{SystemTime, UNIX_EPOCH};

use iceberg::spec::{SnapshotRef, TableMetadata};
use moulin_core::{Pin, TableInput, TableName};

use crate::Error;

/// Finds the snapshot and the schema that `input` asks for in a table that stands so.
pub(super) fn find(metadata: &TableMetadata, input: &TableInput) -> Result<Pin, Error> {
    let now = metadata.current_schema_id();
    let of = |snapshot: &SnapshotRef, schema_id: i32| Pin { snapshot_id: Some(snapshot.snapshot_id()), schema_id };
    let own = |snapshot: &SnapshotRef| snapshot.schema_id().unwrap_or(now);
    if let Some(id) = input.snapshot_id {
        let snapshot = metadata.snapshot_by_id(id).ok_or_else(|| no_snapshot(&input.table, id))?;
        return Ok(of(snapshot, own(snapshot)));
    }
    if let Some(name) = &input.reference {
        let snapshot = metadata.snapshot_for_ref(name).ok_or_else(|| Error::NotFound {
            what: format!("ref `{name}` (a branch or a tag) of table {}", input.table),
        })?;
        // A branch goes on with the table's columns, a tag keeps those of its snapshot. The two cannot be told apart
        // from outside of the library, but the head of a branch that is written to has the table's columns anyway.
        return Ok(of(snapshot, if name == "main" { now } else { own(snapshot) }));
    }
    if let Some(moment) = input.as_of {
        return as_of(metadata, &input.table, moment).map(|snapshot| of(snapshot, own(snapshot)));
    }
    Ok(Pin { snapshot_id: metadata.current_snapshot_id(), schema_id: now })
}

fn as_of<'a>(metadata: &'a TableMetadata, table: &TableName, moment: SystemTime) -> Result<&'a SnapshotRef, Error> {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let moment_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let history = metadata.history();
    let entry =
        history.iter().filter(|entry| entry.timestamp_ms() <= moment_ms).max_by_key(|entry| entry.timestamp_ms());
    let Some(entry) = entry else {
        let began = match history.iter().map(iceberg::spec::SnapshotLog::timestamp_ms).min() {
            Some(first) => format!("its history begins at {first} ms"),
            None => "it has no history".to_owned(),
        };
        return Err(Error::NotFound {
            what: format!("a snapshot of table {table} at {moment_ms} ms since 1970 ({began})"),
        });
    };
    metadata.snapshot_by_id(entry.snapshot_id).ok_or_else(|| no_snapshot(table, entry.snapshot_id))
}

pub(super) fn no_snapshot(table: &TableName, id: i64) -> Error {
    Error::NotFound { what: format!("snapshot {id} of table {table} (it may have expired)") }
}
