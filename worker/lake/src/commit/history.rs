//! A commit whose snapshot has been expired.
//!
//! The token goes with the snapshot that carries it. Until the ledger knows the commit, two traces of it are left: the
//! table's earlier metadata files, which still list that snapshot, and the data files that the table refers to, whose
//! manifest entries name the snapshot that added them. Either may be gone (`write.metadata.delete-after-commit.enabled`;
//! files rewritten by another engine); both are gone only when somebody did both before the job was tried again.

use std::collections::{BTreeSet, HashMap};

use iceberg::spec::{ManifestContentType, TableMetadata};
use moulin_core::{FaultKind, TableName, Token};

use super::{Committed, find, manifest_list};
use crate::catalog::Loaded;
use crate::{Error, warehouse::Warehouse};

/// The commit of a token in the table's earlier metadata, newest first, or by the data files its attempts named.
///
/// `named`: data files of the job by location, each with its attempt. Reads up to
/// `write.metadata.previous-versions-max` metadata files (100 by default) and the current snapshot's manifests: it is
/// for a job of which it is not known whether an attempt committed.
pub(crate) async fn find_expired(
    warehouse: &Warehouse,
    table: &TableName,
    loaded: &Loaded,
    token: &Token,
    named: &HashMap<String, u32>,
) -> Result<Option<Committed>, Error> {
    if let Some(found) = by_files(warehouse, table, loaded, named).await? {
        return Ok(Some(found));
    }
    for earlier in loaded.metadata.metadata_log().iter().rev() {
        let location = &earlier.metadata_file;
        let io = warehouse.file_io();
        let read = TableMetadata::read_from(&io, location).await;
        let metadata = match read.map_err(Error::iceberg(table, "read its earlier metadata")) {
            Err(error) if error.kind() == FaultKind::NotFound => continue,
            read => read?,
        };
        if let Some(found) = find(&Loaded::new(metadata, location.clone()), token) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

async fn by_files(
    warehouse: &Warehouse,
    table: &TableName,
    loaded: &Loaded,
    named: &HashMap<String, u32>,
) -> Result<Option<Committed>, Error> {
    let Some(snapshot) = loaded.metadata.current_snapshot().filter(|_| !named.is_empty()) else { return Ok(None) };
    for manifest in manifest_list(table, &loaded.metadata, snapshot, warehouse).await? {
        if manifest.content != ManifestContentType::Data {
            continue;
        }
        let io = warehouse.file_io();
        let entries = manifest.load_manifest(&io).await.map_err(Error::iceberg(table, "read a manifest"))?;
        for entry in entries.entries().iter().filter(|entry| entry.is_alive()) {
            let Some(attempt) = named.get(entry.file_path()) else { continue };
            return Ok(Some(Committed {
                snapshot_id: entry.snapshot_id().unwrap_or(manifest.added_snapshot_id),
                metadata_location: loaded.location.clone(),
                attempt: *attempt,
                attempt_id: None,
            }));
        }
    }
    Ok(None)
}

/// Rows of those of the data files that the current snapshot has.
pub(crate) async fn rows_in(
    warehouse: &Warehouse,
    table: &TableName,
    metadata: &TableMetadata,
    locations: &BTreeSet<String>,
) -> Result<u64, Error> {
    let Some(snapshot) = metadata.current_snapshot().filter(|_| !locations.is_empty()) else { return Ok(0) };
    let mut rows = 0;
    for manifest in manifest_list(table, metadata, snapshot, warehouse).await? {
        if manifest.content != ManifestContentType::Data {
            continue;
        }
        let io = warehouse.file_io();
        let entries = manifest.load_manifest(&io).await.map_err(Error::iceberg(table, "read a manifest"))?;
        let of_files = entries.entries().iter().filter(|e| e.is_alive() && locations.contains(e.file_path()));
        rows += of_files.map(|entry| entry.record_count()).sum::<u64>();
    }
    Ok(rows)
}
