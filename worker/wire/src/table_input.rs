//! Tables as inputs, to messages and back.

use std::collections::{BTreeMap, HashMap};

use moulin_core as core;
use moulin_core::Fault;

use crate::decode::{planned_column, wrong};
use crate::time::{from_timestamp, timestamp};
use crate::{encode, v1};

pub(crate) fn decode(tables: HashMap<String, v1::TableInput>) -> Result<BTreeMap<String, core::TableInput>, Fault> {
    tables.into_iter().map(|(name, table)| decode_one(&name, table).map(|table| (name, table))).collect()
}

fn decode_one(name: &str, input: v1::TableInput) -> Result<core::TableInput, Fault> {
    Ok(core::TableInput {
        table: input.table.parse().map_err(|reason| wrong(format!("tables.{name}.table: {reason}")))?,
        snapshot_id: input.snapshot_id,
        reference: Some(input.r#ref).filter(|name| !name.is_empty()),
        as_of: input.as_of.map(from_timestamp),
        pinned: input.pinned.map(|pin| core::Pin { snapshot_id: pin.snapshot_id, schema_id: pin.schema_id }),
    })
}

pub(crate) fn encode(tables: &BTreeMap<String, core::TableInput>) -> HashMap<String, v1::TableInput> {
    let one = |input: &core::TableInput| v1::TableInput {
        table: input.table.to_string(),
        snapshot_id: input.snapshot_id,
        r#ref: input.reference.clone().unwrap_or_default(),
        as_of: input.as_of.map(timestamp),
        pinned: input.pinned.map(|pin| v1::TablePin { snapshot_id: pin.snapshot_id, schema_id: pin.schema_id }),
    };
    tables.iter().map(|(name, input)| (name.clone(), one(input))).collect()
}

pub(crate) fn decode_read(read: v1::TableRead) -> core::TableRead {
    core::TableRead {
        name: read.name,
        table: read.table,
        snapshot_id: read.snapshot_id,
        rows_read: read.rows_read,
        files: read.files,
        files_pruned: read.files_pruned,
        bytes: read.bytes,
    }
}

pub(crate) fn encode_read(read: &core::TableRead) -> v1::TableRead {
    v1::TableRead {
        name: read.name.clone(),
        table: read.table.clone(),
        snapshot_id: read.snapshot_id,
        rows_read: read.rows_read,
        files: read.files,
        files_pruned: read.files_pruned,
        bytes: read.bytes,
    }
}

pub(crate) fn decode_planned(table: v1::PlannedTable) -> core::PlannedTable {
    core::PlannedTable {
        name: table.name,
        table: table.table,
        snapshot_id: table.snapshot_id,
        files: table.files,
        rows: table.rows,
        bytes: table.bytes,
        columns: table.columns.into_iter().map(planned_column).collect(),
    }
}

pub(crate) fn encode_planned(table: &core::PlannedTable) -> v1::PlannedTable {
    v1::PlannedTable {
        name: table.name.clone(),
        table: table.table.clone(),
        snapshot_id: table.snapshot_id,
        files: table.files,
        rows: table.rows,
        bytes: table.bytes,
        columns: table.columns.iter().map(encode::planned_column).collect(),
    }
}
