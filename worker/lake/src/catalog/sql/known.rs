//! Tables as they were parsed last: a metadata file never changes, so one that is still current is not read again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::TableMetadata;
use moulin_core::TableName;

/// Tables that are kept.
const TABLES: usize = 32;

/// The newest metadata of each table, by its location; cheap to clone, and shared by clones.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(Arc<Mutex<HashMap<TableName, (String, TableMetadata)>>>);

impl Known {
    /// The metadata at this location, if it is the newest that is known.
    pub(super) fn get(&self, table: &TableName, location: &str) -> Option<TableMetadata> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Snapshots are shared, not copied.
        known.get(table).filter(|(at, _)| at == location).map(|(_, metadata)| metadata.clone())
    }

    pub(super) fn put(&self, table: &TableName, location: &str, metadata: &TableMetadata) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TABLES && !known.contains_key(table) {
            known.clear();
        }
        known.insert(table.clone(), (location.to_owned(), metadata.clone()));
    }
}
